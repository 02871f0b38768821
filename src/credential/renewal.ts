import { type EpochMs, type Ms, seconds } from '../lib/time.ts';
import { MAX_VALIDITY, type Token } from '../oauth/token.ts';

/** Renew at `percent` ± `jitterPercent` of the validity, but not sooner than `minimum` after the renewal before. */
export interface RenewalPolicy {
  readonly percent: number;
  readonly jitterPercent: number;
  readonly minimum: Ms;
}

/** The parts of a token that its renewal date depends on. */
export type Lifetime = Pick<Token, 'issuedAt' | 'expiresAt' | 'jitter'>;

const EARLIEST_SHARE = 0.05;
const LATEST_SHARE = 0.99;

/** Of a token shorter than `minimum`: its renewal waits this long at most, even past its expiry. */
const MAX_WAIT_PAST_EXPIRY: Ms = seconds(30);

/** Shortest time between two requests, even if the token expires meanwhile. */
export const minRetryIntervalOf = ({ minimum }: Pick<RenewalPolicy, 'minimum'>): Ms =>
  Math.min(minimum, MAX_WAIT_PAST_EXPIRY);

/**
 * When to renew: `percent` ± `jitterPercent` of the validity after the request was sent, inside the validity, not
 * sooner than the policy's minimum. A minimum longer than the validity counts for 30 s at most.
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

/** Dates are written in whole milliseconds. */
const ROUNDING: Ms = 1;

/** What `renewalDate` makes of some token and policy. Other dates are forged, and would put the renewal off for years. */
export function isPlausible({
  issuedAt,
  expiresAt,
  renewAt,
}: Pick<Lifetime, 'issuedAt' | 'expiresAt'> & { readonly renewAt: EpochMs }): boolean {
  const validity = expiresAt - issuedAt;
  const latest = Math.max(expiresAt, issuedAt + MAX_WAIT_PAST_EXPIRY);
  return (
    validity >= 0 &&
    validity <= MAX_VALIDITY + ROUNDING &&
    renewAt >= issuedAt - ROUNDING &&
    renewAt <= latest + ROUNDING
  );
}
