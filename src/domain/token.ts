import type { RenewalPolicy } from './credential.ts';
import type { Sensitive } from './sensitive.ts';
import type { EpochMs } from './time.ts';

/** An access token and what came with it. */
export interface Token {
  readonly accessToken: Sensitive;
  readonly idToken?: Sensitive;
  /** Always `Bearer`: anything else is refused. */
  readonly tokenType: 'Bearer';
  /** Space-separated, as the server sent it (its order means nothing). */
  readonly scope: string;
  /** When the request was sent. */
  readonly issuedAt: EpochMs;
  readonly expiresAt: EpochMs;
  /** In [-1, 1], drawn once per token: where in the jitter window its renewal lies, the same for all who share it. */
  readonly jitter: number;
  /** Keycloak's `not-before-policy`: tokens of the realm issued before this moment are void. */
  readonly notBefore: EpochMs;
}

/** Everything that one request of the grant `client_credentials` presents. */
export interface TokenRequest {
  readonly grantType: 'client_credentials';
  readonly environment: string;
  readonly realm: string;
  readonly tokenUrl: string;
  readonly clientId: string;
  readonly scope: string;
  readonly clientSecret: Sensitive;
}

/** Everything that one legacy login presents. */
export interface LoginRequest {
  readonly grantType: 'legacy_login';
  readonly environment: string;
  readonly loginUrl: string;
  readonly org: Sensitive;
  readonly username: Sensitive;
  readonly password: Sensitive;
}

/** The parts of a token that decide about its renewal. */
export type Lifetime = Pick<Token, 'issuedAt' | 'expiresAt' | 'jitter'>;

const EARLIEST_SHARE = 0.05;
const LATEST_SHARE = 0.99;

/**
 * When to renew: `percent` ± `jitterPercent` of the validity after the request was sent, inside the validity,
 * yet never sooner than the policy's minimum (which outlives a very short token).
 */
export function renewalDate(token: Lifetime, policy: RenewalPolicy): EpochMs {
  const share = (policy.percent + policy.jitterPercent * token.jitter) / 100;
  const bounded = Math.min(Math.max(share, EARLIEST_SHARE), LATEST_SHARE);
  const planned = token.issuedAt + (token.expiresAt - token.issuedAt) * bounded;
  return Math.round(Math.max(planned, token.issuedAt + policy.minimum));
}
