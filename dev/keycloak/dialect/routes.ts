import { type EndpointResponse, emptyResponse, jsonResponse } from './response.ts';
import { frameworkError } from './token-endpoint.ts';

export type Endpoint = 'token' | 'logout' | 'revoke' | 'discovery' | 'none';

/** The realm and its endpoint that a path names. */
export type Route = { endpoint: Endpoint; realm: string };

const REALM_PATH = /^\/realms\/([^/]+)(?:\/(.*?))?\/?$/;
const ENDPOINTS: Record<string, Endpoint> = {
  'protocol/openid-connect/token': 'token',
  'protocol/openid-connect/logout': 'logout',
  'protocol/openid-connect/revoke': 'revoke',
  '.well-known/openid-configuration': 'discovery',
};

export function routeOf(path: string): Route {
  const [, realm = '', rest = ''] = REALM_PATH.exec(path) ?? [];
  return { endpoint: ENDPOINTS[rest] ?? 'none', realm };
}

/** The error response for a path without endpoint or a wrong method; undefined when there is an endpoint. */
export function routingError(
  method: string,
  path: string,
  accept: string,
  realmExists: boolean,
): EndpointResponse | undefined {
  if (path.includes(';')) return invalidCharacter();
  const { endpoint, realm } = routeOf(path);
  if (realm === '' && endpoint === 'none') {
    return bare(404, { error: 'Unable to find matching target resource method' });
  }
  if (!realmExists) return frameworkError(404, 'Realm does not exist', accept);
  if (endpoint === 'none') return unknownPath(path);
  return methodError(method, endpoint === 'discovery' ? 'GET' : 'POST');
}

/** The response to OPTIONS and to methods that the endpoint does not serve; undefined for `served`. */
export function methodError(method: string, served: 'GET' | 'POST'): EndpointResponse | undefined {
  if (method === 'OPTIONS') return emptyResponse(200);
  if (method === served) return undefined;
  return jsonResponse(405, { error: 'HTTP 405 Method Not Allowed' });
}

export function discovery(issuer: string): EndpointResponse {
  const endpoints = `${issuer}/protocol/openid-connect`;
  return jsonResponse(200, {
    issuer,
    token_endpoint: `${endpoints}/token`,
    end_session_endpoint: `${endpoints}/logout`,
    revocation_endpoint: `${endpoints}/revoke`,
    grant_types_supported: ['refresh_token', 'password', 'client_credentials'],
    token_endpoint_auth_methods_supported: ['client_secret_basic', 'client_secret_post'],
  });
}

function unknownPath(path: string): EndpointResponse {
  const protocol = /^\/realms\/[^/]+\/protocol\/([^/]+)\//.exec(path)?.[1];
  if (protocol === 'openid-connect')
    return jsonResponse(405, { error: 'HTTP 405 Method Not Allowed' });
  return jsonResponse(404, {
    error: protocol === undefined ? 'HTTP 404 Not Found' : 'Protocol not found',
  });
}

const bare = (status: number, body: unknown): EndpointResponse => ({
  status,
  headers: { 'Content-Type': 'application/json' },
  body: JSON.stringify(body),
});

const invalidCharacter = (): EndpointResponse => ({
  status: 400,
  headers: { 'Content-Type': 'application/json; charset=UTF-8' },
  body: JSON.stringify({
    error: 'invalidCharacter',
    error_description: "Request path contains invalid character ';'",
  }),
});
