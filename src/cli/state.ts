import type { ConvercusCredential } from '../credential/api.ts';
import { type Condition, conditionOf, type Status } from '../credential/status.ts';
import { FAILURE_KINDS, RETRY_RULES } from '../lib/failure.ts';
import { type EpochMs, type Ms, minutes, parseTime } from '../lib/time.ts';
import { clockTime, duration, until } from './output.ts';

/** What the status of a credential means now. Times that have passed since it was written count. */
export interface State {
  /** The target holds a token that is valid now. */
  readonly isReady: boolean;
  /**
   * `overdue`: the renewal was due more than a minute ago, and nothing was reported. `pending`: the first token is
   * awaited.
   */
  readonly renewal: 'ok' | 'failing' | 'overdue' | 'pending' | 'suspended' | 'not seen yet';
  /** Of the condition that says most. */
  readonly reason: string;
  /** In words, with what to do. */
  readonly message: string;
  /** A person has to act. */
  readonly isStalled: boolean;
  readonly failingSince: EpochMs | undefined;
  readonly issuedAt: EpochMs | undefined;
  readonly expiresAt: EpochMs | undefined;
  readonly renewAt: EpochMs | undefined;
  /** When a failed renewal is tried again, where the operator tells. */
  readonly nextAttemptAt: EpochMs | undefined;
}

const LATE: Ms = minutes(1);

export function stateOf(credential: ConvercusCredential, now: EpochMs): State {
  const { metadata, spec, status } = credential;
  const ready = conditionOf(status, 'Ready');
  const failed = failureIn(status);
  const times = timesIn(status);
  const { expiresAt = 0, renewAt = Infinity } = times;
  const isReady = ready?.status === 'True' && now < expiresAt;
  return {
    ...times,
    isReady,
    renewal: renewalOf({
      isSeen: ready !== undefined && status?.observedGeneration === metadata.generation,
      isFailing: failed !== undefined,
      isPending: times.renewAt === undefined,
      isLate: renewAt + LATE < now,
      isSuspended: spec.suspend,
    }),
    ...wordsOf(failed ?? ready, isReady),
    isStalled: conditionOf(status, 'Stalled')?.status === 'True',
    failingSince: parseTime(failed?.lastTransitionTime),
  };
}

function failureIn(status: Status | undefined): Condition | undefined {
  const renewed = conditionOf(status, 'Renewed');
  return renewed?.status === 'False' ? renewed : undefined;
}

const timesIn = (status: Status | undefined) => ({
  issuedAt: parseTime(status?.issuedAt),
  expiresAt: parseTime(status?.expiresAt),
  renewAt: parseTime(status?.renewAt),
  nextAttemptAt: parseTime(status?.nextAttemptAt),
});

function wordsOf(told: Condition | undefined, isReady: boolean): Pick<State, 'reason' | 'message'> {
  if (told === undefined) {
    return { reason: 'NotReconciled', message: 'The operator has not seen this credential yet' };
  }
  // It was true when it was written
  const hasExpired = told.type === 'Ready' && told.status === 'True' && !isReady;
  return { reason: hasExpired ? 'TokenExpired' : told.reason, message: told.message };
}

function renewalOf(seen: {
  readonly isSeen: boolean;
  readonly isFailing: boolean;
  readonly isPending: boolean;
  readonly isLate: boolean;
  readonly isSuspended: boolean;
}): State['renewal'] {
  if (seen.isSuspended) return 'suspended';
  if (!seen.isSeen) return 'not seen yet';
  if (seen.isFailing) return 'failing';
  if (seen.isPending) return 'pending';
  return seen.isLate ? 'overdue' : 'ok';
}

const isKind = (reason: string): reason is keyof typeof FAILURE_KINDS =>
  Object.hasOwn(FAILURE_KINDS, reason);

/**
 * When the operator tries again by itself, by the retry rule of the failure. After a restart it does not try again what
 * was asked for and has failed: then the next renewal is due when the token says.
 */
export function nextTry({ reason, renewAt = 0 }: State, now: EpochMs): string {
  const rule = isKind(reason) ? RETRY_RULES[FAILURE_KINDS[reason].retry] : undefined;
  if (rule === undefined) return 'tried again after a change of the spec or the Secret only';
  if (renewAt > now) {
    return `tried again by itself, at the latest when the renewal is due: ${clockTime(renewAt, now)} (${until(renewAt, now)})`;
  }
  return `tried again by itself, at the latest ${duration(rule.longest)} after the last try`;
}
