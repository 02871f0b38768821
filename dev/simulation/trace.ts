import type { Ms } from '../../src/lib/time.ts';

/** A line for each event: `12.3 s  replica A  PUT shop/loyalty-token → 409`. */
export class Trace {
  readonly #now: () => Ms;
  readonly #isKept: boolean;
  readonly lines: string[] = [];

  /** @param isKept with false no line is formatted */
  constructor(now: () => Ms, isKept: boolean) {
    this.#now = now;
    this.#isKept = isKept;
  }

  add(who: string, what: () => string): void {
    if (!this.#isKept) return;
    const at = `${(this.#now() / 1_000).toFixed(3)} s`;
    this.lines.push(`${at.padStart(12)}  ${who.padEnd(12)}  ${what()}`);
  }
}
