import { type EpochMs, type Ms, seconds } from '../domain/time.ts';
import type { Random } from '../ports.ts';
import { Hold } from './hold.ts';

const FAULTS_TO_OPEN = 5;
const FIRST_REST: Ms = seconds(2);
/** One try in ten seconds is no burden, and after the host's return tokens may expire while nobody knows of it. */
const LONGEST_REST: Ms = seconds(10);
/** Rests are up to so much shorter, lest several operators come back in step. */
const JITTER = 0.2;

/**
 * After five faults of the network in a row nobody goes to the host for a while. Then one may try: if it gets an
 * answer all may go again, if not the next rest is longer.
 */
export class Breaker {
  readonly #random: Random;
  readonly #rest = new Hold();
  #faults = 0;
  /** Rests since the host last answered. */
  #rests = 0;

  constructor(random: Random) {
    this.#random = random;
  }

  /** Nothing is held against the host. */
  get isClean(): boolean {
    return this.#faults === 0;
  }

  /** Nobody may go, or, once the rest is over, just one at a time. */
  get isOpen(): boolean {
    return this.#rests > 0;
  }

  /** Negative or 0 when somebody may go. */
  restLeft(now: EpochMs): Ms {
    return this.#rest.left(now);
  }

  answered(): void {
    this.#faults = 0;
    this.#rests = 0;
    this.#rest.end();
  }

  /** Faults during a rest are of those who went before it, and say nothing new. */
  failed(now: EpochMs): void {
    this.#faults += 1;
    if (this.#faults < FAULTS_TO_OPEN || this.restLeft(now) > 0) return;
    const rest = Math.min(FIRST_REST * 2 ** this.#rests, LONGEST_REST);
    this.#rests += 1;
    this.#rest.extend(now + rest * (1 - this.#random() * JITTER), now);
  }
}
