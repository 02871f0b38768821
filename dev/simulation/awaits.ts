import { AsyncLocalStorage } from 'node:async_hooks';
import type { Dice } from './dice.ts';

/**
 * At which awaits of the operator a replica was crashed. `awaits-hook.ts` writes `__await("file:line", …)` around the
 * operand of each await of src; here it is counted which of them wait when a replica crashes, and one can be chosen.
 */

interface Waiting {
  readonly slot: string;
  readonly places: Map<string, number>;
}

const current = new AsyncLocalStorage<Waiting>();
const crashed = new Map<string, number>();
let next: { readonly place: string; readonly reached: (slot: string) => void } | undefined;

/** Where an interruption may leave something half done. */
const WORTH_IT = /^src\/(reconcile|tokens|oauth|kubernetes)\//;

/** Undefined without the hook. */
export function pickAwait(dice: Dice): string | undefined {
  const places: unknown = Reflect.get(globalThis, '__awaitPlaces');
  if (!(places instanceof Set)) return undefined;
  const choice = Array.from(places, String)
    .filter((place) => WORTH_IT.test(place))
    .sort();
  return choice.length === 0 ? undefined : dice.pick(choice);
}

/** Tells once which replica waits at that place next; replaces what was asked for before. */
export function whenWaitingAt(place: string, reached: (slot: string) => void): void {
  next = { place, reached };
}

export function forgetAwait(): void {
  next = undefined;
}

/** Runs the operator of one replica; the result tells of its crash. */
export function watchingAwaits(slot: string, run: () => void): () => void {
  const waiting: Waiting = { slot, places: new Map() };
  current.run(waiting, run);
  return () => {
    for (const [place, count] of waiting.places) {
      if (count > 0) crashed.set(place, (crashed.get(place) ?? 0) + 1);
    }
  };
}

/** Since the last call. */
export function crashedAwaits(): Record<string, number> {
  const counts = Object.fromEntries(crashed);
  crashed.clear();
  return counts;
}

async function awaited(place: string, operand: unknown): Promise<unknown> {
  const waiting = current.getStore();
  const count = (by: number): void => {
    waiting?.places.set(place, (waiting.places.get(place) ?? 0) + by);
  };
  count(1);
  if (waiting !== undefined && next?.place === place) {
    const { reached } = next;
    next = undefined;
    reached(waiting.slot);
  }
  try {
    return await operand;
  } finally {
    count(-1);
  }
}

Object.assign(globalThis, { __await: awaited });
