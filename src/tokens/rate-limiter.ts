import type { EpochMs, Ms } from '../lib/time.ts';

/** In tokens. Moments since 1970 are good to 0.0002 ms as doubles: who waited for the rest would wait for ever. */
const ROUNDING = 0.001;

/** So many may start at once after a rest, and then one after the other at the rate. */
export class RateLimiter {
  /** Tokens a millisecond. */
  readonly #permitsPerMs: number;
  readonly #burst: number;
  #permits: number;
  #filledAt: EpochMs = -Infinity;

  /** @param perSecond 0 or Infinity: no limit */
  constructor(perSecond: number, burst: number) {
    this.#permitsPerMs = perSecond === 0 ? Infinity : perSecond / 1_000;
    this.#burst = burst;
    this.#permits = burst;
  }

  /**
   * Until there is a token to take, negative or 0 when there is one.
   * @param share of the rate that is allowed for now, in (0, 1]; less than all of it allows no burst
   */
  delay(now: EpochMs, factor: number): Ms {
    this.#fill(now, factor);
    return this.#until(1, factor);
  }

  /** Call it only while there is one. */
  acquire(): void {
    this.#permits -= 1;
  }

  /** Until there is nothing to remember. */
  fullIn(now: EpochMs): Ms {
    this.#fill(now, 1);
    return this.#until(this.#burst, 1);
  }

  #until(level: number, factor: number): Ms {
    return this.#permits >= level - ROUNDING
      ? 0
      : (level - this.#permits) / (this.#permitsPerMs * factor);
  }

  /** When somebody has set the clock back, counting begins anew from there. */
  #fill(now: EpochMs, factor: number): void {
    const depth = factor < 1 ? 1 : this.#burst;
    const passed = Math.max(now - this.#filledAt, 0);
    const gained = this.#permitsPerMs === Infinity ? depth : passed * this.#permitsPerMs * factor;
    this.#permits = Math.min(this.#permits + gained, depth);
    this.#filledAt = now;
  }
}
