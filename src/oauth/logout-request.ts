import { Failure } from '../lib/failure.ts';
import { type Environments, tokenUrlOf } from './environment.ts';
import { type LogoutRequest, type LogoutResult, processLogoutResponse } from './logout-response.ts';
import type { TokenHosts } from './token-hosts.ts';

/** Ends a session at the provider. Undefined when it is over. */
export type LogOut = (request: LogoutRequest, signal: AbortSignal) => Promise<Failure | undefined>;

/**
 * Ends a session: `/logout`, which ends just this one on all versions, and where that is unknown `/revoke`, which
 * before Keycloak 26.1 ended all sessions of the user. The address comes from the configuration, never from a Secret.
 */
export const createLogOut = (hosts: TokenHosts, environments: Environments): LogOut => {
  async function post(
    request: LogoutRequest,
    endpoint: 'logout' | 'revoke',
    signal: AbortSignal,
  ): Promise<LogoutResult> {
    const { environment, realm, clientId, clientSecret, refreshToken } = request;
    const where = environments.get(environment);
    if (where === undefined) return 'ended';
    const url = addressOf(endpoint, tokenUrlOf(where, realm));
    if (url === undefined) return addressUnknown(environment);
    const secrets = [clientSecret, refreshToken];
    const question = { grantType: 'refresh_token', realm, clientId, scope: '', secrets } as const;
    return hosts.ask(
      {
        environment,
        grantType: endpoint,
        url,
        ask: ({ insecureHttp }, send) =>
          insecureHttp || url.startsWith('https:')
            ? send({ url, method: 'POST', headers: FORM, body: formOf(request, endpoint) })
            : Promise.resolve(
                new Failure('InsecureEndpoint', 'A log-out is not sent over http://'),
              ),
        read: (response, context) => processLogoutResponse(response, { ...question, ...context }),
      },
      signal,
    );
  }

  return async (request, signal) => {
    const result = await post(request, 'logout', signal);
    const last = result === 'unknown-endpoint' ? await post(request, 'revoke', signal) : result;
    return last instanceof Failure ? last : undefined;
  };
};

/** Beside the token endpoint, as Keycloak has them. Undefined: only a guess would do, which might be somebody else's. */
function addressOf(endpoint: 'logout' | 'revoke', tokenUrl: string): string | undefined {
  const url = new URL(tokenUrl);
  if (!TOKEN_PATH.test(url.pathname)) return undefined;
  url.pathname = url.pathname.replace(TOKEN_PATH, `/${endpoint}`);
  return url.href;
}

const TOKEN_PATH = /\/token\/?$/;

const addressUnknown = (environment: string): Failure =>
  new Failure(
    'EndpointNotFound',
    `The path of tokenUrl of environment "${environment}" does not end in /token, so the address of the log-out is not known`,
  );

const FORM = {
  'content-type': 'application/x-www-form-urlencoded',
  accept: 'application/json',
};

function formOf(
  { clientId, clientSecret, refreshToken }: LogoutRequest,
  endpoint: 'logout' | 'revoke',
): string {
  const value = refreshToken.reveal();
  const token =
    endpoint === 'logout'
      ? { refresh_token: value }
      : { token: value, token_type_hint: 'refresh_token' };
  const client = { client_id: clientId, client_secret: clientSecret.reveal() };
  return new URLSearchParams({ ...client, ...token }).toString();
}
