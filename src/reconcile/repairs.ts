import {
  type Observation,
  type RenewReason,
  type RequiredFreshness,
  tokenAnnotationsOf,
} from '../credential/plan.ts';
import { isSameVersion } from '../credential/secret.ts';
import { Failure } from '../lib/failure.ts';
import { type EpochMs, isFromTheFuture, type Ms, minutes, seconds } from '../lib/time.ts';
import type { CredentialState, Repairs, Subject } from './state.ts';

/** The first repair comes at once, the second a second later, each further one after twice the wait before. */
const MIN_WAIT: Ms = seconds(1);
const MAX_WAIT: Ms = minutes(5);
/** After so long without a repair the next one counts as the first. */
const RESET_AFTER: Ms = minutes(10);
/** Shorter waits are not put into the status. */
const REPORTED_FROM: Ms = seconds(30);

/** What is to be published, and why. */
export interface PlannedWrite {
  readonly seen: Observation;
  readonly reason: RenewReason;
  readonly freshness: RequiredFreshness;
}

/**
 * When a target may be repaired that another client changes again and again: without a wait the two would undo each
 * other's writes at the speed of the API server. Undefined: now.
 */
export function repairAt(subject: Subject, due: PlannedWrite, now: EpochMs): EpochMs | undefined {
  const { repairs } = subject.state;
  if (repairs === undefined || !isRepair(subject, due) || isOver(repairs, now)) return undefined;
  const renewAt = tokenAnnotationsOf(due.seen)?.renewAt ?? Infinity;
  const at = Math.min(repairs.at + waitAfter(repairs), renewAt);
  return due.freshness.requested || at <= now ? undefined : at;
}

export function recordRepair(state: CredentialState, now: EpochMs): void {
  const { repairs } = state;
  const before = repairs === undefined || isOver(repairs, now) ? 0 : repairs.count;
  state.repairs = { count: before + 1, at: now };
}

/** Undefined while the wait is shorter than REPORTED_FROM. */
export function repairConflict({ credential, state: { repairs } }: Subject): Failure | undefined {
  if (repairs === undefined || waitAfter(repairs) < REPORTED_FROM) return undefined;
  const { namespace, target } = credential;
  return new Failure(
    'TargetNotOurs',
    `Another client changes Secret "${target.name}" after each repair, so it is repaired less and less often; find out which one: kubectl get secret ${target.name} -n ${namespace} -o yaml --show-managed-fields`,
  );
}

const waitAfter = ({ count }: Repairs): Ms =>
  Math.min(MIN_WAIT * 2 ** Math.min(count - 1, 30), MAX_WAIT);

const isOver = ({ at }: Repairs, now: EpochMs): boolean =>
  now - at > RESET_AFTER || isFromTheFuture(at, now);

/** The same was written before, so another client has changed the target. To be called before the target is written. */
export function isRepair(
  { resource, state }: Subject,
  { seen, reason }: Omit<PlannedWrite, 'freshness'>,
): boolean {
  switch (reason) {
    case 'TargetEdited':
      return true;
    case 'TokenMissing':
      return state.intactVersion !== undefined;
    case 'CredentialChanged':
      return state.credentials !== undefined && isSameVersion(state.credentials.meta, seen.source);
    case 'SpecChanged':
      return resource.status?.observedGeneration === resource.metadata.generation;
    case 'TokenRevoked':
    case 'RenewRequested':
    case 'RenewalDue':
      return false;
  }
}
