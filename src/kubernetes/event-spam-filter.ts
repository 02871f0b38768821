import type { Clock } from '../lib/clock.ts';
import { LruMap } from '../lib/lru-map.ts';
import { type Ms, minutes } from '../lib/time.ts';
import { type EventSeries, keyOfSeries, repeat } from './event-series.ts';

/** Per credential as client-go's EventSourceObjectSpamFilter: 25 at once, then one per 5 minutes. */
const BURST = 25;
const REFILL: Ms = minutes(5);

/** Of the credentials with the latest events; the others have all permits again. */
const MAX_TRACKED = 10_000;

export interface EventSpamFilterOptions {
  readonly clock: Clock;
  /** Ends all waits. */
  readonly signal: AbortSignal;
  readonly pass: (series: EventSeries) => void;
}

interface Permits {
  readonly count: number;
  /** By the monotonic clock. */
  readonly at: Ms;
}

/** Passes the events of a credential on at a limited rate. Those beyond it wait, and repetitions become one series. */
export class EventSpamFilter {
  readonly #options: EventSpamFilterOptions;
  /** By the uid of the credential. */
  readonly #permits = new LruMap<Permits>(MAX_TRACKED);
  /** By the uid of the credential, then by the key of the series. */
  readonly #waiting = new Map<string, Map<string, EventSeries>>();
  readonly #cancels = new Map<string, () => void>();

  constructor(options: EventSpamFilterOptions) {
    this.#options = options;
    options.signal.addEventListener('abort', () => this.#end(), { once: true });
  }

  /** Series that wait for a permit. */
  get size(): number {
    let size = 0;
    for (const series of this.#waiting.values()) size += series.size;
    return size;
  }

  add(series: EventSeries): void {
    const { uid } = series;
    const waiting = this.#waiting.get(uid);
    if (waiting === undefined && this.#take(uid)) return this.#options.pass(series);
    const key = keyOfSeries(series);
    const known = waiting?.get(key);
    if (known !== undefined) return repeat(known, series);
    if (waiting === undefined) this.#wait(uid, new Map([[key, series]]));
    else waiting.set(key, series);
  }

  #take(uid: string): boolean {
    const count = this.#countOf(uid);
    if (count < 1) return false;
    this.#permits.set(uid, { count: count - 1, at: this.#options.clock.monotonic() });
    return true;
  }

  #countOf(uid: string): number {
    const { count, at } = this.#permits.get(uid) ?? { count: BURST, at: 0 };
    return Math.min(BURST, count + (this.#options.clock.monotonic() - at) / REFILL);
  }

  #wait(uid: string, waiting: Map<string, EventSeries>): void {
    this.#waiting.set(uid, waiting);
    const missing = Math.max(0, 1 - this.#countOf(uid));
    const cancel = this.#options.clock.after(Math.ceil(missing * REFILL), () => this.#next(uid));
    this.#cancels.set(uid, cancel);
  }

  /** The first that waits goes on. */
  #next(uid: string): void {
    const waiting = this.#waiting.get(uid) ?? new Map<string, EventSeries>();
    this.#waiting.delete(uid);
    this.#cancels.delete(uid);
    const [first] = waiting;
    if (first === undefined) return;
    const [key, series] = first;
    if (this.#take(uid)) {
      waiting.delete(key);
      this.#options.pass(series);
    }
    if (waiting.size > 0) this.#wait(uid, waiting);
  }

  #end(): void {
    for (const cancel of this.#cancels.values()) cancel();
    this.#cancels.clear();
  }
}
