import type { Clock, Random } from '../lib/clock.ts';
import { type EpochMs, type Ms, seconds } from '../lib/time.ts';
import { abortable } from '../lib/with-timeout.ts';
import { CircuitBreaker } from './circuit-breaker.ts';
import type { Ticket } from './deadline-queue.ts';
import type { Outcome } from './outcome.ts';
import { type HostReadiness, RealmLimiter } from './realm-limiter.ts';
import { RequestQueue, type Waiter } from './request-queue.ts';
import { type PauseCause, type RateLimits, Throttle } from './throttle.ts';

export interface HostLimits extends RateLimits {
  /** How many may run at once; at least 1. */
  readonly concurrency: number;
}

export interface HostState {
  readonly queued: number;
  readonly running: number;
  /** Undefined while requests may go: there is no pause, and no circuit is open. */
  readonly pausedUntil: EpochMs | undefined;
  readonly pauseCause?: PauseCause;
}

/** While the host is paused, one request in so much time goes: it shows whether the host still refuses all realms. */
const TRIAL_INTERVAL: Ms = seconds(10);
/** Of more realms with trouble those are forgotten that had it first. A tenant may name any number of realms. */
const MAX_REALMS = 1_000;

/**
 * The requests to one host. A realm that is refused, or does not answer, is restricted alone, and the host when that
 * happens to a second realm too. Every `now` is read from the monotonic clock.
 */
export class HostLimiter {
  readonly #limits: HostLimits;
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #onIdle: () => void;
  readonly #throttle: Throttle;
  readonly #queue = new RequestQueue();
  /** While the host is paused: requests of restricted realms that go all the same, and must not be its only trials. */
  readonly #bypasses = new RequestQueue();
  /** Those that have met trouble, in that order. */
  readonly #realms = new Map<string, RealmLimiter>();
  readonly #waiters = new Map<Ticket, Waiter>();
  /** When each request that runs was started. */
  readonly #running = new Map<Ticket, Ms>();
  #pausedAt: Ms = -Infinity;
  #nextTrialAt: Ms = -Infinity;
  #nextBypassAt: Ms = -Infinity;
  #order = 0;
  #cancelTimer: (() => void) | undefined;
  #isClosed = false;

  /** @param onIdle the host can be forgotten */
  constructor(
    limits: HostLimits,
    { clock, random }: { readonly clock: Clock; readonly random: Random },
    onIdle: () => void,
  ) {
    this.#limits = limits;
    this.#clock = clock;
    this.#random = random;
    this.#onIdle = onIdle;
    this.#throttle = new Throttle(limits, new CircuitBreaker(random, 2));
  }

  get state(): HostState {
    const now = this.#clock.monotonic();
    const paused = this.#paused(now);
    return {
      queued: this.#waiters.size,
      running: this.#running.size,
      pausedUntil: paused && this.#clock.now() + paused.waitLeft(now),
      ...(paused !== undefined && { pauseCause: paused.pauseCause(now) }),
    };
  }

  /**
   * Resolves when it is the caller's turn; the caller must `release` afterwards. Rejects with the signal's reason
   * when that fires first. The signal must not have fired before.
   */
  acquire(ticket: Ticket, signal: AbortSignal): Promise<void> {
    const { promise, resolve: start } = abortable(signal, () => this.#remove(waiter));
    const waiter = { ticket, order: this.#order, start, expiry: this.#expiryOf(ticket) };
    this.#order += 1;
    this.#waiters.set(ticket, waiter);
    const now = this.#clock.monotonic();
    (this.#realms.get(ticket.realm)?.queue ?? this.#queue).set(waiter, now);
    this.#serve();
    return promise;
  }

  raisePriority(ticket: Ticket): void {
    const waiter = this.#waiters.get(ticket);
    if (waiter === undefined) return;
    waiter.expiry = this.#expiryOf(ticket);
    const realm = this.#realms.get(ticket.realm)?.queue;
    const queue = [realm, this.#bypasses].find((each) => each?.waiters.has(waiter));
    (queue ?? this.#queue).set(waiter, this.#clock.monotonic());
    this.#serve();
  }

  release(ticket: Ticket): void {
    this.#running.delete(ticket);
    this.#serve();
  }

  /** The date becomes a length here: setting the wall clock later changes nothing. */
  pause({ realm: name }: Ticket, until: EpochMs): void {
    const now = this.#clock.monotonic();
    const length = until - this.#clock.now();
    const isPaused = ({ throttle }: RealmLimiter) => throttle.adaptiveRate.pauseLeft(now) > 0;
    const isSecond = [...this.#realms].some(([other, realm]) => other !== name && isPaused(realm));
    this.#restrict(name, ({ adaptiveRate }) => adaptiveRate.pause(length, now), now);
    if (isSecond) this.#pauseHost(length, now);
    this.#serve();
  }

  report(ticket: Ticket, outcome: Outcome): void {
    if (outcome === 'unsent') return;
    const now = this.#clock.monotonic();
    if (outcome === 'unreachable') this.#unreachable(ticket, now);
    else this.#responded(ticket);
    const isAfterPause = (this.#running.get(ticket) ?? -Infinity) > this.#pausedAt;
    if (outcome === 'responded' && isAfterPause) this.#throttle.adaptiveRate.cancel(now);
    this.#serve();
  }

  /** Ends the timer, and sets none again: a request that still waits ends by its signal. */
  close(): void {
    this.#isClosed = true;
    this.#cancelTimer?.();
  }

  #expiryOf({ expiresAt }: Ticket): Ms {
    if (expiresAt === undefined) return -Infinity;
    return this.#clock.monotonic() + expiresAt - this.#clock.now();
  }

  #pauseHost(length: Ms, now: Ms): void {
    const { adaptiveRate } = this.#throttle;
    if (adaptiveRate.pauseLeft(now) <= 0) {
      this.#pausedAt = now;
      this.#nextTrialAt = now + TRIAL_INTERVAL;
      this.#nextBypassAt = now;
    }
    adaptiveRate.pause(length, now);
  }

  #unreachable({ realm: name }: Ticket, now: Ms): void {
    this.#throttle.circuitBreaker.onError(now, name);
    this.#restrict(name, ({ circuitBreaker }) => circuitBreaker.onError(now), now);
  }

  /** The first response of a host that was unreachable clears all its realms: it was not their fault. */
  #responded({ realm: name }: Ticket): void {
    const { circuitBreaker } = this.#throttle;
    const isBack = circuitBreaker.state(this.#clock.monotonic()) !== 'closed';
    circuitBreaker.onSuccess();
    for (const [other, { throttle }] of this.#realms) {
      if (isBack || other === name) throttle.circuitBreaker.onSuccess();
    }
  }

  /** A realm has met trouble: what waits for it and has not started waits there from now on. */
  #restrict(name: string, change: (throttle: Throttle) => void, now: Ms): void {
    const realm = this.#realms.get(name) ?? this.#addRealm(name);
    change(realm.throttle);
    if (realm.throttle.isRestricted(now)) {
      const waiters = [...this.#queue.waiters, ...this.#bypasses.waiters];
      const ofRealm = waiters.filter(({ ticket }) => ticket.realm === name);
      this.#recall(realm, ofRealm, now);
    }
  }

  #addRealm(name: string): RealmLimiter {
    const throttle = new Throttle(this.#limits, new CircuitBreaker(this.#random));
    const realm = new RealmLimiter(throttle);
    const [oldest] = [...this.#realms].find(([, { isIdle }]) => isIdle) ?? [];
    if (this.#realms.size >= MAX_REALMS && oldest !== undefined) this.#realms.delete(oldest);
    this.#realms.set(name, realm);
    return realm;
  }

  #recall(realm: RealmLimiter, waiters: readonly Waiter[], now: Ms): void {
    for (const waiter of waiters) this.#dequeue(waiter);
    realm.recall(waiters, now);
  }

  #dequeue(waiter: Waiter): void {
    this.#queue.delete(waiter);
    this.#bypasses.delete(waiter);
  }

  #remove(waiter: Waiter): void {
    this.#dequeue(waiter);
    this.#realms.get(waiter.ticket.realm)?.leave(waiter);
    this.#waiters.delete(waiter.ticket);
  }

  #serve(): void {
    const now = this.#clock.monotonic();
    for (;;) {
      if (this.#running.size >= this.#permittedCalls(now)) return;
      this.#admit(now);
      if (!this.#startNext(this.#bypasses, now) && !this.#startNext(this.#queue, now)) {
        return this.#wait(now);
      }
    }
  }

  #startNext(queue: RequestQueue, now: Ms): boolean {
    const mayGo = ({ ticket }: Waiter) => this.#delay(queue, now, ticket.login) <= 0;
    const next = queue.next(mayGo, now);
    if (next === undefined) return false;
    queue.take(next);
    if (queue === this.#queue) this.#nextTrialAt = now + TRIAL_INTERVAL;
    else this.#nextBypassAt = now + TRIAL_INTERVAL;
    this.#start(next, now);
    return true;
  }

  /** In the half-open state the outcome of one request is awaited before the next goes. */
  #permittedCalls(now: Ms): number {
    const isClosed = this.#throttle.circuitBreaker.state(now) === 'closed';
    return isClosed ? this.#limits.concurrency : 1;
  }

  /** Lets requests of restricted realms join the queue, and forgets the realms that have recovered. */
  #admit(now: Ms): void {
    const isPaused = this.#throttle.adaptiveRate.pauseLeft(now) > 0;
    for (const [name, realm] of this.#realms) {
      const readiness = this.#readinessFor(name, now);
      const queue = isPaused && realm.throttle.isRestricted(now) ? this.#bypasses : this.#queue;
      for (const waiter of realm.admit(readiness)) queue.set(waiter, now);
      const bypass = realm.admitBypass(readiness);
      if (bypass !== undefined) queue.set(bypass, now);
      const { circuitBreaker } = realm.throttle;
      const isHealthy = !realm.throttle.isRestricted(now) && circuitBreaker.failedCalls === 0;
      if (isHealthy) this.#realms.delete(name);
    }
  }

  #readinessFor(name: string, now: Ms): HostReadiness {
    const isRunning = [...this.#running.keys()].some(({ realm }) => realm === name);
    const delay = this.#delay(this.#queue, now);
    return { now, isRunning, delay, loginDelay: this.#delay(this.#queue, now, true) };
  }

  #start(waiter: Waiter, now: Ms): void {
    const { ticket } = waiter;
    this.#waiters.delete(ticket);
    this.#running.set(ticket, now);
    this.#throttle.acquire(ticket.login);
    const realm = this.#realms.get(ticket.realm);
    if (realm?.throttle.isRestricted(now)) this.#recall(realm, realm.started(waiter), now);
    waiter.start();
  }

  /** Sets the timer for the first waiter that waits for time alone, or for forgetting the host. */
  #wait(now: Ms): void {
    let delay = Math.min(this.#startsIn(this.#bypasses, now), this.#startsIn(this.#queue, now));
    for (const [name, realm] of this.#realms) {
      delay = Math.min(delay, realm.admitsIn(this.#readinessFor(name, now)));
    }
    if (delay < Infinity) return this.#wakeIn(delay);
    if (this.#waiters.size === 0 && this.#running.size === 0) this.#idle(now);
  }

  /** Until the next one of the queue may start; Infinity when none waits. */
  #startsIn(queue: RequestQueue, now: Ms): Ms {
    const { waiters, logins } = queue;
    return Math.min(
      waiters.size > logins.size ? this.#delay(queue, now) : Infinity,
      logins.size > 0 ? this.#delay(queue, now, true) : Infinity,
    );
  }

  /** Until a permit is there, the circuit is not open, and no pause or a trial of the queue is due. */
  #delay(queue: RequestQueue, now: Ms, login = false): Ms {
    const { adaptiveRate, circuitBreaker } = this.#throttle;
    const trialAt = queue === this.#queue ? this.#nextTrialAt : this.#nextBypassAt;
    const pauseLeft = Math.min(adaptiveRate.pauseLeft(now), trialAt - now);
    const rateDelay = this.#throttle.rateDelay(now, login);
    return Math.max(rateDelay, pauseLeft, circuitBreaker.waitLeft(now));
  }

  /** What lets no request go: the host, or the first of its realms when no request of another realm waits. */
  #paused(now: Ms): Throttle | undefined {
    if (this.#throttle.waitLeft(now) > 0) return this.#throttle;
    if (this.#queue.waiters.size > 0) return undefined;
    const throttles = [...this.#realms.values()].map(({ throttle }) => throttle);
    const [first] = throttles.toSorted((one, other) => one.waitLeft(now) - other.waitLeft(now));
    return first !== undefined && first.waitLeft(now) > 0 ? first : undefined;
  }

  /** An idle host is forgotten once it and its realms are back at the full rate and have all their permits. */
  #idle(now: Ms): void {
    const throttles = [this.#throttle, ...[...this.#realms.values()].map((each) => each.throttle)];
    if (throttles.some(({ circuitBreaker }) => circuitBreaker.failedCalls > 0)) return;
    const waits = throttles.map((throttle) => throttle.recoversIn(now));
    const wait = waits.reduce((longest, each) => Math.max(longest, each));
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
