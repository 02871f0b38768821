import { REJECTED_BEFORE } from '../domain/login-gate.ts';
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

/** A person's request overrides a refusal, but not one that is younger than the least time between renewals. */
export function stands(refusal: Remembered, { need, policy }: Wish, now: EpochMs): boolean {
  if (isFromTheFuture(refusal.at, now)) return false;
  if (need.requested && refusal.at <= now - policy.minimum) return false;
  return refusal.retryAt === undefined || now < refusal.retryAt;
}

/** Whoever was asked to renew now tries as soon as the refusal is old enough. */
export function handedOn(refusal: Remembered, { need, policy }: Wish): Refusal {
  const allowedAt = refusal.at + policy.minimum;
  const requestedAt = Math.min(allowedAt, refusal.retryAt ?? allowedAt);
  const again = need.requested ? requestedAt : refusal.retryAt;
  return { ...refusal, retryAt: again, isRemembered: true };
}
