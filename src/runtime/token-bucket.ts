import type { EpochMs, Ms } from '../domain/time.ts';

/** In tokens. Moments since 1970 are good to 0.0002 ms as doubles: who waited for the rest would wait for ever. */
const ROUNDING = 0.001;

/** So many may start at once after a rest, and then one after the other at the rate. */
export class TokenBucket {
  /** Tokens a millisecond. */
  readonly #rate: number;
  readonly #burst: number;
  #held: number;
  #filledAt: EpochMs = -Infinity;

  /** @param perSecond 0 or Infinity: no limit */
  constructor(perSecond: number, burst: number) {
    this.#rate = perSecond === 0 ? Infinity : perSecond / 1_000;
    this.#burst = burst;
    this.#held = burst;
  }

  /**
   * Until there is a token to take, negative or 0 when there is one.
   * @param share of the rate that is allowed for now, in (0, 1]; less than all of it allows no burst
   */
  delay(now: EpochMs, share: number): Ms {
    this.#fill(now, share);
    return this.#until(1, share);
  }

  /** Call it only while there is one. */
  take(): void {
    this.#held -= 1;
  }

  /** Until there is nothing to remember. */
  fullIn(now: EpochMs): Ms {
    this.#fill(now, 1);
    return this.#until(this.#burst, 1);
  }

  #until(level: number, share: number): Ms {
    return this.#held >= level - ROUNDING ? 0 : (level - this.#held) / (this.#rate * share);
  }

  /** When somebody has set the clock back, counting begins anew from there. */
  #fill(now: EpochMs, share: number): void {
    const depth = share < 1 ? 1 : this.#burst;
    const passed = Math.max(now - this.#filledAt, 0);
    const gained = this.#rate === Infinity ? depth : passed * this.#rate * share;
    this.#held = Math.min(this.#held + gained, depth);
    this.#filledAt = now;
  }
}
