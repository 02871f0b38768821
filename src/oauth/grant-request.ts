import {
  allowInsecureRequests,
  ClientSecretPost,
  Configuration,
  clientCredentialsGrant,
  customFetch,
  genericGrantRequest,
  refreshTokenGrant,
} from 'openid-client';
import type { HttpRequest } from './exchange.ts';
import type { EndpointRequest } from './token.ts';

/**
 * The request of a grant as openid-client builds it: form fields (RFC 6749, 2.3.1), JSON wanted, HTTPS unless
 * `insecureHttp`. It never gets to see an answer: it would refuse good tokens (an id_token by another issuer name or
 * clock, a negative expires_in), drop what classification needs (errors with 5xx, prose errors) and keep bodies in its
 * errors. So it waits for ever for the one that domain/token-answer.ts reads, which costs nothing.
 */
export function grantRequest(
  request: EndpointRequest,
  insecureHttp: boolean,
): Promise<HttpRequest> {
  const server = new Configuration(
    { issuer: request.tokenUrl, token_endpoint: request.tokenUrl },
    request.clientId,
    undefined,
    ClientSecretPost(request.clientSecret.reveal()),
  );
  if (insecureHttp) allowInsecureRequests(server);
  server.timeout = 0;
  return new Promise((resolve, reject) => {
    server[customFetch] = (url, { method, headers, body }) => {
      // A grant's body is always a form; the type of customFetch is that of all its requests
      const form = body instanceof URLSearchParams ? body.toString() : '';
      resolve({ url, method, headers, body: form, once: isOnce(request) });
      return new Promise(() => undefined);
    };
    grant(server, request).catch(reject);
  });
}

/** A second refresh finds a spent refresh token, and a second wrong password within a moment may lock the account. */
const isOnce = ({ grantType }: EndpointRequest): boolean => grantType !== 'client_credentials';

function grant(server: Configuration, request: EndpointRequest): Promise<unknown> {
  const scope = request.scope === '' ? {} : { scope: request.scope };
  switch (request.grantType) {
    case 'client_credentials':
      return clientCredentialsGrant(server, scope);
    case 'refresh_token':
      return refreshTokenGrant(server, request.refreshToken.reveal(), scope);
    case 'password': {
      const user = { username: request.username.reveal(), password: request.password.reveal() };
      return genericGrantRequest(server, 'password', { ...user, ...scope });
    }
  }
}
