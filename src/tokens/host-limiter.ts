import type { Clock, Random } from '../lib/clock.ts';
import { PriorityMap } from '../lib/priority-map.ts';
import { type EpochMs, type Ms, seconds } from '../lib/time.ts';
import { abortable } from '../lib/with-timeout.ts';
import { CircuitBreaker } from './circuit-breaker.ts';
import { AdaptiveRate, RateLimiter } from './rate-limiter.ts';

/** When a request may go to a host: at most so many a second and at once, the smallest deadline first. */
export interface RequestLimiter {
  /** Runs `task` in its turn. Each task has its own ticket. Rejects with the signal's reason if that fires first. */
  run<T>(host: string, ticket: Ticket, task: () => Promise<T>, signal: AbortSignal): Promise<T>;
  /** Call it after `deadline` or `expiresAt` of a ticket has changed: if the ticket waits, it moves. */
  raisePriority(host: string, ticket: Ticket): void;
  /**
   * No request goes to the host before `until`, or for five minutes if that is less, and then fewer go. The exception:
   * 30 s before a token would expire in the pause one request goes.
   */
  pause(host: string, until: EpochMs): void;
  /** How a request ended; call it inside its task. Five `unreachable` in a row open the circuit breaker of the host. */
  report(host: string, outcome: 'responded' | 'unreachable'): void;
}

export interface Ticket {
  /** Smaller goes first: the moment at which a credential would be left without a token. */
  deadline: EpochMs;
  /** When the current token expires; absent when there is none. */
  expiresAt?: EpochMs | undefined;
  /** A password is presented, which costs the server more (it hashes): logins have a rate of their own as well. */
  readonly login?: boolean;
}

export interface HostLimits {
  /** 0 or Infinity: no limit on the rate. */
  readonly requestsPerSecond: number;
  /** How many may start at once after a rest; at least 1. */
  readonly burst: number;
  /** How many may run at once; at least 1. */
  readonly concurrency: number;
  /** Logins count against `requestsPerSecond` too; 0 or Infinity: no limit of their own. */
  readonly passwordLoginsPerSecond: number;
}

export interface HostSnapshot {
  readonly host: string;
  readonly queued: number;
  readonly running: number;
  /** Undefined while requests may go: no pause, and the circuit breaker is not open. */
  readonly pausedUntil: EpochMs | undefined;
}

/** One HostLimiter a host, all with the same limits. An idle host at its full rate is forgotten. */
export class HostLimiters implements RequestLimiter {
  readonly #limits: HostLimits;
  readonly #parts: { readonly clock: Clock; readonly random: Random };
  readonly #hosts = new Map<string, HostLimiter>();
  #isClosed = false;

  constructor(limits: HostLimits, clock: Clock, random: Random) {
    this.#limits = limits;
    this.#parts = { clock, random };
  }

  async run<T>(
    host: string,
    ticket: Ticket,
    task: () => Promise<T>,
    signal: AbortSignal,
  ): Promise<T> {
    signal.throwIfAborted();
    const limiter = this.#of(host);
    await limiter.acquire(ticket, signal);
    try {
      return await task();
    } finally {
      limiter.release();
    }
  }

  raisePriority(host: string, ticket: Ticket): void {
    this.#hosts.get(host)?.raisePriority(ticket);
  }

  pause(host: string, until: EpochMs): void {
    this.#of(host).pause(until);
  }

  report(host: string, outcome: 'responded' | 'unreachable'): void {
    this.#hosts.get(host)?.report(outcome);
  }

  snapshot(): HostSnapshot[] {
    return [...this.#hosts].map(([host, limiter]) => ({ host, ...limiter.state }));
  }

  /** Ends all timers. The signals of all callers must have fired; tasks that run may end. */
  close(): void {
    this.#isClosed = true;
    for (const limiter of this.#hosts.values()) limiter.close();
  }

  #of(host: string): HostLimiter {
    const known = this.#hosts.get(host);
    if (known !== undefined) return known;
    const limiter = new HostLimiter(this.#limits, this.#parts, () => this.#hosts.delete(host));
    this.#hosts.set(host, limiter);
    if (this.#isClosed) limiter.close();
    return limiter;
  }
}

const LOGIN_BURST = 2;
/** During a pause one request goes this long before its token expires, which leaves time for the response. */
const AHEAD_OF_EXPIRY: Ms = seconds(30);
/** Between two requests that go during a pause. */
const BYPASS_INTERVAL: Ms = seconds(10);

interface Waiter {
  readonly ticket: Ticket;
  readonly order: number;
  readonly start: () => void;
}

/**
 * The requests to one host. Logins have a queue of their own, because they need a permit of their own as well.
 * Every `now` is read from the monotonic clock.
 */
class HostLimiter {
  readonly #concurrency: number;
  readonly #clock: Clock;
  readonly #onIdle: () => void;
  readonly #rate: RateLimiter;
  readonly #loginRate: RateLimiter;
  readonly #adaptiveRate = new AdaptiveRate();
  readonly #circuitBreaker: CircuitBreaker;
  readonly #others = new PriorityMap<Waiter>();
  readonly #logins = new PriorityMap<Waiter>();
  /** Waiters of both queues whose credential has a token, by its expiry on the monotonic clock. */
  readonly #expiring = new PriorityMap<Waiter>();
  readonly #waiters = new Map<Ticket, Waiter>();
  #nextBypassAt: Ms = -Infinity;
  #order = 0;
  #running = 0;
  #cancelTimer: (() => void) | undefined;
  #isClosed = false;

  /** @param onIdle the host can be forgotten */
  constructor(
    limits: HostLimits,
    { clock, random }: { readonly clock: Clock; readonly random: Random },
    onIdle: () => void,
  ) {
    this.#concurrency = limits.concurrency;
    this.#clock = clock;
    this.#onIdle = onIdle;
    this.#rate = new RateLimiter(limits.requestsPerSecond, limits.burst);
    this.#loginRate = new RateLimiter(limits.passwordLoginsPerSecond, LOGIN_BURST);
    this.#circuitBreaker = new CircuitBreaker(random);
  }

  get state(): Omit<HostSnapshot, 'host'> {
    const wait = this.#waitLeft(this.#clock.monotonic());
    return {
      queued: this.#others.size + this.#logins.size,
      running: this.#running,
      pausedUntil: wait > 0 ? this.#clock.now() + wait : undefined,
    };
  }

  /**
   * Resolves when it is the caller's turn; the caller must `release` afterwards. Rejects with the signal's reason
   * when that fires first. The signal must not have fired before.
   */
  acquire(ticket: Ticket, signal: AbortSignal): Promise<void> {
    const { promise, resolve: start } = abortable(signal, () => this.#remove(waiter));
    const waiter = { ticket, order: this.#order, start };
    this.#order += 1;
    this.#waiters.set(ticket, waiter);
    this.#enqueue(waiter);
    this.#serve();
    return promise;
  }

  raisePriority(ticket: Ticket): void {
    const waiter = this.#waiters.get(ticket);
    if (waiter === undefined) return;
    this.#enqueue(waiter);
    this.#serve();
  }

  release(): void {
    this.#running -= 1;
    this.#serve();
  }

  /** The date becomes a length here: setting the wall clock later changes nothing. */
  pause(until: EpochMs): void {
    this.#adaptiveRate.pause(until - this.#clock.now(), this.#clock.monotonic());
    this.#serve();
  }

  report(outcome: 'responded' | 'unreachable'): void {
    if (outcome === 'responded') this.#circuitBreaker.onSuccess();
    else this.#circuitBreaker.onError(this.#clock.monotonic());
    this.#serve();
  }

  /** Ends the timer, and sets none again: a request that still waits ends by its signal. */
  close(): void {
    this.#isClosed = true;
    this.#cancelTimer?.();
  }

  #enqueue(waiter: Waiter): void {
    const { deadline, expiresAt } = waiter.ticket;
    this.#queueOf(waiter.ticket).set(waiter, deadline);
    if (expiresAt === undefined) return;
    const remaining = expiresAt - this.#clock.now();
    this.#expiring.set(waiter, this.#clock.monotonic() + remaining);
  }

  #remove(waiter: Waiter): void {
    this.#queueOf(waiter.ticket).delete(waiter);
    this.#expiring.delete(waiter);
    this.#waiters.delete(waiter.ticket);
  }

  #queueOf({ login = false }: Ticket): PriorityMap<Waiter> {
    return login ? this.#logins : this.#others;
  }

  #serve(): void {
    const now = this.#clock.monotonic();
    while (this.#running < this.#permittedCalls(now)) {
      const next = this.#next(now) ?? this.#nextBypass(now);
      if (next === undefined) return this.#wait(now);
      this.#remove(next);
      this.#rate.acquire();
      if (next.ticket.login) this.#loginRate.acquire();
      this.#running += 1;
      next.start();
    }
  }

  /** In the half-open state the outcome of one request is awaited before the next goes. */
  #permittedCalls(now: Ms): number {
    return this.#circuitBreaker.state(now) === 'closed' ? this.#concurrency : 1;
  }

  /** The smallest deadline of those who may go now. */
  #next(now: Ms): Waiter | undefined {
    const other = this.#delay(now) > 0 ? undefined : this.#others.first()?.key;
    const login = this.#delay(now, true) > 0 ? undefined : this.#logins.first()?.key;
    if (other === undefined || login === undefined) return other ?? login;
    return isBefore(login, other) ? login : other;
  }

  /** One whose token would expire before the pause ends. */
  #nextBypass(now: Ms): Waiter | undefined {
    if (this.#bypassDelay(now) > 0) return undefined;
    this.#nextBypassAt = now + BYPASS_INTERVAL;
    return this.#expiring.first()?.key;
  }

  /** Until `#nextBypass` finds one; Infinity when the pause ends before. */
  #bypassDelay(now: Ms): Ms {
    const pauseLeft = this.#adaptiveRate.pauseLeft(now);
    if (pauseLeft <= 0) return Infinity;
    let first = this.#expiring.first();
    while (first !== undefined) {
      const remaining = first.priority - now;
      const earliest = this.#earliestBypass(now, first.key.ticket.login);
      if (earliest < remaining) {
        const delay = Math.max(earliest, remaining - AHEAD_OF_EXPIRY);
        return delay < pauseLeft ? delay : Infinity;
      }
      // Its token can't be saved any more: it waits like one without a token
      this.#expiring.delete(first.key);
      first = this.#expiring.first();
    }
    return Infinity;
  }

  #earliestBypass(now: Ms, login = false): Ms {
    const circuitLeft = this.#circuitBreaker.waitLeft(now);
    return Math.max(this.#nextBypassAt - now, circuitLeft, this.#rateDelay(now, login), 0);
  }

  /** Sets the timer for the first waiter that waits for time alone, or for forgetting the host. */
  #wait(now: Ms): void {
    const delays = [
      ...(this.#others.size > 0 ? [this.#delay(now)] : []),
      ...(this.#logins.size > 0 ? [this.#delay(now, true)] : []),
      ...(this.#expiring.size > 0 ? [this.#bypassDelay(now)] : []),
    ];
    if (delays.length > 0) return this.#wakeIn(Math.min(...delays));
    if (this.#running === 0 && this.#circuitBreaker.failedCalls === 0) this.#idle(now);
  }

  /** Until the next start: no pause, the circuit not open, and a permit is there. */
  #delay(now: Ms, login = false): Ms {
    return Math.max(this.#rateDelay(now, login), this.#waitLeft(now));
  }

  #rateDelay(now: Ms, login = false): Ms {
    const factor = this.#adaptiveRate.factor(now);
    const delay = this.#rate.delay(now, factor);
    return login ? Math.max(delay, this.#loginRate.delay(now, factor)) : delay;
  }

  /** Of the pause or of the open circuit, whichever is longer; 0 or less when there is neither. */
  #waitLeft(now: Ms): Ms {
    return Math.max(this.#adaptiveRate.pauseLeft(now), this.#circuitBreaker.waitLeft(now));
  }

  /** An idle host is forgotten once it is back at the full rate and has all its permits. */
  #idle(now: Ms): void {
    const wait = Math.max(
      this.#adaptiveRate.recoversIn(now),
      this.#rate.fullIn(now),
      this.#loginRate.fullIn(now),
    );
    if (wait > 0) return this.#wakeIn(wait);
    this.#cancelTimer?.();
    this.#onIdle();
  }

  /** One timer, set again on every change. */
  #wakeIn(delay: Ms): void {
    this.#cancelTimer?.();
    if (this.#isClosed) return;
    this.#cancelTimer = this.#clock.after(delay, () => {
      this.#cancelTimer = undefined;
      this.#serve();
    });
  }
}

const isBefore = (one: Waiter, other: Waiter): boolean =>
  one.ticket.deadline === other.ticket.deadline
    ? one.order < other.order
    : one.ticket.deadline < other.ticket.deadline;
