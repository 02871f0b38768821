import { sessionNameOf } from '../credential/credential.ts';
import { isSameVersion, type KnownSecret, type SecretMeta } from '../credential/secret.ts';
import { isSessionSecret } from '../credential/session-secret.ts';
import { type Key, keyOf, type ObjectName, splitKey } from '../lib/key.ts';
import { isOlderVersion, NO_VERSION } from '../lib/resource-version.ts';
import type { WatchedSecret } from './objects.ts';

interface Tracked {
  /** `namespace/name`. */
  readonly at: string;
  known: KnownSecret;
  /** The latest version at which it was known to be so. A 404 has no version. */
  asOf: string;
  /** Number of the change that made it so; becoming tracked is one. */
  change: number;
  /** Number of the change by which it became tracked. */
  readonly since: number;
  /** The credentials that name it. */
  readonly referrers: Set<Key>;
}

/**
 * Metadata of the Secrets that some credential names, and of those that the operator has written, for they may outlive
 * their credentials. So memory grows with the number of credentials, not with the cluster. What is known of a Secret
 * only moves forward.
 */
export class SecretIndex {
  /** By `namespace/name`. */
  readonly #tracked = new Map<string, Tracked>();
  /** By credential, existing or not: names of the Secrets that `mergedBy` names it for. */
  readonly #merged: NamesByKey = new Map();
  /** By credential, existing or not: names of the Secrets that carry its label, have an owner, and that it does not name. */
  readonly #former: NamesByKey = new Map();
  #changes = 0;

  /** Number of changes so far. Noted before a request, it tells what has changed since that was sent. */
  get changes(): number {
    return this.#changes;
  }

  get(at: ObjectName): KnownSecret {
    return this.#find(at)?.known ?? 'unknown';
  }

  isTracked(at: ObjectName): boolean {
    return this.#find(at) !== undefined;
  }

  referrers(at: ObjectName): Iterable<Key> {
    return this.#find(at)?.referrers ?? [];
  }

  /** The credential, existing or not, has a session Secret. */
  hasSession(key: Key): boolean {
    const { namespace, name } = splitKey(key);
    const known = this.get({ namespace, name: sessionNameOf(name) });
    return typeof known === 'object' && isSessionSecret(known, name);
  }

  /** The credentials, existing or not, that have a session Secret. */
  *sessions(namespace: string | undefined): Iterable<Key> {
    for (const [key, { known }] of this.#trackedIn(namespace)) {
      const owner = typeof known === 'object' ? sessionOwnerOf(splitKey(key), known) : undefined;
      if (owner !== undefined) yield owner;
    }
  }

  /** Names of the Secrets that carry the label of the credential, existing or not, and that it does not name. */
  formerTargets(key: Key): Iterable<string> {
    return this.#former.get(key) ?? [];
  }

  /** The credentials, existing or not, that have such Secrets. */
  *formerOwners(namespace: string | undefined): Iterable<Key> {
    for (const key of this.#former.keys()) if (isIn(namespace, key)) yield key;
  }

  /** The credential whose label the Secret carries and that does not name it. */
  formerOwnerOf(at: ObjectName): Key | undefined {
    if (this.#former.size === 0) return undefined; // as for each renewal, where one release has all credentials
    const tracked = this.#find(at);
    const owner = tracked && targetOwnerOf(tracked);
    return owner === undefined || tracked?.referrers.has(owner) === true ? undefined : owner;
  }

  /** The Secrets that the credential, existing or not, has merged into and whose fields there go with it. */
  mergedSecrets(key: Key): Iterable<string> {
    return this.#merged.get(key) ?? [];
  }

  /** The credentials, existing or not, that have merged into a Secret. */
  *mergers(namespace: string | undefined): Iterable<Key> {
    for (const key of this.#merged.keys()) if (isIn(namespace, key)) yield key;
  }

  track(at: ObjectName, key: Key): void {
    const tracked = this.#find(at) ?? this.#begin(at, 'unknown');
    tracked.referrers.add(key);
    if (targetOwnerOf(tracked) === key) remove(this.#former, key, at.name);
  }

  untrack(at: ObjectName, key: Key): void {
    const tracked = this.#find(at);
    if (tracked === undefined) return;
    tracked.referrers.delete(key);
    if (targetOwnerOf(tracked) === key) add(this.#former, key, at.name);
    this.#dropUnneeded(at);
  }

  /** Whether the response to a request that was sent then may be older than what is known. */
  hasChangedSince(at: ObjectName, changes: number): boolean {
    return (this.#find(at)?.change ?? 0) > changes;
  }

  // Each of these returns what was known before, or undefined when that was the same or later

  /** A watch or a list has shown it as it was at that version. */
  apply(secret: WatchedSecret, asOf: string): KnownSecret | undefined {
    const isNew = isWrittenByUs(secret.meta) && !this.isTracked(secret);
    const tracked = isNew ? this.#begin(secret, 'absent') : this.#find(secret);
    if (tracked === undefined || isOlderVersion(asOf, tracked.asOf)) return undefined;
    const before = this.#set(tracked, secret.meta, asOf);
    this.#dropUnneeded(secret);
    return before;
  }

  /** A watch has shown its deletion. Another one of that name may be known by now. */
  delete(secret: WatchedSecret): KnownSecret | undefined {
    const tracked = this.#find(secret);
    if (tracked === undefined) return undefined;
    const { known, asOf } = tracked;
    const { uid, resourceVersion } = secret.meta;
    const isKnown = typeof known === 'object' && known.uid === uid;
    if (!isKnown && isOlderVersion(resourceVersion, asOf)) return undefined;
    const before = this.#set(tracked, 'absent', resourceVersion);
    this.#dropUnneeded(secret);
    return before;
  }

  /**
   * A read has found this, and nothing has changed since it was sent. But if what is known was confirmed meanwhile at a
   * later version, what was read may have come and gone before: then nothing is known.
   */
  read(at: ObjectName, response: SecretMeta | 'absent'): KnownSecret | undefined {
    const tracked = this.#find(at);
    if (tracked === undefined) return undefined;
    const before =
      response === 'absent'
        ? this.#set(tracked, response, tracked.asOf)
        : this.#found(tracked, response);
    this.#dropUnneeded(at);
    return before;
  }

  /**
   * Our own write has made it so, if nothing later is known.
   * @param changes as they were before the write was sent
   */
  written(secret: WatchedSecret, changes: number): KnownSecret | undefined {
    const tracked = this.#find(secret);
    if (tracked === undefined) return undefined;
    const { change, asOf } = tracked;
    const isLater = asOf !== NO_VERSION && isOlderVersion(asOf, secret.meta.resourceVersion);
    if (change > changes && !isLater) return undefined;
    const before = this.#found(tracked, secret.meta);
    this.#dropUnneeded(secret);
    return before;
  }

  /** The Secret of that uid does not exist any more. Another one of that name may. */
  gone(at: ObjectName, uid: string): KnownSecret | undefined {
    const tracked = this.#find(at);
    if (typeof tracked?.known !== 'object' || tracked.known.uid !== uid) return undefined;
    const before = this.#set(tracked, 'absent', tracked.asOf);
    this.#dropUnneeded(at);
    return before;
  }

  /** Versions begin again: nothing that was known counts. */
  forgetAll(namespace: string | undefined): void {
    for (const [, tracked] of this.#trackedIn(namespace)) this.#forget(tracked);
  }

  /**
   * A list is complete: what it has not shown does not exist. Returns the credentials to which that is news. Nothing
   * follows for what became tracked in the middle of the list, which may have shown it before.
   * @param changes as they were before the list
   * @param asOf version of the list
   */
  initDone(
    namespace: string | undefined,
    { changes, asOf }: { readonly changes: number; readonly asOf: string },
  ): readonly Key[] {
    const enqueued: Key[] = [];
    for (const [key, tracked] of this.#trackedIn(namespace)) {
      if (tracked.since > changes || !isOlderVersion(tracked.asOf, asOf)) continue;
      if (this.#set(tracked, 'absent', asOf) !== undefined) enqueued.push(...tracked.referrers);
      this.#dropUnneeded(splitKey(key));
    }
    return enqueued;
  }

  *#trackedIn(namespace: string | undefined): Iterable<[string, Tracked]> {
    for (const entry of this.#tracked) if (isIn(namespace, entry[0])) yield entry;
  }

  #find(at: ObjectName): Tracked | undefined {
    return this.#tracked.get(keyOf(at));
  }

  #begin(at: ObjectName, known: KnownSecret): Tracked {
    this.#changes += 1;
    const change = this.#changes;
    const referrers = new Set<Key>();
    const tracked = { at: keyOf(at), known, asOf: NO_VERSION, change, since: change, referrers };
    this.#tracked.set(tracked.at, tracked);
    return tracked;
  }

  #dropUnneeded(at: ObjectName): void {
    const tracked = this.#find(at);
    if (tracked === undefined || tracked.referrers.size > 0) return;
    const { known } = tracked;
    if (typeof known !== 'object' || !isWrittenByUs(known)) this.#tracked.delete(keyOf(at));
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
    this.#indexMergers(tracked, before);
    this.#indexFormer(tracked, before);
    return before;
  }

  #indexMergers({ at, known }: Tracked, before: KnownSecret): void {
    const { namespace, name: secretName } = splitKey(at);
    for (const name of mergersOf(before)) {
      remove(this.#merged, keyOf({ namespace, name }), secretName);
    }
    for (const name of mergersOf(known)) {
      add(this.#merged, keyOf({ namespace, name }), secretName);
    }
  }

  #indexFormer({ at, known, referrers }: Tracked, before: KnownSecret): void {
    if (haveSameOwner(before, known)) return;
    const { name } = splitKey(at);
    const [ownerBefore, owner] = [
      targetOwnerOf({ at, known: before }),
      targetOwnerOf({ at, known }),
    ];
    if (ownerBefore !== undefined) remove(this.#former, ownerBefore, name);
    if (owner !== undefined && !referrers.has(owner)) add(this.#former, owner, name);
  }

  #found(tracked: Tracked, meta: SecretMeta): KnownSecret | undefined {
    const { known, asOf } = tracked;
    if (isSameVersion(meta, known) || !isOlderVersion(meta.resourceVersion, asOf)) {
      return this.#set(tracked, meta, meta.resourceVersion);
    }
    return this.#forget(tracked);
  }

  #forget(tracked: Tracked): KnownSecret | undefined {
    const before = this.#set(tracked, 'unknown', NO_VERSION);
    tracked.asOf = NO_VERSION;
    return before;
  }
}

type NamesByKey = Map<Key, Set<string>>;

function add(names: NamesByKey, key: Key, name: string): void {
  names.set(key, (names.get(key) ?? new Set()).add(name));
}

/** A key without names takes no memory. */
function remove(names: NamesByKey, key: Key, name: string): void {
  names.get(key)?.delete(name);
  if (names.get(key)?.size === 0) names.delete(key);
}

/** A target or a session Secret, of this or of another release. */
const isWrittenByUs = ({ credentialName, tokenAnnotations, mergedBy }: SecretMeta): boolean =>
  credentialName !== undefined || tokenAnnotations !== undefined || mergedBy !== undefined;

const mergersOf = (known: KnownSecret): readonly string[] =>
  typeof known === 'object' ? (known.mergedBy ?? []) : [];

const isIn = (namespace: string | undefined, key: string): boolean =>
  namespace === undefined || key.startsWith(`${namespace}/`);

/** The credentials that have merged into the Secret since it was known. */
export function newMergersOf({ namespace, meta }: WatchedSecret, before: KnownSecret): Key[] {
  const known = new Set(mergersOf(before));
  return mergersOf(meta)
    .filter((name) => !known.has(name))
    .map((name) => keyOf({ namespace, name }));
}

/** The credential whose session Secret that is; undefined when it is none. */
export function sessionOwnerOf({ namespace, name }: ObjectName, meta: SecretMeta): Key | undefined {
  const { credentialName } = meta;
  if (credentialName === undefined || !isSessionSecret(meta, credentialName)) return undefined;
  if (name !== sessionNameOf(credentialName)) return undefined;
  return keyOf({ namespace, name: credentialName });
}

const haveSameOwner = (one: KnownSecret, other: KnownSecret): boolean =>
  typeof one === 'object' &&
  typeof other === 'object' &&
  one.credentialName === other.credentialName &&
  one.controllerUid === other.controllerUid &&
  one.isSession === other.isSession;

/** The credential whose target that is, by its label and owner; undefined when it is none. */
function targetOwnerOf({ at, known }: Pick<Tracked, 'at' | 'known'>): Key | undefined {
  if (typeof known !== 'object' || known.isSession === true) return undefined;
  const { credentialName: name, controllerUid } = known;
  if (controllerUid === undefined) return undefined; // kept (`Retain`) by one that is gone
  return name === undefined ? undefined : keyOf({ namespace: splitKey(at).namespace, name });
}
