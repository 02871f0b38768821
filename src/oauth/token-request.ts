import type { Failure } from '../lib/failure.ts';
import { grantRequest } from './grant-request.ts';
import { type EndpointRequest, secretsOf, type Token } from './token.ts';
import type { TokenHosts } from './token-hosts.ts';
import { processTokenResponse } from './token-response.ts';

export type EndpointSource = (
  request: EndpointRequest,
  signal: AbortSignal,
) => Promise<Token | Failure>;

/** The token endpoint of a Keycloak. Answers every fault with a Failure and rejects only with the reason of its signal. */
export const createTokenSource =
  (hosts: TokenHosts): EndpointSource =>
  (request, signal) => {
    const { environment, grantType, tokenUrl, realm, clientId, scope } = request;
    const question = { grantType, realm, clientId, scope, secrets: secretsOf(request) };
    return hosts.ask(
      {
        environment,
        grantType,
        url: tokenUrl,
        ask: async ({ insecureHttp }, send) => send(await grantRequest(request, insecureHttp)),
        read: (response, context) => processTokenResponse(response, { ...question, ...context }),
      },
      signal,
    );
  };
