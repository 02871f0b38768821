import { type EpochMs, type Ms, seconds } from '../domain/time.ts';
import type { Clock, RequestBudget } from '../ports.ts';
import { Heap } from './heap.ts';

export interface BudgetLimits {
  /** Sustained rate per host; 0 for none. */
  readonly requestsPerSecond: number;
  /** How many may start at once after a quiet time. */
  readonly burst: number;
  /** How many may be under way at once per host. */
  readonly concurrency: number;
}

export interface HostState {
  readonly host: string;
  readonly queued: number;
  readonly running: number;
  readonly pausedUntil: EpochMs;
}

interface Waiting {
  readonly start: () => void;
  readonly signal: AbortSignal;
}

/** Requests wait here for their host: a token bucket, a limit of how many at once, pauses, the most urgent first. */
export class HostBudgets implements RequestBudget {
  readonly #hosts = new Map<string, Host>();
  readonly #limits: BudgetLimits;
  readonly #clock: Clock;

  constructor(limits: BudgetLimits, clock: Clock) {
    this.#limits = limits;
    this.#clock = clock;
  }

  async run<T>(
    host: string,
    urgency: EpochMs,
    task: () => Promise<T>,
    signal: AbortSignal,
  ): Promise<T> {
    const state = this.#host(host);
    await state.turn(urgency, signal);
    try {
      return await task();
    } finally {
      state.end();
      if (state.isIdle) this.#hosts.delete(host);
    }
  }

  pause(host: string, until: EpochMs): void {
    this.#host(host).pause(until);
  }

  snapshot(): HostState[] {
    return [...this.#hosts].map(([host, state]) => ({ host, ...state.snapshot() }));
  }

  #host(name: string): Host {
    const known = this.#hosts.get(name);
    if (known !== undefined) return known;
    const host = new Host(this.#limits, this.#clock);
    this.#hosts.set(name, host);
    return host;
  }
}

class Host {
  readonly #limits: BudgetLimits;
  readonly #clock: Clock;
  readonly #queue = new Heap<Waiting>();
  #queued = 0;
  #running = 0;
  #pausedUntil: EpochMs = 0;
  #tokens: number;
  #filledAt: EpochMs;
  #cancelTimer: (() => void) | undefined;

  constructor(limits: BudgetLimits, clock: Clock) {
    this.#limits = limits;
    this.#clock = clock;
    this.#tokens = limits.burst;
    this.#filledAt = clock.now();
  }

  /** Nothing is remembered that a new host would not know as well. */
  get isIdle(): boolean {
    this.#fill();
    const isFull = this.#isUnlimited || this.#tokens >= this.#limits.burst;
    return (
      isFull && this.#queued === 0 && this.#running === 0 && this.#pausedUntil <= this.#clock.now()
    );
  }

  snapshot(): Omit<HostState, 'host'> {
    return { queued: this.#queued, running: this.#running, pausedUntil: this.#pausedUntil };
  }

  async turn(urgency: EpochMs, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const leave = () => {
      this.#queued -= 1;
      reject(signal.reason);
    };
    const start = () => {
      signal.removeEventListener('abort', leave);
      this.#queued -= 1;
      resolve();
    };
    signal.addEventListener('abort', leave, { once: true });
    this.#queued += 1;
    this.#queue.push(urgency, { start, signal });
    this.#admit();
    await promise;
  }

  end(): void {
    this.#running -= 1;
    this.#admit();
  }

  pause(until: EpochMs): void {
    this.#pausedUntil = Math.max(this.#pausedUntil, until);
    this.#admit();
  }

  get #isUnlimited(): boolean {
    return this.#limits.requestsPerSecond <= 0;
  }

  #admit(): void {
    this.#cancelTimer?.();
    this.#cancelTimer = undefined;
    for (let next = this.#queue.peek(); next !== undefined; next = this.#queue.peek()) {
      if (!next.value.signal.aborted && !this.#mayStart()) return;
      this.#queue.pop();
      if (next.value.signal.aborted) continue;
      this.#running += 1;
      this.#tokens -= 1;
      next.value.start();
    }
  }

  #mayStart(): boolean {
    if (this.#running >= this.#limits.concurrency) return false;
    const now = this.#clock.now();
    this.#fill();
    const lacking = this.#isUnlimited ? 0 : 1 - this.#tokens;
    const wait = Math.max(this.#pausedUntil - now, lacking > 0 ? this.#timeFor(lacking) : 0);
    if (wait <= 0) return true;
    this.#cancelTimer = this.#clock.after(wait, () => this.#admit());
    return false;
  }

  #timeFor(tokens: number): Ms {
    return Math.ceil((tokens / this.#limits.requestsPerSecond) * seconds(1));
  }

  #fill(): void {
    const now = this.#clock.now();
    const passed = Math.max(now - this.#filledAt, 0);
    const gained = (passed / seconds(1)) * this.#limits.requestsPerSecond;
    this.#tokens = Math.min(this.#tokens + gained, this.#limits.burst);
    this.#filledAt = now;
  }
}
