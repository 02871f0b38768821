/** Pseudo-random choices from a seed: the same seed gives the same choices in every process. */
export class Dice {
  readonly #name: string;
  #state: number;

  constructor(seed: string) {
    this.#name = seed;
    this.#state = hashOf(seed);
  }

  /** Independent dice, so that one consumer does not change the choices of another. */
  fork(name: string): Dice {
    return new Dice(`${this.#name}/${name}`);
  }

  /** Uniform in [0, 1). (mulberry32) */
  readonly next = (): number => {
    this.#state = (this.#state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(this.#state ^ (this.#state >>> 15), 1 | this.#state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };

  /** An integer from 0 to `n` - 1. */
  below(n: number): number {
    return Math.floor(this.next() * n);
  }

  /** An integer between both bounds, inclusive. */
  between(low: number, high: number): number {
    return low + this.below(high - low + 1);
  }

  chance(probability: number): boolean {
    return this.next() < probability;
  }

  /** @throws RangeError when there is nothing to pick from */
  pick<T>(list: readonly T[]): T {
    const [picked] = list.slice(this.below(list.length));
    if (picked === undefined) throw new RangeError('nothing to pick from');
    return picked;
  }

  /** A key, with a probability in proportion to its weight. */
  weighted<T extends string>(weights: Readonly<Partial<Record<T, number>>>): T {
    const entries = Object.entries(weights).map(
      ([name, weight]) => [name, Number(weight)] as const,
    );
    let left = this.next() * entries.reduce((sum, [, weight]) => sum + weight, 0);
    const found = entries.find(([, weight]) => (left -= weight) < 0) ?? entries.at(-1);
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the keys of `weights` are of the type T
    return found?.[0] as T;
  }

  shuffled<T>(list: readonly T[]): T[] {
    const drawn = list.map((item) => ({ item, order: this.next() }));
    return drawn.sort((a, b) => a.order - b.order).map(({ item }) => item);
  }

  bytes(size: number): Buffer {
    const buffer = Buffer.alloc(size);
    for (let at = 0; at < size; at += 1) buffer[at] = this.below(256);
    return buffer;
  }

  uuid(): string {
    const hex = this.bytes(16).toString('hex');
    return hex.replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-');
  }
}

/** FNV-1a, 32 bits. */
function hashOf(text: string): number {
  let hash = 0x811c9dc5;
  for (let at = 0; at < text.length; at += 1) {
    hash = Math.imul(hash ^ text.charCodeAt(at), 0x01000193);
  }
  return hash | 0;
}
