import { forgetFailures, isLocked, recordFailure } from './brute-force.ts';
import type { Form } from './form.ts';
import type { Client, Realm, User } from './realm.ts';
import { OAuthError, oauthError, oauthResponse } from './response.ts';
import { openSession, resumeSession } from './sessions.ts';
import type { Grant } from './tokens.ts';

/** A wrong user password gives status 401 up to Keycloak 26.5, and 400 from 26.6 on. */
export type KeycloakVersion = '26.5' | '26.6';

export type EndpointRequest = {
  realm: Realm;
  form: Form;
  authorization: string | undefined;
  accept: string;
  /** False when the realm's sslRequired demands HTTPS and the request came by HTTP. */
  secureEnough: boolean;
  version: KeycloakVersion;
  issuer: string;
  skewSeconds: number;
};

export type GrantHandler = (
  request: EndpointRequest,
  client: Client,
) => Omit<Grant, 'realm' | 'client' | 'issuer' | 'skewSeconds'>;

export const GRANTS = new Map<string, GrantHandler>([
  ['client_credentials', clientCredentials],
  ['password', password],
  ['refresh_token', refreshToken],
]);
/** Client scopes that a response does not list. */
const HIDDEN_SCOPES = new Set(['web-origins', 'acr', 'roles', 'basic', 'service_account']);

function clientCredentials(
  { realm, form }: EndpointRequest,
  client: Client,
): ReturnType<GrantHandler> {
  if (client.publicClient) {
    throw oauthError(
      401,
      'unauthorized_client',
      'Public client not allowed to retrieve service account',
    );
  }
  if (!client.serviceAccountsEnabled) {
    throw oauthError(401, 'unauthorized_client', 'Client not enabled to retrieve service account');
  }
  const scope = grantedScope(client, form.fields.get('scope'));
  const user = realm.serviceAccountOf(client);
  if (!user)
    throw oauthError(
      401,
      'invalid_request',
      'The associated service account for the client does not exist',
    );
  if (!user.enabled) throw oauthError(401, 'invalid_request', `User '${user.username}' disabled`);
  const keepsSession = client.attributes['client_credentials.use_refresh_token'] === 'true';
  return {
    user,
    scope,
    session: keepsSession ? openSession(realm, client, user, scope) : undefined,
  };
}

function password(
  { realm, form, version }: EndpointRequest,
  client: Client,
): ReturnType<GrantHandler> {
  if (!client.directAccessGrantsEnabled) {
    throw oauthError(400, 'unauthorized_client', 'Client not allowed for direct access grants');
  }
  if (client.consentRequired)
    throw oauthError(400, 'invalid_client', 'Client requires user consent');
  if (realm.forbidsPasswords) {
    const description = 'resource owner password credentials grant is prohibited.';
    throw oauthError(400, 'invalid_grant', description);
  }
  const scope = grantedScope(client, form.fields.get('scope'));
  const username = form.fields.get('username');
  if (username === undefined)
    throw oauthError(401, 'invalid_request', 'Missing parameter: username');
  const user = authenticateUser(realm, username, form.fields.get('password'));
  if (!user)
    throw oauthError(version === '26.5' ? 401 : 400, 'invalid_grant', 'Invalid user credentials');
  if (!user.enabled) throw oauthError(400, 'invalid_grant', 'Account disabled');
  if (!isSetUp(user)) throw oauthError(400, 'invalid_grant', 'Account is not fully set up');
  forgetFailures(realm, user);
  checkOffline(user, scope);
  limitSessions(realm, user);
  return { user, scope, session: openSession(realm, client, user, scope) };
}

function refreshToken({ realm, form }: EndpointRequest, client: Client): ReturnType<GrantHandler> {
  const token = form.fields.get('refresh_token');
  if (token === undefined) throw oauthError(400, 'invalid_request', 'No refresh token');
  // Only checked: the scope stays that of the login.
  grantedScope(client, form.fields.get('scope'));
  const session = resumeSession(realm, client, token);
  return { user: session.user, scope: session.scope, session };
}

function checkOffline({ realmRoles }: User, scope: readonly string[]): void {
  if (!scope.includes('offline_access') || realmRoles.includes('offline_access')) return;
  throw oauthError(400, 'not_allowed', 'Offline tokens not allowed for the user or client');
}

/** Keycloak's authenticator `user-session-limits` in the direct grant flow. */
function limitSessions(realm: Realm, user: User): void {
  const [oldest] = realm.sessionsOf(user);
  if (realm.sessionLimit === undefined || oldest === undefined) return;
  if (realm.sessionLimit === 'Deny new session')
    throw new OAuthError(oauthResponse(403, { error: 'There are too many sessions' }));
  realm.sessions.delete(oldest.id);
}

/** The user, when name and password are right and the user is not locked. A wrong password is counted. */
function authenticateUser(
  realm: Realm,
  username: string,
  presented: string | undefined,
): User | undefined {
  const user = username === '' ? undefined : realm.findUser(username);
  if (!user || user.serviceAccountClientId !== undefined || isLocked(realm, user)) return undefined;
  const right = user.credentials.some(
    ({ type, value }) => type === 'password' && value === presented,
  );
  if (right) return user;
  if (user.enabled) recordFailure(realm, user);
  return undefined;
}

/** Keycloak's profile check (on since 24) demands e-mail and both names; realm imports often lack them. */
function isSetUp(user: User): boolean {
  return (
    user.requiredActions.length === 0 &&
    user.email !== '' &&
    user.firstName !== '' &&
    user.lastName !== ''
  );
}

function grantedScope(client: Client, requested: string | undefined): string[] {
  const words = requested?.split(' ').filter((word) => word !== '') ?? [];
  const allowed = new Set([
    'openid',
    ...client.defaultClientScopes,
    ...client.optionalClientScopes,
  ]);
  if (requested === '' || words.some((word) => !allowed.has(word))) {
    throw oauthError(400, 'invalid_scope', `Invalid scopes: ${requested}`);
  }
  return [...new Set([...words, ...client.defaultClientScopes])].filter(
    (word) => !HIDDEN_SCOPES.has(word),
  );
}
