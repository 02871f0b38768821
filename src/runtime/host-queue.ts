import { type EpochMs, type Ms, seconds } from '../domain/time.ts';
import type { Clock } from '../ports.ts';
import { PriorityMap } from './priority-map.ts';

/** No timer runs longer, so that a jump of the system clock is noticed within this time. */
const LONGEST_TIMER: Ms = seconds(60);

export interface HostLimits {
  /** 0 or Infinity: no limit on the rate. */
  readonly requestsPerSecond: number;
  /** How many may start at once after a rest; at least 1. */
  readonly burst: number;
  /** How many may run at once; at least 1. */
  readonly concurrency: number;
}

/**
 * Who may go to one host, and when. The rate is a token bucket kept as a single moment (GCRA): each start pushes
 * `#fullAt`, the moment at which the bucket is full again, further away by one interval.
 */
export class HostQueue {
  readonly #limits: HostLimits;
  readonly #clock: Clock;
  readonly #onIdle: () => void;
  readonly #waiting = new PriorityMap<() => void>();
  /** Milliseconds from one token to the next. */
  readonly #interval: Ms;
  #running = 0;
  #fullAt: EpochMs = -Infinity;
  #pausedUntil: EpochMs = -Infinity;
  #cancelTimer: (() => void) | undefined;

  /** @param onIdle there is nothing left to remember about the host */
  constructor(limits: HostLimits, clock: Clock, onIdle: () => void) {
    this.#limits = limits;
    this.#clock = clock;
    this.#onIdle = onIdle;
    const { requestsPerSecond } = limits;
    this.#interval = requestsPerSecond === 0 ? 0 : seconds(1) / requestsPerSecond;
  }

  get state(): { queued: number; running: number; pausedUntil: EpochMs | undefined } {
    const isPaused = this.#pausedUntil > this.#clock.now();
    return {
      queued: this.#waiting.size,
      running: this.#running,
      pausedUntil: isPaused ? this.#pausedUntil : undefined,
    };
  }

  /**
   * Resolves when it is the caller's turn, who must `leave` afterwards; rejects with the signal's reason when that
   * fires first. It must not have fired before.
   */
  enter(urgency: EpochMs, signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const start = () => {
        signal.removeEventListener('abort', giveUp);
        resolve();
      };
      const giveUp = () => {
        this.#waiting.delete(start);
        reject(signal.reason);
      };
      signal.addEventListener('abort', giveUp, { once: true });
      this.#waiting.set(start, urgency);
      this.#serve();
    });
  }

  leave(): void {
    this.#running -= 1;
    this.#serve();
  }

  /** Of two pauses the later end wins. */
  pause(until: EpochMs): void {
    if (until > this.#pausedUntil) this.#pausedUntil = until;
    this.#serve();
  }

  #serve(): void {
    let next = this.#waiting.first();
    while (next !== undefined && this.#running < this.#limits.concurrency) {
      if (this.#delay() > 0) return this.#wakeIn(this.#delay());
      this.#waiting.delete(next.key);
      this.#running += 1;
      this.#fullAt = Math.max(this.#fullAt, this.#clock.now()) + this.#interval;
      next.key();
      next = this.#waiting.first();
    }
    if (this.#waiting.size === 0 && this.#running === 0) this.#rest();
  }

  /** Until the next start: not before the pause ends and the bucket holds a whole token. */
  #delay(): Ms {
    const now = this.#clock.now();
    const depth = this.#limits.burst * this.#interval;
    // Somebody has set the clock back: the bucket is never further from full than empty.
    this.#fullAt = Math.min(this.#fullAt, now + depth);
    return Math.max(this.#fullAt + this.#interval - depth, this.#pausedUntil) - now;
  }

  /** Nobody is here; the host can be forgotten once its pause is over and its bucket full. */
  #rest(): void {
    const wait = Math.max(this.#fullAt, this.#pausedUntil) - this.#clock.now();
    if (wait > 0) return this.#wakeIn(wait);
    this.#cancelTimer?.();
    this.#onIdle();
  }

  /** One timer. It never fires too late, for what it waits for only moves away; if too early, it is set again. */
  #wakeIn(delay: Ms): void {
    this.#cancelTimer?.();
    this.#cancelTimer = this.#clock.after(Math.min(delay, LONGEST_TIMER), () => {
      this.#cancelTimer = undefined;
      this.#serve();
    });
  }
}
