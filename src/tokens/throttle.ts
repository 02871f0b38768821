import type { Ms } from '../lib/time.ts';
import type { CircuitBreaker } from './circuit-breaker.ts';
import { AdaptiveRate, RateLimiter } from './rate-limiter.ts';

export interface RateLimits {
  /** 0 or Infinity: no limit on the rate. */
  readonly requestsPerSecond: number;
  /** How many may start at once after a rest; at least 1. */
  readonly burst: number;
  /** Logins count against `requestsPerSecond` too; 0 or Infinity: no limit of their own. */
  readonly passwordLoginsPerSecond: number;
}

export type PauseCause = 'rate_limited' | 'unreachable';

const LOGIN_BURST = 2;

/** What slows requests to a host or to a realm down: permits, pauses and a circuit breaker. `now` is monotonic. */
export class Throttle {
  readonly adaptiveRate = new AdaptiveRate();
  readonly circuitBreaker: CircuitBreaker;
  readonly #rate: RateLimiter;
  readonly #loginRate: RateLimiter;

  constructor(limits: RateLimits, circuitBreaker: CircuitBreaker) {
    this.circuitBreaker = circuitBreaker;
    this.#rate = new RateLimiter(limits.requestsPerSecond, limits.burst);
    this.#loginRate = new RateLimiter(limits.passwordLoginsPerSecond, LOGIN_BURST);
  }

  /** More than the usual permits is in the way. */
  isRestricted(now: Ms): boolean {
    const { adaptiveRate, circuitBreaker } = this;
    const isSlow = adaptiveRate.pauseLeft(now) > 0 || adaptiveRate.factor(now) < 1;
    return isSlow || circuitBreaker.state(now) !== 'closed';
  }

  /** Of the pause or of the open circuit, whichever is longer; 0 or less when there is neither. */
  waitLeft(now: Ms): Ms {
    return Math.max(this.adaptiveRate.pauseLeft(now), this.circuitBreaker.waitLeft(now));
  }

  /** Why requests have to wait as long as `waitLeft` says. */
  pauseCause(now: Ms): PauseCause {
    const isCircuitOpen = this.circuitBreaker.waitLeft(now) > this.adaptiveRate.pauseLeft(now);
    return isCircuitOpen ? 'unreachable' : 'rate_limited';
  }

  /** Until there is a permit, whatever else is in the way. */
  rateDelay(now: Ms, login = false): Ms {
    const factor = this.adaptiveRate.factor(now);
    const delay = this.#rate.delay(now, factor);
    return login ? Math.max(delay, this.#loginRate.delay(now, factor)) : delay;
  }

  /** Takes the permits of one request. */
  acquire(login = false): void {
    this.#rate.acquire();
    if (login) this.#loginRate.acquire();
  }

  /** Until the full rate is allowed and all permits are back, if no request goes before that. */
  recoversIn(now: Ms): Ms {
    return Math.max(
      this.adaptiveRate.recoversIn(now),
      this.#rate.fullIn(now),
      this.#loginRate.fullIn(now),
    );
  }
}
