import { sessionNameOf } from '../credential/credential.ts';
import type { Key } from '../lib/key.ts';
import { isOlderVersion, NO_VERSION } from '../lib/resource-version.ts';
import type { WatchedSecret } from './secret-meta.ts';

interface SessionSecret {
  readonly uid: string;
  /** The latest version at which it was known to be there. */
  asOf: string;
}

/** Which credentials, existing or not, have the Secret of a session. */
export class SessionKeys {
  readonly #secrets = new Map<Key, SessionSecret>();

  has(key: Key): boolean {
    return this.#secrets.has(key);
  }

  /** @param scope a namespace, or empty for all */
  *in(scope: string): Iterable<Key> {
    for (const [key] of this.#secretsIn(scope)) yield key;
  }

  /** Answers the credential's key when the Secret is that of a session that was not known. */
  apply({ namespace, name, meta }: WatchedSecret, asOf: string): Key | undefined {
    const owner = ownerOf(namespace, name);
    const known = this.#secrets.get(owner);
    if (owner === '' || isOlderVersion(asOf, known?.asOf ?? NO_VERSION)) return undefined;
    if (meta.isSession !== true || name !== sessionNameOf(meta.credentialName ?? '')) {
      this.#secrets.delete(owner);
      return undefined;
    }
    this.#secrets.set(owner, { uid: meta.uid, asOf });
    return known === undefined ? owner : undefined;
  }

  /** It is no more: the one of that uid, for another one may be known by now, or whichever it was. */
  gone(namespace: string, name: string, uid?: string): void {
    const owner = ownerOf(namespace, name);
    if (uid === undefined || this.#secrets.get(owner)?.uid === uid) this.#secrets.delete(owner);
  }

  /** Versions begin again. */
  restored(scope: string): void {
    for (const [, secret] of this.#secretsIn(scope)) secret.asOf = NO_VERSION;
  }

  /** @param asOf version of the list */
  initDone(scope: string, asOf: string): void {
    for (const [key, secret] of this.#secretsIn(scope)) {
      if (isOlderVersion(secret.asOf, asOf)) this.#secrets.delete(key);
    }
  }

  *#secretsIn(scope: string): Iterable<[Key, SessionSecret]> {
    for (const entry of this.#secrets) {
      if (scope === '' || entry[0].startsWith(`${scope}/`)) yield entry;
    }
  }
}

const SUFFIX = sessionNameOf('');

/** The credential whose session a Secret of that name would be; empty when it can't be one. */
const ownerOf = (namespace: string, name: string): Key =>
  name.endsWith(SUFFIX) ? `${namespace}/${name.slice(0, -SUFFIX.length)}` : '';
