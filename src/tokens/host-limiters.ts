import type { Clock, Random } from '../lib/clock.ts';
import type { EpochMs } from '../lib/time.ts';
import type { Ticket } from './deadline-queue.ts';
import { HostLimiter, type HostLimits, type HostState } from './host-limiter.ts';
import type { Outcome } from './outcome.ts';

/** When a request may go to a host: at most so many a second and at once, in the order of a RequestQueue. */
export interface RequestLimiter {
  /** Runs `task` when it is its turn. Each task has its own ticket. Rejects with the signal's reason if that fires first. */
  run<T>(host: string, ticket: Ticket, task: () => Promise<T>, signal: AbortSignal): Promise<T>;
  /** Call it after anything in a ticket has changed: if the ticket waits, it moves. */
  raisePriority(host: string, ticket: Ticket): void;
  /**
   * No request goes to the realm of the ticket before `until`, or for five minutes if that is less, and then fewer go.
   * The exception: 30 s before a token would expire in the pause one request goes. If another realm of the host is
   * paused as well, so is the host. Every ten seconds one request of the other realms still goes, and one of the
   * refused realms if its own pause allows it. A normal response ends the pause of the host.
   */
  pause(host: string, ticket: Ticket, until: EpochMs): void;
  /**
   * How a request ended; call it inside its task, and `pause` before it when that is `refused`. Five `unreachable` in a
   * row open the circuit breaker of the realm, and that of the host if they come from two realms.
   */
  report(host: string, ticket: Ticket, outcome: Outcome): void;
}

export interface HostSnapshot extends HostState {
  readonly host: string;
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
      limiter.release(ticket);
    }
  }

  raisePriority(host: string, ticket: Ticket): void {
    this.#hosts.get(host)?.raisePriority(ticket);
  }

  pause(host: string, ticket: Ticket, until: EpochMs): void {
    this.#of(host).pause(ticket, until);
  }

  report(host: string, ticket: Ticket, outcome: Outcome): void {
    this.#hosts.get(host)?.report(ticket, outcome);
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
