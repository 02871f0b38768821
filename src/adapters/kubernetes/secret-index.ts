import type { KnownSecret, SecretMeta } from '../../domain/secret.ts';
import type { Key } from '../../ports.ts';
import { type KeySet, keysOf, withKey, withoutKey } from './key-set.ts';

interface Tracked {
  known: KnownSecret;
  referrers: KeySet;
  /** The latest list (of any scope) that had started when it was last shown. */
  round: number;
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
  /** While a list runs: what it has shown so far. */
  fresh: Set<number> | undefined;
  /** Number of its latest list. */
  round: number;
}

/**
 * What is known of Secrets: metadata of those that some credential names, and of all others only that they were seen.
 * So memory grows with the number of credentials, not with the cluster.
 */
export class SecretIndex {
  /** By namespace and name: the names are those that the credentials have, so they take no memory of their own. */
  readonly #tracked = new Map<string, Map<string, Tracked>>();
  readonly #scopes = new Map<string, SecretScope>();
  #round = 0;

  get(namespace: string, name: string): KnownSecret {
    return this.#find(namespace, name)?.known ?? this.#guess(namespace, name);
  }

  /** The credentials that name this Secret. */
  referrers(namespace: string, name: string): readonly Key[] {
    return keysOf(this.#find(namespace, name)?.referrers);
  }

  track(namespace: string, name: string, key: Key): void {
    const names = this.#tracked.get(namespace) ?? new Map<string, Tracked>();
    this.#tracked.set(namespace, names);
    const tracked = names.get(name);
    if (tracked === undefined) {
      names.set(name, { known: this.#guess(namespace, name), referrers: key, round: 0 });
    } else {
      tracked.referrers = withKey(tracked.referrers, key);
    }
  }

  untrack(namespace: string, name: string, key: Key): void {
    const names = this.#tracked.get(namespace);
    const tracked = names?.get(name);
    if (names === undefined || tracked === undefined) return;
    tracked.referrers = withoutKey(tracked.referrers, key);
    if (tracked.referrers !== undefined) return;
    names.delete(name);
    if (names.size === 0) this.#tracked.delete(namespace);
    if (tracked.known !== 'absent') this.#remember(namespace, name);
  }

  /** A Secret as a watch or a request has shown it. Answers what was known before, or undefined when that was as new. */
  put(namespace: string, name: string, meta: SecretMeta): KnownSecret | undefined {
    const tracked = this.#find(namespace, name);
    if (tracked === undefined) {
      this.#remember(namespace, name);
      return undefined;
    }
    tracked.round = this.#round;
    const before = tracked.known;
    if (typeof before === 'object' && !isNewer(meta, before)) return undefined;
    tracked.known = meta;
    return before;
  }

  /**
   * The Secret does not exist any more. Answers what was known before, or undefined when that was nothing else.
   * @param uid of the one that was deleted; another one of that name may exist by now
   */
  remove(namespace: string, name: string, uid?: string): KnownSecret | undefined {
    const tracked = this.#find(namespace, name);
    const before = tracked?.known ?? 'absent';
    if (tracked === undefined || before === 'absent') return undefined;
    if (uid !== undefined && typeof before === 'object' && before.uid !== uid) return undefined;
    tracked.known = 'absent';
    return before;
  }

  /** From now on everything that exists in the scope is `put` once, until `listEnded`. */
  listStarted(namespace: string): void {
    this.#round += 1;
    const { listed = false, seen = new Set<number>() } = this.#scopes.get(namespace) ?? {};
    const fresh = new Set<number>();
    this.#scopes.set(namespace, { namespace, listed, seen, fresh, round: this.#round });
  }

  /** Answers the credentials that name a Secret which has turned out not to exist. */
  listEnded(namespace: string): readonly Key[] {
    const scope = this.#scopes.get(namespace);
    if (scope?.fresh === undefined) return [];
    scope.seen = scope.fresh;
    scope.fresh = undefined;
    scope.listed = true;
    return this.#sweep(scope);
  }

  #sweep(scope: SecretScope): readonly Key[] {
    const woken: Key[] = [];
    for (const [namespace, names] of this.#tracked) {
      if (scope.namespace !== '' && scope.namespace !== namespace) continue;
      for (const [name, tracked] of names) {
        if (wasShown(hashOf(namespace, name), tracked, scope)) continue;
        tracked.known = 'absent';
        for (const key of keysOf(tracked.referrers)) woken.push(key);
      }
    }
    return woken;
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
    const hash = hashOf(namespace, name);
    scope?.seen.add(hash);
    scope?.fresh?.add(hash);
  }

  #scopeOf(namespace: string): SecretScope | undefined {
    return this.#scopes.get(namespace) ?? this.#scopes.get('');
  }
}

/** What became tracked in the middle of the list has no round yet: its hash tells. */
const wasShown = (hash: number, { known, round }: Tracked, scope: SecretScope): boolean =>
  known === 'absent' || (known === 'unknown' ? scope.seen.has(hash) : round >= scope.round);

/** Versions of one object are numbers that grow; those of two objects of the same name are not compared. */
function isNewer(meta: SecretMeta, known: SecretMeta): boolean {
  if (meta.uid !== known.uid) return true;
  const [a, b] = [meta.resourceVersion, known.resourceVersion];
  if (!/^\d+$/.test(a) || !/^\d+$/.test(b)) return a !== b;
  return a.length === b.length ? a > b : a.length > b.length;
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
