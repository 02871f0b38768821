import { type Key, splitKey } from '../lib/key.ts';
import type { EpochMs } from '../lib/time.ts';

/**
 * Keys that are due, and since when. Namespaces take turns, so that one with thousands of keys, or with slow ones, does
 * not keep the others waiting; the keys of one go in the order in which they became due.
 */
export class ReadyKeys {
  /** The namespace whose turn it is comes first. */
  readonly #byNamespace = new Map<string, Map<Key, EpochMs>>();
  #size = 0;

  get size(): number {
    return this.#size;
  }

  has(key: Key): boolean {
    return this.#byNamespace.get(splitKey(key).namespace)?.has(key) === true;
  }

  /** A key that is there already stays in its place. */
  add(key: Key, since: EpochMs): void {
    const { namespace } = splitKey(key);
    const keys = this.#byNamespace.get(namespace) ?? new Map<Key, EpochMs>();
    if (keys.has(key)) return;
    this.#byNamespace.set(namespace, keys.set(key, since));
    this.#size += 1;
  }

  delete(key: Key): boolean {
    const { namespace } = splitKey(key);
    const keys = this.#byNamespace.get(namespace);
    if (keys?.delete(key) !== true) return false;
    this.#size -= 1;
    if (keys.size === 0) this.#byNamespace.delete(namespace);
    return true;
  }

  /** The next key, which goes; the next turn is another namespace's. */
  take(): readonly [Key, EpochMs] | undefined {
    const [turn] = this.#byNamespace;
    if (turn === undefined) return undefined;
    const [namespace, keys] = turn;
    const [next] = keys;
    this.#byNamespace.delete(namespace);
    if (next === undefined) return undefined;
    keys.delete(next[0]);
    this.#size -= 1;
    if (keys.size > 0) this.#byNamespace.set(namespace, keys);
    return next;
  }

  clear(): void {
    this.#byNamespace.clear();
    this.#size = 0;
  }
}
