import type { Clock } from '../../src/lib/clock.ts';
import type { EpochMs, Ms } from '../../src/lib/time.ts';
import { START } from './builders.ts';

interface Timer {
  readonly at: Ms;
  readonly callback: () => void;
}

const LONGEST_TIMER = 2 ** 31 - 1;

/** Lets everything go on that waits for promises alone. */
export const settle = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/**
 * Stands still until a test moves it. Timers run by the time that passes, `now` is what the wall clock shows, and
 * `jump` sets the two apart. A delay that a real timer could not hold is an error.
 */
export class FakeClock implements Clock {
  #passed: Ms = 0;
  #shift: EpochMs = START;
  #timers: Timer[] = [];

  now(): EpochMs {
    return this.#passed + this.#shift;
  }

  monotonic(): Ms {
    return this.#passed;
  }

  /** Number of timers that have neither fired nor been cancelled. */
  get timers(): number {
    return this.#timers.length;
  }

  /** When the first timer is due, by the wall clock. */
  get nextTimer(): EpochMs | undefined {
    const next = this.#nextUntil(Infinity);
    return next && next.at + this.#shift;
  }

  after(delay: Ms, callback: () => void): () => void {
    if (!(delay >= 0 && delay <= LONGEST_TIMER)) throw new Error(`no timer can hold ${delay}`);
    const timer = { at: this.#passed + delay, callback };
    this.#timers.push(timer);
    return () => this.#remove(timer);
  }

  /** Time passes at once: timers fire in their order, each at its moment. */
  step(by: Ms): void {
    const end = this.#passed + by;
    while (this.#fireUntil(end));
    this.#passed = end;
  }

  /** Time passes as in `step`, and promises settle before the first timer and after each. */
  async advance(by: Ms): Promise<void> {
    const end = this.#passed + by;
    await settle();
    while (this.#fireUntil(end)) await settle();
    this.#passed = end;
  }

  /** Time passes for a process that is stopped: no timer fires before the next `step` or `advance`. */
  freeze(by: Ms): void {
    this.#passed += by;
  }

  /** Sets the wall clock: no time passes and no timer fires. */
  jump(by: Ms): void {
    this.#shift += by;
  }

  /** Fires the first timer that is due by then. @returns whether there was one */
  #fireUntil(end: Ms): boolean {
    const due = this.#nextUntil(end);
    if (due === undefined) return false;
    this.#remove(due);
    this.#passed = Math.max(this.#passed, due.at);
    due.callback();
    return true;
  }

  #nextUntil(end: Ms): Timer | undefined {
    const [first, ...others] = this.#timers.filter(({ at }) => at <= end);
    return first && others.reduce((least, timer) => (timer.at < least.at ? timer : least), first);
  }

  #remove(timer: Timer): void {
    this.#timers = this.#timers.filter((other) => other !== timer);
  }
}
