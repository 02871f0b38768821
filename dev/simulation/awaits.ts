import { AsyncLocalStorage } from 'node:async_hooks';
import type { Dice } from './dice.ts';

/**
 * Counts at which awaits of the operator a replica crashed, and lets a crash choose an await. `awaits-hook.ts` wraps
 * the operand of each await of src in `__await("file:line", …)`.
 */

interface Waiting {
  readonly slot: string;
  readonly places: Map<string, number>;
}

type Reached = (slot: string) => void;

const current = new AsyncLocalStorage<Waiting>();
const crashed = new Map<string, number>();
let next: { readonly places: readonly string[]; readonly reached: Reached } | undefined;
let only: ReadonlySet<string> | undefined;

/** Files in which a crash may leave a partial result. */
const WORTH_IT = /^src\/(reconcile|tokens|oauth|kubernetes)\//;

/** Lets each crash happen at the first of these awaits (`file:line`) that is reached, for those that are rare. */
export function crashOnlyAt(places: readonly string[]): void {
  only = new Set(places);
}

/** At which awaits to crash next: one of all, or any of `crashOnlyAt`. None without the hook. */
export function pickAwaits(dice: Dice): readonly string[] {
  const places: unknown = Reflect.get(globalThis, '__awaitPlaces');
  if (!(places instanceof Set)) return [];
  const choice = Array.from(places, String).filter((place) => WORTH_IT.test(place));
  if (only !== undefined) return choice.filter((place) => only?.has(place));
  return choice.length === 0 ? [] : [dice.pick(choice.sort())];
}

/** Calls back once, with the replica that reaches one of these next, before it goes on. Replaces an earlier call. */
export function whenReached(places: readonly string[], reached: Reached): void {
  next = { places, reached };
}

export function forgetAwait(): void {
  next = undefined;
}

/** Runs the operator of one replica. @returns a function to call when it crashes */
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
  if (waiting !== undefined && next?.places.includes(place)) {
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
