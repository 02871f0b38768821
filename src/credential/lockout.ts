import { Failure } from '../lib/failure.ts';
import { type EpochMs, hours, isFromTheFuture, type Ms, minutes } from '../lib/time.ts';
import { type Credential, digest, requiredKeys } from './credential.ts';
import type { RenewalPolicy } from './renewal.ts';

/**
 * A login that the server has rejected. Status keeps it, so that a restart does not log in again. It names the version
 * of the credentials Secret and holds no digest of its values, from which they could be guessed (ADR 12).
 */
export interface Rejection {
  /** See `presentedDigest`. */
  readonly presented: string;
  readonly at: EpochMs;
  /** Rejections of what is presented, in all. */
  readonly count: number;
  /** It had been accepted before. */
  readonly hadWorked: boolean;
  /** Undefined: not before something changes. */
  readonly retryAt: EpochMs | undefined;
}

/** Reported while no login is sent because of an earlier rejection. */
export const REJECTED_BEFORE = new Failure(
  'CredentialsRejected',
  'User name or password was rejected before, or the account is locked for a while. Check both in the credentials Secret; nothing is sent until they change.',
);

/**
 * When a rejected password may be presented again; undefined: not before something changes.
 * @param requested present while `renew-requested-at` asks for a renewal: one try is allowed `minimum` after `at`
 */
export function loginAllowedAt(
  { at, retryAt }: Pick<Rejection, 'at' | 'retryAt'>,
  now: EpochMs,
  requested: Pick<RenewalPolicy, 'minimum'> | undefined,
): EpochMs | undefined {
  // The clock has been set back since: nothing tells how long ago it was
  if (requested === undefined)
    return retryAt !== undefined && isFromTheFuture(at, now) ? now : retryAt;
  const allowedAt = isFromTheFuture(at, now) ? now : at + requested.minimum;
  return Math.min(allowedAt, retryAt ?? allowedAt);
}

/**
 * Identifies what is presented, and to which endpoint, by the version of the credentials Secret, not by its values.
 * @param version of the credentials Secret
 */
export function presentedDigest(credential: Credential, version: string): string {
  const { grantType, tokenUrl, clientId, org } = credential;
  const presented = [grantType, tokenUrl, clientId, requiredKeys(credential), version];
  return digest(org === undefined ? presented : [...presented, org]);
}

/** What is known of a password that has just been rejected. */
export interface LockoutEvidence {
  /** Rejections of this value, this one included. */
  readonly count: number;
  /** It has logged in before: a locked account is likelier than a wrong password. */
  readonly worked: boolean;
  /** Less than LOCKOUT_WINDOW before it another password was rejected: it may be right, but locked out. */
  readonly followedRejection: boolean;
  /** Only the status of the response could be read: the provider itself may not have looked at the password. */
  readonly isUnreadable: boolean;
}

/** After the first, second and any later rejection. Keycloak locks an account for 15 min at most by default. */
const LOCKOUT_BACKOFF: readonly [Ms, Ms, Ms] = [minutes(20), hours(2), hours(12)];

/** Within this time a rejection may come from the brute-force lock that an earlier rejection caused. */
export const LOCKOUT_WINDOW: Ms = minutes(15);

/**
 * When a rejected password may be tried again; undefined unless a locked account, or a proxy that has answered, is
 * likelier than a wrong password.
 * @param random uniform in [0, 1): lengthens the wait by up to 10 %
 */
export function nextLoginAt(
  { count, worked, followedRejection, isUnreadable }: LockoutEvidence,
  now: EpochMs,
  random: number,
): EpochMs | undefined {
  const [first, second, later] = LOCKOUT_BACKOFF;
  const mayTry = worked || isUnreadable || followedRejection;
  if (!mayTry) return undefined;
  const wait = count === 1 ? first : count === 2 ? second : later;
  return now + wait * (1 + random / 10);
}
