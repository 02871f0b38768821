import { clusterNameOf } from '../credential/cluster-name.ts';
import { isOwnTarget, TARGET_TYPE } from '../credential/target-secret.ts';
import { type Failure, isFailure } from '../lib/failure.ts';
import { type Key, splitKey } from '../lib/key.ts';
import type { Action } from '../lib/time.ts';
import type { Dependencies } from './dependencies.ts';
import { retryRequest } from './retry.ts';
import type { CredentialState } from './state.ts';

/**
 * Deletes the target of a ClusterConvercusCredential in a namespace that it does not select any more. When the resource
 * is gone itself, that is left to garbage collection. There is no finalizer: a Secret says by owner and label whose it
 * is, also after a restart.
 */
export class UnselectedTargets {
  readonly #deps: Dependencies;
  /**
   * By key: uids of Secrets that look like targets and are of another type, which can't be changed. Each is read once:
   * the owner of a namespace may make many of them, and every write of one enqueues the key.
   */
  readonly #others = new Map<Key, Set<string>>();

  constructor(deps: Dependencies) {
    this.#deps = deps;
  }

  /** @param key of an instance that is gone */
  async remove(key: Key, state: CredentialState, signal: AbortSignal): Promise<Action> {
    const { clusterCredentials } = this.#deps;
    const clusterName = clusterNameOf(splitKey(key).name);
    const known = clusterName && clusterCredentials?.credential(clusterName);
    if (known === undefined || known === '') return 'await-change';
    const { uid } = known.metadata;
    for (const secretName of this.#targetsOf(key, uid)) {
      const failure = await this.#removeOne(key, { secretName, uid }, signal);
      if (failure !== undefined) return this.#retry(state, failure);
    }
    return 'await-change';
  }

  /** Names of the Secrets that look like targets, but for those that are known to be none. */
  #targetsOf(key: Key, uid: string): string[] {
    const { lister } = this.#deps;
    const { namespace } = splitKey(key);
    const found = lister.ownedSecrets(key, uid).map((name) => {
      const meta = lister.secret(namespace, name);
      return { name, uid: typeof meta === 'object' ? meta.uid : '' };
    });
    const others = this.#others.get(key) ?? new Set();
    const still = found.filter((secret) => others.has(secret.uid)).map((secret) => secret.uid);
    if (still.length === 0) this.#others.delete(key);
    else this.#others.set(key, new Set(still));
    return found.filter((secret) => !others.has(secret.uid)).map(({ name }) => name);
  }

  async #removeOne(
    key: Key,
    { secretName, uid }: { readonly secretName: string; readonly uid: string },
    signal: AbortSignal,
  ): Promise<Failure | undefined> {
    const { lister, cluster, log } = this.#deps;
    const { namespace, name } = splitKey(key);
    // Metadata do not hold the type
    const found = await cluster.readSecret(namespace, secretName, signal);
    if (isFailure(found)) return found;
    if (found === 'absent') return undefined;
    if (found.type !== TARGET_TYPE) this.#noteOther(key, found.meta.uid);
    if (!isOwnTarget({ uid, name }, found)) return undefined;
    if (lister.credential(key) !== undefined) return undefined; // selected again
    const secret = { namespace, name: secretName, uid: found.meta.uid };
    const failure = await cluster.deleteSecret(secret, signal);
    if (failure !== undefined) return failure;
    log.info('A target was deleted, for its namespace is not selected any more', {
      namespace,
      name,
      secret: secretName,
    });
    return undefined;
  }

  #noteOther(key: Key, uid: string): void {
    this.#others.set(key, (this.#others.get(key) ?? new Set()).add(uid));
  }

  #retry(state: CredentialState, failure: Failure): Action {
    const action = retryRequest(this.#deps, state, failure);
    const { kind: reason, code } = failure;
    this.#deps.log.warn(failure.message, { reason, code, attempts: state.failedRequests });
    return action;
  }
}
