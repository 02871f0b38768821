import type { EpochMs, Ms } from '../lib/time.ts';

/** A time during which nobody may go. A clock that is set back behind its beginning does not make it longer. */
export class Cooldown {
  #since: EpochMs = -Infinity;
  #until: EpochMs = -Infinity;

  /** Negative when it is over: since when. */
  left(now: EpochMs): Ms {
    if (now < this.#since) {
      this.#until -= this.#since - now;
      this.#since = now;
    }
    return this.#until - now;
  }

  /** Of two ends the later one counts. */
  extend(until: EpochMs, now: EpochMs): void {
    if (!(until > now + Math.max(this.left(now), 0))) return;
    this.#since = now;
    this.#until = until;
  }

  end(): void {
    this.#until = -Infinity;
  }
}
