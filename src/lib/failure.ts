import { cleanText } from './sensitive.ts';
import { type EpochMs, hours, type Ms, minutes, seconds } from './time.ts';

/**
 * Wait before the next try: `first`, doubled after each failure, at most `longest`.
 * `on-change`: only a change that a watch shows starts the next try.
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
  MergeNotAllowed: terminal('cluster', 'on-change'),
  TargetRefused: transient('cluster', 'patient'),
  ClusterUnavailable: transient('cluster', 'soon'),
  PermissionDenied: transient('cluster', 'soon'),
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

interface FailureDetails {
  readonly code?: string;
  readonly status?: number;
  readonly retryAfter?: Ms;
  readonly managers?: readonly string[];
  readonly isUnreadable?: boolean;
}

/** In characters. The longest messages have half of them. */
const MAX_MESSAGE = 1_000;

/**
 * Something that went wrong, as a value. `message` says what, where and what to do, is fit for conditions, events and
 * logs, and holds nothing that came from a Secret. Names in it may be anything that a user has written, so control and
 * format characters become spaces, and a long one is cut off. `code` is the foreign error's code (`ECONNREFUSED`,
 * `invalid_scope`, or the HTTP status where there is no other). Foreign error objects are not kept, because their texts
 * may hold secrets.
 */
export class Failure {
  readonly kind: FailureKind;
  readonly message: string;
  readonly code: string | undefined;
  /** Of the error response of a token endpoint; undefined for any other failure. */
  readonly status: number | undefined;
  /** Replaces the wait of the retry rule, for example by `Retry-After`; already capped. */
  readonly retryAfter: Ms | undefined;
  /** The field managers that an apply conflicts with. */
  readonly managers: readonly string[] | undefined;
  /** Only the status of the response could be read, which may be that of a proxy before the server. */
  readonly isUnreadable: boolean;

  constructor(kind: FailureKind, message: string, details: FailureDetails = {}) {
    this.kind = kind;
    this.message = cleanText(message, MAX_MESSAGE);
    this.code = details.code;
    this.status = details.status;
    this.retryAfter = details.retryAfter;
    this.managers = details.managers;
    this.isUnreadable = details.isUnreadable ?? false;
  }

  get isTerminal(): boolean {
    return FAILURE_KINDS[this.kind].isTerminal;
  }
}

/** The API server could not be asked, or has not done what it was asked for. */
export const isClusterFailure = ({ kind }: Failure): boolean =>
  kind === 'ClusterUnavailable' || kind === 'PermissionDenied';

/** What decides when a failure is tried again. */
export type FailureTiming = Pick<Failure, 'kind' | 'retryAfter'>;

export const isFailure = (value: unknown): value is Failure => value instanceof Failure;

/** Failures in a row are one series of attempts while their retry rule is the same; another rule starts at `first`. */
export const haveSameRetryRule = (one: FailureTiming, other: FailureTiming): boolean =>
  FAILURE_KINDS[one.kind].retry === FAILURE_KINDS[other.kind].retry;

/** No retry rule tries it again: a watch shows the change, or the lock-out policy decides. */
export const waitsForChange = ({ kind }: FailureTiming): boolean =>
  FAILURE_KINDS[kind].retry === 'on-change';

/**
 * When to try again after the `attempts`-th failure in a row (1 is the first); undefined: only after a change.
 * @param random uniform in [0, 1): short waits are spread over their whole length (full jitter), long ones by ±10 %
 */
export function retryAt(
  failure: FailureTiming,
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

/** The token that the target holds. */
export interface CurrentToken {
  readonly expiresAt: EpochMs;
  /** When its renewal failed for the first time. */
  readonly failingSince: EpochMs;
  /** Shortest time between two requests. */
  readonly minInterval: Ms;
}

/** Most tries that `retryBeforeExpiry` adds. */
const TRIES_BEFORE_EXPIRY = 6;

/** The lock-out policy alone says when a rejected password is presented again. */
const hasLockoutPolicy = ({ kind }: FailureTiming): boolean => kind === 'CredentialsRejected';

/**
 * While a token is valid, its renewal is tried again after half of its remaining time, then half of the rest, at most
 * six times (ADR 16), even if the retry rule waits longer. `Retry-After` is kept if it ends before the token does. A
 * failure that waits for a change keeps waiting, because a watch shows the change.
 * @param retry by the rule of its kind
 * @param at when it failed
 * @param currentToken undefined when there is none
 */
export function retryBeforeExpiry(
  failure: FailureTiming,
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
