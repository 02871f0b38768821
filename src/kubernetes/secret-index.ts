import { isSameVersion, type KnownSecret, type SecretMeta } from '../credential/secret.ts';
import type { Key } from '../lib/key.ts';
import { isOlderVersion, NO_VERSION } from '../lib/resource-version.ts';
import type { WatchedSecret } from './secret-meta.ts';

interface Tracked {
  known: KnownSecret;
  /** The latest version at which it was known to be so. Requests that find nothing, and guesses, tell none. */
  asOf: string;
  /** Number of the change that made it so: becoming tracked is one. */
  change: number;
  readonly referrers: Set<Key>;
}

/** One list and watch of Secrets: of a namespace, or (empty name) of the whole cluster. */
interface SecretScope {
  readonly namespace: string;
  listed: boolean;
  /**
   * Hashes of all other Secrets ever seen since the last list. Nothing is taken out when one is deleted, for two
   * names may share a hash: at worst a name counts as unknown that is absent, and one request tells.
   */
  seen: Set<number>;
  /** Beyond so many hashes most are of Secrets that have gone. */
  limit: number;
  /** While a list runs: what it has shown so far. */
  fresh: Set<number> | undefined;
}

/** So many hashes (a few hundred kB) are kept however few Secrets there are. */
const SMALLEST_LIMIT = 10_000;

/**
 * What is known of Secrets: metadata of those that some credential names, and of all others only that they were seen.
 * So memory grows with the number of credentials, not with the cluster. What is known of a Secret only moves forward.
 */
export class SecretIndex {
  /** By namespace and name. */
  readonly #tracked = new Map<string, Map<string, Tracked>>();
  readonly #scopes = new Map<string, SecretScope>();
  #changes = 0;

  /** How many changes there have been. Noted before a request, it tells what has changed since that was sent. */
  get changes(): number {
    return this.#changes;
  }

  get(namespace: string, name: string): KnownSecret {
    return this.#find(namespace, name)?.known ?? this.#guess(namespace, name);
  }

  /** The credentials that name this Secret. */
  referrers(namespace: string, name: string): readonly Key[] {
    return [...(this.#find(namespace, name)?.referrers ?? [])];
  }

  track(namespace: string, name: string, key: Key): void {
    const names = this.#tracked.get(namespace) ?? new Map<string, Tracked>();
    this.#tracked.set(namespace, names);
    const tracked = names.get(name);
    if (tracked === undefined) {
      this.#changes += 1;
      names.set(name, {
        known: this.#guess(namespace, name),
        asOf: NO_VERSION,
        change: this.#changes,
        referrers: new Set([key]),
      });
    } else {
      tracked.referrers.add(key);
    }
  }

  untrack(namespace: string, name: string, key: Key): void {
    const names = this.#tracked.get(namespace);
    const tracked = names?.get(name);
    if (names === undefined || tracked === undefined) return;
    tracked.referrers.delete(key);
    if (tracked.referrers.size > 0) return;
    names.delete(name);
    if (names.size === 0) this.#tracked.delete(namespace);
    if (tracked.known !== 'absent') this.#remember(namespace, name);
  }

  /** Whether an answer to a request that was sent then may be older than what is known. */
  hasChangedSince(namespace: string, name: string, changes: number): boolean {
    return (this.#find(namespace, name)?.change ?? 0) > changes;
  }

  // Each of these answers what was known before, or undefined when that was the same or later.

  /** A watch or a list has shown it as it was at that version. */
  apply({ namespace, name, meta }: WatchedSecret, asOf: string): KnownSecret | undefined {
    const tracked = this.#find(namespace, name);
    if (tracked === undefined) {
      this.#remember(namespace, name);
      return undefined;
    }
    return isOlderVersion(asOf, tracked.asOf) ? undefined : this.#set(tracked, meta, asOf);
  }

  /** A watch has shown its deletion. Another one of that name may be known by now. */
  delete({ namespace, name, meta }: WatchedSecret): KnownSecret | undefined {
    const tracked = this.#find(namespace, name);
    if (tracked === undefined) return undefined;
    const { known, asOf } = tracked;
    const isKnown = typeof known === 'object' && known.uid === meta.uid;
    if (!isKnown && isOlderVersion(meta.resourceVersion, asOf)) return undefined;
    return this.#set(tracked, 'absent', meta.resourceVersion);
  }

  /**
   * A read has answered this, and nothing has changed since it was sent. But if what is known was confirmed meanwhile,
   * at a later version, the answer may have come and gone before: then nothing is known.
   */
  read(namespace: string, name: string, response: SecretMeta | 'absent'): KnownSecret | undefined {
    const tracked = this.#find(namespace, name);
    if (tracked === undefined) return undefined;
    if (response === 'absent') return this.#set(tracked, response, tracked.asOf);
    return this.#answered({ namespace, name, meta: response }, tracked);
  }

  /**
   * Our own write has made it so, if nothing later is known.
   * @param changes as they were before the write was sent
   */
  written(secret: WatchedSecret, changes: number): KnownSecret | undefined {
    const tracked = this.#find(secret.namespace, secret.name);
    if (tracked === undefined) return undefined;
    const { change, asOf } = tracked;
    const isLater = asOf !== NO_VERSION && isOlderVersion(asOf, secret.meta.resourceVersion);
    return change > changes && !isLater ? undefined : this.#answered(secret, tracked);
  }

  /** The Secret of that uid is no more, which holds for ever. Another one of that name may exist. */
  gone(namespace: string, name: string, uid: string): KnownSecret | undefined {
    const tracked = this.#find(namespace, name);
    if (typeof tracked?.known !== 'object' || tracked.known.uid !== uid) return undefined;
    return this.#set(tracked, 'absent', tracked.asOf);
  }

  /**
   * From now on everything that exists in the scope is `present` once, until `listEnded`.
   * @param isRestored versions begin again: nothing that was known counts
   */
  init(namespace: string, isRestored: boolean): void {
    const before = this.#scopes.get(namespace);
    const { seen = new Set<number>(), limit = SMALLEST_LIMIT } = before ?? {};
    const listed = before?.listed === true && !isRestored;
    const fresh = new Set<number>();
    const scope = { namespace, listed, seen, limit, fresh };
    this.#scopes.set(namespace, scope);
    if (isRestored) for (const [, tracked] of this.#trackedIn(scope)) this.#forget(tracked);
  }

  /**
   * Answers the credentials that name a Secret which has turned out not to exist.
   * @param asOf version of the list
   */
  initDone(namespace: string, asOf: string): readonly Key[] {
    const scope = this.#scopes.get(namespace);
    if (scope?.fresh === undefined) return [];
    scope.seen = scope.fresh;
    scope.fresh = undefined;
    scope.listed = true;
    scope.limit = Math.max(SMALLEST_LIMIT, 2 * scope.seen.size);
    return this.#sweep(scope, asOf);
  }

  #sweep(scope: SecretScope, asOf: string): readonly Key[] {
    const enqueued: Key[] = [];
    for (const [hash, tracked] of this.#trackedIn(scope)) {
      if (!isOlderVersion(tracked.asOf, asOf)) continue;
      // What became tracked in the middle of the list was perhaps shown before: only a request tells
      const isSeen = scope.seen.has(hash);
      if (isSeen && typeof tracked.known !== 'object') continue;
      const before = isSeen ? this.#forget(tracked) : this.#set(tracked, 'absent', asOf);
      if (before !== undefined) enqueued.push(...tracked.referrers);
    }
    return enqueued;
  }

  *#trackedIn(scope: SecretScope): Iterable<[hash: number, tracked: Tracked]> {
    for (const [namespace, names] of this.#tracked) {
      if (scope.namespace !== '' && scope.namespace !== namespace) continue;
      for (const [name, tracked] of names) yield [hashOf(namespace, name), tracked];
    }
  }

  #set(tracked: Tracked, known: KnownSecret, asOf: string): KnownSecret | undefined {
    if (isOlderVersion(tracked.asOf, asOf)) tracked.asOf = asOf;
    const before = tracked.known;
    if (before === known || (typeof known === 'object' && isSameVersion(known, before))) {
      return undefined;
    }
    this.#changes += 1;
    tracked.known = known;
    tracked.change = this.#changes;
    return before;
  }

  #answered({ namespace, name, meta }: WatchedSecret, tracked: Tracked): KnownSecret | undefined {
    const { known, asOf } = tracked;
    const isKnown = isSameVersion(meta, known);
    if (isKnown || !isOlderVersion(meta.resourceVersion, asOf)) {
      return this.#set(tracked, meta, meta.resourceVersion);
    }
    if (known !== 'absent') this.#remember(namespace, name);
    return this.#forget(tracked);
  }

  #forget(tracked: Tracked): KnownSecret | undefined {
    const before = this.#set(tracked, 'unknown', NO_VERSION);
    tracked.asOf = NO_VERSION;
    return before;
  }

  #find(namespace: string, name: string): Tracked | undefined {
    return this.#tracked.get(namespace)?.get(name);
  }

  #guess(namespace: string, name: string): 'absent' | 'unknown' {
    const scope = this.#scopeOf(namespace);
    const isSeen = scope?.listed !== true || scope.seen.has(hashOf(namespace, name));
    return isSeen ? 'unknown' : 'absent';
  }

  #remember(namespace: string, name: string): void {
    const scope = this.#scopeOf(namespace);
    if (scope === undefined) return;
    const hash = hashOf(namespace, name);
    scope.fresh?.add(hash);
    scope.seen.add(hash);
    if (scope.seen.size <= scope.limit) return;
    // Every name counts as unknown until the next list
    scope.seen.clear();
    scope.listed = false;
  }

  #scopeOf(namespace: string): SecretScope | undefined {
    return this.#scopes.get(namespace) ?? this.#scopes.get('');
  }
}

/** FNV-1a, 32 bits, signed (a small integer takes no memory of its own). */
function hashOf(namespace: string, name: string): number {
  let hash = 0x811c9dc5;
  for (const text of [namespace, '/', name]) {
    for (let i = 0; i < text.length; i += 1) {
      hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193);
    }
  }
  return hash | 0;
}
