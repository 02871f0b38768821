import type { Client, Realm, Session, User } from './realm.ts';
import { oauthError } from './response.ts';
import { type RefreshClaims, readRefreshToken } from './tokens.ts';

const OVER = 'Session not active';
const OFFLINE_OVER = 'Offline user session not found';
/** Keycloak's default. */
const OFFLINE_IDLE_SECONDS = 30 * 86_400;

const isOffline = ({ typ }: RefreshClaims): boolean => typ === 'Offline';

export function openSession(
  realm: Realm,
  client: Client,
  user: User,
  scope: readonly string[],
): Session {
  const session: Session = {
    id: realm.randomness.bytes(18).toString('base64url'),
    user,
    clientId: client.clientId,
    scope,
    offline: scope.includes('offline_access'),
    started: realm.seconds,
    lastRefresh: realm.seconds,
    attached: true,
    reuseId: realm.randomness.uuid(),
    rotation: undefined,
  };
  realm.sessions.set(session.id, session);
  return session;
}

/**
 * The session of a refresh token, which counts as used when the realm rotates tokens.
 * @throws the errors of Keycloak 26.7's TokenManager, in its order
 */
export function resumeSession(realm: Realm, client: Client, token: string): Session {
  const claims = validClaims(realm, client, token);
  const session = activeSession(realm, claims.sid);
  if (!session) throw oauthError(400, 'invalid_grant', isOffline(claims) ? OFFLINE_OVER : OVER);
  if (!session.user.enabled) throw oauthError(400, 'invalid_grant', 'User disabled');
  if (!session.attached)
    throw oauthError(400, 'invalid_grant', "Session doesn't have required client");
  if (claims.iat < session.user.notBefore) throw oauthError(400, 'invalid_grant', 'Stale token');
  if (client.consentRequired) {
    throw oauthError(400, 'invalid_scope', 'Client no longer has requested consent from user');
  }
  if (realm.settings.revokeRefreshToken) countUse(realm, session, claims);
  session.lastRefresh = realm.seconds;
  return session;
}

/** Ends the session of a refresh token; does nothing when it has ended. @throws when the token is of another client */
export function endSession(realm: Realm, client: Client, token: string): void {
  const claims = readRefreshToken(realm, token);
  if (!claims) throw oauthError(400, 'invalid_grant', 'Invalid refresh token');
  checkClient(client, claims);
  realm.sessions.delete(claims.sid);
}

/** The session, unless it has ended. */
export function activeSession(realm: Realm, id: string): Session | undefined {
  const session = realm.sessions.get(id);
  if (!session) return undefined;
  const { ssoSessionIdleTimeout, ssoSessionMaxLifespan } = realm.settings;
  const ends = session.offline
    ? session.lastRefresh + OFFLINE_IDLE_SECONDS
    : Math.min(
        session.lastRefresh + ssoSessionIdleTimeout,
        session.started + ssoSessionMaxLifespan,
      );
  if (realm.seconds < ends) return session;
  realm.sessions.delete(id);
  return undefined;
}

function validClaims(realm: Realm, client: Client, token: string): RefreshClaims {
  const claims = readRefreshToken(realm, token);
  if (!claims) throw oauthError(400, 'invalid_grant', 'Invalid refresh token');
  if (realm.seconds > (claims.exp ?? Infinity))
    throw oauthError(400, 'invalid_grant', 'Token is not active');
  if (claims.iat < Math.max(realm.settings.notBefore, client.notBefore)) {
    throw oauthError(400, 'invalid_grant', 'Stale token');
  }
  checkClient(client, claims);
  return claims;
}

function checkClient(client: Client, claims: RefreshClaims): void {
  if (claims.azp === client.clientId) return;
  const description = "Invalid refresh token. Token client and authorized client don't match";
  throw oauthError(400, 'invalid_grant', description);
}

/**
 * Counts a use of the refresh token. Keycloak compares whole seconds: of two tokens of the same second the older one
 * counts as unused once the newer one has been used (measured on 26.7.3).
 */
function countUse(realm: Realm, session: Session, claims: RefreshClaims): void {
  const last = session.rotation;
  const another = last?.tokenId !== claims.jti;
  if (last && another && claims.iat < last.lastRefresh) detach(session, 'Stale token');
  const rotation =
    last && !another ? last : { tokenId: claims.jti, lastRefresh: realm.seconds, uses: 0 };
  session.rotation = rotation;
  if (rotation.uses > realm.settings.refreshTokenMaxReuse) {
    detach(session, 'Maximum allowed refresh token reuse exceeded');
  }
  rotation.uses += 1;
}

function detach(session: Session, description: string): never {
  session.attached = false;
  throw oauthError(400, 'invalid_grant', description);
}
