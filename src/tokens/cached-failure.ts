import { REJECTED_BEFORE } from '../credential/lockout.ts';
import { isSessionOver } from '../credential/session.ts';
import { retryBeforeExpiry } from '../lib/failure.ts';
import { type EpochMs, isFromTheFuture } from '../lib/time.ts';
import type { TokenRequest } from '../oauth/grants.ts';
import type { TokenDemand, TokenFailure } from './token-demand.ts';

/** A refusal that is remembered: for how long, and against whom, it stands. */
export interface CachedFailure extends TokenFailure {
  readonly at: EpochMs;
  readonly attempts: number;
}

export const isLoginRequest = ({ grantType }: TokenRequest): boolean =>
  grantType === 'password' || grantType === 'legacy_login';

/** What a restart has forgotten, but the status has not. */
export function cachedFromStatus({
  request,
  loginHistory: { rejection },
}: TokenDemand): CachedFailure | undefined {
  if (rejection === undefined || !isLoginRequest(request)) return undefined;
  const { at, count: attempts, retryAt, hadWorked } = rejection;
  return { failure: REJECTED_BEFORE, at, attempts, retryAt, hadWorked };
}

/** One refusal stands for all who present the same, but for each only until its own token calls for another try. */
const retryFor = (
  { failure, retryAt, at }: CachedFailure,
  { currentToken }: TokenDemand,
): EpochMs | undefined => retryBeforeExpiry(failure, retryAt, at, currentToken);

/**
 * A person's request overrides a refusal, but not one that is younger than the least time between renewals.
 * The refresh token of a session that has ended is never sent again.
 */
export function isInForce(tokenFailure: CachedFailure, demand: TokenDemand, now: EpochMs): boolean {
  if (demand.request.grantType === 'refresh_token' && isSessionOver(tokenFailure.failure))
    return true;
  if (isFromTheFuture(tokenFailure.at, now)) return false;
  if (demand.freshness.requested && tokenFailure.at <= now - demand.policy.minimum) return false;
  const retry = retryFor(tokenFailure, demand);
  return retry === undefined || now < retry;
}

/** Whoever was asked to renew now tries as soon as the refusal is old enough. */
export function fromCache(tokenFailure: CachedFailure, demand: TokenDemand): TokenFailure {
  const retry = retryFor(tokenFailure, demand);
  const allowedAt = tokenFailure.at + demand.policy.minimum;
  const retryAt = demand.freshness.requested ? Math.min(allowedAt, retry ?? allowedAt) : retry;
  return { ...tokenFailure, retryAt, isCached: true };
}
