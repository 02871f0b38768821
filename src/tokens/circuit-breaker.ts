import type { Random } from '../lib/clock.ts';
import { type Ms, seconds } from '../lib/time.ts';

/** Network errors in a row that open the circuit. */
const FAILURE_THRESHOLD = 5;
const MIN_WAIT_IN_OPEN_STATE: Ms = seconds(2);
/** Short, because tokens may expire between the return of the host and the next trial request. */
const MAX_WAIT_IN_OPEN_STATE: Ms = seconds(10);
/** Waits are up to 20 % shorter, so that operators of several clusters do not retry in lockstep. */
const JITTER = 0.2;

/**
 * - `closed`: requests go.
 * - `open`: no request goes until the wait is over.
 * - `half-open`: one request at a time goes. A response closes the circuit; an error opens it for twice as long.
 */
type CircuitState = 'closed' | 'open' | 'half-open';

/** The circuit breaker of a host or a realm, after resilience4j. `now` is read from the monotonic clock. */
export class CircuitBreaker {
  readonly #random: Random;
  readonly #minSources: number;
  #failedCalls = 0;
  /** Where the errors since the last success came from, as far as it matters. */
  readonly #sources = new Set<string>();
  /** How often the circuit has opened since the last success. */
  #timesOpened = 0;
  #openUntil: Ms = -Infinity;

  /** @param minSources from how many realms the errors have to come for the circuit to open */
  constructor(random: Random, minSources = 1) {
    this.#random = random;
    this.#minSources = minSources;
  }

  /** Errors since the last success. */
  get failedCalls(): number {
    return this.#failedCalls;
  }

  state(now: Ms): CircuitState {
    if (this.#timesOpened === 0) return 'closed';
    return this.waitLeft(now) > 0 ? 'open' : 'half-open';
  }

  /** Until the open state ends; 0 or less in the other states. */
  waitLeft(now: Ms): Ms {
    return this.#openUntil - now;
  }

  onSuccess(): void {
    this.#failedCalls = 0;
    this.#sources.clear();
    this.#timesOpened = 0;
    this.#openUntil = -Infinity;
  }

  /** An error in the open state is of a request that was sent before: it does not lengthen the wait. */
  onError(now: Ms, source = ''): void {
    this.#failedCalls += 1;
    if (this.#sources.size < this.#minSources) this.#sources.add(source);
    const isEnough =
      this.#failedCalls >= FAILURE_THRESHOLD && this.#sources.size >= this.#minSources;
    if (!isEnough || this.state(now) === 'open') return;
    const longest = Math.min(
      MIN_WAIT_IN_OPEN_STATE * 2 ** this.#timesOpened,
      MAX_WAIT_IN_OPEN_STATE,
    );
    this.#timesOpened += 1;
    this.#openUntil = now + longest * (1 - this.#random() * JITTER);
  }
}
