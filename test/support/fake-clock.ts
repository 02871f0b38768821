import type { Clock } from '../../src/lib/clock.ts';
import type { EpochMs, Ms } from '../../src/lib/time.ts';
import { START } from './builders.ts';

interface Timer {
  at: EpochMs;
  readonly callback: () => void;
}

/** Stands still until a test moves it. */
export class FakeClock implements Clock {
  #now: EpochMs = START;
  #jumped: Ms = 0;
  readonly #timers = new Set<Timer>();

  now(): EpochMs {
    return this.#now;
  }

  monotonic(): Ms {
    return this.#now - this.#jumped - START;
  }

  after(delay: Ms, callback: () => void): () => void {
    const timer = { at: this.#now + delay, callback };
    this.#timers.add(timer);
    return () => this.#timers.delete(timer);
  }

  get pendingTimers(): number {
    return this.#timers.size;
  }

  /** When the first timer is due. */
  get nextTimer(): EpochMs | undefined {
    return this.#nextUntil(Number.POSITIVE_INFINITY)?.at;
  }

  /** Time passes: timers fire in their order, each at its moment. */
  advance(by: Ms): void {
    const end = this.#now + by;
    for (let next = this.#nextUntil(end); next !== undefined; next = this.#nextUntil(end)) {
      this.#timers.delete(next);
      this.#now = Math.max(this.#now, next.at);
      next.callback();
    }
    this.#now = end;
  }

  /** Sets the clock: it shows another time, yet no time has passed and no timer fires. */
  jump(by: Ms): void {
    this.#now += by;
    this.#jumped += by;
    for (const timer of this.#timers) timer.at += by;
  }

  #nextUntil(end: EpochMs): Timer | undefined {
    return [...this.#timers].filter(({ at }) => at <= end).sort((a, b) => a.at - b.at)[0];
  }
}
