import type { EpochMs, Ms } from '../domain/time.ts';
import { seconds } from '../domain/time.ts';
import type { Clock, Key } from '../ports.ts';
import { PriorityMap } from './priority-map.ts';

/** No timer runs longer, so that a jump of the system clock is noticed within this time. */
const LONGEST_TIMER: Ms = seconds(60);

/** The names in brackets are those of client-go's metrics. */
export interface QueueObserver {
  /** A key became due (`workqueue_adds_total`). */
  added(): void;
  /** A key is to be looked at again later (`workqueue_retries_total`). */
  deferred(): void;
  /** A key that was due for so long is now in work (`workqueue_queue_duration_seconds`). */
  taken(waited: Ms): void;
  /** A key was in work for so long (`workqueue_work_duration_seconds`). */
  done(worked: Ms): void;
}

export interface QueueSnapshot {
  /** Due and not in work (`workqueue_depth`). */
  readonly ready: number;
  /** To be looked at later. */
  readonly deferred: number;
  readonly inWork: number;
  readonly oldestWait: Ms;
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

const NOBODY: QueueObserver = {
  added: () => undefined,
  deferred: () => undefined,
  taken: () => undefined,
  done: () => undefined,
};

/** Keys that need a pass, now or later. A key is never in work twice, and no `add` is ever lost. */
export class WorkQueue {
  readonly #clock: Clock;
  readonly #observer: QueueObserver;
  /** Due and not in work, by the moment at which they became due. */
  readonly #ready = new PriorityMap<Key>();
  /** In work, and since when. */
  readonly #inWork = new Map<Key, EpochMs>();
  /** In work, and due once more as soon as that is done. Always a subset of `#inWork`. */
  readonly #again = new Set<Key>();
  /** When to wake which key: wall-clock moments, to which is added by how much the clock had been set back before. */
  readonly #deferred = new PriorityMap<Key>();
  readonly #setBack: ClockSetBack;
  #onReady: () => void = () => undefined;
  #timer: Timer | undefined;
  #isShutDown = false;

  constructor(clock: Clock, observer: QueueObserver = NOBODY) {
    this.#clock = clock;
    this.#observer = observer;
    this.#setBack = new ClockSetBack(clock);
  }

  /** `callback` is told whenever there is something to take; it replaces the one before. */
  onReady(callback: () => void): void {
    this.#onReady = callback;
  }

  add(key: Key): void {
    if (this.#isShutDown || this.#ready.has(key) || this.#again.has(key)) return;
    this.#observer.added();
    if (this.#inWork.has(key)) this.#again.add(key);
    else this.#makeReady(key);
  }

  /**
   * Adds the key at that moment; of two moments the earlier one wins.
   * @throws RangeError when `at` is NaN
   */
  addAt(key: Key, at: EpochMs): void {
    if (this.#isShutDown) return;
    this.#observer.deferred();
    if (at <= this.#clock.now()) return this.add(key);
    const due = at + this.#setBack.total();
    if (due >= (this.#deferred.get(key) ?? Infinity)) return;
    this.#deferred.set(key, due);
    this.#arm();
  }

  /** The next key, now in work, or undefined. Its wake-up is dropped: the pass decides anew when to look again. */
  take(): Key | undefined {
    const next = this.#ready.first();
    if (next === undefined) return undefined;
    const { key, priority: since } = next;
    this.#ready.delete(key);
    this.#deferred.delete(key);
    this.#inWork.set(key, this.#clock.now());
    this.#observer.taken(this.#since(since));
    return key;
  }

  done(key: Key): void {
    const since = this.#inWork.get(key);
    if (since === undefined) return;
    this.#inWork.delete(key);
    this.#observer.done(this.#since(since));
    if (this.#again.delete(key)) this.#makeReady(key);
  }

  /** Nothing is due for the key any more; if it is in work it stays so until it is done. */
  forget(key: Key): void {
    this.#ready.delete(key);
    this.#again.delete(key);
    this.#deferred.delete(key);
  }

  /** Drops everything that is due, now or later, and takes in nothing more. */
  shutDown(): void {
    this.#isShutDown = true;
    this.#timer?.cancel();
    this.#ready.clear();
    this.#again.clear();
    this.#deferred.clear();
  }

  /** Nothing is due and nothing is in work. */
  get isQuiet(): boolean {
    return this.#ready.size === 0 && this.#inWork.size === 0;
  }

  snapshot(): QueueSnapshot {
    const oldest = this.#ready.first();
    const work = [...this.#inWork.values()].map((since) => this.#since(since));
    return {
      ready: this.#ready.size,
      deferred: this.#deferred.size,
      inWork: work.length,
      oldestWait: oldest === undefined ? 0 : this.#since(oldest.priority),
      unfinishedWork: work.reduce((sum, worked) => sum + worked, 0),
      longestWork: work.reduce((most, worked) => Math.max(most, worked), 0),
    };
  }

  #makeReady(key: Key): void {
    this.#ready.set(key, this.#clock.now());
    this.#onReady();
  }

  /** Never negative, even when somebody has set the clock back. */
  #since(moment: EpochMs): Ms {
    return Math.max(this.#clock.now() - moment, 0);
  }

  /** One timer, for the earliest wake-up. One that fires for nothing does no harm. */
  #arm(): void {
    const next = this.#deferred.first();
    if (next === undefined) return;
    const delay = Math.min(next.priority - this.#now(), LONGEST_TIMER);
    const at = this.#clock.monotonic() + delay;
    if (this.#timer !== undefined && this.#timer.at <= at) return;
    this.#timer?.cancel();
    this.#timer = { at, cancel: this.#clock.after(delay, () => this.#wake()) };
  }

  #wake(): void {
    this.#timer = undefined;
    const now = this.#now();
    let next = this.#deferred.first();
    while (next !== undefined && next.priority <= now) {
      this.#deferred.delete(next.key);
      this.add(next.key);
      next = this.#deferred.first();
    }
    this.#arm();
  }

  #now(): EpochMs {
    return this.#clock.now() + this.#setBack.total();
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
