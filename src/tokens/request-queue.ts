import { PriorityMap } from '../lib/priority-map.ts';
import { type Ms, minutes } from '../lib/time.ts';
import { DeadlineQueue, type Queued } from './deadline-queue.ts';
import { FairQueue } from './fair-queue.ts';

/** A request that waits for its turn. */
export interface Waiter extends Queued {
  readonly start: () => void;
  /** When the current token expires, by the monotonic clock; -Infinity when there is none. */
  expiry: Ms;
}

/**
 * Renewals go by deadline. That less than this is left is a sign of overload: such renewals go by namespace in turn.
 */
const URGENT: Ms = minutes(2);

/** The line in which a request waits. */
export function lineOf(
  { ticket, expiry }: Waiter,
  now: Ms,
): 'urgent renewals' | 'renewals' | 'newcomers' | 'background' {
  if (ticket.namespaces.size === 0) return 'background';
  if (expiry <= now) return 'newcomers';
  return expiry - now < URGENT ? 'urgent renewals' : 'renewals';
}

/**
 * Who goes next. Renewals, whose token is still valid, and newcomers, which have none, wait in lines of their own:
 * newcomers get every second turn while a renewal waits (ADR 26). Log-outs go when no other may.
 */
export class RequestQueue {
  readonly #renewals = new DeadlineQueue<Waiter>();
  /** The same by namespace, and by expiry. */
  readonly #fairRenewals = new FairQueue<Waiter>();
  readonly #expiring = new PriorityMap<Waiter>();
  readonly #newcomers = new FairQueue<Waiter>();
  readonly #background = new DeadlineQueue<Waiter>();
  readonly #waiters = new Set<Waiter>();
  readonly #logins = new Set<Waiter>();
  #isTurnOfNewcomers = false;

  get waiters(): ReadonlySet<Waiter> {
    return this.#waiters;
  }

  /** Those that present a password. */
  get logins(): ReadonlySet<Waiter> {
    return this.#logins;
  }

  /** The renewal whose token expires first. */
  get firstToExpire(): Waiter | undefined {
    return this.#expiring.first()?.key;
  }

  /** Call it again after anything in the ticket, or the expiry, has changed. */
  set(waiter: Waiter, now: Ms): void {
    this.#waiters.add(waiter);
    if (waiter.ticket.login) this.#logins.add(waiter);
    const line = lineOf(waiter, now);
    if (line === 'background') this.#background.set(waiter);
    else if (line === 'newcomers') this.setNewcomer(waiter);
    else this.#setRenewal(waiter);
  }

  /** Its token has expired, or can't be saved any more. */
  setNewcomer(waiter: Waiter): void {
    this.#deleteRenewal(waiter);
    this.#newcomers.set(waiter);
  }

  delete(waiter: Waiter): void {
    this.#waiters.delete(waiter);
    this.#logins.delete(waiter);
    this.#deleteRenewal(waiter);
    this.#newcomers.delete(waiter);
    this.#background.delete(waiter);
  }

  /** Whose turn it is, of those that may go. It stays. */
  next(mayGo: (waiter: Waiter) => boolean, now: Ms): Waiter | undefined {
    this.#moveExpired(now);
    const renewal = this.#nextRenewal(mayGo, now);
    const newcomer = this.#newcomers.first(mayGo);
    const isTurnOfNewcomers = this.#isTurnOfNewcomers || renewal === undefined;
    return (isTurnOfNewcomers ? newcomer : undefined) ?? renewal ?? this.#background.first(mayGo);
  }

  /** Removes what `next` has returned, whose turn is used up. */
  take(waiter: Waiter): void {
    const isRenewal = this.#renewals.has(waiter);
    if (isRenewal) this.#fairRenewals.take(waiter);
    else if (this.#newcomers.has(waiter)) this.#newcomers.take(waiter);
    this.#isTurnOfNewcomers = isRenewal;
    this.delete(waiter);
  }

  /** Puts back what was taken and could not go: its turn is not used up. */
  restore(waiter: Waiter, now: Ms): void {
    this.set(waiter, now);
    const line = lineOf(waiter, now);
    if (line === 'newcomers') this.#newcomers.restore(waiter);
    else if (line !== 'background') this.#fairRenewals.restore(waiter);
  }

  #nextRenewal(mayGo: (waiter: Waiter) => boolean, now: Ms): Waiter | undefined {
    const first = this.#renewals.first(mayGo);
    const isUrgent = (waiter: Waiter) => lineOf(waiter, now) === 'urgent renewals';
    if (first === undefined || !isUrgent(first)) return first;
    return this.#fairRenewals.first((waiter) => mayGo(waiter) && isUrgent(waiter)) ?? first;
  }

  #moveExpired(now: Ms): void {
    for (;;) {
      const first = this.#expiring.first();
      if (first === undefined || first.priority > now) return;
      this.setNewcomer(first.key);
    }
  }

  #setRenewal(waiter: Waiter): void {
    this.#newcomers.delete(waiter);
    this.#renewals.set(waiter);
    this.#fairRenewals.set(waiter);
    this.#expiring.set(waiter, waiter.expiry);
  }

  #deleteRenewal(waiter: Waiter): void {
    this.#renewals.delete(waiter);
    this.#fairRenewals.delete(waiter);
    this.#expiring.delete(waiter);
  }
}
