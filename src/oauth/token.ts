import { Sensitive } from '../lib/sensitive.ts';
import type { EpochMs, Ms } from '../lib/time.ts';

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
