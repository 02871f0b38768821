import { type Ms, minutes } from '../lib/time.ts';

/** In permits. A wait computed in doubles may end a hair before the permit is whole. */
const ROUNDING = 0.001;

/** `burst` requests may start at once after a rest, and then one after the other at the rate (a token bucket). */
export class RateLimiter {
  readonly #permitsPerMs: number;
  readonly #burst: number;
  #permits: number;
  #filledAt: Ms = -Infinity;

  /** @param perSecond 0 or Infinity: no limit */
  constructor(perSecond: number, burst: number) {
    this.#permitsPerMs = perSecond === 0 ? Infinity : perSecond / 1_000;
    this.#burst = burst;
    this.#permits = burst;
  }

  /**
   * Until there is a permit; 0 when there is one.
   * @param now by the monotonic clock
   * @param factor share of the rate that is allowed for now, in (0, 1]; below 1 there is no burst
   */
  delay(now: Ms, factor: number): Ms {
    this.#fill(now, factor);
    return this.#until(1, factor);
  }

  /** Call it only when `delay` is 0. */
  acquire(): void {
    this.#permits -= 1;
  }

  /** Until all permits of the burst are back. */
  fullIn(now: Ms): Ms {
    this.#fill(now, 1);
    return this.#until(this.#burst, 1);
  }

  #until(level: number, factor: number): Ms {
    return this.#permits >= level - ROUNDING
      ? 0
      : (level - this.#permits) / (this.#permitsPerMs * factor);
  }

  #fill(now: Ms, factor: number): void {
    const limit = factor < 1 ? 1 : this.#burst;
    const elapsed = now - this.#filledAt;
    const gained = this.#permitsPerMs === Infinity ? limit : elapsed * this.#permitsPerMs * factor;
    this.#permits = Math.min(this.#permits + gained, limit);
    this.#filledAt = now;
  }
}

/** Longest pause, whatever `Retry-After` says: tokens expire meanwhile. */
const MAX_PAUSE: Ms = minutes(5);
const FACTOR_AFTER_PAUSE = 0.5;
const RECOVERY_PER_MINUTE = 0.1;
const MIN_FACTOR = 0.05;

/** After 429, 503 or Retry-After: a pause, then half the rate, and a tenth of the full rate more each minute. */
export class AdaptiveRate {
  /** By the monotonic clock, as every `now` here. */
  #pausedUntil: Ms = -Infinity;
  #factorAfterPause = 1;
  /** As they were before the last pause. */
  #before = { pausedUntil: -Infinity, factorAfterPause: 1 };

  /** Of two pauses the later end holds. Pauses that overlap halve the rate once. */
  pause(length: Ms, now: Ms): void {
    const until = now + Math.min(length, MAX_PAUSE);
    if (!(until > Math.max(now, this.#pausedUntil))) return;
    if (this.pauseLeft(now) <= 0) {
      this.#before = { pausedUntil: this.#pausedUntil, factorAfterPause: this.#factorAfterPause };
      this.#factorAfterPause = Math.max(this.factor(now) * FACTOR_AFTER_PAUSE, MIN_FACTOR);
    }
    this.#pausedUntil = until;
  }

  /** Takes the pause back: the rate is as if there had been none. */
  cancel(now: Ms): void {
    if (this.pauseLeft(now) <= 0) return;
    this.#pausedUntil = this.#before.pausedUntil;
    this.#factorAfterPause = this.#before.factorAfterPause;
  }

  /** 0 or less when there is no pause. */
  pauseLeft(now: Ms): Ms {
    return this.#pausedUntil - now;
  }

  /** Share of the rate that is allowed. */
  factor(now: Ms): number {
    const minutesSince = Math.floor(Math.max(now - this.#pausedUntil, 0) / minutes(1));
    return Math.min(this.#factorAfterPause + minutesSince * RECOVERY_PER_MINUTE, 1);
  }

  /** Until the full rate is allowed again; 0 or less when it is. */
  recoversIn(now: Ms): Ms {
    const recovery = Math.ceil((1 - this.#factorAfterPause) / RECOVERY_PER_MINUTE);
    return this.pauseLeft(now) + minutes(recovery);
  }
}
