import { DeadlineQueue, type Queued } from './deadline-queue.ts';

/**
 * Namespaces take turns (round robin); within a namespace the smallest deadline goes first. What several namespaces
 * wait for goes in the first turn of any of them, which is then used up; the others keep theirs.
 */
export class FairQueue<T extends Queued> {
  /** In the order of their turns. One without items has none. */
  #namespaces = new Map<string, DeadlineQueue<T>>();
  readonly #items = new Set<T>();
  /** In whose turn an item was taken. */
  readonly #turns = new WeakMap<T, string>();

  get size(): number {
    return this.#items.size;
  }

  items(): Iterable<T> {
    return this.#items;
  }

  has(item: T): boolean {
    return this.#items.has(item);
  }

  /** Call it again after the ticket has got another deadline or one more namespace: no namespace loses its turn. */
  set(item: T): void {
    this.#items.add(item);
    for (const namespace of item.ticket.namespaces) this.#of(namespace).set(item);
  }

  delete(item: T): boolean {
    for (const namespace of item.ticket.namespaces) {
      const items = this.#namespaces.get(namespace);
      if (items?.delete(item) && items.size === 0) this.#namespaces.delete(namespace);
    }
    return this.#items.delete(item);
  }

  /** The item whose turn it is. It stays. A namespace whose first items may not go keeps its turn. */
  first(mayGo: (item: T) => boolean = () => true): T | undefined {
    for (const items of this.#namespaces.values()) {
      const item = items.first(mayGo);
      if (item !== undefined) return item;
    }
    return undefined;
  }

  /** Removes what `first` has returned. The namespace whose turn it was comes next after all others. */
  take(item: T): void {
    for (const [namespace, items] of this.#namespaces) {
      if (!items.has(item)) continue;
      this.#namespaces.delete(namespace);
      this.#namespaces.set(namespace, items);
      this.#turns.set(item, namespace);
      break;
    }
    this.delete(item);
  }

  /**
   * Puts back what was taken, because it could not go. The namespace whose turn it was comes next again; no other one
   * of the item does, for it would have more turns than the rest.
   */
  restore(item: T): void {
    this.set(item);
    const namespace = this.#turns.get(item);
    const items = namespace === undefined ? undefined : this.#namespaces.get(namespace);
    if (namespace === undefined || items === undefined) return;
    this.#namespaces = new Map([[namespace, items], ...this.#namespaces]);
  }

  #of(namespace: string): DeadlineQueue<T> {
    const known = this.#namespaces.get(namespace);
    if (known !== undefined) return known;
    const items = new DeadlineQueue<T>();
    this.#namespaces.set(namespace, items);
    return items;
  }
}
