import type { Clock } from '../lib/clock.ts';
import { type Ms, seconds } from '../lib/time.ts';
import type { Ticket } from './request-limiter.ts';

/** Keycloak locks a user who fails twice within a second; twice as long is safe with any clock. */
const LOGIN_INTERVAL: Ms = seconds(2);

interface Waiting {
  readonly ticket: Ticket;
  readonly start: () => void;
}

/** Logins of one user go one after the other, with a pause after each, whichever resources they are for. */
export class UserLimiter {
  readonly #clock: Clock;
  /** Of users who log in or have just done so. */
  readonly #waiting = new Map<string, Waiting[]>();
  readonly #pauses = new Set<() => void>();
  readonly #closing: AbortSignal;

  /** @param closing ends all pauses; the signals of all callers must have fired by then */
  constructor(clock: Clock, closing: AbortSignal) {
    this.#clock = clock;
    this.#closing = closing;
    const endPauses = (): void => {
      for (const cancel of this.#pauses) cancel();
    };
    closing.addEventListener('abort', endPauses, { once: true });
  }

  /**
   * Runs `login` in its turn, the most urgent first.
   * @throws the signal's reason when that fires before the turn has come
   */
  async run<T>(
    user: string,
    ticket: Ticket,
    login: () => Promise<T>,
    signal: AbortSignal,
  ): Promise<T> {
    await this.#wait(user, ticket, signal);
    try {
      return await login();
    } finally {
      this.#pauseAfter(user);
    }
  }

  #pauseAfter(user: string): void {
    if (this.#closing.aborted) return;
    const cancel = this.#clock.after(LOGIN_INTERVAL, () => {
      this.#pauses.delete(cancel);
      this.#next(user);
    });
    this.#pauses.add(cancel);
  }

  #wait(user: string, ticket: Ticket, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    const line = this.#waiting.get(user);
    if (line === undefined) {
      this.#waiting.set(user, []);
      return Promise.resolve();
    }
    return new Promise((resolve, reject) => {
      const leave = () => {
        line.splice(line.indexOf(waiting), 1);
        reject(signal.reason);
      };
      const start = () => {
        signal.removeEventListener('abort', leave);
        resolve();
      };
      const waiting = { ticket, start };
      signal.addEventListener('abort', leave, { once: true });
      line.push(waiting);
    });
  }

  #next(user: string): void {
    const line = this.#waiting.get(user) ?? [];
    const [first] = line.toSorted((a, b) => a.ticket.deadline - b.ticket.deadline);
    if (first === undefined) {
      this.#waiting.delete(user);
      return;
    }
    line.splice(line.indexOf(first), 1);
    first.start();
  }
}
