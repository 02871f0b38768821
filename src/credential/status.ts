import { FAILURE_KINDS, type Failure, TOKEN_FAILURES } from '../lib/failure.ts';
import { type EpochMs, minutes, parseTime, rfc3339 } from '../lib/time.ts';
import type { ConvercusCredential } from './api.ts';
import type { Rejection } from './lockout.ts';
import type { RenewReason } from './plan.ts';
import type { TokenAnnotations } from './secret.ts';
import type { TokenClaims } from './token-claims.ts';

export type Status = NonNullable<ConvercusCredential['status']>;
export type Condition = NonNullable<Status['conditions']>[number];

/** Result of a reconcile, as far as status shows it. */
export interface Outcome {
  readonly resource: ConvercusCredential;
  readonly targetName: string;
  readonly targetVersion: string | undefined;
  readonly tokenUrl?: string;
  /** Annotations of the token in the target; undefined when the target is not as it was published. */
  readonly currentToken: TokenAnnotations | undefined;
  readonly suspended: boolean;
  readonly handledRenewRequest: string | undefined;
  readonly rejection: Rejection | undefined;
  /** Result of the attempt to renew; undefined when there was none. */
  readonly attempt: Attempt | undefined;
}

export type Attempt = Renewed | Failed | 'pending';

interface Renewed {
  readonly renewed: RenewReason;
  /** Absent for an opaque token. */
  readonly claims?: TokenClaims | undefined;
}

interface Failed {
  readonly failed: Failure;
  /** When the token endpoint answered; undefined when nothing was sent. */
  readonly at?: EpochMs | undefined;
  /** Undefined: not before something changes, or not known. */
  readonly retryAt?: EpochMs | undefined;
  /** An earlier failure that is still in force, without what the server had said. */
  readonly isCached?: boolean;
}

export type ConditionDraft = Pick<Condition, 'type' | 'status' | 'reason' | 'message'>;

/** The bound of the CRD; the address comes from the configuration, which has none. */
const MAX_TOKEN_URL = 2_048;

/** The whole status. It holds no countdown and no attempt count, so an equal outcome gives an equal status. */
export function statusFor(outcome: Outcome, now: EpochMs): Status {
  const {
    resource,
    currentToken,
    targetName,
    targetVersion,
    tokenUrl,
    handledRenewRequest,
    rejection,
  } = outcome;
  const renewed = renewedCondition(outcome);
  const drafts = [
    readyCondition(outcome, renewed, now),
    renewed,
    stalledCondition(outcome, renewed),
  ];
  return {
    observedGeneration: resource.metadata.generation,
    conditions: drafts
      .filter((draft) => draft !== undefined)
      .map((draft) => dated(draft, resource, now)),
    ...(tokenUrl === undefined ? {} : { tokenUrl: tokenUrl.slice(0, MAX_TOKEN_URL) }),
    ...(currentToken === undefined ? {} : times(currentToken)),
    ...claims(outcome),
    ...failureTimes(outcome, renewed, now),
    target: {
      name: targetName,
      ...(targetVersion === undefined ? {} : { resourceVersion: targetVersion }),
    },
    ...(handledRenewRequest === undefined ? {} : { lastHandledRenewRequest: handledRenewRequest }),
    ...(rejection === undefined ? {} : { rejectedLogin: writeRejection(rejection) }),
  };
}

const times = ({ issuedAt, expiresAt, renewAt }: TokenAnnotations) => ({
  issuedAt: rfc3339(issuedAt),
  expiresAt: rfc3339(expiresAt),
  renewAt: rfc3339(renewAt),
});

/** Those of the token in the target: of this attempt, or as before. */
function claims({ attempt, currentToken, resource }: Outcome): Pick<Status, 'token'> {
  if (currentToken === undefined) return {};
  const isRenewed = typeof attempt === 'object' && 'renewed' in attempt;
  const isKnown = resource.status?.issuedAt === rfc3339(currentToken.issuedAt);
  const before = isKnown ? resource.status?.token : undefined;
  const token = isRenewed ? attempt.claims : before;
  return token === undefined ? {} : { token };
}

type FailureTimes = Pick<Status, 'lastFailureTime' | 'nextAttemptAt'>;

function failureTimes(
  { attempt, resource }: Outcome,
  renewed: ConditionDraft,
  now: EpochMs,
): FailureTimes {
  if (renewed.status !== 'False') return {};
  const isFailed = typeof attempt === 'object' && 'failed' in attempt;
  const told = isFailed ? timesOfAttempt(attempt) : undefined;
  return told ?? timesBefore(resource, renewed) ?? { lastFailureTime: rfc3339(now) };
}

/** A shorter wait is not shown: it would be over before a person reads it. */
const SHOWN_WAIT = minutes(1);

/** Undefined for what is tried again within minutes: in an outage each try of each credential would be a write. */
function timesOfAttempt({ failed, at, retryAt = 0 }: Failed): FailureTimes | undefined {
  if (at === undefined || FAILURE_KINDS[failed.kind].retry === 'soon') return undefined;
  const isShown = retryAt - at >= SHOWN_WAIT;
  return { lastFailureTime: rfc3339(at), ...(isShown ? { nextAttemptAt: rfc3339(retryAt) } : {}) };
}

/** Of a failure that lasts, so that a reconcile that finds it again writes nothing. */
function timesBefore(
  { status = {} }: ConvercusCredential,
  { reason }: ConditionDraft,
): FailureTimes | undefined {
  const before = conditionOf(status, 'Renewed');
  const { lastFailureTime, nextAttemptAt } = status;
  if (before?.status !== 'False' || before.reason !== reason) return undefined;
  if (lastFailureTime === undefined) return undefined;
  return { lastFailureTime, ...(nextAttemptAt === undefined ? {} : { nextAttemptAt }) };
}

const writeRejection = ({ presented, at, count, hadWorked, retryAt }: Rejection) => ({
  presented,
  at: rfc3339(at),
  count,
  hadWorked,
  ...(retryAt === undefined ? {} : { retryAt: rfc3339(retryAt) }),
});

/** The rejection that a status holds. */
export function readRejection(status: Status | undefined): Rejection | undefined {
  const { presented, at, count, hadWorked = false, retryAt } = status?.rejectedLogin ?? {};
  const rejectedAt = parseTime(at);
  if (presented === undefined || rejectedAt === undefined) return undefined;
  return { presented, at: rejectedAt, count: count ?? 1, hadWorked, retryAt: parseTime(retryAt) };
}

/** Names the reason of a failure; its message is in `Renewed` only. */
function readyCondition(
  { currentToken, targetName, suspended }: Outcome,
  renewed: ConditionDraft,
  now: EpochMs,
): ConditionDraft {
  if (currentToken !== undefined && now < currentToken.expiresAt) {
    const reason = suspended ? 'Suspended' : 'TokenValid';
    return {
      type: 'Ready',
      status: 'True',
      reason,
      message: `Secret "${targetName}" holds a valid token`,
    };
  }
  if (currentToken !== undefined) {
    const cause = suspended ? 'renewal is suspended' : causeOf(renewed);
    return {
      type: 'Ready',
      status: 'False',
      reason: 'TokenExpired',
      message: `The token in Secret "${targetName}" has expired: ${cause}`,
    };
  }
  if (renewed.reason === PENDING.reason) return { ...PENDING, type: 'Ready' };
  if (renewed.status === 'False') {
    const { reason } = renewed;
    return {
      type: 'Ready',
      status: 'False',
      reason,
      message: `No valid token: ${reason} (see Renewed)`,
    };
  }
  return {
    type: 'Ready',
    status: 'False',
    reason: 'Suspended',
    message: 'No token is obtained while spec.suspend is true',
  };
}

/** No token so far, and the token endpoint has not answered yet. */
export const PENDING = {
  status: 'Unknown',
  reason: 'Pending',
  message: 'The first token has been asked for; the token endpoint has not answered yet',
} as const;

function renewedCondition({ attempt, suspended, resource }: Outcome): ConditionDraft {
  if (attempt === 'pending') return { ...PENDING, type: 'Renewed' };
  if (attempt !== undefined && 'failed' in attempt) {
    const reported = reportedBefore(attempt, resource);
    if (reported !== undefined) return reported;
    return {
      type: 'Renewed',
      status: 'False',
      reason: attempt.failed.kind,
      message: attempt.failed.message + originOf(attempt.failed, resource),
    };
  }
  if (attempt !== undefined) {
    const [reason, message] = RENEWED[attempt.renewed];
    return { type: 'Renewed', status: 'True', reason, message };
  }
  if (suspended) {
    return {
      type: 'Renewed',
      status: 'Unknown',
      reason: 'Suspended',
      message: 'spec.suspend is true',
    };
  }
  const before = conditionOf(resource.status, 'Renewed');
  if (before?.status === 'True' || isLasting(before, resource)) return before;
  return {
    type: 'Renewed',
    status: 'True',
    reason: 'TokenValid',
    message: 'The token was renewed and is not due yet',
  };
}

/** What the status tells of a cached failure already, which may quote the server. */
function reportedBefore(
  { failed: { kind }, isCached = false }: Failed,
  { status, metadata: { generation } }: ConvercusCredential,
): Condition | undefined {
  const before = conditionOf(status, 'Renewed');
  const isSame = before?.reason === kind && before.observedGeneration === generation;
  return isCached && isSame && TOKEN_FAILURES.has(kind) ? before : undefined;
}

/** A token expires without a failed renewal only when it is shorter than `renewal.minimum`. */
const causeOf = ({ status, reason }: ConditionDraft): string =>
  status === 'True'
    ? 'it is shorter than the least time between two renewals'
    : `${reason} (see Renewed)`;

/** Reason and message of `Renewed=True`. The plan's reason stays the label of the metric. */
const RENEWED: Readonly<Record<RenewReason, readonly [reason: string, message: string]>> = {
  TokenMissing: ['Issued', 'The target held no token, and one was issued'],
  CredentialChanged: ['SecretRotated', 'The credentials Secret changed, and a token was published'],
  SpecChanged: ['SpecChanged', 'The spec changed, and a token was published'],
  TokenRevoked: [
    'RevokedByProvider',
    'The provider has revoked all earlier tokens of the realm, and a new one was issued',
  ],
  TargetEdited: [
    'TargetRepaired',
    'The target was changed by something else, and a token was published again',
  ],
  RenewRequested: ['RenewRequested', 'A renewal was requested, and a token was issued'],
  RenewalDue: ['RenewedOnSchedule', 'The token was due for renewal, and a new one was issued'],
};

/** Which Secret and keys were presented: a request may be shared, and its failure does not know. */
function originOf({ kind }: Failure, { spec }: ConvercusCredential): string {
  const { name, keys } = spec.credentialsSecretRef;
  const secret = `Secret "${name}"`;
  if (kind === 'ClientUnknownOrDisabled' && keys.clientId !== undefined)
    return ` The client id is in ${secret}, key "${keys.clientId}".`;
  if (kind === 'ClientSecretRejected')
    return ` The client secret is in ${secret}, key "${keys.clientSecret}".`;
  if (kind === 'CredentialsRejected')
    return ` User name and password are in ${secret}, keys "${keys.username}" and "${keys.password}".`;
  return '';
}

/**
 * A failure of the token endpoint stays until its next response, or until the spec that met it is changed; each reconcile
 * finds all other failures again.
 */
const isLasting = (
  before: Condition | undefined,
  { metadata }: ConvercusCredential,
): before is Condition =>
  before !== undefined &&
  TOKEN_FAILURES.has(before.reason) &&
  before.observedGeneration === metadata.generation;

/** Abnormal-true, as kstatus wants it: absent unless a person has to act. */
function stalledCondition(
  { attempt, suspended, resource }: Outcome,
  renewed: ConditionDraft,
): ConditionDraft | undefined {
  const before = conditionOf(resource.status, 'Stalled');
  if (attempt === undefined && !suspended && isLasting(before, resource)) return before;
  if (failureOf({ attempt })?.isTerminal !== true) return undefined;
  const { reason } = renewed;
  return {
    type: 'Stalled',
    status: 'True',
    reason,
    message: `Manual action is needed: ${reason} (see Renewed)`,
  };
}

export const failureOf = ({ attempt }: Pick<Outcome, 'attempt'>): Failure | undefined =>
  typeof attempt === 'object' && 'failed' in attempt ? attempt.failed : undefined;

/** Of either kind. */
interface Reported {
  readonly metadata: Pick<ConvercusCredential['metadata'], 'generation'>;
  readonly status?: Pick<Status, 'conditions'>;
}

export function dated(
  { type, status, reason, message }: ConditionDraft,
  { metadata, status: before }: Reported,
  now: EpochMs,
): Condition {
  const previous = conditionOf(before, type);
  const lastTransitionTime =
    previous?.status === status ? previous.lastTransitionTime : rfc3339(now);
  return {
    type,
    status,
    reason,
    message,
    lastTransitionTime,
    observedGeneration: metadata.generation,
  };
}

export const conditionOf = (
  status: Pick<Status, 'conditions'> | undefined,
  type: string,
): Condition | undefined => status?.conditions?.find((condition) => condition.type === type);

/** A token that had been valid may have expired since the status was written. */
export const isReady = (
  status: Pick<Status, 'conditions' | 'expiresAt'> | undefined,
  now: EpochMs,
): boolean =>
  conditionOf(status, 'Ready')?.status === 'True' && now < (parseTime(status?.expiresAt) ?? 0);
