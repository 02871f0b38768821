import { createHash, createHmac, timingSafeEqual } from 'node:crypto';
import type { Randomness } from './randomness.ts';
import type { Client, Realm, Session, User } from './realm.ts';

/** What tokens are issued for. Without a session for client_credentials. */
export type Grant = {
  realm: Realm;
  client: Client;
  user: User;
  scope: readonly string[];
  session: Session | undefined;
  issuer: string;
  /** Added to every time in the tokens; a fault. */
  skewSeconds: number;
};

export type RefreshClaims = {
  /** Offline tokens have none. */
  exp?: number;
  typ: string;
  iat: number;
  jti: string;
  iss: string;
  azp: string;
  sid: string;
};

/** Seconds. An offline session has no maximum; ten years are longer than any test. */
const OFFLINE_LIFESPAN = 10 * 365 * 86_400;

const encode = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url');

/** A JWT whose signature is random bytes, as long as one of RS256. */
export const unverifiableJwt = (
  claims: Record<string, unknown>,
  { bytes }: Randomness,
  keyId?: string,
): string =>
  `${encode({ alg: 'RS256', typ: 'JWT', kid: keyId })}.${encode(claims)}.${bytes(256).toString('base64url')}`;

/** Requested scopes first. The order of the others varies between responses, as in Keycloak. */
function scopeText(scope: readonly string[], { number }: Randomness): string {
  const [first, ...rest] = scope;
  return first === 'openid' && number() < 0.5
    ? [first, ...rest.reverse()].join(' ')
    : scope.join(' ');
}

function lifetimes({ realm, client, session }: Grant): {
  now: number;
  accessExpires: number;
  refreshExpires: number;
} {
  const { settings, seconds: now } = realm;
  const longest = session?.offline ? OFFLINE_LIFESPAN : settings.ssoSessionMaxLifespan;
  const sessionEnd = (session?.started ?? now) + longest;
  const own = Number(client.attributes['access.token.lifespan'] ?? settings.accessTokenLifespan);
  return {
    now,
    accessExpires: own === -1 ? sessionEnd : Math.min(now + own, sessionEnd),
    refreshExpires: Math.min(now + settings.ssoSessionIdleTimeout, sessionEnd),
  };
}

function userClaims({ client, user }: Grant): Record<string, unknown> {
  if (user.serviceAccountClientId !== undefined) {
    return {
      clientHost: '127.0.0.1',
      email_verified: false,
      preferred_username: user.username,
      clientAddress: '127.0.0.1',
      client_id: client.clientId,
    };
  }
  return {
    email_verified: user.emailVerified,
    name: `${user.firstName} ${user.lastName}`,
    preferred_username: user.username,
    given_name: user.firstName,
    family_name: user.lastName,
    email: user.email,
  };
}

function accessToken(grant: Grant, times: { iat: number; exp: number }, scope: string): string {
  const { realm, client, user, session, issuer } = grant;
  const claims = {
    ...times,
    jti: `${session ? 'onrtro' : 'trrtcc'}:${realm.randomness.uuid()}`,
    iss: issuer,
    aud: 'account',
    sub: user.id,
    typ: 'Bearer',
    azp: client.clientId,
    sid: session?.id,
    acr: '1',
    realm_access: { roles: ['offline_access', 'uma_authorization', `default-roles-${realm.name}`] },
    resource_access: {
      account: { roles: ['manage-account', 'manage-account-links', 'view-profile'] },
    },
    scope,
    ...userClaims(grant),
  };
  return unverifiableJwt(claims, realm.randomness, realm.keyIds.access);
}

function idToken(grant: Grant, times: { iat: number; exp: number }, access: string): string {
  const { realm, client, user, session, issuer } = grant;
  const claims = {
    ...times,
    jti: realm.randomness.uuid(),
    iss: issuer,
    aud: client.clientId,
    sub: user.id,
    typ: 'ID',
    azp: client.clientId,
    sid: session?.id,
    at_hash: createHash('sha256').update(access).digest().subarray(0, 16).toString('base64url'),
    acr: '1',
    ...userClaims(grant),
  };
  return unverifiableJwt(claims, realm.randomness, realm.keyIds.access);
}

function refreshToken(
  grant: Grant,
  session: Session,
  times: { iat: number; exp?: number },
): string {
  const { realm, client, user, issuer } = grant;
  const claims = {
    ...times,
    jti: realm.randomness.uuid(),
    iss: issuer,
    aud: issuer,
    sub: user.id,
    typ: session.offline ? 'Offline' : 'Refresh',
    azp: client.clientId,
    sid: session.id,
    scope: `${session.scope.join(' ')} web-origins basic roles acr service_account`,
    prov: 'default',
    ...(realm.settings.revokeRefreshToken ? { reuse_id: session.reuseId } : {}),
  };
  const content = `${encode({ alg: 'HS512', typ: 'JWT', kid: realm.keyIds.refresh })}.${encode(claims)}`;
  return `${content}.${createHmac('sha512', realm.key).update(content).digest('base64url')}`;
}

/** The body of a token response, in Keycloak's order of fields. */
export function accessTokenResponse(grant: Grant): Record<string, unknown> {
  const { realm, client, user, session, skewSeconds } = grant;
  const { now, accessExpires, refreshExpires } = lifetimes(grant);
  const scope = scopeText(grant.scope, realm.randomness);
  const times = { exp: accessExpires + skewSeconds, iat: now + skewSeconds };
  const access = accessToken(grant, times, scope);
  const refreshTimes = session?.offline ? { iat: now } : { exp: refreshExpires, iat: now };
  return {
    access_token: access,
    expires_in: accessExpires - now,
    refresh_expires_in: session && !session.offline ? refreshExpires - now : 0,
    ...(session ? { refresh_token: refreshToken(grant, session, refreshTimes) } : {}),
    token_type: 'Bearer',
    ...(grant.scope.includes('openid') ? { id_token: idToken(grant, times, access) } : {}),
    'not-before-policy': realm.notBefore(client, user),
    ...(session ? { session_state: session.id } : {}),
    scope,
  };
}

/** The claims of a refresh token that this realm signed, else undefined. Expiry is not checked. */
export function readRefreshToken(realm: Realm, token: string): RefreshClaims | undefined {
  const [header, payload, presented] = token.split('.');
  if (header === undefined || payload === undefined || presented === undefined) return undefined;
  const expected = createHmac('sha512', realm.key).update(`${header}.${payload}`).digest();
  const given = Buffer.from(presented, 'base64url');
  if (given.length !== expected.length || !timingSafeEqual(given, expected)) return undefined;
  // The signature proves that refreshToken() above wrote these claims.
  const claims: RefreshClaims = JSON.parse(Buffer.from(payload, 'base64url').toString());
  return claims;
}

/** Id of the session in a refresh token whose signature is not checked; empty when there is none. */
export function sessionIdIn(token: string): string {
  try {
    const { sid }: Partial<RefreshClaims> = JSON.parse(
      Buffer.from(token.split('.')[1] ?? '', 'base64url').toString(),
    );
    return sid ?? '';
  } catch {
    return '';
  }
}

/** True if the text is a JWT of this issuer that has not expired at `now` (seconds since 1970). */
export function isActiveAccessToken(token: string, issuer: string, now: number): boolean {
  try {
    const claims: unknown = JSON.parse(
      Buffer.from(token.split('.')[1] ?? '', 'base64url').toString(),
    );
    if (typeof claims !== 'object' || claims === null) return false;
    return 'iss' in claims && claims.iss === issuer && 'exp' in claims && Number(claims.exp) >= now;
  } catch {
    return false;
  }
}
