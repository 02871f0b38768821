import { decimalAt, isObject, type JsonObject, parseJson } from '../lib/json.ts';
import type { Sensitive } from '../lib/sensitive.ts';
import { type EpochMs, hours, type Ms, seconds } from '../lib/time.ts';

/** An access token and what came with it. */
export interface Token {
  readonly accessToken: Sensitive;
  readonly idToken?: Sensitive;
  readonly refreshToken?: RefreshToken;
  /** Always `Bearer`: anything else is refused. */
  readonly tokenType: 'Bearer';
  /** Space-separated, as the server sent it (its order means nothing). */
  readonly scope: string;
  /** When the request was sent. */
  readonly issuedAt: EpochMs;
  readonly expiresAt: EpochMs;
  /** In [-1, 1], drawn once per token: where in the jitter window its renewal lies, the same for all who share it. */
  readonly jitter: number;
  /** Keycloak's `not-before-policy`, by the server's clock: tokens of the realm issued before are void. */
  readonly notBefore: EpochMs;
  /** How far the server's clock is behind ours at most; 0 when it is ahead, absent when not known. */
  readonly clockLag?: Ms;
}

/** What a token endpoint gives to ask with the next time (RFC 6749, 1.5). */
export interface RefreshToken {
  readonly value: Sensitive;
  /** Undefined: it does not expire by itself (`refresh_expires_in` 0, an offline token). */
  readonly expiresAt: EpochMs | undefined;
}

/** The same date in two responses may differ by this much, because servers count in whole seconds. */
export const ROUNDING: Ms = seconds(2);

/** By more than the rounding of servers. */
export const expiresBefore = (
  token: Pick<Token, 'expiresAt'>,
  other: Pick<Token, 'expiresAt'>,
): boolean => token.expiresAt < other.expiresAt - ROUNDING;

/** What any server says, no access token is taken to live longer. */
export const MAX_VALIDITY = hours(24);

const JWT = /^([\w-]+)\.([\w-]+)\.[\w-]+$/;

/** The claims of a signed JWT, unverified; undefined for an opaque token. */
export function claimsOf(token: string): JsonObject | undefined {
  const [header, claims] = (JWT.exec(token)?.slice(1) ?? []).map((part) =>
    parseJson(Buffer.from(part, 'base64url').toString()),
  );
  return isObject(header) && isObject(claims) ? claims : undefined;
}

/** From `iat` to `exp`: a length, so no clock but the issuer's counts. Undefined when the claims do not tell. */
export function lifetimeOf(claims: unknown): Ms | undefined {
  const [issuedAt, expiresAt] = [decimalAt(claims, 'iat'), decimalAt(claims, 'exp')];
  if (issuedAt === undefined || expiresAt === undefined || expiresAt <= issuedAt) return undefined;
  return seconds(expiresAt - issuedAt);
}
