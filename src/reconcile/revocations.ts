import type { EpochMs } from '../domain/time.ts';
import type { Token } from '../domain/token.ts';

interface Known {
  /** As the server says it, by its clock. */
  readonly policy: EpochMs;
  /** By our clock: what was asked for before this moment is void. */
  readonly voidBefore: EpochMs;
}

/**
 * Keycloak's not-before policy of each realm: every answer repeats it, and a raised one voids all earlier tokens.
 * The token that brings the news is good, so nothing later than its request is void, however far apart the clocks are.
 */
export class Revocations {
  readonly #byUrl = new Map<string, Known>();
  readonly #onRaised: (tokenUrl: string) => void;

  constructor(onRaised: (tokenUrl: string) => void) {
    this.#onRaised = onRaised;
  }

  learn(tokenUrl: string, { notBefore, issuedAt }: Token): void {
    const known = this.#byUrl.get(tokenUrl);
    if (notBefore <= (known?.policy ?? 0)) return;
    this.#byUrl.set(tokenUrl, { policy: notBefore, voidBefore: Math.min(notBefore, issuedAt) });
    this.#onRaised(tokenUrl);
  }

  /** 0 when nothing is known to be void. Never in the future, not even when the clock has been set back. */
  voidBefore(tokenUrl: string, now: EpochMs): EpochMs {
    const known = this.#byUrl.get(tokenUrl);
    if (known === undefined || known.voidBefore <= now) return known?.voidBefore ?? 0;
    this.#byUrl.set(tokenUrl, { ...known, voidBefore: now });
    return now;
  }
}
