import { type EpochMs, type Ms, minutes } from '../domain/time.ts';
import type { Clock } from '../ports.ts';

const EVERY: Ms = minutes(1);
/** Passes that make it worth while. */
const ENOUGH = 500;

/** Something that had better be done while nothing else is to be done: at most once a minute, and only after some work. */
export class QuietTask {
  readonly #clock: Clock;
  readonly #task: () => void;
  #passes = 0;
  #doneAt: EpochMs = Number.NEGATIVE_INFINITY;

  constructor(clock: Clock, task: () => void) {
    this.#clock = clock;
    this.#task = task;
  }

  passed(): void {
    this.#passes += 1;
  }

  /** Nothing is in work or due. */
  quiet(): void {
    const now = this.#clock.now();
    if (this.#passes < ENOUGH || now - this.#doneAt < EVERY) return;
    this.#passes = 0;
    this.#doneAt = now;
    this.#task();
  }
}
