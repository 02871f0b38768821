import type { ConvercusCredential } from '../credential/api.ts';
import { clusterKeyOf, clusterNameOf } from '../credential/cluster-name.ts';
import { targetNameOf } from '../credential/credential.ts';
import { type CredentialResource, isInstance, isSameInstance } from '../credential/instance.ts';
import {
  isSameVersion,
  type KnownSecret,
  type SecretIdentity,
  type SecretMeta,
} from '../credential/secret.ts';
import type { Status } from '../credential/status.ts';
import { type Key, keyOf as keyAt, type ObjectName, splitKey } from '../lib/key.ts';
import type { EventHandler } from '../lib/list-watch.ts';
import { isOlderVersion } from '../lib/resource-version.ts';
import {
  keyOf,
  secretsOf,
  sourceOf,
  specOrAnnotationChanged,
  statusLost,
  type WatchedSecret,
} from './objects.ts';
import { newMergersOf, SecretIndex, sessionOwnerOf } from './secret-index.ts';

/** A list of credentials that is not complete yet. */
interface CredentialList {
  readonly version: string;
  readonly seen: Set<Key>;
}

/** A list of Secrets that is not complete yet, and the number of changes before it. */
interface SecretList {
  readonly asOf: string;
  readonly changes: number;
}

/**
 * What the watches have shown, and which keys to enqueue when it changes. The credentials of a scope have to be listed
 * before its Secrets: of the Secrets that the operator has not written only those that a credential names already are
 * kept, and any other is unknown when it is named.
 */
export class ClusterCache {
  readonly #enqueue: (keys: readonly Key[]) => void;
  readonly #credentials = new Map<Key, CredentialResource>();
  readonly #secrets = new SecretIndex();
  readonly #credentialsNamespace: string | undefined;

  /** @param credentialsNamespace of ClusterConvercusCredentials; absent: they are not served */
  constructor(enqueue: (keys: readonly Key[]) => void, credentialsNamespace?: string) {
    this.#enqueue = enqueue;
    this.#credentialsNamespace = credentialsNamespace;
  }

  /** With the instances of ClusterConvercusCredentials. */
  credentials(): Iterable<CredentialResource> {
    return this.#credentials.values();
  }

  credential(key: Key): CredentialResource | undefined {
    return this.#credentials.get(key);
  }

  secret(namespace: string, name: string): KnownSecret {
    return this.#secrets.get({ namespace, name });
  }

  credentialsWithTarget(namespace: string, targetName: string): readonly ConvercusCredential[] {
    return this.referrers(namespace, targetName).filter(
      (credential) =>
        credential.metadata.namespace === namespace && targetNameOf(credential) === targetName,
    );
  }

  referrers(namespace: string, name: string): readonly CredentialResource[] {
    return [...this.#secrets.referrers({ namespace, name })]
      .map((key) => this.#credentials.get(key))
      .filter((credential) => credential !== undefined);
  }

  /** A session of a ClusterConvercusCredential is that of its own key, not of its instances. */
  hasSession(key: Key): boolean {
    const { namespace, name } = splitKey(key);
    if (clusterNameOf(name) === undefined) return this.#secrets.hasSession(key);
    const at = this.#credentialsNamespace;
    return (
      namespace === '' &&
      at !== undefined &&
      this.#secrets.hasSession(keyAt({ namespace: at, name }))
    );
  }

  formerTargets(key: Key): readonly string[] {
    return [...this.#secrets.formerTargets(key)];
  }

  /** The instances of a ClusterConvercusCredential that are gone and have left a target. */
  enqueueFormer(clusterName: string): void {
    const owners = [...this.#secrets.formerOwners(undefined)];
    this.#enqueueKeys(owners.filter((key) => clusterNameOf(splitKey(key).name) === clusterName));
  }

  mergedSecrets(key: Key): readonly string[] {
    return [...this.#secrets.mergedSecrets(key)];
  }

  /**
   * Every credential of the namespace, or of all, and every one that is gone but has left a session Secret, keys in a
   * Secret that it has merged into, or a target in a namespace that it does not select any more.
   */
  *keys(namespace?: string): Iterable<Key> {
    for (const credential of this.#credentialsIn(namespace)) yield keyOf(credential);
    const sessions = Array.from(this.#secrets.sessions(namespace), sessionKeyOf);
    const instances = [...this.#secrets.formerOwners(namespace)].filter(isOfInstance);
    for (const key of [...sessions, ...this.#secrets.mergers(namespace), ...instances]) {
      if (!this.#credentials.has(key)) yield key;
    }
  }

  /** Number of changes so far. Noted before a request: its response is older than what has changed since. */
  get changes(): number {
    return this.#secrets.changes;
  }

  /**
   * Takes in what a read has found, unless something was shown or written since it was sent: then all credentials that
   * name the Secret are enqueued, for one of them has read something older. Nothing is kept of a Secret that is not
   * tracked. Returns what is known now.
   */
  learnRead(at: ObjectName, response: SecretMeta | 'absent', changes: number): KnownSecret {
    if (!this.#secrets.isTracked(at)) return response;
    if (this.#secrets.hasChangedSince(at, changes)) {
      const known = this.#secrets.get(at);
      const isSame = response === 'absent' ? known === response : isSameVersion(response, known);
      if (!isSame) this.#enqueueReferrers(at);
      return known;
    }
    const before = this.#secrets.read(at, response);
    // The watch will show nothing new then
    if (before !== undefined && response !== 'absent') {
      this.#enqueueOwners({ ...at, meta: response }, before);
    }
    // The first to read it has its result; other credentials to which it is unknown read for themselves
    if (before !== 'unknown' && before !== undefined) this.#enqueueReferrers(at);
    return this.#secrets.get(at);
  }

  /** Takes in our own write of a Secret, which is news only to credentials that have it as their credentials Secret. */
  learnWritten(secret: WatchedSecret, changes: number): void {
    if (this.#secrets.written(secret, changes) === undefined) return;
    this.#enqueueReaders(secret);
  }

  /** Takes in that the Secret of that uid does not exist any more. Another credential may wait for its name. */
  learnGone(secret: SecretIdentity): void {
    if (this.#secrets.gone(secret, secret.uid) !== undefined) this.#enqueueReferrers(secret);
  }

  /**
   * Takes in the status that we have just written, so that the next reconcile need not wait for the watch.
   * @param replaced the version that was replaced; when another one is known by now, the watch will tell
   */
  learnStatus(replaced: ConvercusCredential, status: Status, resourceVersion: string): void {
    const key = keyOf(replaced);
    if (this.#credentials.get(key) !== replaced) return;
    const metadata = { ...replaced.metadata, resourceVersion };
    this.#credentials.set(key, { ...replaced, metadata, status });
  }

  /** Keeps the status of an instance, which is stored nowhere. Returns whether the instance is still there. */
  learnInstanceStatus(instance: CredentialResource, status: Status): boolean {
    const key = keyOf(instance);
    const known = this.#credentials.get(key);
    if (known === undefined || !isSameInstance(known, instance)) return false;
    this.#credentials.set(key, { ...known, status });
    const clusterName = clusterNameOf(instance.metadata.name);
    if (clusterName !== undefined) this.#enqueueKeys([clusterKeyOf(clusterName)]);
    return true;
  }

  /** The status stays while it is the same instance. */
  applyInstance(instance: CredentialResource): void {
    const before = this.#credentials.get(keyOf(instance));
    const isSame = before !== undefined && isSameInstance(before, instance);
    this.#applyCredential(isSame ? { ...instance, status: before.status ?? {} } : instance);
  }

  /** Of an instance that is there, with what is stored as its status. Enqueues nothing. */
  resetInstance(instance: CredentialResource): void {
    this.#credentials.set(keyOf(instance), instance);
  }

  deleteInstance(key: Key): void {
    const known = this.#credentials.get(key);
    if (known !== undefined) this.#forgetCredential(known);
  }

  /**
   * Takes in a credential as it is after our own write of its status.
   * @param known what was known before the write; if that has changed since, only what is not older counts
   */
  learnCredential(item: ConvercusCredential, known: ConvercusCredential | undefined): void {
    const now = this.#credentials.get(keyOf(item));
    if (now?.metadata.uid !== item.metadata.uid) return;
    if (now === known || !this.#isOld(item)) this.#applyCredential(item);
  }

  /** @param namespace of the informer that feeds it; none: the whole cluster */
  credentialHandler(namespace?: string): EventHandler<ConvercusCredential> {
    let list: CredentialList | undefined;
    return {
      init: (version, isRestored) => {
        list = { version, seen: new Set() };
        if (isRestored) this.#forgetVersions(namespace);
      },
      apply: (item) => {
        list?.seen.add(keyOf(item));
        if (!this.#isOld(item, list?.version)) this.#applyCredential(item);
      },
      delete: (item) => this.#deleteCredential(item),
      initDone: () => {
        for (const item of this.#watchedIn(namespace)) {
          if (list?.seen.has(keyOf(item)) === false) this.#forgetCredential(item);
        }
        list = undefined;
      },
    };
  }

  /** @param namespace of the informer that feeds it; none: the whole cluster */
  secretHandler(namespace?: string): EventHandler<WatchedSecret> {
    let list: SecretList | undefined;
    return {
      init: (version, isRestored) => {
        list = { asOf: version, changes: this.changes };
        if (isRestored) this.#secrets.forgetAll(namespace);
      },
      apply: (secret) => this.#applySecret(secret, list?.asOf ?? secret.meta.resourceVersion),
      delete: (secret) => {
        if (this.#secrets.delete(secret) !== undefined) this.#enqueueReferrers(secret);
      },
      initDone: () => {
        if (list !== undefined) this.#enqueueKeys(this.#secrets.initDone(namespace, list));
        list = undefined;
      },
    };
  }

  #applySecret(secret: WatchedSecret, asOf: string): void {
    const user = sessionOwnerOf(secret, secret.meta);
    const owner = user && sessionKeyOf(user);
    const isNewSession = owner !== undefined && !this.hasSession(owner);
    const before = this.#secrets.apply(secret, asOf);
    if (before === undefined) return;
    this.#enqueueReferrers(secret);
    // Left by a credential that is gone or has another grant type or target by now: no other event enqueues its key
    const grantType = isNewSession && this.#credentials.get(owner)?.spec.grantType;
    if (isNewSession && grantType !== 'password') this.#enqueueKeys([owner]);
    this.#enqueueOwners(secret, before);
  }

  /** Those that have left something in a Secret which they do not name. */
  #enqueueOwners(secret: WatchedSecret, before: KnownSecret): void {
    this.#enqueueKeys(newMergersOf(secret, before));
    const key = this.#secrets.formerOwnerOf(secret);
    // Garbage collection deletes the target of a credential that is gone
    if (key !== undefined && (this.#credentials.has(key) || isOfInstance(key))) {
      this.#enqueueKeys([key]);
    }
  }

  /** Whether a later version of the credential of that name is known. */
  #isOld(item: ConvercusCredential, asOf = item.metadata.resourceVersion): boolean {
    const known = this.#credentials.get(keyOf(item))?.metadata.resourceVersion;
    return asOf !== undefined && known !== undefined && isOlderVersion(asOf, known);
  }

  *#watchedIn(namespace: string | undefined): Iterable<CredentialResource> {
    for (const item of this.#credentialsIn(namespace)) if (!isInstance(item)) yield item;
  }

  *#credentialsIn(namespace: string | undefined): Iterable<CredentialResource> {
    for (const item of this.#credentials.values()) {
      if (namespace === undefined || item.metadata.namespace === namespace) yield item;
    }
  }

  /** Versions begin again: all that is shown of a credential without a version is new. */
  #forgetVersions(namespace: string | undefined): void {
    for (const { metadata, ...rest } of this.#watchedIn(namespace)) {
      const { resourceVersion: _, ...known } = metadata;
      this.#credentials.set(keyOf({ metadata }), { ...rest, metadata: known });
    }
  }

  #applyCredential(item: CredentialResource): void {
    const key = keyOf(item);
    const before = this.#credentials.get(key);
    this.#credentials.set(key, item);
    if (before !== undefined && !isRestored(item, before)) {
      if (!specOrAnnotationChanged(before, item) && !statusLost(before, item)) return;
    }
    this.#track(item, key);
    if (before !== undefined) {
      this.#forget(before, key, secretsOf(item));
      if (!haveSameClaim(before, item)) this.#enqueueRivals(before, key);
    }
    this.#enqueueKeys([key]);
  }

  #deleteCredential(item: ConvercusCredential): void {
    const known = this.#credentials.get(keyOf(item));
    if (known === undefined) return;
    const isKnown = known.metadata.uid === item.metadata.uid;
    if (isKnown || !this.#isOld(item)) this.#forgetCredential(known);
  }

  #forgetCredential(before: CredentialResource): void {
    const key = keyOf(before);
    this.#credentials.delete(key);
    this.#forget(before, key, []);
    this.#enqueueRivals(before, key);
    this.#enqueueKeys([key]);
  }

  #track(item: CredentialResource, key: Key): void {
    for (const secret of secretsOf(item)) this.#secrets.track(secret, key);
  }

  /** Another credential may have its target now. */
  #enqueueRivals(before: CredentialResource, key: Key): void {
    const { namespace } = before.metadata;
    const rivals = this.credentialsWithTarget(namespace, targetNameOf(before)).map(keyOf);
    this.#enqueueKeys(rivals.filter((rival) => rival !== key));
  }

  /** The credential does not name these Secrets any more. */
  #forget(before: CredentialResource, key: Key, stillNamed: readonly ObjectName[]): void {
    const still = new Set(stillNamed.map(keyAt));
    for (const secret of secretsOf(before)) {
      if (!still.has(keyAt(secret))) this.#secrets.untrack(secret, key);
    }
  }

  /** The credentials that have it as their credentials Secret. */
  #enqueueReaders({ namespace, name }: ObjectName): void {
    const readers = this.referrers(namespace, name).filter((it) => {
      const source = sourceOf(it);
      return source.name === name && source.namespace === namespace;
    });
    this.#enqueueKeys(readers.map(keyOf));
  }

  #enqueueReferrers(at: ObjectName): void {
    this.#enqueueKeys([...this.#secrets.referrers(at)]);
  }

  #enqueueKeys(keys: readonly Key[]): void {
    if (keys.length > 0) this.#enqueue(keys);
  }
}

/** A ClusterConvercusCredential has one session for all its instances. @param owner the instance beside it */
function sessionKeyOf(owner: Key): Key {
  const clusterName = clusterNameOf(splitKey(owner).name);
  return clusterName === undefined ? owner : clusterKeyOf(clusterName);
}

/** To their target, among several credentials that name it. */
const haveSameClaim = (one: CredentialResource, other: CredentialResource): boolean =>
  one.metadata.uid === other.metadata.uid &&
  targetNameOf(one) === targetNameOf(other) &&
  one.spec.target.creationPolicy === other.spec.target.creationPolicy;

const isOfInstance = (key: Key): boolean => clusterNameOf(splitKey(key).name) !== undefined;

/** What is known has no version since versions began again, or a later one: then the status is as of the backup. */
function isRestored(item: ConvercusCredential, known: ConvercusCredential): boolean {
  const [version, knownVersion] = [item.metadata.resourceVersion, known.metadata.resourceVersion];
  if (version === undefined || knownVersion === undefined) return true;
  return isOlderVersion(version, knownVersion);
}
