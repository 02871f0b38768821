import type { ConvercusCredential } from '../../domain/api.ts';
import { targetNameOf } from '../../domain/credential.ts';
import type { KnownSecret, SecretMeta } from '../../domain/secret.ts';
import type { Status } from '../../domain/status.ts';
import type { ClusterView, Key, WatchSink } from '../../ports.ts';
import { inWordsOf, isNews, keyOf, namesOf, sourceNameOf } from './credential-object.ts';
import { OwnWrites } from './own-writes.ts';
import { SecretIndex } from './secret-index.ts';
import type { WatchedSecret } from './secret-meta.ts';
import { SessionKeys } from './session-keys.ts';
import { SharedParts } from './shared-parts.ts';

/**
 * What the watches have shown, and who has to look again when it changes. List the credentials of a scope before
 * its Secrets: only Secrets that a credential already names are kept, any other costs a request when it is named later.
 */
export class ClusterCache implements ClusterView {
  /** What the watches need not show any more. */
  readonly ownWrites = new OwnWrites();
  readonly #onChange: (keys: readonly Key[]) => void;
  readonly #credentials = new Map<Key, ConvercusCredential>();
  readonly #secrets = new SecretIndex();
  readonly #sessions = new SessionKeys();
  readonly #shared = new SharedParts();

  constructor(onChange: (keys: readonly Key[]) => void) {
    this.#onChange = onChange;
  }

  credentials(): Iterable<ConvercusCredential> {
    return this.#credentials.values();
  }

  credential(key: Key): ConvercusCredential | undefined {
    return this.#credentials.get(key);
  }

  secret(namespace: string, name: string): KnownSecret {
    return this.#secrets.get(namespace, name);
  }

  claimants(namespace: string, targetName: string): readonly ConvercusCredential[] {
    return this.referrers(namespace, targetName).filter(
      (credential) => targetNameOf(credential) === targetName,
    );
  }

  hasSession(key: Key): boolean {
    return this.#sessions.has(key);
  }

  /** Every credential, and every one that is gone but has left a session. */
  *keys(): Iterable<Key> {
    yield* this.#credentials.keys();
    for (const key of this.#sessions.all()) if (!this.#credentials.has(key)) yield key;
  }

  /**
   * Takes in what a request has shown of a Secret. Its event comes later and, being no news then, wakes nobody.
   * @param how `written`: it is our own write of a target, which is news only to those who read it as their source
   */
  learn(
    namespace: string,
    name: string,
    meta: SecretMeta | 'absent',
    how: 'read' | 'written' = 'read',
  ): void {
    if (meta !== 'absent' && how === 'written') this.ownWrites.add(meta.resourceVersion);
    if (meta === 'absent') this.#sessions.remove(namespace, name);
    else this.#sessions.put(namespace, name, meta);
    const before =
      meta === 'absent'
        ? this.#secrets.remove(namespace, name)
        : this.#putSecret({ namespace, name, meta });
    if (before === undefined || (how === 'read' && before === 'unknown')) return;
    const concerned = this.referrers(namespace, name).filter(
      (credential) => how === 'read' || sourceNameOf(credential) === name,
    );
    this.#wake(concerned.map(keyOf));
  }

  /** Takes in the status that we have just written, so that the next pass need not wait for the watch. */
  learnStatus(
    metadata: ConvercusCredential['metadata'],
    status: Status,
    resourceVersion: string | undefined,
  ): void {
    const key = keyOf({ metadata });
    const known = this.#credentials.get(key);
    if (known?.metadata.uid !== metadata.uid) return;
    if (resourceVersion !== undefined) this.ownWrites.add(resourceVersion);
    const written = {
      ...known.metadata,
      ...(resourceVersion !== undefined && { resourceVersion }),
    };
    const shared = this.#shared.object(status, known.status);
    this.#credentials.set(key, { ...known, metadata: written, status: shared });
  }

  /** @param namespace of the informer that feeds it; none: the whole cluster */
  credentialSink(namespace?: string): WatchSink<ConvercusCredential> {
    let seen: Set<Key> | undefined;
    return {
      listStarted: () => {
        seen = new Set();
      },
      present: (item) => {
        seen?.add(keyOf(item));
        this.#credentialPresent(item);
      },
      deleted: (item) => this.#credentialDeleted(keyOf(item)),
      listEnded: () => {
        for (const [key, { metadata }] of this.#credentials) {
          const inScope = namespace === undefined || metadata.namespace === namespace;
          if (inScope && seen?.has(key) === false) this.#credentialDeleted(key);
        }
        seen = undefined;
      },
    };
  }

  /** @param scope namespace of the informer that feeds it; none: the whole cluster */
  secretSink(scope = ''): WatchSink<WatchedSecret> {
    return {
      listStarted: () => {
        this.#secrets.listStarted(scope);
        this.#sessions.listStarted(scope);
      },
      present: (secret) => {
        const { namespace, name, meta } = secret;
        const owner = this.#sessions.put(namespace, name, meta);
        const user = owner === undefined ? undefined : this.#credentials.get(owner);
        if (owner !== undefined && user?.spec.grantType !== 'password') this.#wake([owner]);
        const before = this.#putSecret(secret);
        if (before !== undefined) this.#wake(this.#secrets.referrers(namespace, name));
      },
      deleted: ({ namespace, name, meta }) => {
        this.#sessions.remove(namespace, name);
        const before = this.#secrets.remove(namespace, name, meta.uid);
        if (before !== undefined) this.#wake(this.#secrets.referrers(namespace, name));
      },
      listEnded: () => {
        this.#sessions.listEnded(scope);
        this.#wake(this.#secrets.listEnded(scope));
      },
    };
  }

  #putSecret({ namespace, name, meta }: WatchedSecret): KnownSecret | undefined {
    const { credentialName } = meta;
    if (credentialName === undefined) return this.#secrets.put(namespace, name, meta);
    const credential = this.#credentials.get(`${namespace}/${credentialName}`);
    return this.#secrets.put(namespace, name, inWordsOf(credential, meta));
  }

  #credentialPresent(shown: ConvercusCredential): void {
    const key = keyOf(shown);
    const before = this.#credentials.get(key);
    const item = this.#shared.object(shown, before);
    this.#credentials.set(key, item);
    if (before !== undefined && !isNews(before, item)) return;
    this.#track(item, key);
    if (before !== undefined) this.#forget(before, key, namesOf(item));
    this.#wake([key]);
  }

  #credentialDeleted(key: Key): void {
    const before = this.#credentials.get(key);
    if (before === undefined) return;
    this.#credentials.delete(key);
    this.#forget(before, key, []);
    this.#wake([key]);
  }

  #track(item: ConvercusCredential, key: Key): void {
    const { namespace } = item.metadata;
    for (const name of namesOf(item)) this.#secrets.track(namespace, this.#shared.text(name), key);
  }

  /** The credential names these Secrets no more, so its target is free for others. */
  #forget(before: ConvercusCredential, key: Key, stillNamed: readonly string[]): void {
    const { namespace } = before.metadata;
    for (const name of namesOf(before)) {
      if (!stillNamed.includes(name)) this.#secrets.untrack(namespace, name, key);
    }
    const others = this.claimants(namespace, targetNameOf(before)).map(keyOf);
    this.#wake(others.filter((other) => other !== key));
  }

  referrers(namespace: string, name: string): readonly ConvercusCredential[] {
    return this.#secrets
      .referrers(namespace, name)
      .map((key) => this.#credentials.get(key))
      .filter((credential) => credential !== undefined);
  }

  #wake(keys: readonly Key[]): void {
    if (keys.length > 0) this.#onChange(keys);
  }
}
