import type { RenewalPolicy } from '../credential/credential.ts';
import { Sensitive } from '../lib/sensitive.ts';
import { type EpochMs, type Ms, seconds } from '../lib/time.ts';

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

interface ToTokenEndpoint {
  /** Name of the environment. */
  readonly environment: string;
  readonly realm: string;
  /** Token endpoint; for `legacy_login` the login endpoint. */
  readonly tokenUrl: string;
  readonly clientId: string;
  readonly scope: string;
  readonly clientSecret: Sensitive;
}

/** RFC 6749, 4.4. */
export interface ClientCredentialsRequest extends ToTokenEndpoint {
  readonly grantType: 'client_credentials';
}

/** RFC 6749, 4.3. */
export interface PasswordRequest extends ToTokenEndpoint {
  readonly grantType: 'password';
  readonly username: Sensitive;
  readonly password: Sensitive;
}

/** RFC 6749, 6. */
export interface RefreshRequest extends ToTokenEndpoint {
  readonly grantType: 'refresh_token';
  readonly refreshToken: Sensitive;
}

/** The login endpoint of older programs (vendor page, "Legacy Authentication"). */
export interface LoginRequest {
  readonly grantType: 'legacy_login';
  readonly environment: string;
  readonly loginUrl: string;
  readonly org: Sensitive;
  readonly username: Sensitive;
  readonly password: Sensitive;
}

/** What a credential of each grant type presents. */
export type GrantRequest = ClientCredentialsRequest | PasswordRequest | LoginRequest;

/** Everything that one request presents. */
export type TokenRequest = GrantRequest | RefreshRequest;

/** A token endpoint's answers to these differ from those of a login endpoint. */
export type EndpointRequest = ClientCredentialsRequest | PasswordRequest | RefreshRequest;

export const urlOf = (request: TokenRequest): string =>
  request.grantType === 'legacy_login' ? request.loginUrl : request.tokenUrl;

/** Everything in a request that must not be shown. */
export function secretsOf(request: TokenRequest): readonly Sensitive[] {
  return Object.values(request).filter((value) => value instanceof Sensitive);
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
