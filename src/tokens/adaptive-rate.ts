import { type EpochMs, type Ms, minutes } from '../lib/time.ts';
import { Cooldown } from './cooldown.ts';

/** Whatever a server asks for: nobody knows how long it means it, and tokens expire meanwhile. */
const MAX_PAUSE: Ms = minutes(5);
const FACTOR_AFTER_PAUSE = 0.5;
const RECOVERY_PER_MINUTE = 0.1;
const MIN_FACTOR = 0.05;

/** A host that asked for patience is left alone for a while, and then approached more slowly than before. */
export class AdaptiveRate {
  readonly #pause = new Cooldown();
  #factorAfterPause = 1;

  /** Of two pauses the later end wins, five minutes ahead at most; both together slow down once. */
  pause(asked: EpochMs, now: EpochMs): void {
    const until = Math.min(asked, now + MAX_PAUSE);
    if (!(until > now)) return;
    if (this.pauseLeft(now) <= 0) {
      this.#factorAfterPause = Math.max(this.factor(now) * FACTOR_AFTER_PAUSE, MIN_FACTOR);
    }
    this.#pause.extend(until, now);
  }

  /** Negative when there is none. */
  pauseLeft(now: EpochMs): Ms {
    return this.#pause.left(now);
  }

  /** How much of the usual rate is allowed: half after a pause, and a tenth more for each good minute. */
  factor(now: EpochMs): number {
    const goodMinutes = Math.floor(Math.max(-this.pauseLeft(now), 0) / minutes(1));
    return Math.min(this.#factorAfterPause + goodMinutes * RECOVERY_PER_MINUTE, 1);
  }
}
