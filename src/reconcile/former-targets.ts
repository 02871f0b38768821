import type { ClusterConvercusCredential } from '../credential/cluster-api.ts';
import { clusterNameOf } from '../credential/cluster-name.ts';
import { targetNameOf } from '../credential/credential.ts';
import type { CredentialResource } from '../credential/instance.ts';
import { isOwnTarget, TARGET_TYPE } from '../credential/target-secret.ts';
import { type Failure, isFailure } from '../lib/failure.ts';
import { type Key, splitKey } from '../lib/key.ts';
import { type Action, seconds } from '../lib/time.ts';
import type { Dependencies } from './dependencies.ts';
import { retryAndLog } from './retry.ts';
import type { CredentialState } from './state.ts';

/** The others wait for the next turn of their namespace: there may be thousands. */
const REMOVED_AT_ONCE = 10;

interface FormerTarget {
  readonly key: Key;
  /** Of the credential. */
  readonly uid: string;
  readonly secretName: string;
}

/**
 * Deletes the targets that a credential has made and does not name any more. The CRD lets name and policy of a target
 * change until `status.issuedAt` exists, a restored etcd may bring an earlier spec, and a ClusterConvercusCredential may
 * no longer select a namespace. When the resource is gone itself, that is left to garbage collection. There is no
 * finalizer: a Secret says by owner and label whose it is, also after a restart.
 */
export class FormerTargets {
  readonly #deps: Dependencies;
  /**
   * By key: uids of Secrets that look like targets and are of another type, which can't be changed. Each is read once:
   * the owner of a namespace may make many of them, and every write of one enqueues the key.
   */
  readonly #others = new Map<Key, Set<string>>();

  constructor(deps: Dependencies) {
    this.#deps = deps;
  }

  /** @param uid of the credential; an instance has that of its ClusterConvercusCredential */
  async remove(
    key: Key,
    uid: string,
    state: CredentialState,
    signal: AbortSignal,
  ): Promise<Action> {
    const names = this.#namesOf(key, uid);
    for (const secretName of names.slice(0, REMOVED_AT_ONCE)) {
      const failure = await this.#removeOne({ key, uid, secretName }, signal);
      if (failure !== undefined) {
        return retryAndLog(this.#deps, { key, state }, failure, 'failedRemovals');
      }
    }
    state.failedRemovals = undefined;
    if (names.length <= REMOVED_AT_ONCE) return 'await-change';
    return { requeueAt: this.#deps.clock.now() + seconds(1) };
  }

  /** @param key of a credential that is gone, or of an instance whose namespace may not be selected any more */
  async removeUnselected(key: Key, state: CredentialState, signal: AbortSignal): Promise<Action> {
    const cluster = this.#clusterOf(key);
    if (cluster !== undefined) return this.remove(key, cluster.metadata.uid, state, signal);
    this.#others.delete(key);
    return 'await-change';
  }

  /** Undefined for a ConvercusCredential, and where another release looks after the resource. */
  #clusterOf(key: Key): ClusterConvercusCredential | undefined {
    const clusterName = clusterNameOf(splitKey(key).name);
    if (clusterName === undefined) return undefined;
    return this.#deps.clusterCredentials?.credential(clusterName);
  }

  /** Of the Secrets that look like former targets, but for those that are known to be none. */
  #namesOf(key: Key, uid: string): string[] {
    const candidates = this.#candidates(key);
    if (candidates.length === 0 && !this.#others.has(key)) return []; // as in each renewal
    const { lister } = this.#deps;
    const { namespace, name } = splitKey(key);
    const found = candidates.flatMap((secretName) => {
      const meta = lister.secret(namespace, secretName);
      if (typeof meta !== 'object') return [];
      const isOurs = meta.controllerUid === uid && meta.credentialName === name;
      return isOurs ? [{ secretName, secretUid: meta.uid }] : [];
    });
    const others = this.#others.get(key);
    if (others === undefined) return found.map(({ secretName }) => secretName);
    const still = found.map(({ secretUid }) => secretUid).filter((other) => others.has(other));
    if (still.length === 0) this.#others.delete(key);
    else this.#others.set(key, new Set(still));
    return found
      .filter(({ secretUid }) => !others.has(secretUid))
      .map(({ secretName }) => secretName);
  }

  #candidates(key: Key): readonly string[] {
    const { lister } = this.#deps;
    const names = lister.formerTargets(key);
    const resource = lister.credential(key);
    // It merges into Secrets of others, and not into what it has made itself
    const isMerge = resource?.spec.target.creationPolicy === 'Merge';
    return isMerge ? [...names, targetNameOf(resource)] : names;
  }

  async #removeOne(former: FormerTarget, signal: AbortSignal): Promise<Failure | undefined> {
    const { key, uid, secretName } = former;
    const { cluster, log } = this.#deps;
    const { namespace, name } = splitKey(key);
    // Metadata do not hold the type
    const found = await cluster.readSecret(namespace, secretName, signal);
    if (isFailure(found)) return found;
    if (found === 'absent') return undefined;
    if (found.type !== TARGET_TYPE) this.#noteOther(key, found.meta.uid);
    if (!isOwnTarget({ uid, name }, found)) return undefined;
    const isUnwanted = await this.#isUnwanted(former, signal);
    if (isFailure(isUnwanted)) return isUnwanted;
    if (!isUnwanted) return undefined;
    const secret = { namespace, name: secretName, uid: found.meta.uid };
    const failure = await cluster.deleteSecret(secret, signal);
    if (failure !== undefined) return failure;
    log.info('A target that its credential does not name any more was deleted', {
      namespace,
      name,
      secret: secretName,
    });
    return undefined;
  }

  /** A watch may be late: only the API server knows the spec. */
  async #isUnwanted(
    { key, uid, secretName }: FormerTarget,
    signal: AbortSignal,
  ): Promise<boolean | Failure> {
    const { lister, cluster } = this.#deps;
    const { namespace, name } = splitKey(key);
    if (clusterNameOf(name) !== undefined && lister.credential(key) === undefined) {
      // Its namespace is not selected, while this release looks after the resource
      return this.#clusterOf(key)?.metadata.uid === uid;
    }
    const credential = await cluster.readCredential(namespace, name, signal);
    if (isFailure(credential)) return credential;
    if (credential === 'absent' || credential.metadata.uid !== uid) return false;
    return isFormer(credential, secretName);
  }

  #noteOther(key: Key, uid: string): void {
    this.#others.set(key, (this.#others.get(key) ?? new Set()).add(uid));
  }
}

/** The spec names another target, or wants to merge into one that others make. */
const isFormer = (resource: CredentialResource, secretName: string): boolean =>
  targetNameOf(resource) !== secretName || resource.spec.target.creationPolicy === 'Merge';
