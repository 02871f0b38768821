import { type EpochMs, hours, type Ms } from '../lib/time.ts';
import type { Token } from '../oauth/token.ts';

/**
 * The server's clock may be ahead of ours by so much. A policy further ahead voids tokens that do not exist yet; it is
 * left out, for it would hide a later one: the administrator of one client may set any for that.
 */
const MAX_LEAD: Ms = hours(24);

interface RealmPolicy {
  /** As the server says it, by its clock. */
  readonly policy: EpochMs;
  /** By our clock: what was asked for before this moment is void. */
  readonly validFrom: EpochMs;
}

/**
 * Keycloak's not-before policy of each realm: every token response repeats it, and a raised one voids all earlier
 * tokens. A response holds the highest of the realm's, the client's and the user's and does not say which, so one that
 * was raised for a user renews the whole realm once: a revoked token in use is worse than a needless renewal. The token
 * that comes with a raised policy is good, so nothing requested later than it is void, however far apart the clocks
 * are. `clockLag` is added when the server's clock is behind ours: else tokens requested shortly before the raise would
 * count as good.
 */
export class NotBeforePolicies {
  readonly #byUrl = new Map<string, RealmPolicy>();
  readonly #onRaised: (tokenUrl: string) => void;

  constructor(onRaised: (tokenUrl: string) => void) {
    this.#onRaised = onRaised;
  }

  learn(tokenUrl: string, { notBefore, issuedAt, clockLag = 0 }: Token): void {
    const known = this.#byUrl.get(tokenUrl);
    if (notBefore <= (known?.policy ?? 0) || notBefore > issuedAt + MAX_LEAD) return;
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
