import type { KnownSecret, SecretMeta } from '../../domain/secret.ts';
import type { Key } from '../../ports.ts';
import { type KeySet, keysOf, withKey, withoutKey } from './key-set.ts';

/** `namespace/name`. */
type SecretId = string;

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
   * Hashes of all Secrets ever seen since the last list. Nothing is taken out when one is deleted, for two names
   * may share a hash: at worst a name counts as unknown that is absent, and one request tells.
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
  readonly #tracked = new Map<SecretId, Tracked>();
  readonly #scopes = new Map<string, SecretScope>();
  #round = 0;

  get(namespace: string, name: string): KnownSecret {
    const id = idOf(namespace, name);
    return this.#tracked.get(id)?.known ?? this.#guess(namespace, id);
  }

  /** The credentials that name this Secret. */
  referrers(namespace: string, name: string): readonly Key[] {
    return keysOf(this.#tracked.get(idOf(namespace, name))?.referrers);
  }

  track(namespace: string, name: string, key: Key): void {
    const id = idOf(namespace, name);
    const tracked = this.#tracked.get(id);
    if (tracked === undefined) {
      this.#tracked.set(id, { known: this.#guess(namespace, id), referrers: key, round: 0 });
    } else {
      tracked.referrers = withKey(tracked.referrers, key);
    }
  }

  untrack(namespace: string, name: string, key: Key): void {
    const id = idOf(namespace, name);
    const tracked = this.#tracked.get(id);
    if (tracked === undefined) return;
    tracked.referrers = withoutKey(tracked.referrers, key);
    if (tracked.referrers !== undefined) return;
    this.#tracked.delete(id);
    if (tracked.known !== 'absent') this.#remember(namespace, id);
  }

  /** A Secret as a watch or a request has shown it. Answers what was known before, or undefined when that was as new. */
  put(namespace: string, name: string, meta: SecretMeta): KnownSecret | undefined {
    const id = idOf(namespace, name);
    this.#remember(namespace, id);
    const tracked = this.#tracked.get(id);
    if (tracked === undefined) return undefined;
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
    const tracked = this.#tracked.get(idOf(namespace, name));
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
    for (const [id, tracked] of this.#tracked) {
      const inScope = scope.namespace === '' || id.startsWith(`${scope.namespace}/`);
      if (!inScope || wasShown(id, tracked, scope)) continue;
      tracked.known = 'absent';
      for (const key of keysOf(tracked.referrers)) woken.push(key);
    }
    return woken;
  }

  #guess(namespace: string, id: SecretId): 'absent' | 'unknown' {
    const scope = this.#scopeOf(namespace);
    return scope?.listed === true && !scope.seen.has(hashOf(id)) ? 'absent' : 'unknown';
  }

  #remember(namespace: string, id: SecretId): void {
    const scope = this.#scopeOf(namespace);
    const hash = hashOf(id);
    scope?.seen.add(hash);
    scope?.fresh?.add(hash);
  }

  #scopeOf(namespace: string): SecretScope | undefined {
    return this.#scopes.get(namespace) ?? this.#scopes.get('');
  }
}

/** What became tracked in the middle of the list has no round yet: its hash tells. */
const wasShown = (id: SecretId, { known, round }: Tracked, scope: SecretScope): boolean =>
  known === 'absent' || (known === 'unknown' ? scope.seen.has(hashOf(id)) : round >= scope.round);

const idOf = (namespace: string, name: string): SecretId => `${namespace}/${name}`;

/** Versions of one object are numbers that grow; those of two objects of the same name are not compared. */
function isNewer(meta: SecretMeta, known: SecretMeta): boolean {
  if (meta.uid !== known.uid) return true;
  const [a, b] = [meta.resourceVersion, known.resourceVersion];
  if (!/^\d+$/.test(a) || !/^\d+$/.test(b)) return a !== b;
  return a.length === b.length ? a > b : a.length > b.length;
}

/** FNV-1a, 32 bits, signed (a small integer takes no memory of its own). */
function hashOf(id: SecretId): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < id.length; i += 1) {
    hash = Math.imul(hash ^ id.charCodeAt(i), 0x01000193);
  }
  return hash | 0;
}
