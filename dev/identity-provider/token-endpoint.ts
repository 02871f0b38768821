import {
  type Answer,
  emptyAnswer,
  htmlAnswer,
  oauthAnswer,
  plainAnswer,
  Refusal,
  refusal,
} from './answer.ts';
import { forgetFailures, isLocked, recordFailure } from './brute-force.ts';
import { authenticateClient } from './client-authentication.ts';
import type { Form } from './form.ts';
import type { Client, Realm, User } from './realm.ts';
import { endSession, livingSession, openSession, resumeSession } from './sessions.ts';
import { type Grant, isLivingAccessToken, readRefreshToken, tokenAnswer } from './tokens.ts';

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

type GrantHandler = (
  request: EndpointRequest,
  client: Client,
) => Omit<Grant, 'realm' | 'client' | 'issuer' | 'skewSeconds'>;

const GRANTS = new Map<string, GrantHandler>([
  ['client_credentials', clientCredentials],
  ['password', password],
  ['refresh_token', refreshToken],
]);
/** Scopes that a client has but that no answer lists. */
const HIDDEN_SCOPES = new Set(['web-origins', 'acr', 'roles', 'basic', 'service_account']);

/** POST /realms/{realm}/protocol/openid-connect/token, with Keycloak's order of checks. */
export const tokenEndpoint = guarded((request) => {
  checkTransport(request);
  checkRealm(request);
  const { realm, form, issuer, skewSeconds } = request;
  const grantType = form.fields.get('grant_type');
  if (grantType === undefined)
    throw refusal(400, 'invalid_request', 'Missing form parameter: grant_type');
  const handler = GRANTS.get(grantType);
  if (!handler) throw refusal(400, 'unsupported_grant_type', 'Unsupported grant_type');
  const client = authenticateClient(realm, form.fields, request.authorization);
  if (form.duplicated) throw refusal(400, 'invalid_request', 'duplicated parameter');
  return oauthAnswer(
    200,
    tokenAnswer({ realm, client, issuer, skewSeconds, ...handler(request, client) }),
  );
});

/** POST …/logout: 204 also for a session that ended before, and also while the realm is disabled. */
export const logoutEndpoint = guarded((request) => {
  checkTransport(request);
  const { realm, form } = request;
  const token = form.fields.get('refresh_token');
  if (token === undefined) return htmlAnswer(200, 'Logging out');
  endSession(realm, authenticateClient(realm, form.fields, request.authorization), token);
  return emptyAnswer(204, { 'Cache-Control': 'no-cache' });
}, cacheable);

/** POST …/revoke: ends the session of a refresh token; 200 with an error in the body for an unknown token. */
export const revokeEndpoint = guarded((request) => {
  checkTransport(request);
  checkRealm(request);
  const { realm, form, issuer } = request;
  const client = authenticateClient(realm, form.fields, request.authorization);
  const token = form.fields.get('token');
  if (token === undefined) throw refusal(400, 'invalid_request', 'Token not provided');
  const claims = readRefreshToken(realm, token);
  if (!claims && isLivingAccessToken(token, issuer, realm.seconds)) return emptyAnswer(200);
  if (!claims || !livingSession(realm, claims.sid))
    throw refusal(200, 'invalid_token', 'Invalid token');
  if (claims.azp !== client.clientId) throw refusal(400, 'invalid_request', 'Unmatching clients');
  realm.sessions.delete(claims.sid);
  return emptyAnswer(200);
}, cacheable);

/** The answer of Keycloak's error handler: a page for those who ask for HTML, JSON for all others. */
export function frameworkError(status: number, error: string, accept: string): Answer {
  if (accept.includes('text/html')) return htmlAnswer(status, 'We are sorry...');
  if (status < 500) return plainAnswer(status, { error });
  const description = 'For more on this error consult the server log.';
  return plainAnswer(status, { error, error_description: description });
}

function guarded(
  endpoint: (request: EndpointRequest) => Answer,
  refusedAs: (answer: Answer) => Answer = (answer) => answer,
): (request: EndpointRequest) => Answer {
  return (request) => {
    if (request.form.malformed) return frameworkError(500, 'unknown_error', request.accept);
    try {
      return endpoint(request);
    } catch (error) {
      if (error instanceof Refusal) return refusedAs(error.answer);
      throw error;
    }
  };
}

/** Unlike the token endpoint, logout and revoke say nothing on caching when they refuse. */
function cacheable(answer: Answer): Answer {
  const { 'Cache-Control': _, Pragma: __, ...headers } = answer.headers;
  return { ...answer, headers };
}

function checkTransport({ secureEnough }: EndpointRequest): void {
  if (!secureEnough) throw refusal(403, 'invalid_request', 'HTTPS required');
}

function checkRealm({ realm }: EndpointRequest): void {
  if (!realm.settings.enabled) throw refusal(403, 'access_denied', 'Realm not enabled');
}

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
  const scope = grantedScope(client, form.fields.get('scope'));
  const username = form.fields.get('username');
  if (username === undefined) throw refusal(401, 'invalid_request', 'Missing parameter: username');
  const user = authenticateUser(realm, username, form.fields.get('password'));
  if (!user) throw refusal(era === '26.5' ? 401 : 400, 'invalid_grant', 'Invalid user credentials');
  if (!user.enabled) throw refusal(400, 'invalid_grant', 'Account disabled');
  if (!isSetUp(user)) throw refusal(400, 'invalid_grant', 'Account is not fully set up');
  forgetFailures(realm, user);
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
