import type { Random } from '../lib/clock.ts';
import { type EpochMs, type Ms, seconds } from '../lib/time.ts';
import { Cooldown } from './cooldown.ts';

const FAILURE_THRESHOLD = 5;
const MIN_WAIT_IN_OPEN_STATE: Ms = seconds(2);
/** One try in ten seconds is no burden, and after the host's return tokens may expire while nobody knows of it. */
const MAX_WAIT_IN_OPEN_STATE: Ms = seconds(10);
/** Rests are up to so much shorter, lest several operators come back in step. */
const JITTER = 0.2;

/**
 * After five faults of the network in a row nobody goes to the host for a while. Then one may try: if it gets an
 * answer all may go again, if not the next rest is longer.
 */
export class CircuitBreaker {
  readonly #random: Random;
  readonly #wait = new Cooldown();
  #failures = 0;
  /** Rests since the host last answered. */
  #waits = 0;

  constructor(random: Random) {
    this.#random = random;
  }

  /** Nothing is held against the host. */
  get isClean(): boolean {
    return this.#failures === 0;
  }

  /** Nobody may go, or, once the rest is over, just one at a time. */
  get isOpen(): boolean {
    return this.#waits > 0;
  }

  /** Negative or 0 when somebody may go. */
  waitLeft(now: EpochMs): Ms {
    return this.#wait.left(now);
  }

  onSuccess(): void {
    this.#failures = 0;
    this.#waits = 0;
    this.#wait.end();
  }

  /** Faults during a rest are of those who went before it, and say nothing new. */
  onError(now: EpochMs): void {
    this.#failures += 1;
    if (this.#failures < FAILURE_THRESHOLD || this.waitLeft(now) > 0) return;
    const wait = Math.min(MIN_WAIT_IN_OPEN_STATE * 2 ** this.#waits, MAX_WAIT_IN_OPEN_STATE);
    this.#waits += 1;
    this.#wait.extend(now + wait * (1 - this.#random() * JITTER), now);
  }
}
