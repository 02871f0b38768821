import { refusal } from './answer.ts';
import type { Client, Realm, Session, User } from './realm.ts';
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
 * The session that a refresh token may go on with; otherwise the refusals of Keycloak 26.7's TokenManager,
 * in its order. Spends the token where the realm rotates.
 */
export function resumeSession(realm: Realm, client: Client, token: string): Session {
  const claims = validClaims(realm, client, token);
  const session = livingSession(realm, claims.sid);
  if (!session) throw refusal(400, 'invalid_grant', isOffline(claims) ? OFFLINE_OVER : OVER);
  if (!session.user.enabled) throw refusal(400, 'invalid_grant', 'User disabled');
  if (!session.attached)
    throw refusal(400, 'invalid_grant', "Session doesn't have required client");
  if (claims.iat < session.user.notBefore) throw refusal(400, 'invalid_grant', 'Stale token');
  if (client.consentRequired) {
    throw refusal(400, 'invalid_scope', 'Client no longer has requested consent from user');
  }
  if (realm.settings.revokeRefreshToken) spend(realm, session, claims);
  session.lastRefresh = realm.seconds;
  return session;
}

/** Ends the session of a refresh token. Done already is done; a token that is not of this client is refused. */
export function endSession(realm: Realm, client: Client, token: string): void {
  const claims = readRefreshToken(realm, token);
  if (!claims) throw refusal(400, 'invalid_grant', 'Invalid refresh token');
  checkClient(client, claims);
  realm.sessions.delete(claims.sid);
}

/** The session of a refresh token that has not ended, if there is one. */
export function livingSession(realm: Realm, id: string): Session | undefined {
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
  if (!claims) throw refusal(400, 'invalid_grant', 'Invalid refresh token');
  if (realm.seconds > (claims.exp ?? Infinity))
    throw refusal(400, 'invalid_grant', 'Token is not active');
  if (claims.iat < Math.max(realm.settings.notBefore, client.notBefore)) {
    throw refusal(400, 'invalid_grant', 'Stale token');
  }
  checkClient(client, claims);
  return claims;
}

function checkClient(client: Client, claims: RefreshClaims): void {
  if (claims.azp === client.clientId) return;
  const description = "Invalid refresh token. Token client and authorized client don't match";
  throw refusal(400, 'invalid_grant', description);
}

/**
 * Keycloak compares whole seconds, so of two tokens of one second the older one is taken for unspent
 * as soon as the newer one has been used (measured on 26.7.3).
 */
function spend(realm: Realm, session: Session, claims: RefreshClaims): void {
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
  throw refusal(400, 'invalid_grant', description);
}
