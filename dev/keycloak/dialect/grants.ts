import { oauthAnswer, refusal, TokenFailure } from './answer.ts';
import { forgetFailures, isLocked, recordFailure } from './brute-force.ts';
import type { Form } from './form.ts';
import type { Client, Realm, User } from './realm.ts';
import { openSession, resumeSession } from './sessions.ts';
import type { Grant } from './tokens.ts';

/** Status codes of a refused user password: 401 up to Keycloak 26.5, 400 from 26.6 on. */
export type Era = '26.5' | '26.6';

export type EndpointRequest = {
  realm: Realm;
  form: Form;
  authorization: string | undefined;
  accept: string;
  /** False when the realm's sslRequired asks for HTTPS and this request came without. */
  secureEnough: boolean;
  era: Era;
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
/** Scopes that a client has but that no answer lists. */
const HIDDEN_SCOPES = new Set(['web-origins', 'acr', 'roles', 'basic', 'service_account']);

function clientCredentials(
  { realm, form }: EndpointRequest,
  client: Client,
): ReturnType<GrantHandler> {
  if (client.publicClient) {
    throw refusal(
      401,
      'unauthorized_client',
      'Public client not allowed to retrieve service account',
    );
  }
  if (!client.serviceAccountsEnabled) {
    throw refusal(401, 'unauthorized_client', 'Client not enabled to retrieve service account');
  }
  const scope = grantedScope(client, form.fields.get('scope'));
  const user = realm.serviceAccountOf(client);
  if (!user)
    throw refusal(
      401,
      'invalid_request',
      'The associated service account for the client does not exist',
    );
  if (!user.enabled) throw refusal(401, 'invalid_request', `User '${user.username}' disabled`);
  const keepsSession = client.attributes['client_credentials.use_refresh_token'] === 'true';
  return {
    user,
    scope,
    session: keepsSession ? openSession(realm, client, user, scope) : undefined,
  };
}

function password({ realm, form, era }: EndpointRequest, client: Client): ReturnType<GrantHandler> {
  if (!client.directAccessGrantsEnabled) {
    throw refusal(400, 'unauthorized_client', 'Client not allowed for direct access grants');
  }
  if (client.consentRequired) throw refusal(400, 'invalid_client', 'Client requires user consent');
  if (realm.forbidsPasswords) {
    const description = 'resource owner password credentials grant is prohibited.';
    throw refusal(400, 'invalid_grant', description);
  }
  const scope = grantedScope(client, form.fields.get('scope'));
  const username = form.fields.get('username');
  if (username === undefined) throw refusal(401, 'invalid_request', 'Missing parameter: username');
  const user = authenticateUser(realm, username, form.fields.get('password'));
  if (!user) throw refusal(era === '26.5' ? 401 : 400, 'invalid_grant', 'Invalid user credentials');
  if (!user.enabled) throw refusal(400, 'invalid_grant', 'Account disabled');
  if (!isSetUp(user)) throw refusal(400, 'invalid_grant', 'Account is not fully set up');
  forgetFailures(realm, user);
  checkOffline(user, scope);
  makeRoom(realm, user);
  return { user, scope, session: openSession(realm, client, user, scope) };
}

function refreshToken({ realm, form }: EndpointRequest, client: Client): ReturnType<GrantHandler> {
  const token = form.fields.get('refresh_token');
  if (token === undefined) throw refusal(400, 'invalid_request', 'No refresh token');
  // Checked, but it changes nothing: the scope stays that of the login.
  grantedScope(client, form.fields.get('scope'));
  const session = resumeSession(realm, client, token);
  return { user: session.user, scope: session.scope, session };
}

function checkOffline({ realmRoles }: User, scope: readonly string[]): void {
  if (!scope.includes('offline_access') || realmRoles.includes('offline_access')) return;
  throw refusal(400, 'not_allowed', 'Offline tokens not allowed for the user or client');
}

/** What the authenticator `user-session-limits` does in the flow of the direct grant. */
function makeRoom(realm: Realm, user: User): void {
  const [oldest] = realm.sessionsOf(user);
  if (realm.sessionLimit === undefined || oldest === undefined) return;
  if (realm.sessionLimit === 'Deny new session')
    throw new TokenFailure(oauthAnswer(403, { error: 'There are too many sessions' }));
  realm.sessions.delete(oldest.id);
}

/** The user, when the name and password are right and no lock stands in the way. A failed try is counted. */
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

/** Keycloak's profile check (on since 24) wants all three; an import without them is the usual trap. */
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
    throw refusal(400, 'invalid_scope', `Invalid scopes: ${requested}`);
  }
  return [...new Set([...words, ...client.defaultClientScopes])].filter(
    (word) => !HIDDEN_SCOPES.has(word),
  );
}
