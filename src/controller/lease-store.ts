import type { Failure } from '../lib/failure.ts';
import type { EpochMs, Ms } from '../lib/time.ts';

/** coordination.k8s.io/v1 Lease, in our units. */
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
