import type { Sensitive } from '../domain/sensitive.ts';
import type { Key } from '../ports.ts';

/**
 * What is worth keeping of a credential between passes. All of it can be lost at any time:
 * it saves a read or spreads retries, and nothing is decided from it alone.
 */
export interface Memory {
  /** The client secret as read from that key and version of the credentials Secret: saves a read per renewal. */
  source?: { readonly version: string; readonly key: string; readonly clientSecret: Sensitive };
  /** The version of the target that was last written by us or found as we wrote it. */
  intactVersion?: string;
  /** Requests to the API server that failed in a row. */
  failedRequests: number;
}

export class Memories {
  readonly #byKey = new Map<Key, Memory>();

  of(key: Key): Memory {
    const known = this.#byKey.get(key);
    if (known !== undefined) return known;
    const memory = { failedRequests: 0 };
    this.#byKey.set(key, memory);
    return memory;
  }

  forget(key: Key): void {
    this.#byKey.delete(key);
  }
}
