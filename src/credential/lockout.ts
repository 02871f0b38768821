import { Failure } from '../lib/failure.ts';
import { type EpochMs, hours, isFromTheFuture, type Ms, minutes } from '../lib/time.ts';
import { type Credential, digest, requiredKeys } from './credential.ts';
import type { RenewalPolicy } from './renewal.ts';

/**
 * A login that the server has rejected. It is kept in status, so that a restart does not try again. It names the
 * version of the credentials Secret and nothing that was in it, so there is nothing to guess from.
 */
export interface Rejection {
  readonly presented: string;
  readonly at: EpochMs;
  /** How often what is presented has been rejected. */
  readonly count: number;
  /** It had been accepted before. */
  readonly hadWorked: boolean;
  /** Undefined: not before something changes. */
  readonly retryAt: EpochMs | undefined;
}

/** What there is to say when nothing is sent because of a rejection. */
export const REJECTED_BEFORE = new Failure(
  'CredentialsRejected',
  'User name or password was rejected before, or the account is locked for a while. Check both in the credentials Secret; nothing is sent until they change.',
);

/**
 * When what was rejected may be presented again; undefined: not before something changes.
 * @param requested a person has asked for it: then once, but not sooner than the least time between renewals
 */
export function loginAllowedAt(
  { at, retryAt }: Pick<Rejection, 'at' | 'retryAt'>,
  now: EpochMs,
  requested: Pick<RenewalPolicy, 'minimum'> | undefined,
): EpochMs | undefined {
  if (requested === undefined) return retryAt;
  const allowedAt = isFromTheFuture(at, now) ? now : at + requested.minimum;
  return Math.min(allowedAt, retryAt ?? allowedAt);
}

/**
 * What is presented, and to whom, without looking into it.
 * @param version of the credentials Secret
 */
export function presentedDigest(credential: Credential, version: string): string {
  const { grantType, tokenUrl, clientId } = credential;
  return digest([grantType, tokenUrl, clientId, requiredKeys(credential), version]);
}

/** What is known of a password that has just been rejected. */
export interface LockoutEvidence {
  /** Rejections of this value, this one included. */
  readonly count: number;
  /** It has logged in before: a locked account is likelier than a wrong password. */
  readonly worked: boolean;
  /** Another value of the same user was rejected shortly before it was first tried: it may be right, but locked out. */
  readonly followedRejection: boolean;
}

/** Longer than Keycloak's longest wait (15 min), then ever longer than a lock may last. */
const LOCKOUT_BACKOFF: readonly [Ms, Ms, Ms] = [minutes(20), hours(2), hours(12)];

/** A value that is first tried so soon after a rejection may be refused for the lock that the rejection caused. */
export const LOCKOUT_WINDOW: Ms = minutes(15);

/**
 * When a rejected password may be tried again: never, unless it is likelier locked than wrong.
 * @param random uniform in [0, 1): spreads the tries over another tenth
 */
export function nextLoginAt(
  { count, worked, followedRejection }: LockoutEvidence,
  now: EpochMs,
  random: number,
): EpochMs | undefined {
  const [first, second, later] = LOCKOUT_BACKOFF;
  const mayTry = worked || (followedRejection && count === 1);
  if (!mayTry) return undefined;
  const wait = count === 1 ? first : count === 2 ? second : later;
  return now + wait * (1 + random / 10);
}
