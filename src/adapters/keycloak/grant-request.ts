import {
  allowInsecureRequests,
  ClientSecretPost,
  Configuration,
  clientCredentialsGrant,
  customFetch,
} from 'openid-client';
import type { TokenRequest } from '../../domain/token.ts';
import type { HttpRequest } from '../http/exchange.ts';

/**
 * Has openid-client build the request of a grant and hands it to `send`: form fields (RFC 6749, 2.3.1), JSON wanted,
 * HTTPS unless `insecureHttp`. It does not get to see the answer: it would refuse good tokens (an id_token by another
 * issuer name or clock, a negative expires_in), drop what classification needs (errors with 5xx, prose errors) and
 * keep bodies in its errors. A stand-in satisfies it; domain/token-answer.ts reads the real one.
 * @returns what `send` came to
 */
export async function sendGrant<T>(
  request: TokenRequest,
  insecureHttp: boolean,
  send: (request: HttpRequest) => Promise<T>,
): Promise<T> {
  const server = new Configuration(
    { issuer: request.tokenUrl, token_endpoint: request.tokenUrl },
    request.clientId,
    undefined,
    ClientSecretPost(request.clientSecret.reveal()),
  );
  if (insecureHttp) allowInsecureRequests(server);
  server.timeout = 0;
  const sent = Promise.withResolvers<T>();
  server[customFetch] = async (url, { method, headers, body }) => {
    // A grant's body is always a form; the type of customFetch is that of all its requests
    const form = body instanceof URLSearchParams ? body.toString() : '';
    sent.resolve(await send({ url, method, headers, body: form }));
    return Response.json({ access_token: 'stand-in', token_type: 'Bearer' });
  };
  const { scope } = request;
  await clientCredentialsGrant(server, scope === '' ? {} : { scope });
  return sent.promise;
}
