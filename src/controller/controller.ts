import type { Clock } from '../lib/clock.ts';
import type { Key } from '../lib/key.ts';
import type { Action, Ms } from '../lib/time.ts';
import { aborted } from '../lib/with-timeout.ts';
import type { WorkQueue } from './work-queue.ts';

/** The values are those of the label `result` of controller-runtime's `controller_runtime_reconcile_total`. */
export type ReconcileResult = 'success' | 'requeue_after' | 'error';

export interface ControllerOptions {
  readonly queue: WorkQueue;
  /** How many reconciles run at once. */
  readonly workers: number;
  /** @param signal fires when nothing may be written any more: the Lease is lost or the process ends */
  readonly reconcile: (key: Key, signal: AbortSignal) => Promise<Action>;
  /** A reconcile threw, which is a bug: says when to try again. `attempts` counts from 1. Must not throw. */
  readonly onError: (error: unknown, key: Key, attempts: number) => Action;
  readonly clock: Clock;
  /** A reconcile has ended, and was not aborted. */
  readonly onReconciled: (result: ReconcileResult, took: Ms) => void;
}

export interface StopSignals {
  /** No new keys; running reconciles may finish. */
  readonly stop: AbortSignal;
  /** The signal of every reconcile. Also a stop. */
  readonly abort: AbortSignal;
}

/** Takes keys from the queue and reconciles them, `workers` at once. */
export class Controller {
  readonly #options: ControllerOptions;
  /** How often in a row the reconcile of a key threw. */
  readonly #errors = new Map<Key, number>();
  readonly #running = new Set<Promise<void>>();
  #signals: StopSignals | undefined;
  #isWoken = false;
  #startedInTurn = 0;

  constructor(options: ControllerOptions) {
    this.#options = options;
  }

  /** Reconciles that have begun and not ended. */
  get active(): number {
    return this.#running.size;
  }

  /** Works until a signal fires; resolves when the last reconcile has ended. May be called again after that. */
  async run(signals: StopSignals): Promise<void> {
    this.#signals = signals;
    this.#options.queue.onReady(() => this.#wake());
    this.#wake();
    await aborted(AbortSignal.any([signals.stop, signals.abort]));
    this.#signals = undefined;
    await Promise.all(this.#running);
  }

  /** In a microtask, so that no reconcile starts in the middle of the event that made its key due. */
  #wake(): void {
    if (this.#isWoken) return;
    this.#isWoken = true;
    queueMicrotask(() => {
      this.#isWoken = false;
      this.#startReconciles();
    });
  }

  #startReconciles(): void {
    const signals = this.#signals;
    if (signals === undefined || signals.stop.aborted || signals.abort.aborted) return;
    while (this.#hasRoom()) {
      const key = this.#options.queue.get();
      if (key === undefined) return;
      this.#start(key, signals.abort);
      this.#countStart();
    }
  }

  /**
   * In one turn of the event loop no more start than there are workers: responses that have arrived meanwhile go first.
   * Else all that is due would ask for its token at once, which would grow old while it waits for a worker.
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
    const { workers } = this.#options;
    return this.#startedInTurn < workers && this.#running.size < workers;
  }

  #start(key: Key, signal: AbortSignal): void {
    const reconcile = this.#reconcile(key, signal).finally(() => {
      this.#running.delete(reconcile);
      this.#wake();
    });
    this.#running.add(reconcile);
  }

  async #reconcile(key: Key, signal: AbortSignal): Promise<void> {
    const { queue, clock, onReconciled } = this.#options;
    const began = clock.monotonic();
    const result = await this.#resultOf(key, signal);
    queue.done(key);
    if (result !== 'aborted') onReconciled(result, clock.monotonic() - began);
  }

  async #resultOf(key: Key, signal: AbortSignal): Promise<ReconcileResult | 'aborted'> {
    try {
      const action = await this.#options.reconcile(key, signal);
      this.#schedule(key, action);
      this.#errors.delete(key);
      return resultOf(action);
    } catch (error) {
      if (signal.aborted) return 'aborted'; // the next term begins with a queue of its own, and all keys
      const attempts = (this.#errors.get(key) ?? 0) + 1;
      this.#errors.set(key, attempts);
      this.#schedule(key, this.#options.onError(error, key, attempts));
      return 'error';
    }
  }

  #schedule(key: Key, action: Action): void {
    if (action !== 'await-change') this.#options.queue.addAt(key, action.requeueAt);
  }
}

function resultOf(action: Action): ReconcileResult {
  if (action === 'await-change') return 'success';
  return action.isError ? 'error' : 'requeue_after';
}
