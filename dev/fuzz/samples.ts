import * as fc from 'fast-check';

/** Values of arbitraries one after another: the same seed and the same questions give the same values. */
export class Samples {
  readonly #seed: number;
  #count = 0;

  constructor(seed: number) {
    this.#seed = seed;
  }

  next<T>(arbitrary: fc.Arbitrary<T>): T {
    this.#count += 1;
    // The odd factor spreads neighbouring seeds: run 1 does not repeat run 2 one value later
    const seed = (Math.imul(this.#seed, 0x9e3779b1) + this.#count) | 0;
    const [value] = fc.sample(arbitrary, { seed, numRuns: 1 });
    if (value === undefined) throw new Error('an arbitrary of the fuzz gave no value');
    return value;
  }
}
