import { type EpochMs, type Ms, minutes } from '../domain/time.ts';
import { Hold } from './hold.ts';

const AFTER_PAUSE = 0.5;
const REGAINED_PER_MINUTE = 0.1;
const LEAST_SHARE = 0.05;

/** A host that asked for patience is left alone for a while, and then approached more slowly than before. */
export class SlowDown {
  readonly #pause = new Hold();
  #shareAfterPause = 1;

  /** Of two pauses the later end wins; both together slow down once. */
  pause(until: EpochMs, now: EpochMs): void {
    if (!(until > now)) return;
    if (this.pauseLeft(now) <= 0) {
      this.#shareAfterPause = Math.max(this.share(now) * AFTER_PAUSE, LEAST_SHARE);
    }
    this.#pause.extend(until, now);
  }

  /** Negative when there is none. */
  pauseLeft(now: EpochMs): Ms {
    return this.#pause.left(now);
  }

  /** How much of the usual rate is allowed: half after a pause, and a tenth more for each good minute. */
  share(now: EpochMs): number {
    const goodMinutes = Math.floor(Math.max(-this.pauseLeft(now), 0) / minutes(1));
    return Math.min(this.#shareAfterPause + goodMinutes * REGAINED_PER_MINUTE, 1);
  }
}
