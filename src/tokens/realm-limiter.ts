import { type Ms, seconds } from '../lib/time.ts';
import { lineOf, RequestQueue, type Waiter } from './request-queue.ts';
import type { Throttle } from './throttle.ts';

/** During a pause one request goes this long before its token expires, which leaves time for the response. */
const AHEAD_OF_EXPIRY: Ms = seconds(30);
/** Between two requests that go during a pause. */
const BYPASS_INTERVAL: Ms = seconds(10);

/** What else decides whether a request of the realm may join the queue of its host. */
export interface HostReadiness {
  readonly now: Ms;
  /** A request of the realm is in flight. */
  readonly isRunning: boolean;
  /** Until the host lets a request start, and a login. */
  readonly delay: Ms;
  readonly loginDelay: Ms;
}

/**
 * A realm that has asked for patience or does not answer. While it is restricted its requests wait here, and join the
 * queue of the host one by one. Every time is monotonic.
 */
export class RealmLimiter {
  readonly throttle: Throttle;
  readonly queue = new RequestQueue();
  /** Those that wait for the host: at most one of each line. */
  readonly #admitted = new Set<Waiter>();
  #nextBypassAt: Ms = -Infinity;

  constructor(throttle: Throttle) {
    this.throttle = throttle;
  }

  /** No request waits. */
  get isIdle(): boolean {
    return this.queue.waiters.size === 0 && this.#admitted.size === 0;
  }

  /** Takes those that join the queue of the host now; all of them when the realm is not restricted any more. */
  *admit(host: HostReadiness): Generator<Waiter> {
    if (!this.throttle.isRestricted(host.now)) return yield* this.#admitAll();
    for (let next = this.#next(host); next !== undefined; next = this.#next(host)) {
      yield this.#take(next);
    }
  }

  /** Takes one that goes during the pause, because its token would expire before the pause ends. */
  admitBypass(host: HostReadiness): Waiter | undefined {
    if (this.#isBusy(host) || this.#bypassDelay(host.now) > 0) return undefined;
    const first = this.queue.firstToExpire;
    if (first === undefined) return undefined;
    this.#nextBypassAt = host.now + BYPASS_INTERVAL;
    return this.#take(first);
  }

  /** A request has started. @returns those that have to wait for their turn in the realm again */
  started(waiter: Waiter): readonly Waiter[] {
    this.throttle.acquire(waiter.ticket.login);
    this.leave(waiter);
    return [...this.#admitted];
  }

  /** A request is not waited for any more. */
  leave(waiter: Waiter): void {
    this.queue.delete(waiter);
    this.#admitted.delete(waiter);
  }

  /** Takes requests back that wait for the host, and gives them their turns back. */
  recall(waiters: Iterable<Waiter>, now: Ms): void {
    for (const waiter of waiters) {
      this.#admitted.delete(waiter);
      this.queue.restore(waiter, now);
    }
  }

  /** When neither finds one: until one of them does, if that takes time alone; else Infinity. */
  admitsIn(host: HostReadiness): Ms {
    const { logins, waiters } = this.queue;
    if (waiters.size === 0 || this.#isBusy(host)) return Infinity;
    const delays = [
      logins.size > 0 ? this.#delay(host, true) : Infinity,
      waiters.size > logins.size ? this.#delay(host) : Infinity,
      this.#bypassDelay(host.now),
    ];
    return Math.min(...delays.filter((delay) => delay > 0));
  }

  *#admitAll(): Generator<Waiter> {
    this.#admitted.clear();
    for (const waiter of this.queue.waiters) {
      this.queue.delete(waiter);
      yield waiter;
    }
  }

  #take(waiter: Waiter): Waiter {
    this.queue.take(waiter);
    this.#admitted.add(waiter);
    return waiter;
  }

  #next(host: HostReadiness): Waiter | undefined {
    if (this.#isBusy(host)) return undefined;
    const { now } = host;
    const lines = new Set([...this.#admitted].map((waiter) => lineOf(waiter, now)));
    const mayGo = (waiter: Waiter) =>
      this.#delay(host, waiter.ticket.login) <= 0 && !lines.has(lineOf(waiter, now));
    return this.queue.next(mayGo, now);
  }

  /**
   * In the half-open state the outcome of one request is awaited before the next goes. One that waits for the host keeps
   * no more urgent one away: the first that starts sends the others back here.
   */
  #isBusy({ now, isRunning }: HostReadiness): boolean {
    return isRunning && this.throttle.circuitBreaker.state(now) === 'half-open';
  }

  /** A request waits here for the host as well, so that a more urgent one may still go before it. */
  #delay({ now, delay, loginDelay }: HostReadiness, login = false): Ms {
    const { throttle } = this;
    const hostDelay = login ? loginDelay : delay;
    return Math.max(throttle.rateDelay(now, login), throttle.waitLeft(now), hostDelay);
  }

  /** Until `admitBypass` finds one; Infinity when the pause ends before. */
  #bypassDelay(now: Ms): Ms {
    const pauseLeft = this.throttle.adaptiveRate.pauseLeft(now);
    if (pauseLeft <= 0) return Infinity;
    for (;;) {
      const first = this.queue.firstToExpire;
      if (first === undefined) return Infinity;
      const remaining = first.expiry - now;
      const earliest = this.#earliestBypass(now, first.ticket.login);
      if (earliest < remaining) {
        const delay = Math.max(earliest, remaining - AHEAD_OF_EXPIRY);
        return delay < pauseLeft ? delay : Infinity;
      }
      this.queue.setNewcomer(first);
    }
  }

  #earliestBypass(now: Ms, login?: boolean): Ms {
    const circuitLeft = this.throttle.circuitBreaker.waitLeft(now);
    return Math.max(this.#nextBypassAt - now, circuitLeft, this.throttle.rateDelay(now, login), 0);
  }
}
