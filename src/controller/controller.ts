import type { Clock } from '../lib/clock.ts';
import type { Key } from '../lib/key.ts';
import type { Action, Ms } from '../lib/time.ts';
import type { ReconcileContext } from './reconcile-context.ts';
import { type Permit, Semaphore } from './semaphore.ts';
import type { WorkQueue } from './work-queue.ts';

/** Parked passes cost memory (a few kB each): beyond this many no new key is taken. */
const MAX_RECONCILES = 50_000;

export interface ReconcileAttempt extends ReconcileContext {
  /** How often in a row the pass for this key threw before. */
  readonly attempt: number;
}

/** The values are those of the label `result` of controller-runtime's `controller_runtime_reconcile_total`. */
export type ReconcileResult = 'success' | 'requeue_after' | 'error';

export interface ControllerOptions {
  readonly queue: WorkQueue;
  /** How many passes run at once; parked ones do not count. */
  readonly workers: number;
  readonly reconcile: (key: Key, context: ReconcileAttempt) => Promise<Action>;
  /** A pass threw, which is a bug: says when to look again. `attempts` counts from 1. Must not throw. */
  readonly onError: (error: unknown, key: Key, attempts: number) => Action;
  readonly clock: Clock;
  /** A pass has ended, and was not aborted. */
  readonly onReconciled: (result: ReconcileResult, took: Ms) => void;
}

export interface StopSignals {
  /** No new keys; running passes may finish. */
  readonly stop: AbortSignal;
  /** The signal of every pass: nothing may be written any more. Also a stop. */
  readonly abort: AbortSignal;
}

/** Takes keys from the queue and runs passes for them. */
export class Controller {
  readonly #options: ControllerOptions;
  readonly #semaphore: Semaphore;
  readonly #attempts = new Map<Key, number>();
  readonly #reconciles = new Set<Promise<void>>();
  #stops: StopSignals | undefined;
  #isWoken = false;
  #startedInTurn = 0;

  constructor(options: ControllerOptions) {
    this.#options = options;
    this.#semaphore = new Semaphore(options.workers, () => this.#wake());
  }

  /** Passes that have begun and not ended, parked ones included. */
  get active(): number {
    return this.#reconciles.size;
  }

  /** Works until one of the signals fires; resolves when the last pass has ended. May be called again after that. */
  async run(stops: StopSignals): Promise<void> {
    this.#stops = stops;
    this.#options.queue.onReady(() => this.#wake());
    this.#wake();
    await firstOf(stops.stop, stops.abort);
    this.#stops = undefined;
    await Promise.all(this.#reconciles);
  }

  /** In a microtask, so that no pass starts in the middle of the event that made its key due. */
  #wake(): void {
    if (this.#isWoken) return;
    this.#isWoken = true;
    queueMicrotask(() => {
      this.#isWoken = false;
      this.#startReconciles();
    });
  }

  #startReconciles(): void {
    const stops = this.#stops;
    if (stops === undefined || stops.stop.aborted || stops.abort.aborted) return;
    while (this.#hasRoom()) {
      const key = this.#options.queue.get();
      if (key === undefined) return;
      this.#start(key, stops.abort);
      this.#countStart();
    }
  }

  /**
   * In one turn of the event loop no more start than there are workers: answers that have arrived meanwhile go on
   * first. Else all that is due would get its token at once, and grow old with it while waiting for a worker.
   */
  #countStart(): void {
    this.#startedInTurn += 1;
    if (this.#startedInTurn > 1) return;
    setImmediate(() => {
      this.#startedInTurn = 0;
      this.#wake();
    });
  }

  #hasRoom(): boolean {
    const hasTurn = this.#startedInTurn < this.#options.workers;
    return hasTurn && this.#semaphore.hasFree && this.#reconciles.size < MAX_RECONCILES;
  }

  #start(key: Key, abort: AbortSignal): void {
    const permit = this.#semaphore.acquire();
    const reconcile = this.#work(key, permit, abort).finally(() => {
      this.#reconciles.delete(reconcile);
      permit.release();
      this.#wake();
    });
    this.#reconciles.add(reconcile);
  }

  async #work(key: Key, permit: Permit, signal: AbortSignal): Promise<void> {
    const { queue, clock, onReconciled } = this.#options;
    const began = clock.now();
    const attempt = this.#attempts.get(key) ?? 0;
    const result = await this.#resultOf(key, { signal, attempt, parked: permit.parked });
    queue.done(key);
    if (result !== 'aborted') onReconciled(result, Math.max(clock.now() - began, 0));
  }

  async #resultOf(key: Key, context: ReconcileAttempt): Promise<ReconcileResult | 'aborted'> {
    try {
      const action = await this.#options.reconcile(key, context);
      this.#schedule(key, action);
      this.#attempts.delete(key);
      return action === 'await-change' ? 'success' : 'requeue_after';
    } catch (error) {
      if (context.signal.aborted || this.#stops === undefined) return this.#aborted(key);
      const attempts = context.attempt + 1;
      this.#attempts.set(key, attempts);
      this.#schedule(key, this.#options.onError(error, key, attempts));
      return 'error';
    }
  }

  /** It is due for whoever works next. */
  #aborted(key: Key): 'aborted' {
    this.#options.queue.add(key);
    return 'aborted';
  }

  #schedule(key: Key, action: Action): void {
    if (action !== 'await-change') this.#options.queue.addAt(key, action.requeueAt);
  }
}

function firstOf(...signals: AbortSignal[]): Promise<void> {
  return new Promise((resolve) => {
    const over = new AbortController();
    const end = () => {
      over.abort();
      resolve();
    };
    if (signals.some(({ aborted }) => aborted)) return end();
    for (const signal of signals) signal.addEventListener('abort', end, { signal: over.signal });
  });
}
