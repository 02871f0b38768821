import { atLeast, atMost, exactly, type Threshold } from './report.ts';

/** The bars of the bench. Ratios to the bare loop of the same run, and counts, so that they hold on any machine. */

/** Operator's processor time per renewal ÷ bare loop's. */
export const CPU_RATIO = atMost(2);

/** Renewals per second of processor time of operator, API server, etcd and identity provider ÷ bare loop's. */
export const RATE_RATIO = atLeast(0.8);

/** GET of the credentials Secret, write of the target, write of the status; the event is counted apart. */
export const FIRST_SYNC_REQUESTS = exactly(3);

export const RENEWAL_REQUESTS = exactly(2);

/** Resident memory above that of an idle `node` with the same flags, in MB, by the number of credentials. */
const MEMORY_ABOVE_IDLE = new Map([
  [100, atMost(50)],
  [10_000, atMost(110)],
  [100_000, atMost(440)],
]);

export const memoryAboveIdle = (count: number): Threshold | undefined =>
  MEMORY_ABOVE_IDLE.get(count);
