import type { Failure } from '../lib/failure.ts';
import type { EpochMs, Ms } from '../lib/time.ts';

/** A Lease of coordination.k8s.io/v1. */
export interface LeaseRecord {
  /** Empty when it has no holder. */
  readonly holder: string;
  readonly duration: Ms;
  readonly acquiredAt: EpochMs;
  readonly renewedAt: EpochMs;
  readonly transitions: number;
  /** Absent: the Lease is to be created. Present: only if it is still this version. */
  readonly resourceVersion?: string;
}

export interface LeaseStore {
  read(signal: AbortSignal): Promise<LeaseRecord | 'absent' | Failure>;
  write(record: LeaseRecord, signal: AbortSignal): Promise<LeaseRecord | 'conflict' | Failure>;
}

/** As in client-go: a contender tries again after the retry period × (1 to 2.2). */
export const JITTER = 1.2;

export interface LeaseTimes {
  /** Other replicas wait this long after the last change of the Lease. */
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
