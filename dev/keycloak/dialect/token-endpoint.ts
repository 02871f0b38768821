import { authenticateClient } from './client-authentication.ts';
import { type EndpointRequest, GRANTS } from './grants.ts';
import type { Client } from './realm.ts';
import {
  type EndpointResponse,
  emptyResponse,
  htmlResponse,
  jsonResponse,
  OAuthError,
  oauthError,
  oauthResponse,
} from './response.ts';
import { activeSession, endSession } from './sessions.ts';
import { accessTokenResponse, isActiveAccessToken, readRefreshToken } from './tokens.ts';

export type { KeycloakVersion } from './grants.ts';

/** POST /realms/{realm}/protocol/openid-connect/token, with Keycloak's order of checks. */
export const tokenEndpoint = guarded((request) => {
  checkTransport(request);
  checkRealm(request);
  const { realm, form, issuer, skewSeconds } = request;
  const grantType = form.fields.get('grant_type');
  if (grantType === undefined)
    throw oauthError(400, 'invalid_request', 'Missing form parameter: grant_type');
  const handler = GRANTS.get(grantType);
  if (!handler) throw oauthError(400, 'unsupported_grant_type', 'Unsupported grant_type');
  const client = authenticateClient(realm, form.fields, request.authorization);
  if (form.duplicated) throw oauthError(400, 'invalid_request', 'duplicated parameter');
  if (wants(client, 'dpop.bound.access.tokens'))
    throw oauthError(400, 'invalid_request', 'DPoP proof is missing');
  const granted = handler(request, client);
  if (wants(client, 'tls.client.certificate.bound.access.tokens')) {
    const description = 'Client Certification missing for MTLS HoK Token Binding';
    throw oauthError(400, 'invalid_request', description);
  }
  return oauthResponse(
    200,
    accessTokenResponse({ realm, client, issuer, skewSeconds, ...granted }),
  );
});

/** POST …/logout: 204 also for a session that ended before, and also while the realm is disabled. */
export const logoutEndpoint = guarded((request) => {
  checkTransport(request);
  const { realm, form } = request;
  const token = form.fields.get('refresh_token');
  if (token === undefined) return htmlResponse(200, 'Logging out');
  endSession(realm, authenticateClient(realm, form.fields, request.authorization), token);
  return emptyResponse(204, { 'Cache-Control': 'no-cache' });
}, cacheable);

/** POST …/revoke: ends the session of a refresh token; 200 with an error in the body for an unknown token. */
export const revokeEndpoint = guarded((request) => {
  checkTransport(request);
  checkRealm(request);
  const { realm, form, issuer } = request;
  const client = authenticateClient(realm, form.fields, request.authorization);
  const token = form.fields.get('token');
  if (token === undefined) throw oauthError(400, 'invalid_request', 'Token not provided');
  const claims = readRefreshToken(realm, token);
  if (!claims && isActiveAccessToken(token, issuer, realm.seconds)) return emptyResponse(200);
  if (!claims || !activeSession(realm, claims.sid))
    throw oauthError(200, 'invalid_token', 'Invalid token');
  if (claims.azp !== client.clientId)
    throw oauthError(400, 'invalid_request', 'Unmatching clients');
  realm.sessions.delete(claims.sid);
  return emptyResponse(200);
}, cacheable);

/** The response of Keycloak's error handler: a page if the client accepts HTML, else JSON. */
export function frameworkError(status: number, error: string, accept: string): EndpointResponse {
  if (accept.includes('text/html')) return htmlResponse(status, 'We are sorry...');
  if (status < 500) return jsonResponse(status, { error });
  const description = 'For more on this error consult the server log.';
  return jsonResponse(status, { error, error_description: description });
}

function guarded(
  endpoint: (request: EndpointRequest) => EndpointResponse,
  mapError: (response: EndpointResponse) => EndpointResponse = (response) => response,
): (request: EndpointRequest) => EndpointResponse {
  return (request) => {
    if (request.form.malformed) return frameworkError(500, 'unknown_error', request.accept);
    try {
      return endpoint(request);
    } catch (error) {
      if (error instanceof OAuthError) return mapError(error.response);
      throw error;
    }
  };
}

/** Error responses of logout and revoke have no cache headers, unlike those of the token endpoint. */
function cacheable(response: EndpointResponse): EndpointResponse {
  const { 'Cache-Control': _, Pragma: __, ...headers } = response.headers;
  return { ...response, headers };
}

function checkTransport({ secureEnough }: EndpointRequest): void {
  if (!secureEnough) throw oauthError(403, 'invalid_request', 'HTTPS required');
}

function checkRealm({ realm }: EndpointRequest): void {
  if (!realm.settings.enabled) throw oauthError(403, 'access_denied', 'Realm not enabled');
}

const wants = ({ attributes }: Client, attribute: string): boolean =>
  attributes[attribute] === 'true';
