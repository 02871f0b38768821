import type { ConvercusCredential } from './api.ts';
import { type Condition, conditionOf, type Status } from './status.ts';

/** An Event tells of a change that matters to people; a scheduled renewal gets none. */
export interface CredentialEvent {
  readonly type: 'Normal' | 'Warning';
  /** CamelCase: a reason of `Renewed`, a failure kind, `TokenIssued`, `TokenExpired` or `Recovered`. */
  readonly reason: string;
  readonly message: string;
}

interface Change {
  readonly readyBefore: Condition | undefined;
  readonly ready: Condition;
  readonly renewedBefore: Condition | undefined;
  readonly renewed: Condition;
  readonly isTargetWritten: boolean;
}

/**
 * At most one event per change of status: of the first row of EVENTS that holds for the conditions before and after.
 * @param isTargetWritten the target was written in between
 */
export function eventFor(
  before: Pick<Status, 'conditions'> | undefined,
  after: Pick<Status, 'conditions'>,
  isTargetWritten: boolean,
): CredentialEvent | undefined {
  const ready = conditionOf(after, 'Ready');
  const renewed = conditionOf(after, 'Renewed');
  if (ready === undefined || renewed === undefined) return undefined;
  const change = {
    readyBefore: conditionOf(before, 'Ready'),
    ready,
    renewedBefore: conditionOf(before, 'Renewed'),
    renewed,
    isTargetWritten,
  };
  return EVENTS.find(([holds]) => holds(change))?.[1](change);
}

/** Of a scheduled renewal. */
const ROUTINE = 'RenewedOnSchedule';

type EventRule = readonly [
  (change: Change) => boolean,
  (change: Change) => CredentialEvent | undefined,
];

const EVENTS: readonly EventRule[] = [
  [expired, ({ ready }) => warning(ready)],
  [({ renewed }) => renewed.reason === 'Throttled', () => undefined],
  [failedAsBefore, () => undefined],
  [({ renewed }) => renewed.status === 'False', ({ renewed }) => warning(renewed)],
  [({ renewed }) => renewed.status === 'Unknown', () => undefined],
  [
    ({ renewedBefore }) =>
      renewedBefore?.status === 'False' && renewedBefore.reason !== 'Throttled',
    ({ ready }) => normal('Recovered', ready),
  ],
  [becameReady, ({ ready }) => normal('TokenIssued', ready)],
  [outOfRoutine, ({ renewed }) => normal(renewed.reason, renewed)],
];

function expired({ readyBefore, ready }: Change): boolean {
  return ready.reason === 'TokenExpired' && readyBefore?.reason !== 'TokenExpired';
}

function failedAsBefore({ renewedBefore, renewed }: Change): boolean {
  return (
    renewed.status === 'False' &&
    renewedBefore?.reason === renewed.reason &&
    renewedBefore.message === renewed.message
  );
}

function becameReady({ readyBefore, ready }: Change): boolean {
  return ready.status === 'True' && readyBefore?.status !== 'True';
}

function outOfRoutine({ renewed, isTargetWritten }: Change): boolean {
  return isTargetWritten && renewed.reason !== ROUTINE;
}

const warning = ({ reason, message }: Condition): CredentialEvent => ({
  type: 'Warning',
  reason,
  message,
});

const normal = (reason: string, { message }: Condition): CredentialEvent => ({
  type: 'Normal',
  reason,
  message,
});

/** A credential that may not exist any more. */
export interface EventSubject {
  readonly metadata: Pick<ConvercusCredential['metadata'], 'namespace' | 'name' | 'uid'>;
}
