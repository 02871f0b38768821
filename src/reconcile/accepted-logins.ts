import type { Credential } from '../credential/credential.ts';
import { presentedDigest, type Rejection } from '../credential/lockout.ts';
import { readRejection } from '../credential/status.ts';
import { FairLruMap } from '../lib/fair-lru-map.ts';
import { keyOf } from '../lib/key.ts';
import type { EpochMs } from '../lib/time.ts';
import type { Dependencies } from './dependencies.ts';

const MAX_LOGINS = 10_000;

/**
 * Logins that have succeeded in this term. The same may have been rejected before, and the statuses of other
 * credentials with the same credentials Secret still say so (ADR 39).
 */
export class AcceptedLogins {
  readonly #deps: Pick<Dependencies, 'lister' | 'enqueueFirst'>;
  /** By digest of what was presented. */
  readonly #acceptedAt = new FairLruMap<EpochMs>(MAX_LOGINS);

  constructor(deps: Pick<Dependencies, 'lister' | 'enqueueFirst'>) {
    this.#deps = deps;
  }

  /**
   * Notes an accepted login. Credentials that wait because the same was rejected before are reconciled.
   * @param version of the credentials Secret
   * @param at when its token was issued
   */
  add(credential: Credential, version: string, at: EpochMs): void {
    const { lister, enqueueFirst } = this.#deps;
    const { namespace, name } = credential.source;
    const presented = presentedDigest(credential, version);
    this.#acceptedAt.set(presented, at, namespace);
    for (const { metadata, status } of lister.referrers(namespace, name)) {
      const rejection = readRejection(status);
      const isSame = rejection?.presented === presented;
      if (isSame && this.isOver(rejection)) enqueueFirst(keyOf(metadata));
    }
  }

  /** The same was accepted after that rejection. */
  isOver({ presented, at }: Rejection): boolean {
    return at <= (this.#acceptedAt.get(presented) ?? -Infinity);
  }
}
