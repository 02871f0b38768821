import { type GameOptions, play, type Result, type Step } from './game.ts';

/** The rules that a run violates, without details that differ between runs. */
const rulesOf = ({ violations }: Result): string =>
  violations.map((text) => text.slice(0, text.indexOf(':'))).sort()[0] ?? '';

/**
 * Finds a run with fewer steps that violates the same rule. Leaves out steps in smaller and smaller groups: delta
 * debugging (Zeller and Hildebrandt, "Simplifying and Isolating Failure-Inducing Input", 2002).
 */
export async function shrink(options: GameOptions, failing: Result): Promise<Result> {
  const rule = rulesOf(failing);
  let best = failing;
  for (let size = Math.ceil(best.steps.length / 2); size >= 1; size = Math.floor(size / 2)) {
    for (let at = 0; at < best.steps.length; ) {
      const steps: Step[] = best.steps.filter((_, index) => index < at || index >= at + size);
      const result = await play({ ...options, steps });
      if (rulesOf(result) === rule) best = result;
      else at += size;
    }
  }
  return best;
}
