import type { EpochMs } from '../lib/time.ts';
import type { Token } from '../oauth/token.ts';

interface RealmPolicy {
  /** As the server says it, by its clock. */
  readonly policy: EpochMs;
  /** By our clock: what was asked for before this moment is void. */
  readonly validFrom: EpochMs;
}

/**
 * Keycloak's not-before policy of each realm: every answer repeats it, and a raised one voids all earlier tokens. An
 * answer tells the highest of the realm's, the client's and the user's, so one that was raised for a user renews the
 * whole realm once: an answer does not say which it is, and a revoked token in use is worse than a needless renewal.
 * The token that brings the news is good, so nothing later than its request is void, however far apart the clocks are.
 * A clock behind ours would hide what was asked for before the raise; one ahead of ours needs no allowance.
 */
export class NotBeforePolicies {
  readonly #byUrl = new Map<string, RealmPolicy>();
  readonly #onRaised: (tokenUrl: string) => void;

  constructor(onRaised: (tokenUrl: string) => void) {
    this.#onRaised = onRaised;
  }

  learn(tokenUrl: string, { notBefore, issuedAt, clockLag = 0 }: Token): void {
    const known = this.#byUrl.get(tokenUrl);
    if (notBefore <= (known?.policy ?? 0)) return;
    const validFrom = Math.min(notBefore + clockLag, issuedAt);
    this.#byUrl.set(tokenUrl, { policy: notBefore, validFrom });
    this.#onRaised(tokenUrl);
  }

  /** 0 when nothing is known to be void. Never in the future, not even when the clock has been set back. */
  validFrom(tokenUrl: string, now: EpochMs): EpochMs {
    const known = this.#byUrl.get(tokenUrl);
    if (known === undefined || known.validFrom <= now) return known?.validFrom ?? 0;
    this.#byUrl.set(tokenUrl, { ...known, validFrom: now });
    return now;
  }
}
