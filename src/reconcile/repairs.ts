import { Failure } from '../domain/failure.ts';
import { markOf, type Need, type Observation, type RenewReason } from '../domain/plan.ts';
import { isSameVersion } from '../domain/secret.ts';
import { type EpochMs, isFromTheFuture, type Ms, minutes, seconds } from '../domain/time.ts';
import type { Subject } from './gather.ts';
import type { Memory, Repairs } from './memory.ts';

/** The first repair comes at once, the second a second later, each further one after twice the wait before. */
const FIRST_WAIT: Ms = seconds(1);
const LONGEST_WAIT: Ms = minutes(5);
/** After so long without a repair the next one counts as the first. */
const QUIET: Ms = minutes(10);
/** Shorter waits are not told. */
const WORTH_TELLING: Ms = seconds(30);

/** What is to be published, and why. */
interface Due {
  readonly seen: Observation;
  readonly reason: RenewReason;
  readonly need: Need;
}

/**
 * When a target may be repaired that somebody else changes again and again: two who undo each other's writes would
 * otherwise do so at the speed of the API server. Undefined: now.
 */
export function repairAt(subject: Subject, due: Due, now: EpochMs): EpochMs | undefined {
  const { repairs } = subject.memory;
  if (repairs === undefined || !isRepair(subject, due) || isOver(repairs, now)) return undefined;
  const renewAt = markOf(due.seen)?.renewAt ?? Infinity;
  const at = Math.min(repairs.at + waitAfter(repairs), renewAt);
  return due.need.requested || at <= now ? undefined : at;
}

export function noteRepair(memory: Memory, now: EpochMs): void {
  const { repairs } = memory;
  const before = repairs === undefined || isOver(repairs, now) ? 0 : repairs.count;
  memory.repairs = { count: before + 1, at: now };
}

/** Undefined while the wait is so short that it is no news. */
export function contested({ credential, memory: { repairs } }: Subject): Failure | undefined {
  if (repairs === undefined || waitAfter(repairs) < WORTH_TELLING) return undefined;
  const { namespace, target } = credential;
  return new Failure(
    'TargetNotOurs',
    `Somebody else changes Secret "${target.name}" each time it has been repaired, so it is repaired ever more seldom; find out who: kubectl get secret ${target.name} -n ${namespace} -o yaml --show-managed-fields`,
  );
}

const waitAfter = ({ count }: Repairs): Ms =>
  Math.min(FIRST_WAIT * 2 ** Math.min(count - 1, 30), LONGEST_WAIT);

const isOver = ({ at }: Repairs, now: EpochMs): boolean =>
  now - at > QUIET || isFromTheFuture(at, now);

/** We have published this very thing before, so that somebody else must have changed the target. Ask before publishing. */
export function isRepair(
  { resource, memory }: Subject,
  { seen, reason }: Omit<Due, 'need'>,
): boolean {
  switch (reason) {
    case 'TargetEdited':
      return true;
    case 'TokenMissing':
      return memory.intactVersion !== undefined;
    case 'CredentialChanged':
      return memory.source !== undefined && isSameVersion(memory.source.meta, seen.source);
    case 'SpecChanged':
      return resource.status?.observedGeneration === resource.metadata.generation;
    case 'TokenRevoked':
    case 'RenewRequested':
    case 'RenewalDue':
      return false;
  }
}
