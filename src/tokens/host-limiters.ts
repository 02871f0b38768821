import type { Clock, Random } from '../lib/clock.ts';
import type { EpochMs } from '../lib/time.ts';
import { HostLimiter, type HostLimits } from './host-limiter.ts';
import type { RequestLimiter, Ticket } from './request-limiter.ts';

export interface HostSnapshot {
  readonly host: string;
  readonly queued: number;
  readonly running: number;
  /** Undefined while requests may go: the host is neither paused nor cut off for being unreachable. */
  readonly pausedUntil: EpochMs | undefined;
}

/** The same limits for every host, each on its own. A host with nothing left to remember is forgotten. */
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
    const queue = this.#of(host);
    await queue.acquire(ticket, signal);
    try {
      return await task();
    } finally {
      queue.release();
    }
  }

  raisePriority(host: string, ticket: Ticket): void {
    this.#hosts.get(host)?.raisePriority(ticket);
  }

  pause(host: string, until: EpochMs): void {
    this.#of(host).pause(until);
  }

  report(host: string, outcome: 'answered' | 'unreachable'): void {
    this.#hosts.get(host)?.report(outcome);
  }

  snapshot(): HostSnapshot[] {
    return [...this.#hosts].map(([host, queue]) => ({ host, ...queue.state }));
  }

  /** Ends all timers. Call it when the signals of all callers have fired; what is still on its way may end. */
  close(): void {
    this.#isClosed = true;
    for (const queue of this.#hosts.values()) queue.close();
  }

  #of(host: string): HostLimiter {
    const known = this.#hosts.get(host);
    if (known !== undefined) return known;
    const queue = new HostLimiter(this.#limits, this.#parts, () => this.#hosts.delete(host));
    this.#hosts.set(host, queue);
    if (this.#isClosed) queue.close();
    return queue;
  }
}
