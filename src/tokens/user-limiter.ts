import type { Clock } from '../lib/clock.ts';
import { type Ms, seconds } from '../lib/time.ts';
import { abortable, sleep } from '../lib/with-timeout.ts';
import { type Queued, raiseUrgency, type Ticket } from './deadline-queue.ts';
import { FairQueue } from './fair-queue.ts';

/** Keycloak locks a user who fails twice within a second (quickLoginCheckMilliSeconds); twice that is safe. */
const LOGIN_INTERVAL: Ms = seconds(2);

export interface LoginTicket {
  readonly ticket: Ticket;
  /** Others wait for this login: its ticket has their deadlines and the turns of their namespaces as well now. */
  readonly onLent: () => void;
}

interface Waiter extends Queued, LoginTicket {
  readonly start: () => void;
}

/** @param onSent to be called when the login leaves: then the next one has to keep its distance */
type Login<T> = (onSent: () => void) => Promise<T>;

/**
 * Logins of one user run one after the other, LOGIN_INTERVAL after the end of the one before, whichever credentials
 * they are for. Namespaces take turns, so that the other logins of one don't keep another waiting. Not a HostLimiter,
 * which counts from the start of a request and allows for pauses and faults of a host.
 */
export class UserLimiter {
  readonly #clock: Clock;
  /** The logins that wait, of users who log in or have just done so. */
  readonly #queues = new Map<string, FairQueue<Waiter>>();
  /** By user: the login whose turn it is. */
  readonly #turns = new Map<string, LoginTicket>();
  readonly #waiters = new Map<Ticket, Waiter>();
  readonly #closing: AbortSignal;
  #order = 0;

  /** @param closing ends all timers; the signals of all callers must have fired by then */
  constructor(clock: Clock, closing: AbortSignal) {
    this.#clock = clock;
    this.#closing = closing;
  }

  /**
   * Runs `login` when it is its turn: that of its namespace, and there the smallest deadline first.
   * @throws the signal's reason when that fires before the turn has come
   */
  async run<T>(
    user: string,
    ticket: LoginTicket,
    login: Login<T>,
    signal: AbortSignal,
  ): Promise<T> {
    await this.#acquire(user, ticket, signal);
    let isSent = false;
    try {
      return await login(() => {
        isSent = true;
      });
    } finally {
      this.#turns.delete(user);
      void this.#release(user, isSent ? LOGIN_INTERVAL : 0);
    }
  }

  /** Call it after the deadline or the namespaces of a ticket have changed: if its login waits, it moves. */
  raisePriority(user: string, ticket: Ticket): void {
    const waiter = this.#waiters.get(ticket);
    if (waiter === undefined) return;
    this.#queues.get(user)?.set(waiter);
    this.#lend(user, waiter);
  }

  /**
   * The login whose turn it is may wait at the host, in the long line of its own namespace. What waits for it lends it
   * its turns there: else the user of one namespace would wait for all logins of another.
   */
  #lend(user: string, { ticket: waiting }: LoginTicket): void {
    const turn = this.#turns.get(user);
    if (turn === undefined) return;
    for (const namespace of waiting.namespaces) turn.ticket.namespaces.add(namespace);
    raiseUrgency(turn.ticket, waiting, this.#clock.now());
    turn.onLent();
  }

  async #acquire(user: string, login: LoginTicket, signal: AbortSignal): Promise<void> {
    const { ticket } = login;
    signal.throwIfAborted();
    const queue = this.#queues.get(user);
    if (queue === undefined) {
      this.#queues.set(user, new FairQueue());
      this.#turns.set(user, login);
      return;
    }
    const leave = () => {
      queue.delete(waiter);
      this.#waiters.delete(ticket);
    };
    const { promise, resolve: start } = abortable(signal, leave);
    const waiter = { ...login, order: this.#order, start };
    this.#order += 1;
    this.#waiters.set(ticket, waiter);
    queue.set(waiter);
    this.#lend(user, waiter);
    await promise;
  }

  async #release(user: string, interval: Ms): Promise<void> {
    if (interval > 0) {
      await sleep({ ms: interval, clock: this.#clock, signal: this.#closing });
    }
    const queue = this.#queues.get(user);
    const next = queue?.first();
    if (next === undefined) {
      this.#queues.delete(user);
      return;
    }
    queue?.take(next);
    this.#waiters.delete(next.ticket);
    this.#turns.set(user, next);
    for (const waiter of queue?.items() ?? []) this.#lend(user, waiter);
    next.start();
  }
}
