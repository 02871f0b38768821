import { type EpochMs, type Ms, seconds } from '../lib/time.ts';
import type { Token } from '../oauth/token.ts';

/** When to renew: at `percent` ± `jitterPercent` of the validity, but never sooner than `minimum` after the last time. */
export interface RenewalPolicy {
  readonly percent: number;
  readonly jitterPercent: number;
  readonly minimum: Ms;
}

/** The parts of a token that decide about its renewal. */
export type Lifetime = Pick<Token, 'issuedAt' | 'expiresAt' | 'jitter'>;

const EARLIEST_SHARE = 0.05;
const LATEST_SHARE = 0.99;

/** So much of the policy's minimum holds even where it outlives a token. */
const MINIMUM_AT_ALL_COSTS: Ms = seconds(30);

/** The least time between two requests for which a token may have to expire. */
export const minRetryIntervalOf = ({ minimum }: Pick<RenewalPolicy, 'minimum'>): Ms =>
  Math.min(minimum, MINIMUM_AT_ALL_COSTS);

/**
 * When to renew: `percent` ± `jitterPercent` of the validity after the request was sent, inside the validity, yet not
 * sooner than the policy's minimum. A minimum that the token would not outlive counts for 30 s.
 */
export function renewalDate(token: Lifetime, policy: RenewalPolicy): EpochMs {
  const { issuedAt, expiresAt, jitter } = token;
  const validity = expiresAt - issuedAt;
  const share = (policy.percent + policy.jitterPercent * jitter) / 100;
  const planned = validity * Math.min(Math.max(share, EARLIEST_SHARE), LATEST_SHARE);
  const isInTime = policy.minimum <= validity * LATEST_SHARE;
  return Math.round(
    issuedAt + Math.max(planned, isInTime ? policy.minimum : minRetryIntervalOf(policy)),
  );
}
