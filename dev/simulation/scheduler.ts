import { setImmediate } from 'node:timers/promises';
import type { Ms } from '../../src/lib/time.ts';
import type { Dice } from './dice.ts';

interface Event {
  readonly at: Ms;
  /** Orders events of the same time. */
  readonly order: number;
  readonly run: () => void;
  isCancelled: boolean;
}

/**
 * Virtual time. Each message and timer of a simulation is an event. After each event the event loop of the process
 * turns until nothing is left to do, so that code that waits for promises or for its next turn continues before the
 * next event.
 */
export class Scheduler {
  readonly #dice: Dice;
  readonly #heap: Event[] = [];
  #now: Ms = 0;
  /** Events that were run. */
  count = 0;

  constructor(dice: Dice) {
    this.#dice = dice;
  }

  /** Milliseconds since the start, an integer. */
  get now(): Ms {
    return this.#now;
  }

  /** Calls `run` after `delay`. @returns how to cancel it */
  after(delay: Ms, run: () => void): () => void {
    const at = this.#now + Math.max(Math.ceil(delay), 0);
    const event: Event = { at, order: this.#dice.next(), run, isCancelled: false };
    push(this.#heap, event);
    return () => {
      event.isCancelled = true;
    };
  }

  /** Runs the events up to `end` and sets the time to `end`. Before the first one goes on what the caller has begun. */
  async runUntil(end: Ms): Promise<void> {
    await untilIdle();
    for (let next = this.#heap[0]; next !== undefined && next.at <= end; next = this.#heap[0]) {
      pop(this.#heap);
      if (next.isCancelled) continue;
      this.#now = next.at;
      this.count += 1;
      next.run();
      await untilIdle();
    }
    this.#now = end;
  }
}

async function untilIdle(): Promise<void> {
  do await setImmediate();
  while (process.getActiveResourcesInfo().includes('Immediate'));
}

const isBefore = (a: Event, b: Event): boolean => (a.at === b.at ? a.order < b.order : a.at < b.at);

/** A binary heap: an event is never later than those at 2n + 1 and 2n + 2. */
function push(heap: Event[], event: Event): void {
  let at = heap.length;
  heap.push(event);
  while (at > 0) {
    const parent = (at - 1) >> 1;
    const above = heap[parent];
    if (above === undefined || !isBefore(event, above)) break;
    heap[at] = above;
    at = parent;
  }
  heap[at] = event;
}

function pop(heap: Event[]): void {
  const last = heap.pop();
  if (last === undefined || heap.length === 0) return;
  let at = 0;
  for (;;) {
    const left = 2 * at + 1;
    const right = left + 1;
    const [a, b] = [heap[left], heap[right]];
    if (a === undefined) break;
    const [child, index] = b !== undefined && isBefore(b, a) ? [b, right] : [a, left];
    if (!isBefore(child, last)) break;
    heap[at] = child;
    at = index;
  }
  heap[at] = last;
}
