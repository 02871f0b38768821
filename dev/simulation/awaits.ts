import { AsyncLocalStorage } from 'node:async_hooks';

/**
 * At which awaits of the operator a replica was crashed. `awaits-hook.ts` writes `__await("file:line", …)` around the
 * operand of each await of src; here it is counted which of them wait when a replica crashes.
 */

interface Waiting {
  readonly places: Map<string, number>;
}

const current = new AsyncLocalStorage<Waiting>();
const crashed = new Map<string, number>();

/** Runs the operator of one replica; the result tells of its crash. */
export function watchingAwaits(run: () => void): () => void {
  const waiting: Waiting = { places: new Map() };
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
  try {
    return await operand;
  } finally {
    count(-1);
  }
}

Object.assign(globalThis, { __await: awaited, __awaits: crashed });
