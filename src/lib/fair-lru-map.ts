import { PriorityMap } from './priority-map.ts';

interface Entry<V> {
  readonly value: V;
  readonly owner: string;
}

/**
 * A Map of at most `capacity` entries, each with an owner: a new one replaces the least recently used of the owner who
 * has the most. So no owner loses an entry to others while it has no more than an equal share.
 */
export class FairLruMap<V> {
  readonly #capacity: number;
  readonly #entries = new Map<string, Entry<V>>();
  /** The keys of each owner, the least recently used first. */
  readonly #keys = new Map<string, Set<string>>();
  /** Owners by the number of their entries, the largest first. */
  readonly #owners = new PriorityMap<string>();

  constructor(capacity: number) {
    this.#capacity = capacity;
  }

  get size(): number {
    return this.#entries.size;
  }

  get(key: string): V | undefined {
    const entry = this.#entries.get(key);
    if (entry === undefined) return undefined;
    const keys = this.#keys.get(entry.owner);
    keys?.delete(key);
    keys?.add(key);
    return entry.value;
  }

  set(key: string, value: V, owner: string): void {
    this.delete(key);
    this.#entries.set(key, { value, owner });
    const keys = this.#keys.get(owner) ?? new Set();
    keys.add(key);
    this.#keys.set(owner, keys);
    this.#owners.set(owner, -keys.size);
    if (this.#entries.size > this.#capacity) this.#evict();
  }

  delete(key: string): void {
    const owner = this.#entries.get(key)?.owner;
    if (owner === undefined) return;
    this.#entries.delete(key);
    const keys = this.#keys.get(owner);
    keys?.delete(key);
    if (keys !== undefined && keys.size > 0) {
      this.#owners.set(owner, -keys.size);
      return;
    }
    this.#keys.delete(owner);
    this.#owners.delete(owner);
  }

  #evict(): void {
    const owner = this.#owners.first()?.key ?? '';
    const [oldest] = this.#keys.get(owner) ?? [];
    if (oldest !== undefined) this.delete(oldest);
  }
}
