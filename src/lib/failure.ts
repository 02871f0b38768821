import { type EpochMs, hours, type Ms, minutes, seconds } from './time.ts';

/**
 * How long to wait before the next try, first and at most; the wait doubles in between.
 * `on-change` never tries again by itself: a watch on what the failure names wakes it.
 */
export const RETRY_RULES = {
  soon: { first: seconds(2), longest: minutes(5) },
  patient: { first: minutes(1), longest: minutes(15) },
  slow: { first: minutes(15), longest: hours(1) },
  hourly: { first: hours(1), longest: hours(1) },
  'on-change': undefined,
} as const satisfies Record<string, { first: Ms; longest: Ms } | undefined>;

export type RetryRule = keyof typeof RETRY_RULES;

interface KindRules {
  readonly retry: RetryRule;
  /** A person has to act: the condition `Stalled` is set (kstatus: the resource has failed). */
  readonly isTerminal: boolean;
}

const transient = (retry: RetryRule): KindRules => ({ retry, isTerminal: false });
const terminal = (retry: RetryRule): KindRules => ({ retry, isTerminal: true });

/** Every way to fail. The names are API: condition reasons, event reasons and metric labels. */
export const FAILURE_KINDS = {
  // What the user wrote
  InvalidSpec: terminal('on-change'),
  InputMissing: terminal('on-change'),
  InputInvalid: terminal('on-change'),
  TargetNotOurs: terminal('on-change'),
  TargetMissing: terminal('on-change'),
  // What the token endpoint said of the credential
  CredentialsRejected: terminal('on-change'),
  AccountDisabled: terminal('hourly'),
  AccountNotReady: terminal('hourly'),
  ClientSecretRejected: terminal('slow'),
  ClientUnknownOrDisabled: terminal('hourly'),
  GrantNotAllowed: terminal('hourly'),
  InvalidScope: terminal('hourly'),
  InvalidRequest: terminal('hourly'),
  RealmNotFound: terminal('hourly'),
  InsecureEndpoint: terminal('slow'),
  UnexpectedRedirect: terminal('slow'),
  UnsupportedByOperator: terminal('hourly'),
  // What stood in the way for now
  NetworkError: transient('soon'),
  TLSError: transient('patient'),
  ServerUnavailable: transient('soon'),
  RateLimited: transient('soon'),
  Throttled: transient('soon'),
  UnexpectedResponse: transient('patient'),
  EndpointNotFound: transient('patient'),
  RealmDisabled: transient('slow'),
  AccessBlocked: transient('slow'),
  ShortLivedToken: transient('patient'),
  ClockSkew: transient('patient'),
  SessionEnded: transient('soon'),
  RefreshTokenReused: transient('soon'),
  SessionContention: transient('slow'),
  // What the cluster or this program did
  TargetRefused: transient('patient'),
  ClusterUnavailable: transient('soon'),
  InternalError: transient('patient'),
} as const satisfies Record<string, KindRules>;

export type FailureKind = keyof typeof FAILURE_KINDS;

const NOT_FROM_TOKEN_ENDPOINT: readonly string[] = [
  'InvalidSpec',
  'InputMissing',
  'InputInvalid',
  'TargetNotOurs',
  'TargetMissing',
  'TargetRefused',
  'Throttled',
  'ClusterUnavailable',
  'InternalError',
];

/** The failures that a token endpoint answers with. */
export const TOKEN_FAILURES: ReadonlySet<string> = new Set(
  Object.keys(FAILURE_KINDS).filter((kind) => !NOT_FROM_TOKEN_ENDPOINT.includes(kind)),
);

/**
 * Something that went wrong, as a value. `message` says what, where and what to do, is fit for conditions,
 * events and logs, and holds nothing that came from a Secret. `code` is the foreign error's code (`ECONNREFUSED`,
 * `invalid_scope`, or the HTTP status where there is no other); foreign error objects are never kept, for their texts may hold anything.
 */
export class Failure {
  readonly kind: FailureKind;
  readonly message: string;
  readonly code: string | undefined;
  /** How long to wait where that is known better than by the rule of the kind, as by `Retry-After`, already capped. */
  readonly retryAfter: Ms | undefined;
  /** The field managers whose fields are in the way of an apply. */
  readonly managers: readonly string[] | undefined;

  constructor(
    kind: FailureKind,
    message: string,
    details: { code?: string; retryAfter?: Ms; managers?: readonly string[] } = {},
  ) {
    this.kind = kind;
    this.message = message;
    this.code = details.code;
    this.retryAfter = details.retryAfter;
    this.managers = details.managers;
  }

  get isTerminal(): boolean {
    return FAILURE_KINDS[this.kind].isTerminal;
  }
}

export const isFailure = (value: unknown): value is Failure => value instanceof Failure;

/** The waits of failures that are tried again by the same rule double from one to the next; another rule starts afresh. */
export const haveSameRetryRule = (one: Failure, other: Failure): boolean =>
  FAILURE_KINDS[one.kind].retry === FAILURE_KINDS[other.kind].retry;

/**
 * When to try again after the `attempts`-th failure in a row (1 is the first), or undefined for "not by itself".
 * @param random uniform in [0, 1): short waits are spread over their whole length (full jitter), long ones by ±10 %
 */
export function retryAt(
  failure: Failure,
  attempts: number,
  now: EpochMs,
  random: number,
): EpochMs | undefined {
  const rule = RETRY_RULES[FAILURE_KINDS[failure.kind].retry];
  if (failure.retryAfter !== undefined) return now + failure.retryAfter * (1 + random / 10);
  if (rule === undefined) return undefined;
  const wait = Math.min(rule.first * 2 ** Math.min(attempts - 1, 30), rule.longest);
  const isShort = rule.longest <= minutes(5);
  return now + (isShort ? Math.max(wait * random, seconds(1)) : wait * (0.9 + random / 5));
}

/** The token in place. */
export interface CurrentToken {
  readonly expiresAt: EpochMs;
  /** When its renewal failed first. */
  readonly failingSince: EpochMs;
  /** How much time is to pass between two requests. */
  readonly minInterval: Ms;
}

/** Tries of a renewal that its token alone calls for. */
const TRIES_BEFORE_EXPIRY = 6;

/** When a rejected password is presented again is for its lock-out policy to say. */
const hasLockoutPolicy = ({ kind }: Failure): boolean => kind === 'CredentialsRejected';

/**
 * A token that is still good must not expire for want of a try: there is one when half of its remaining time has
 * passed, then half of the rest, six times at most. What the server asked for (`Retry-After`) is granted if it ends
 * before the token does. What waits for a change in the cluster goes on waiting, for a watch shows that.
 * @param retry by the rule of its kind
 * @param at when it failed
 * @param held undefined when there is no token
 */
export function retryBeforeExpiry(
  failure: Failure,
  retry: EpochMs | undefined,
  at: EpochMs,
  currentToken: CurrentToken | undefined,
): EpochMs | undefined {
  if (retry === undefined || currentToken === undefined || hasLockoutPolicy(failure)) return retry;
  const { expiresAt, failingSince, minInterval } = currentToken;
  if (failure.retryAfter !== undefined && retry < expiresAt - minInterval) return retry;
  const left = expiresAt - at;
  const shortest = Math.max(minInterval, (expiresAt - failingSince) / 2 ** TRIES_BEFORE_EXPIRY);
  const wait = Math.max(left / 2, shortest);
  return wait < left ? Math.min(retry, at + wait) : retry;
}
