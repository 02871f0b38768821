import type { ConvercusCredential } from '../credential/api.ts';
import { clusterNameOf } from '../credential/cluster-name.ts';
import { targetNameOf } from '../credential/credential.ts';
import type { SecretMeta } from '../credential/secret.ts';
import { isOwnedBy, releasedSecret } from '../credential/target-secret.ts';
import { type Failure, isFailure } from '../lib/failure.ts';
import { type Key, splitKey } from '../lib/key.ts';
import type { Action } from '../lib/time.ts';
import type { Dependencies } from './dependencies.ts';
import { retryAndLog } from './retry.ts';
import type { CredentialState } from './state.ts';

/**
 * Releases what a credential has merged into a Secret once it is gone or has another target (ADR 29). There is no
 * finalizer that waits for it: the Secret itself says whose fields it holds, also after a restart.
 */
export class MergedTargets {
  readonly #deps: Dependencies;

  constructor(deps: Dependencies) {
    this.#deps = deps;
  }

  async release(key: Key, state: CredentialState, signal: AbortSignal): Promise<Action> {
    const { lister, cluster } = this.#deps;
    const { namespace, name } = splitKey(key);
    if (clusterNameOf(name) !== undefined) return 'await-change'; // it never merges
    const known = lister.credential(key);
    const secrets = this.#secretsOf(key).filter(
      ([secretName, meta]) => !isTarget(known, secretName, meta),
    );
    if (secrets.length === 0) {
      state.failedReleases = undefined;
      return 'await-change';
    }
    // Another release may look after the credential, or a watch may be late: only the API server knows
    const credential = await cluster.readCredential(namespace, name, signal);
    if (isFailure(credential)) return this.#retry(key, state, credential);
    for (const [secretName, meta] of secrets) {
      if (credential !== 'absent' && isTarget(credential, secretName, meta)) continue;
      const desired = releasedSecret({ namespace, name }, secretName, meta);
      const released = await cluster.applySecret(desired, signal);
      if (isFailure(released)) return this.#retry(key, state, released);
      const message = 'What a credential had merged into a Secret was removed';
      this.#deps.log.info(message, { namespace, name, secret: secretName });
    }
    state.failedReleases = undefined;
    return 'await-change';
  }

  #secretsOf(key: Key): (readonly [name: string, meta: SecretMeta])[] {
    const { lister } = this.#deps;
    const { namespace } = splitKey(key);
    return lister.mergedSecrets(key).flatMap((name) => {
      const meta = lister.secret(namespace, name);
      return typeof meta === 'object' ? [[name, meta] as const] : [];
    });
  }

  #retry(key: Key, state: CredentialState, failure: Failure): Action {
    return retryAndLog(this.#deps, { key, state }, failure, 'failedReleases');
  }
}

/** With `Owner` only what is its own: it may have had the policy `Merge` before, under the same name. */
function isTarget(
  credential: ConvercusCredential | undefined,
  secretName: string,
  meta: SecretMeta,
): boolean {
  if (credential === undefined || targetNameOf(credential) !== secretName) return false;
  const { metadata, spec } = credential;
  return spec.target.creationPolicy === 'Merge' || isOwnedBy(metadata, meta);
}
