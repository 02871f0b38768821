import type { ConvercusCredential } from '../credential/api.ts';
import { targetNameOf } from '../credential/credential.ts';
import type { CredentialResource } from '../credential/instance.ts';
import { isOwnTarget } from '../credential/target-secret.ts';
import { type Failure, isFailure } from '../lib/failure.ts';
import type { Dependencies } from './dependencies.ts';
import type { Unparsed } from './state.ts';

/**
 * Deletes the targets that a credential has made under another name. The CRD lets name and policy of a target change
 * until `status.issuedAt` exists. So there may be one while no token is told in the status, or when the status names
 * another target than the spec, which was changed between the write of the target and that of the status.
 */
export class FormerTargets {
  readonly #deps: Pick<Dependencies, 'lister' | 'cluster' | 'log'>;

  constructor(deps: Pick<Dependencies, 'lister' | 'cluster' | 'log'>) {
    this.#deps = deps;
  }

  /** Before the next target is written, so that none is forgotten. */
  async remove(
    { key, resource, state }: Unparsed,
    signal: AbortSignal,
  ): Promise<Failure | undefined> {
    const { generation } = resource.metadata;
    if (resource.status?.issuedAt !== undefined) return this.#removeTold(resource, signal);
    // A new one has none, unless a restored etcd has gone back to its first generation
    if (generation <= 1 && state.withoutFormerTargets === undefined) return undefined;
    // The look goes through all Secrets of the cache, and a credential without a token is reconciled often
    if (state.withoutFormerTargets === generation) return undefined;
    for (const name of this.#deps.lister.ownedSecrets(key, resource.metadata.uid)) {
      if (!isFormer(resource, name)) continue;
      const failure = await this.#removeOne(resource, name, signal);
      if (failure !== undefined) return failure;
    }
    state.withoutFormerTargets = generation;
    return undefined;
  }

  async #removeTold(
    resource: CredentialResource,
    signal: AbortSignal,
  ): Promise<Failure | undefined> {
    const told = resource.status?.target?.name;
    const isRenamed = told !== undefined && told !== targetNameOf(resource);
    return isRenamed ? this.#removeOne(resource, told, signal) : undefined;
  }

  async #removeOne(
    { metadata: { namespace, name, uid } }: ConvercusCredential,
    secretName: string,
    signal: AbortSignal,
  ): Promise<Failure | undefined> {
    const { cluster, log } = this.#deps;
    // A watch may be late: only the API server knows the spec, and only the whole Secret tells its type
    const credential = await cluster.readCredential(namespace, name, signal);
    if (isFailure(credential)) return credential;
    if (credential === 'absent' || credential.metadata.uid !== uid) return undefined;
    if (!isFormer(credential, secretName)) return undefined;
    const found = await cluster.readSecret(namespace, secretName, signal);
    if (isFailure(found)) return found;
    if (found === 'absent' || !isOwnTarget({ uid, name }, found)) return undefined;
    const secret = { namespace, name: secretName, uid: found.meta.uid };
    const failure = await cluster.deleteSecret(secret, signal);
    if (failure !== undefined) return failure;
    log.info('A target that has another name now was deleted', {
      namespace,
      name,
      secret: secretName,
    });
    return undefined;
  }
}

/** The spec names another target, or wants to merge into one that others make. */
const isFormer = (resource: ConvercusCredential, secretName: string): boolean =>
  targetNameOf(resource) !== secretName || resource.spec.target.creationPolicy === 'Merge';
