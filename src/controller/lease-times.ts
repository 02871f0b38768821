import type { Ms } from '../lib/time.ts';

/** As in client-go: a contender looks again after the retry period and up to 1.2 times as long on top. */
export const JITTER = 1.2;

export interface LeaseTimes {
  /** Others wait this long after the last sign of life. */
  readonly leaseDuration: Ms;
  /** A holder may act for this long after it sent its last successful write. */
  readonly renewDeadline: Ms;
  /** Between two renewals, and between two tries. */
  readonly retryPeriod: Ms;
}

/** Which of the times are too long; a NaN is none. In whole milliseconds, for fractions of seconds are not exact. */
export function timesTooLong({
  leaseDuration,
  renewDeadline,
  retryPeriod,
}: LeaseTimes): ('renewDeadline' | 'retryPeriod')[] {
  const faults: ('renewDeadline' | 'retryPeriod')[] = [];
  const renew = Math.round(renewDeadline);
  if (renew >= Math.round(leaseDuration)) faults.push('renewDeadline');
  if (Math.round(retryPeriod * JITTER) >= renew) faults.push('retryPeriod');
  return faults;
}
