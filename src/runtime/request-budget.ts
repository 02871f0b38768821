import type { EpochMs } from '../domain/time.ts';
import type { Clock, RequestBudget } from '../ports.ts';
import { type HostLimits, HostQueue } from './host-queue.ts';

export interface HostSnapshot {
  readonly host: string;
  readonly queued: number;
  readonly running: number;
  /** Undefined while the host is not paused. */
  readonly pausedUntil: EpochMs | undefined;
}

/** The same limits for every host, each on its own. A host with nothing left to remember is forgotten. */
export class HostBudgets implements RequestBudget {
  readonly #limits: HostLimits;
  readonly #clock: Clock;
  readonly #hosts = new Map<string, HostQueue>();

  constructor(limits: HostLimits, clock: Clock) {
    this.#limits = limits;
    this.#clock = clock;
  }

  async run<T>(
    host: string,
    urgency: EpochMs,
    task: () => Promise<T>,
    signal: AbortSignal,
  ): Promise<T> {
    signal.throwIfAborted();
    const queue = this.#of(host);
    await queue.enter(urgency, signal);
    try {
      return await task();
    } finally {
      queue.leave();
    }
  }

  pause(host: string, until: EpochMs): void {
    this.#of(host).pause(until);
  }

  snapshot(): HostSnapshot[] {
    return [...this.#hosts].map(([host, queue]) => ({ host, ...queue.state }));
  }

  #of(host: string): HostQueue {
    const known = this.#hosts.get(host);
    if (known !== undefined) return known;
    const queue = new HostQueue(this.#limits, this.#clock, () => this.#hosts.delete(host));
    this.#hosts.set(host, queue);
    return queue;
  }
}
