import type { Clock } from '../lib/clock.ts';
import { type Key, splitKey } from '../lib/key.ts';
import { PriorityMap } from '../lib/priority-map.ts';
import { type EpochMs, type Ms, seconds } from '../lib/time.ts';
import { ReadyKeys } from './ready-keys.ts';

/** No timer runs longer, so that a jump of the system clock is noticed within this time. */
const MAX_TIMER: Ms = seconds(60);

/** The names in brackets are those of client-go's metrics. */
export interface QueueMetrics {
  /** A key became due (`workqueue_adds_total`). */
  add(): void;
  /** A key becomes due later (`workqueue_retries_total`). */
  retry(): void;
  /** A key that was due for so long is now in work (`workqueue_queue_duration_seconds`). */
  get(waited: Ms): void;
  /** A key was in work for so long (`workqueue_work_duration_seconds`). */
  done(worked: Ms): void;
}

export interface QueueSnapshot {
  /** Due and not in work (`workqueue_depth`). */
  readonly ready: number;
  /** Sum over everything in work (`workqueue_unfinished_work_seconds`). */
  readonly unfinishedWork: Ms;
  /** (`workqueue_longest_running_processor_seconds`) */
  readonly longestWork: Ms;
}

interface Timer {
  /** By the monotonic clock. */
  readonly at: Ms;
  readonly cancel: () => void;
}

const NO_METRICS: QueueMetrics = {
  add: () => undefined,
  retry: () => undefined,
  get: () => undefined,
  done: () => undefined,
};

/** Keys that need a reconcile, now or later. A key is never in work twice, and no `add` is ever lost. */
export class WorkQueue {
  readonly #clock: Clock;
  readonly #metrics: QueueMetrics;
  /** Due and not in work. */
  readonly #ready = new ReadyKeys();
  /** The same, but goes first: the response that the key has waited for is in. */
  readonly #readyFirst = new ReadyKeys();
  /** In work, and since when. */
  readonly #processing = new Map<Key, EpochMs>();
  /** By namespace: how many keys are in work. */
  readonly #processingIn = new Map<string, number>();
  /** In work and due again as soon as that is done; the value: whether it then goes first. A subset of `#processing`. */
  readonly #dirty = new Map<Key, boolean>();
  /** Due later, by a wall clock that is never set back (`#now`). */
  readonly #waiting = new PriorityMap<Key>();
  readonly #clockSetBack: ClockSetBack;
  #onReady: () => void = () => undefined;
  #timer: Timer | undefined;
  #isShutDown = false;

  constructor(clock: Clock, metrics: QueueMetrics = NO_METRICS) {
    this.#clock = clock;
    this.#metrics = metrics;
    this.#clockSetBack = new ClockSetBack(clock);
  }

  /** `callback` is told whenever there is something to take; it replaces the one before. */
  onReady(callback: () => void): void {
    this.#onReady = callback;
  }

  add(key: Key): void {
    if (this.#isShutDown || this.#isReady(key) || this.#dirty.has(key)) return;
    this.#metrics.add();
    if (this.#processing.has(key)) this.#dirty.set(key, false);
    else this.#makeReady(key, false);
  }

  /** The same, before all that is merely due. */
  addFirst(key: Key): void {
    if (this.#isShutDown || this.#readyFirst.has(key)) return;
    if (!this.#ready.delete(key) && !this.#dirty.has(key)) this.#metrics.add();
    if (this.#processing.has(key)) this.#dirty.set(key, true);
    else this.#makeReady(key, true);
  }

  /**
   * Adds the key at that moment; of two moments the earlier one wins.
   * @throws RangeError when `at` is NaN
   */
  addAt(key: Key, at: EpochMs): void {
    if (this.#isShutDown) return;
    this.#metrics.retry();
    if (at <= this.#clock.now()) return this.add(key);
    const due = at + this.#clockSetBack.total();
    if (due >= (this.#waiting.get(key) ?? Infinity)) return;
    this.#waiting.set(key, due);
    this.#arm();
  }

  /** The next key, now in work, or undefined. Its wake-up is dropped: the reconcile decides when the next is due. */
  get(): Key | undefined {
    const processingIn = (namespace: string): number => this.#processingIn.get(namespace) ?? 0;
    const next = this.#readyFirst.take(processingIn) ?? this.#ready.take(processingIn);
    if (next === undefined) return undefined;
    const [key, since] = next;
    this.#waiting.delete(key);
    this.#processing.set(key, this.#clock.now());
    this.#countProcessing(key, 1);
    this.#metrics.get(this.#since(since));
    return key;
  }

  done(key: Key): void {
    const since = this.#processing.get(key);
    if (since === undefined) return;
    this.#processing.delete(key);
    this.#countProcessing(key, -1);
    this.#metrics.done(this.#since(since));
    const isFirst = this.#dirty.get(key);
    if (isFirst === undefined) return;
    this.#dirty.delete(key);
    this.#makeReady(key, isFirst);
  }

  /** Drops everything that is due, now or later, and takes in nothing more. */
  shutDown(): void {
    this.#isShutDown = true;
    this.#timer?.cancel();
    this.#readyFirst.clear();
    this.#ready.clear();
    this.#dirty.clear();
    this.#waiting.clear();
  }

  snapshot(): QueueSnapshot {
    const work = [...this.#processing.values()].map((since) => this.#since(since));
    return {
      ready: this.#readyFirst.size + this.#ready.size,
      unfinishedWork: work.reduce((sum, worked) => sum + worked, 0),
      longestWork: work.reduce((most, worked) => Math.max(most, worked), 0),
    };
  }

  #countProcessing(key: Key, by: 1 | -1): void {
    const { namespace } = splitKey(key);
    const count = (this.#processingIn.get(namespace) ?? 0) + by;
    if (count === 0) this.#processingIn.delete(namespace);
    else this.#processingIn.set(namespace, count);
  }

  #isReady(key: Key): boolean {
    return this.#readyFirst.has(key) || this.#ready.has(key);
  }

  #makeReady(key: Key, isFirst: boolean): void {
    (isFirst ? this.#readyFirst : this.#ready).add(key, this.#clock.now());
    this.#onReady();
  }

  /** Never negative, even when the clock has been set back. */
  #since(moment: EpochMs): Ms {
    return Math.max(this.#clock.now() - moment, 0);
  }

  /** One timer, for the earliest wake-up. One that fires for nothing does no harm. */
  #arm(): void {
    const next = this.#waiting.first();
    if (next === undefined) return;
    const delay = Math.min(next.priority - this.#now(), MAX_TIMER);
    const at = this.#clock.monotonic() + delay;
    if (this.#timer !== undefined && this.#timer.at <= at) return;
    this.#timer?.cancel();
    this.#timer = { at, cancel: this.#clock.after(delay, () => this.#wake()) };
  }

  #wake(): void {
    this.#timer = undefined;
    const now = this.#now();
    let next = this.#waiting.first();
    while (next !== undefined && next.priority <= now) {
      this.#waiting.delete(next.key);
      this.add(next.key);
      next = this.#waiting.first();
    }
    this.#arm();
  }

  #now(): EpochMs {
    return this.#clock.now() + this.#clockSetBack.total();
  }
}

/** Less is taken for the difference between two clocks that are read one after the other. */
const TOLERANCE: Ms = seconds(1);

/**
 * By how much the wall clock has been set back so far. A wait that was begun before goes on as if it had not been: else
 * it would last hours longer. A clock that is set forward makes dates come sooner, as it should.
 */
class ClockSetBack {
  readonly #clock: Clock;
  /** The wall clock minus the monotonic one, when last looked at. */
  #offset: Ms;
  #total: Ms = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#offset = clock.now() - clock.monotonic();
  }

  total(): Ms {
    const offset = this.#clock.now() - this.#clock.monotonic();
    if (offset < this.#offset - TOLERANCE) this.#total += this.#offset - offset;
    if (Math.abs(offset - this.#offset) > TOLERANCE) this.#offset = offset;
    return this.#total;
  }
}
