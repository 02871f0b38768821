import type { Clock } from '../../src/lib/clock.ts';
import type { EpochMs, Ms } from '../../src/lib/time.ts';

interface Timer {
  readonly at: Ms;
  readonly callback: () => void;
}

const LONGEST_TIMER = 2 ** 31 - 1;

/** Lets everything that waits for nothing but promises go on. */
export const settle = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/**
 * Timers run by time that passes, `now` shows what the clock on the wall shows: `jump` sets the two apart.
 * As strict as real timers: a delay that they could not hold is an error.
 */
export class FakeClock implements Clock {
  #passed: Ms = 0;
  #shift: EpochMs = Date.UTC(2026, 0, 1);
  #timers: Timer[] = [];

  now(): EpochMs {
    return this.#passed + this.#shift;
  }

  /** Time that has passed, whatever the clock shows. */
  get passed(): Ms {
    return this.#passed;
  }

  monotonic(): Ms {
    return this.#passed;
  }

  get timers(): number {
    return this.#timers.length;
  }

  after(delay: Ms, callback: () => void): () => void {
    if (!(delay >= 0 && delay <= LONGEST_TIMER)) throw new Error(`no timer can hold ${delay}`);
    const timer = { at: this.#passed + delay, callback };
    this.#timers.push(timer);
    return () => {
      this.#timers = this.#timers.filter((other) => other !== timer);
    };
  }

  /** Time passes; timers run in their order, each at its moment, and promises settle after each. */
  async advance(by: Ms): Promise<void> {
    const end = this.#passed + by;
    await settle();
    for (let next = this.#next(end); next !== undefined; next = this.#next(end)) {
      const due = next;
      this.#timers = this.#timers.filter((other) => other !== due);
      this.#passed = Math.max(this.#passed, due.at);
      due.callback();
      await settle();
    }
    this.#passed = end;
  }

  /** Time passes for a process that is stopped: no timer fires before the next `advance`. */
  freeze(by: Ms): void {
    this.#passed += by;
  }

  /** Sets the clock; no time passes. */
  jump(by: Ms): void {
    this.#shift += by;
  }

  #next(end: Ms): Timer | undefined {
    const [first, ...others] = this.#timers.filter(({ at }) => at <= end);
    return others.reduce((least, timer) => (timer.at < least!.at ? timer : least), first);
  }
}
