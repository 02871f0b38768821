import { sessionNameOf } from '../../domain/credential.ts';
import type { SecretMeta } from '../../domain/secret.ts';
import type { Key } from '../../ports.ts';

/** Which credentials, existing or not, have the Secret of a session. */
export class SessionKeys {
  readonly #keys = new Set<Key>();
  /** While a list of that scope (a namespace, or empty for all) runs: what it has shown. */
  readonly #fresh = new Map<string, Set<Key>>();

  has(key: Key): boolean {
    return this.#keys.has(key);
  }

  all(): Iterable<Key> {
    return this.#keys;
  }

  /** Answers the credential's key when the Secret is that of a session that was not known. */
  put(namespace: string, name: string, meta: SecretMeta): Key | undefined {
    const key = keyFrom(namespace, name, meta);
    if (key === undefined) {
      this.remove(namespace, name);
      return undefined;
    }
    for (const scope of ['', namespace]) this.#fresh.get(scope)?.add(key);
    if (this.#keys.has(key)) return undefined;
    this.#keys.add(key);
    return key;
  }

  remove(namespace: string, name: string): void {
    if (name.endsWith(SUFFIX)) this.#keys.delete(`${namespace}/${name.slice(0, -SUFFIX.length)}`);
  }

  listStarted(scope: string): void {
    this.#fresh.set(scope, new Set());
  }

  listEnded(scope: string): void {
    const fresh = this.#fresh.get(scope);
    this.#fresh.delete(scope);
    for (const key of this.#keys) {
      const inScope = scope === '' || key.startsWith(`${scope}/`);
      if (inScope && fresh?.has(key) === false) this.#keys.delete(key);
    }
  }
}

const SUFFIX = sessionNameOf('');

function keyFrom(
  namespace: string,
  name: string,
  { isSession, credentialName }: SecretMeta,
): Key | undefined {
  const isOne = isSession === true && credentialName !== undefined;
  return isOne && name === sessionNameOf(credentialName)
    ? `${namespace}/${credentialName}`
    : undefined;
}
