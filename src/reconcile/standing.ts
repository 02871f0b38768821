import { retryBeforeExpiry } from '../domain/failure.ts';
import { REJECTED_BEFORE } from '../domain/login-gate.ts';
import { isEnd } from '../domain/session.ts';
import { type EpochMs, isFromTheFuture } from '../domain/time.ts';
import type { TokenRequest } from '../domain/token.ts';
import type { Refusal, Wish } from './wish.ts';

/** A refusal that is remembered: for how long, and against whom, it stands. */
export interface Remembered extends Refusal {
  readonly at: EpochMs;
  readonly attempts: number;
}

export const isLogin = ({ grantType }: TokenRequest): boolean =>
  grantType === 'password' || grantType === 'legacy_login';

/** What a restart has forgotten, but the status has not. */
export function fromPast({ request, past: { rejection } }: Wish): Remembered | undefined {
  if (rejection === undefined || !isLogin(request)) return undefined;
  const { at, count: attempts, retryAt, hadWorked } = rejection;
  return { failure: REJECTED_BEFORE, at, attempts, retryAt, hadWorked };
}

/** One refusal stands for all who present the same, but for each only until its own token calls for another try. */
const retryFor = ({ failure, retryAt, at }: Remembered, { held }: Wish): EpochMs | undefined =>
  retryBeforeExpiry(failure, retryAt, at, held);

/**
 * A person's request overrides a refusal, but not one that is younger than the least time between renewals.
 * The refresh token of a session that has ended is never sent again.
 */
export function stands(refusal: Remembered, wish: Wish, now: EpochMs): boolean {
  if (wish.request.grantType === 'refresh_token' && isEnd(refusal.failure)) return true;
  if (isFromTheFuture(refusal.at, now)) return false;
  if (wish.need.requested && refusal.at <= now - wish.policy.minimum) return false;
  const retry = retryFor(refusal, wish);
  return retry === undefined || now < retry;
}

/** Whoever was asked to renew now tries as soon as the refusal is old enough. */
export function handedOn(refusal: Remembered, wish: Wish): Refusal {
  const retry = retryFor(refusal, wish);
  const allowedAt = refusal.at + wish.policy.minimum;
  const retryAt = wish.need.requested ? Math.min(allowedAt, retry ?? allowedAt) : retry;
  return { ...refusal, retryAt, isRemembered: true };
}
