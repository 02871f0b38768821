import { type EpochMs, type Ms, minutes } from '../domain/time.ts';
import type { Clock } from '../ports.ts';
import { Heap } from './heap.ts';

/** What a queue tells whoever measures it. */
export interface QueueObserver {
  added(): void;
  /** A key was handed out after it had been ready for so long. */
  taken(waited: Ms): void;
  finished(worked: Ms): void;
}

interface Wake {
  readonly key: string;
  readonly at: EpochMs;
}

/** Timers are never set for longer, so that a jump of the system's clock is noticed soon. */
const LONGEST_SLEEP = minutes(1);

/**
 * Keys that want to be worked on, now or later. A key is in work at most once; one that is added meanwhile
 * is handed out once more afterwards; of two wake-up times the earlier one counts.
 */
export class WorkQueue {
  readonly #clock: Clock;
  readonly #observer: QueueObserver | undefined;
  /** Ready keys in order, with the moment since when. */
  readonly #ready = new Map<string, EpochMs>();
  /** Keys in work, with the moment since when. */
  readonly #inWork = new Map<string, EpochMs>();
  /** Keys that were added while they were in work. */
  readonly #again = new Set<string>();
  /** The one wake-up that counts per key; entries of the heap that differ from it are stale. */
  readonly #wakes = new Map<string, Wake>();
  #heap = new Heap<Wake>();
  #cancelTimer: (() => void) | undefined;
  #timerAt = Number.POSITIVE_INFINITY;
  #isShut = false;
  #onReady: () => void = () => {};

  constructor(clock: Clock, observer?: QueueObserver) {
    this.#clock = clock;
    this.#observer = observer;
  }

  /** Called whenever a key may be taken. */
  set onReady(listener: () => void) {
    this.#onReady = listener;
  }

  get depth(): number {
    return this.#ready.size;
  }

  /** Since when each key in work is. */
  get inWork(): Iterable<EpochMs> {
    return this.#inWork.values();
  }

  get scheduled(): number {
    return this.#wakes.size;
  }

  add(key: string): void {
    if (this.#isShut) return;
    this.#wakes.delete(key);
    if (this.#inWork.has(key)) {
      if (!this.#again.has(key)) this.#observer?.added();
      this.#again.add(key);
      return;
    }
    if (this.#ready.has(key)) return;
    this.#observer?.added();
    this.#ready.set(key, this.#clock.now());
    this.#onReady();
  }

  addAt(key: string, at: EpochMs): void {
    if (this.#isShut || this.#ready.has(key) || this.#again.has(key)) return;
    if (at <= this.#clock.now()) return this.add(key);
    const known = this.#wakes.get(key);
    if (known !== undefined && known.at <= at) return;
    const wake = { key, at };
    this.#wakes.set(key, wake);
    this.#heap.push(at, wake);
    this.#dropStale();
    this.#arm();
  }

  /** The next key, which is in work from now on. What it was to be woken for is dropped: its pass decides anew. */
  take(): string | undefined {
    const [next] = this.#ready;
    if (next === undefined || this.#isShut) return undefined;
    const [key, since] = next;
    const now = this.#clock.now();
    this.#ready.delete(key);
    this.#wakes.delete(key);
    this.#inWork.set(key, now);
    this.#observer?.taken(now - since);
    return key;
  }

  done(key: string): void {
    const since = this.#inWork.get(key);
    if (since === undefined) return;
    this.#inWork.delete(key);
    this.#observer?.finished(this.#clock.now() - since);
    if (!this.#again.delete(key) || this.#isShut) return;
    this.#wakes.delete(key);
    this.#ready.set(key, this.#clock.now());
    this.#onReady();
  }

  /** Hands out nothing any more and lets no timer run. */
  shutDown(): void {
    this.#isShut = true;
    this.#ready.clear();
    this.#again.clear();
    this.#wakes.clear();
    this.#heap = new Heap();
    this.#cancelTimer?.();
  }

  #arm(): void {
    const next = this.#heap.peek()?.rank ?? Number.POSITIVE_INFINITY;
    if (next === Number.POSITIVE_INFINITY || next >= this.#timerAt) return;
    this.#cancelTimer?.();
    this.#timerAt = next;
    const delay = Math.min(Math.max(next - this.#clock.now(), 0), LONGEST_SLEEP);
    this.#cancelTimer = this.#clock.after(delay, () => this.#wake());
  }

  #wake(): void {
    this.#cancelTimer = undefined;
    this.#timerAt = Number.POSITIVE_INFINITY;
    const now = this.#clock.now();
    for (let next = this.#heap.peek(); next !== undefined; next = this.#heap.peek()) {
      const isStale = this.#wakes.get(next.value.key) !== next.value;
      if (!isStale && next.rank > now) break;
      this.#heap.pop();
      if (!isStale) this.add(next.value.key);
    }
    this.#arm();
  }

  /** Keeps the heap from growing with wake-ups that do not count any more. */
  #dropStale(): void {
    if (this.#heap.size < 64 || this.#heap.size < 2 * this.#wakes.size) return;
    this.#heap = new Heap();
    for (const wake of this.#wakes.values()) this.#heap.push(wake.at, wake);
  }
}
