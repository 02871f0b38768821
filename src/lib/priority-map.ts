interface Entry<K> {
  readonly key: K;
  readonly priority: number;
  readonly order: number;
  /** Where it stands in the heap. */
  place: number;
}

/**
 * Keys by priority, the smallest first, first come first served among equals. A binary heap that knows where each
 * key stands, so that changing or removing any key costs O(log n) and leaves nothing behind.
 */
export class PriorityMap<K> {
  readonly #heap: Entry<K>[] = [];
  readonly #entries = new Map<K, Entry<K>>();
  #order = 0;

  get size(): number {
    return this.#heap.length;
  }

  has(key: K): boolean {
    return this.#entries.has(key);
  }

  /** The priority of a key. */
  get(key: K): number | undefined {
    return this.#entries.get(key)?.priority;
  }

  /** The key with the smallest priority; it stays. */
  first(): { readonly key: K; readonly priority: number } | undefined {
    return this.#heap[0];
  }

  /** @throws RangeError for NaN, which has no place in any order */
  set(key: K, priority: number): void {
    if (Number.isNaN(priority)) throw new RangeError('a priority must be a number');
    this.delete(key);
    const entry = { key, priority, order: this.#order, place: this.#heap.length };
    this.#order += 1;
    this.#entries.set(key, entry);
    this.#heap.push(entry);
    this.#rise(entry);
  }

  delete(key: K): boolean {
    const entry = this.#entries.get(key);
    if (entry === undefined) return false;
    this.#entries.delete(key);
    const last = this.#heap.pop();
    if (last !== undefined && last !== entry) {
      this.#put(last, entry.place);
      this.#rise(last);
      this.#handler(last);
    }
    return true;
  }

  clear(): void {
    this.#heap.length = 0;
    this.#entries.clear();
  }

  #rise(entry: Entry<K>): void {
    let above = this.#above(entry);
    while (above !== undefined && isBefore(entry, above)) {
      this.#swap(entry, above);
      above = this.#above(entry);
    }
  }

  #handler(entry: Entry<K>): void {
    let below = this.#below(entry);
    while (below !== undefined && isBefore(below, entry)) {
      this.#swap(entry, below);
      below = this.#below(entry);
    }
  }

  #above({ place }: Entry<K>): Entry<K> | undefined {
    return this.#heap[(place - 1) >> 1];
  }

  #below({ place }: Entry<K>): Entry<K> | undefined {
    const left = this.#heap[2 * place + 1];
    const right = this.#heap[2 * place + 2];
    return left !== undefined && right !== undefined && isBefore(right, left) ? right : left;
  }

  #swap(one: Entry<K>, other: Entry<K>): void {
    const { place } = one;
    this.#put(one, other.place);
    this.#put(other, place);
  }

  #put(entry: Entry<K>, place: number): void {
    entry.place = place;
    this.#heap[place] = entry;
  }
}

const isBefore = (one: Entry<unknown>, other: Entry<unknown>): boolean =>
  one.priority === other.priority ? one.order < other.order : one.priority < other.priority;
