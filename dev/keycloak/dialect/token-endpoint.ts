import {
  type Answer,
  emptyAnswer,
  htmlAnswer,
  oauthAnswer,
  plainAnswer,
  refusal,
  TokenFailure,
} from './answer.ts';
import { authenticateClient } from './client-authentication.ts';
import { type EndpointRequest, GRANTS } from './grants.ts';
import type { Client } from './realm.ts';
import { endSession, livingSession } from './sessions.ts';
import { isLivingAccessToken, readRefreshToken, tokenAnswer } from './tokens.ts';

export type { Era } from './grants.ts';

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
  if (wants(client, 'dpop.bound.access.tokens'))
    throw refusal(400, 'invalid_request', 'DPoP proof is missing');
  const granted = handler(request, client);
  if (wants(client, 'tls.client.certificate.bound.access.tokens')) {
    const description = 'Client Certification missing for MTLS HoK Token Binding';
    throw refusal(400, 'invalid_request', description);
  }
  return oauthAnswer(200, tokenAnswer({ realm, client, issuer, skewSeconds, ...granted }));
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
  refusedAs: (response: Answer) => Answer = (response) => response,
): (request: EndpointRequest) => Answer {
  return (request) => {
    if (request.form.malformed) return frameworkError(500, 'unknown_error', request.accept);
    try {
      return endpoint(request);
    } catch (error) {
      if (error instanceof TokenFailure) return refusedAs(error.response);
      throw error;
    }
  };
}

/** Unlike the token endpoint, logout and revoke say nothing on caching when they refuse. */
function cacheable(response: Answer): Answer {
  const { 'Cache-Control': _, Pragma: __, ...headers } = response.headers;
  return { ...response, headers };
}

function checkTransport({ secureEnough }: EndpointRequest): void {
  if (!secureEnough) throw refusal(403, 'invalid_request', 'HTTPS required');
}

function checkRealm({ realm }: EndpointRequest): void {
  if (!realm.settings.enabled) throw refusal(403, 'access_denied', 'Realm not enabled');
}

const wants = ({ attributes }: Client, attribute: string): boolean =>
  attributes[attribute] === 'true';
