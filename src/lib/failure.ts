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

/** Where a failure comes from: what the user wrote, the cluster, asking a token endpoint, or this program. */
type Origin = 'spec' | 'cluster' | 'token-endpoint' | 'operator';

interface KindRules {
  readonly origin: Origin;
  readonly retry: RetryRule;
  /** A person has to act: the condition `Stalled` is set (kstatus: the resource has failed). */
  readonly isTerminal: boolean;
}

const transient = (origin: Origin, retry: RetryRule): KindRules => ({
  origin,
  retry,
  isTerminal: false,
});
const terminal = (origin: Origin, retry: RetryRule): KindRules => ({
  origin,
  retry,
  isTerminal: true,
});

/** All kinds. The names are API: condition reasons, event reasons and metric labels. */
export const FAILURE_KINDS = {
  // The spec and the credentials Secret
  InvalidSpec: terminal('spec', 'on-change'),
  InputMissing: terminal('spec', 'on-change'),
  InputInvalid: terminal('spec', 'on-change'),
  // The target Secret and the API server
  TargetNotOurs: terminal('cluster', 'on-change'),
  TargetMissing: terminal('cluster', 'on-change'),
  TargetRefused: transient('cluster', 'patient'),
  ClusterUnavailable: transient('cluster', 'soon'),
  // What the token endpoint said of the credential
  CredentialsRejected: terminal('token-endpoint', 'on-change'),
  AccountDisabled: terminal('token-endpoint', 'hourly'),
  AccountNotReady: terminal('token-endpoint', 'hourly'),
  ClientSecretRejected: terminal('token-endpoint', 'slow'),
  ClientUnknownOrDisabled: terminal('token-endpoint', 'hourly'),
  GrantNotAllowed: terminal('token-endpoint', 'hourly'),
  InvalidScope: terminal('token-endpoint', 'hourly'),
  InvalidRequest: terminal('token-endpoint', 'hourly'),
  RealmNotFound: terminal('token-endpoint', 'hourly'),
  InsecureEndpoint: terminal('token-endpoint', 'slow'),
  UnexpectedRedirect: terminal('token-endpoint', 'slow'),
  UnsupportedByOperator: terminal('token-endpoint', 'hourly'),
  // What stood between the operator and a token for now
  NetworkError: transient('token-endpoint', 'soon'),
  TLSError: transient('token-endpoint', 'patient'),
  ServerUnavailable: transient('token-endpoint', 'soon'),
  RateLimited: transient('token-endpoint', 'soon'),
  UnexpectedResponse: transient('token-endpoint', 'patient'),
  EndpointNotFound: transient('token-endpoint', 'patient'),
  RealmDisabled: transient('token-endpoint', 'slow'),
  AccessBlocked: transient('token-endpoint', 'slow'),
  ShortLivedToken: transient('token-endpoint', 'patient'),
  ClockSkew: transient('token-endpoint', 'patient'),
  SessionEnded: transient('token-endpoint', 'soon'),
  RefreshTokenReused: transient('token-endpoint', 'soon'),
  SessionContention: transient('token-endpoint', 'slow'),
  // This program
  Throttled: transient('operator', 'soon'),
  InternalError: transient('operator', 'patient'),
} as const satisfies Record<string, KindRules>;

export type FailureKind = keyof typeof FAILURE_KINDS;

/** The kinds that come from asking a token endpoint. */
export const TOKEN_FAILURES: ReadonlySet<string> = new Set(
  Object.entries(FAILURE_KINDS)
    .filter(([, { origin }]) => origin === 'token-endpoint')
    .map(([kind]) => kind),
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
