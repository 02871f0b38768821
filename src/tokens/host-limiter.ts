import type { Clock, Random } from '../lib/clock.ts';
import { PriorityMap } from '../lib/priority-map.ts';
import { type EpochMs, type Ms, seconds } from '../lib/time.ts';
import { AdaptiveRate } from './adaptive-rate.ts';
import { CircuitBreaker } from './circuit-breaker.ts';
import { Cooldown } from './cooldown.ts';
import { RateLimiter } from './rate-limiter.ts';
import type { Ticket } from './request-limiter.ts';

/** No timer runs longer, so that a jump of the system clock is noticed within this time. */
const MAX_TIMER: Ms = seconds(60);
const LOGIN_BURST = 2;
/** One goes to a paused host so long before its token expires, which leaves time for an answer, … */
const AHEAD_OF_EXPIRY: Ms = seconds(30);
/** … and the next only after that, whosever token expires. */
const BYPASS_INTERVAL: Ms = seconds(10);

export interface HostLimits {
  /** 0 or Infinity: no limit on the rate. */
  readonly requestsPerSecond: number;
  /** How many may start at once after a rest; at least 1. */
  readonly burst: number;
  /** How many may run at once; at least 1. */
  readonly concurrency: number;
  /** Of the above; 0 or Infinity: no limit of their own. */
  readonly passwordLoginsPerSecond: number;
}

interface Waiter {
  readonly ticket: Ticket;
  readonly order: number;
  readonly start: () => void;
}

/** Who may go to one host, and when. Logins wait for a bucket of their own besides, so they stand in a line apart. */
export class HostLimiter {
  readonly #concurrency: number;
  readonly #clock: Clock;
  readonly #onIdle: () => void;
  readonly #all: RateLimiter;
  readonly #logins: RateLimiter;
  readonly #adaptiveRate = new AdaptiveRate();
  readonly #circuitBreaker: CircuitBreaker;
  readonly #others = new PriorityMap<Waiter>();
  readonly #loginsWaiting = new PriorityMap<Waiter>();
  /** Those of both lines who have a token, by its expiry. */
  readonly #expiring = new PriorityMap<Waiter>();
  readonly #waiters = new Map<Ticket, Waiter>();
  /** After one that went in spite of a pause. */
  readonly #bypassCooldown = new Cooldown();
  #order = 0;
  #running = 0;
  #cancelTimer: (() => void) | undefined;
  #isClosed = false;

  /** @param onIdle there is nothing left to remember about the host */
  constructor(
    limits: HostLimits,
    { clock, random }: { readonly clock: Clock; readonly random: Random },
    onIdle: () => void,
  ) {
    this.#concurrency = limits.concurrency;
    this.#clock = clock;
    this.#onIdle = onIdle;
    this.#all = new RateLimiter(limits.requestsPerSecond, limits.burst);
    this.#logins = new RateLimiter(limits.passwordLoginsPerSecond, LOGIN_BURST);
    this.#circuitBreaker = new CircuitBreaker(random);
  }

  get state(): { queued: number; running: number; pausedUntil: EpochMs | undefined } {
    const now = this.#clock.now();
    const closed = this.#closedFor(now);
    return {
      queued: this.#others.size + this.#loginsWaiting.size,
      running: this.#running,
      pausedUntil: closed > 0 ? now + closed : undefined,
    };
  }

  /**
   * Resolves when it is the caller's turn, who must `leave` afterwards; rejects with the signal's reason when that
   * fires first. It must not have fired before.
   */
  acquire(ticket: Ticket, signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const start = () => {
        signal.removeEventListener('abort', giveUp);
        resolve();
      };
      const waiter = { ticket, order: this.#order, start };
      const giveUp = () => {
        this.#remove(waiter);
        reject(signal.reason);
      };
      signal.addEventListener('abort', giveUp, { once: true });
      this.#order += 1;
      this.#waiters.set(ticket, waiter);
      this.#place(waiter);
      this.#serve();
    });
  }

  raisePriority(ticket: Ticket): void {
    const waiter = this.#waiters.get(ticket);
    if (waiter === undefined) return;
    this.#place(waiter);
    this.#serve();
  }

  release(): void {
    this.#running -= 1;
    this.#serve();
  }

  /** Of two pauses the later end wins. */
  pause(until: EpochMs): void {
    this.#adaptiveRate.pause(until, this.#clock.now());
    this.#serve();
  }

  report(outcome: 'answered' | 'unreachable'): void {
    if (outcome === 'answered') this.#circuitBreaker.onSuccess();
    else this.#circuitBreaker.onError(this.#clock.now());
    this.#serve();
  }

  #place(waiter: Waiter): void {
    const { ticket } = waiter;
    this.#lineOf(ticket).set(waiter, ticket.deadline);
    if (ticket.expiresAt !== undefined) this.#expiring.set(waiter, ticket.expiresAt);
  }

  #remove(waiter: Waiter): void {
    this.#lineOf(waiter.ticket).delete(waiter);
    this.#expiring.delete(waiter);
    this.#waiters.delete(waiter.ticket);
  }

  /** No timer runs any more, nor is one set again: who waits then waits for their own signal. */
  close(): void {
    this.#isClosed = true;
    this.#cancelTimer?.();
  }

  #lineOf({ login = false }: Ticket): PriorityMap<Waiter> {
    return login ? this.#loginsWaiting : this.#others;
  }

  #serve(): void {
    while (this.#hasRoom) {
      const now = this.#clock.now();
      const next = this.#next(now) ?? this.#nextBypass(now);
      if (next === undefined) return this.#wait(now);
      this.#remove(next);
      this.#all.acquire();
      if (next.ticket.login) this.#logins.acquire();
      this.#running += 1;
      next.start();
    }
  }

  /** While the breaker is open one goes alone, so that what it meets is known before anybody follows. */
  get #hasRoom(): boolean {
    return this.#running < (this.#circuitBreaker.isOpen ? 1 : this.#concurrency);
  }

  /** The most urgent of those who may go now. */
  #next(now: EpochMs): Waiter | undefined {
    const other = this.#delay(now) > 0 ? undefined : this.#others.first()?.key;
    const login = this.#loginDelay(now) > 0 ? undefined : this.#loginsWaiting.first()?.key;
    if (other === undefined || login === undefined) return other ?? login;
    return isBefore(login, other) ? login : other;
  }

  /** Somebody whose token would expire before the pause ends. */
  #nextBypass(now: EpochMs): Waiter | undefined {
    if (this.#bypassDelay(now) > 0) return undefined;
    this.#bypassCooldown.extend(now + BYPASS_INTERVAL, now);
    return this.#expiring.first()?.key;
  }

  /** Until that may go. */
  #bypassDelay(now: EpochMs): Ms {
    const first = this.#firstToExpire(now);
    const pauseLeft = this.#adaptiveRate.pauseLeft(now);
    if (first === undefined || pauseLeft <= 0) return Infinity;
    const left = first.priority - now;
    const wait = Math.max(
      left - AHEAD_OF_EXPIRY,
      this.#bypassCooldown.left(now),
      this.#circuitBreaker.waitLeft(now),
      this.#bucketDelay(now, first.key.ticket),
    );
    return wait < Math.min(left, pauseLeft) ? wait : Infinity;
  }

  /** Those whose token has expired wait like those who have none. */
  #firstToExpire(now: EpochMs): { readonly key: Waiter; readonly priority: EpochMs } | undefined {
    let first = this.#expiring.first();
    while (first !== undefined && first.priority <= now) {
      this.#expiring.delete(first.key);
      first = this.#expiring.first();
    }
    return first;
  }

  /** A timer for the first who waits for no more than time, or for the host to be forgotten. */
  #wait(now: EpochMs): void {
    const delays = [
      ...(this.#others.size > 0 ? [this.#delay(now)] : []),
      ...(this.#loginsWaiting.size > 0 ? [this.#loginDelay(now)] : []),
      ...(this.#expiring.size > 0 ? [this.#bypassDelay(now)] : []),
    ];
    if (delays.length > 0) return this.#wakeIn(Math.min(...delays));
    if (this.#running === 0 && this.#circuitBreaker.isClean) this.#rest(now);
  }

  /** Until the next start: neither paused nor cut off, and the bucket holds a whole token. */
  #delay(now: EpochMs, login = false): Ms {
    return Math.max(this.#bucketDelay(now, { login }), this.#closedFor(now));
  }

  #loginDelay(now: EpochMs): Ms {
    return this.#delay(now, true);
  }

  #bucketDelay(now: EpochMs, { login = false }: Pick<Ticket, 'login'>): Ms {
    const factor = this.#adaptiveRate.factor(now);
    const all = this.#all.delay(now, factor);
    return login ? Math.max(all, this.#logins.delay(now, factor)) : all;
  }

  #closedFor(now: EpochMs): Ms {
    return Math.max(this.#adaptiveRate.pauseLeft(now), this.#circuitBreaker.waitLeft(now));
  }

  /** Nobody is here; the host can be forgotten once it is back at full speed and its buckets are full. */
  #rest(now: EpochMs): void {
    if (this.#adaptiveRate.factor(now) < 1) return this.#wakeIn(MAX_TIMER);
    const wait = Math.max(this.#all.fullIn(now), this.#logins.fullIn(now), this.#closedFor(now));
    if (wait > 0) return this.#wakeIn(wait);
    this.#cancelTimer?.();
    this.#onIdle();
  }

  /** One timer. It never fires too late, for whatever comes in between sets it anew; if too early, it is set again. */
  #wakeIn(delay: Ms): void {
    this.#cancelTimer?.();
    if (this.#isClosed) return;
    this.#cancelTimer = this.#clock.after(Math.min(delay, MAX_TIMER), () => {
      this.#cancelTimer = undefined;
      this.#serve();
    });
  }
}

const isBefore = (one: Waiter, other: Waiter): boolean =>
  one.ticket.deadline === other.ticket.deadline
    ? one.order < other.order
    : one.ticket.deadline < other.ticket.deadline;
