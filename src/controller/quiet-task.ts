import type { Clock } from '../lib/clock.ts';
import { type EpochMs, type Ms, minutes } from '../lib/time.ts';

const RUN_INTERVAL: Ms = minutes(1);
/** Passes that make it worth while. */
const MIN_RECONCILES = 500;

export interface QuietTaskOptions {
  readonly task: () => void;
  /** Nothing is in work. */
  readonly isQuiet: () => boolean;
  readonly clock: Clock;
}

/** Something that had better be done while nothing else is to be done: after much work, at most once a minute. */
export class QuietTask {
  readonly #options: QuietTaskOptions;
  #passes = 0;
  #doneAt: EpochMs = Number.NEGATIVE_INFINITY;
  #cancelTimer: (() => void) | undefined;

  constructor(options: QuietTaskOptions) {
    this.#options = options;
  }

  /** A pass has ended. */
  passed(): void {
    this.#passes += 1;
  }

  /** Nothing is in work or due. */
  quiet(): void {
    if (this.#passes < MIN_RECONCILES || this.#cancelTimer !== undefined) return;
    const { clock, task, isQuiet } = this.#options;
    const wait = this.#doneAt + RUN_INTERVAL - clock.now();
    if (wait > 0) {
      this.#cancelTimer = clock.after(wait, () => {
        this.#cancelTimer = undefined;
        if (isQuiet()) this.quiet();
      });
      return;
    }
    this.#passes = 0;
    this.#doneAt = clock.now();
    task();
  }

  stop(): void {
    this.#cancelTimer?.();
  }
}
