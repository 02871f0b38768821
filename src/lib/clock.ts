import type { EpochMs, Ms } from './time.ts';

export interface Clock {
  /** The wall clock, which may be set at any time: for dates. */
  now(): EpochMs;
  /** Starts at an arbitrary moment, never goes back, runs on while the process is stopped: for lengths of time. */
  monotonic(): Ms;
  /** Runs `callback` once after `delay` (clamped to what timers can hold); the returned function cancels it. */
  after(delay: Ms, callback: () => void): () => void;
}

/** Uniform in [0, 1). */
export type Random = () => number;
