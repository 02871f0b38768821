import type { Clock } from '../lib/clock.ts';
import { type Ms, seconds } from '../lib/time.ts';
import { abortable, sleep } from '../lib/with-timeout.ts';
import type { Ticket } from './host-limiter.ts';

/** Keycloak locks a user who fails twice within a second (quickLoginCheckMilliSeconds); twice that is safe. */
const LOGIN_INTERVAL: Ms = seconds(2);

interface Waiter {
  readonly ticket: Ticket;
  readonly start: () => void;
}

/**
 * Logins of one user run one after the other, LOGIN_INTERVAL after the end of the one before, whichever credentials
 * they are for. Not a HostLimiter, which counts from the start of a request and allows for pauses and faults of a host.
 */
export class UserLimiter {
  readonly #clock: Clock;
  /** The logins that wait, of users who log in or have just done so. */
  readonly #waiters = new Map<string, Waiter[]>();
  readonly #closing: AbortSignal;

  /** @param closing ends all timers; the signals of all callers must have fired by then */
  constructor(clock: Clock, closing: AbortSignal) {
    this.#clock = clock;
    this.#closing = closing;
  }

  /**
   * Runs `login` in its turn, the smallest deadline first.
   * @throws the signal's reason when that fires before the turn has come
   */
  async run<T>(
    user: string,
    ticket: Ticket,
    login: () => Promise<T>,
    signal: AbortSignal,
  ): Promise<T> {
    await this.#acquire(user, ticket, signal);
    try {
      return await login();
    } finally {
      void this.#release(user);
    }
  }

  async #acquire(user: string, ticket: Ticket, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    const waiters = this.#waiters.get(user);
    if (waiters === undefined) {
      this.#waiters.set(user, []);
      return;
    }
    const leave = () => waiters.splice(waiters.indexOf(waiter), 1);
    const { promise, resolve: start } = abortable(signal, leave);
    const waiter = { ticket, start };
    waiters.push(waiter);
    await promise;
  }

  async #release(user: string): Promise<void> {
    await sleep({ ms: LOGIN_INTERVAL, clock: this.#clock, signal: this.#closing });
    const waiters = this.#waiters.get(user) ?? [];
    const [first] = waiters.toSorted((a, b) => a.ticket.deadline - b.ticket.deadline);
    if (first === undefined) {
      this.#waiters.delete(user);
      return;
    }
    waiters.splice(waiters.indexOf(first), 1);
    first.start();
  }
}
