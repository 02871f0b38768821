import type { Action } from '../domain/time.ts';
import type { PassContext } from '../ports.ts';
import type { WorkQueue } from './work-queue.ts';

export interface ControllerOptions {
  readonly queue: WorkQueue;
  /** So many passes run at once; those that wait in `parked` do not count. */
  readonly workers: number;
  readonly pass: (key: string, context: PassContext) => Promise<Action>;
  /** A pass threw, which is a bug. `attempts` counts how often in a row for this key. */
  readonly onThrow: (error: unknown, key: string, attempts: number) => Action;
}

export interface StopSignals {
  /** No new passes; running ones may end. */
  readonly stop: AbortSignal;
  /** Running passes must not write any more. */
  readonly abort: AbortSignal;
}

/** Takes keys from the queue, runs passes, and puts keys back for when the passes want to look again. */
export class Controller {
  readonly #options: ControllerOptions;
  readonly #throws = new Map<string, number>();
  /** Passes whose wait is over and that want a worker again. They go before new keys. */
  readonly #resuming: (() => void)[] = [];
  #running = 0;
  #passes = 0;
  #signals: StopSignals | undefined;
  #onIdle: () => void = () => {};

  constructor(options: ControllerOptions) {
    this.#options = options;
  }

  /** Passes that hold a worker. */
  get activeWorkers(): number {
    return this.#running;
  }

  /** Resolves when `stop` or `abort` has fired and the last pass has ended. */
  async run(signals: StopSignals): Promise<void> {
    const { queue } = this.#options;
    this.#signals = signals;
    queue.onReady = () => this.#pump();
    this.#pump();
    await firstOf(signals);
    queue.shutDown();
    while (this.#passes > 0) {
      const { promise, resolve } = Promise.withResolvers<void>();
      this.#onIdle = resolve;
      await promise;
    }
  }

  #pump(): void {
    const signals = this.#signals;
    if (signals === undefined) return;
    while (this.#running < this.#options.workers) {
      const resume = this.#resuming.shift();
      const key = resume === undefined && !isOver(signals) ? this.#options.queue.take() : undefined;
      if (resume === undefined && key === undefined) return;
      this.#running += 1;
      if (resume !== undefined) resume();
      else if (key !== undefined) void this.#work(key, signals.abort);
    }
  }

  async #work(key: string, signal: AbortSignal): Promise<void> {
    const { queue } = this.#options;
    this.#passes += 1;
    const action = await this.#attempt(key, signal);
    queue.done(key);
    if (action !== 'await-change') queue.addAt(key, action.lookAgainAt);
    this.#passes -= 1;
    this.#running -= 1;
    if (this.#passes === 0) this.#onIdle();
    this.#pump();
  }

  async #attempt(key: string, signal: AbortSignal): Promise<Action> {
    const { pass, onThrow } = this.#options;
    try {
      const action = await pass(key, { signal, parked: (wait) => this.#parked(wait) });
      this.#throws.delete(key);
      return action;
    } catch (error) {
      if (this.#signals !== undefined && isOver(this.#signals)) return 'await-change';
      const attempts = (this.#throws.get(key) ?? 0) + 1;
      this.#throws.set(key, attempts);
      return onThrow(error, key, attempts);
    }
  }

  async #parked<T>(wait: () => Promise<T>): Promise<T> {
    this.#running -= 1;
    this.#pump();
    try {
      return await wait();
    } finally {
      await this.#worker();
    }
  }

  /** A worker for a pass that has waited. */
  async #worker(): Promise<void> {
    if (this.#running < this.#options.workers) {
      this.#running += 1;
      return;
    }
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#resuming.push(resolve);
    await promise;
  }
}

const isOver = ({ stop, abort }: StopSignals): boolean => stop.aborted || abort.aborted;

function firstOf({ stop, abort }: StopSignals): Promise<void> {
  const either = AbortSignal.any([stop, abort]);
  return new Promise((resolve) => {
    if (either.aborted) resolve();
    else either.addEventListener('abort', () => resolve(), { once: true });
  });
}
