import { type Key, splitKey } from '../lib/key.ts';
import type { EpochMs } from '../lib/time.ts';

/**
 * Keys that are due, and since when. Namespaces take turns, so that one with thousands of keys does not keep the others
 * waiting, and one with slow keys, which has several in work, comes after those with fewer. The keys of one go in the
 * order in which they became due.
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

  /**
   * The next key, which goes; the next turn is another namespace's.
   * @param processingIn how many keys of a namespace are in work
   */
  take(processingIn: (namespace: string) => number): readonly [Key, EpochMs] | undefined {
    const turn = this.#turn(processingIn);
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

  /** Looks at no more namespaces than have keys in work, and one. */
  #turn(processingIn: (namespace: string) => number): [string, Map<Key, EpochMs>] | undefined {
    let best: [string, Map<Key, EpochMs>] | undefined;
    let least = Infinity;
    for (const turn of this.#byNamespace) {
      const count = processingIn(turn[0]);
      if (count < least) [best, least] = [turn, count];
      if (count === 0) break;
    }
    return best;
  }

  clear(): void {
    this.#byNamespace.clear();
    this.#size = 0;
  }
}
