import { type Answer, emptyAnswer, plainAnswer } from './answer.ts';
import type { Endpoint } from './faults.ts';
import { frameworkError } from './token-endpoint.ts';

/** Where a request goes: an endpoint of a realm, the legacy login, the admin interface, or nowhere. */
export type Route = { endpoint: Endpoint; realm: string };

const REALM_PATH = /^\/realms\/([^/]+)(?:\/(.*?))?\/?$/;
const ENDPOINTS: Record<string, Endpoint> = {
  'protocol/openid-connect/token': 'token',
  'protocol/openid-connect/logout': 'logout',
  'protocol/openid-connect/revoke': 'revoke',
  '.well-known/openid-configuration': 'discovery',
};

export function routeOf(path: string): Route {
  if (path === '/auth/login') return { endpoint: 'login', realm: '' };
  const [, realm = '', rest = ''] = REALM_PATH.exec(path) ?? [];
  return { endpoint: ENDPOINTS[rest] ?? 'none', realm };
}

/** The answer to a request that reaches no endpoint, or that comes with the wrong method; else undefined. */
export function misrouted(
  method: string,
  path: string,
  accept: string,
  realmExists: boolean,
): Answer | undefined {
  if (path.includes(';')) return invalidCharacter();
  const { endpoint, realm } = routeOf(path);
  if (realm === '' && endpoint === 'none') {
    return bare(404, { error: 'Unable to find matching target resource method' });
  }
  if (endpoint !== 'login' && !realmExists)
    return frameworkError(404, 'Realm does not exist', accept);
  if (endpoint === 'none') return unknownPath(path);
  if (method === 'OPTIONS') return emptyAnswer(200);
  if (method === (endpoint === 'discovery' ? 'GET' : 'POST')) return undefined;
  return plainAnswer(405, { error: 'HTTP 405 Method Not Allowed' });
}

export function discovery(issuer: string): Answer {
  const endpoints = `${issuer}/protocol/openid-connect`;
  return plainAnswer(200, {
    issuer,
    token_endpoint: `${endpoints}/token`,
    end_session_endpoint: `${endpoints}/logout`,
    revocation_endpoint: `${endpoints}/revoke`,
    grant_types_supported: ['refresh_token', 'password', 'client_credentials'],
    token_endpoint_auth_methods_supported: ['client_secret_basic', 'client_secret_post'],
  });
}

function unknownPath(path: string): Answer {
  const protocol = /^\/realms\/[^/]+\/protocol\/([^/]+)\//.exec(path)?.[1];
  if (protocol === 'openid-connect')
    return plainAnswer(405, { error: 'HTTP 405 Method Not Allowed' });
  return plainAnswer(404, {
    error: protocol === undefined ? 'HTTP 404 Not Found' : 'Protocol not found',
  });
}

const bare = (status: number, body: unknown): Answer => ({
  status,
  headers: { 'Content-Type': 'application/json' },
  body: JSON.stringify(body),
});

const invalidCharacter = (): Answer => ({
  status: 400,
  headers: { 'Content-Type': 'application/json; charset=UTF-8' },
  body: JSON.stringify({
    error: 'invalidCharacter',
    error_description: "Request path contains invalid character ';'",
  }),
});
