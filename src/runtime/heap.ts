/** A binary heap: the entry with the smallest rank comes out first, equal ranks in the order in which they went in. */
export class Heap<T> {
  readonly #entries: { readonly rank: number; readonly turn: number; readonly value: T }[] = [];
  #turns = 0;

  get size(): number {
    return this.#entries.length;
  }

  peek(): { readonly rank: number; readonly value: T } | undefined {
    return this.#entries[0];
  }

  push(rank: number, value: T): void {
    this.#turns += 1;
    this.#entries.push({ rank, turn: this.#turns, value });
    this.#rise(this.#entries.length - 1);
  }

  pop(): T | undefined {
    const [first] = this.#entries;
    const last = this.#entries.pop();
    if (first === undefined || last === undefined) return undefined;
    if (this.#entries.length > 0) {
      this.#entries[0] = last;
      this.#sink(0);
    }
    return first.value;
  }

  #rise(from: number): void {
    let at = from;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (!this.#isBefore(at, parent)) return;
      this.#swap(at, parent);
      at = parent;
    }
  }

  #sink(from: number): void {
    let at = from;
    for (;;) {
      let next = at;
      for (const child of [2 * at + 1, 2 * at + 2]) {
        if (child < this.#entries.length && this.#isBefore(child, next)) next = child;
      }
      if (next === at) return;
      this.#swap(at, next);
      at = next;
    }
  }

  #isBefore(a: number, b: number): boolean {
    const [x, y] = [this.#entries[a], this.#entries[b]];
    if (x === undefined || y === undefined) return false;
    return x.rank === y.rank ? x.turn < y.turn : x.rank < y.rank;
  }

  #swap(a: number, b: number): void {
    const [x, y] = [this.#entries[a], this.#entries[b]];
    if (x === undefined || y === undefined) return;
    this.#entries[a] = y;
    this.#entries[b] = x;
  }
}
