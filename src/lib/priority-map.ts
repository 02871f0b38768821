interface Entry<K> {
  readonly key: K;
  readonly priority: number;
  readonly order: number;
  /** Position in the heap. */
  index: number;
}

/**
 * Keys by priority, the smallest first, equal ones in the order of arrival. A binary heap that knows the position of
 * each key, so changing or removing any key costs O(log n).
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

  /**
   * A key with another priority goes behind those that have it already; with the same it keeps its place.
   * @throws RangeError for NaN, which has no order
   */
  set(key: K, priority: number): void {
    if (Number.isNaN(priority)) throw new RangeError('a priority must be a number');
    if (this.get(key) === priority) return;
    this.delete(key);
    const entry = { key, priority, order: this.#order, index: this.#heap.length };
    this.#order += 1;
    this.#entries.set(key, entry);
    this.#heap.push(entry);
    this.#siftUp(entry);
  }

  delete(key: K): boolean {
    const entry = this.#entries.get(key);
    if (entry === undefined) return false;
    this.#entries.delete(key);
    const last = this.#heap.pop();
    if (last !== undefined && last !== entry) {
      this.#put(last, entry.index);
      this.#siftUp(last);
      this.#siftDown(last);
    }
    return true;
  }

  clear(): void {
    this.#heap.length = 0;
    this.#entries.clear();
  }

  #siftUp(entry: Entry<K>): void {
    let parent = this.#parent(entry);
    while (parent !== undefined && isBefore(entry, parent)) {
      this.#swap(entry, parent);
      parent = this.#parent(entry);
    }
  }

  #siftDown(entry: Entry<K>): void {
    let child = this.#smallestChild(entry);
    while (child !== undefined && isBefore(child, entry)) {
      this.#swap(entry, child);
      child = this.#smallestChild(entry);
    }
  }

  #parent({ index }: Entry<K>): Entry<K> | undefined {
    return this.#heap[(index - 1) >> 1];
  }

  #smallestChild({ index }: Entry<K>): Entry<K> | undefined {
    const left = this.#heap[2 * index + 1];
    const right = this.#heap[2 * index + 2];
    return left !== undefined && right !== undefined && isBefore(right, left) ? right : left;
  }

  #swap(one: Entry<K>, other: Entry<K>): void {
    const { index } = one;
    this.#put(one, other.index);
    this.#put(other, index);
  }

  #put(entry: Entry<K>, index: number): void {
    entry.index = index;
    this.#heap[index] = entry;
  }
}

const isBefore = (one: Entry<unknown>, other: Entry<unknown>): boolean =>
  one.priority === other.priority ? one.order < other.order : one.priority < other.priority;
