import { Failure } from '../lib/failure.ts';
import { textAt } from '../lib/json.ts';
import type { EpochMs } from '../lib/time.ts';
import { type Environments, tokenUrlOf } from './environment.ts';
import { clientIdOf, type LogoutRequest, secretsOf } from './grants.ts';
import type { HttpRequest } from './http-client.ts';
import { type HttpResponse, isSuccess, jsonBody } from './http-response.ts';
import { failureFromResponse, isOAuthError, type TokenRequestContext } from './token-errors.ts';
import type { TokenHosts } from './token-hosts.ts';

/** Ends a session at the provider. Undefined when it is over. */
export type LogOut = (request: LogoutRequest, signal: AbortSignal) => Promise<Failure | undefined>;

type LogoutEndpoint = 'logout' | 'revoke';

/** `unknown-endpoint`: this server has no logout of this kind, so revoke instead. */
type LogoutResult = 'ended' | 'unknown-endpoint' | Failure;

/**
 * Ends a session: `/logout`, which ends just this one on all versions, and where that is unknown `/revoke`, which
 * before Keycloak 26.1 ended all sessions of the user. The address comes from the configuration, never from a Secret.
 */
export const createLogOut = (hosts: TokenHosts, environments: Environments): LogOut => {
  async function post(
    request: LogoutRequest,
    endpoint: LogoutEndpoint,
    signal: AbortSignal,
  ): Promise<LogoutResult> {
    const { environment, realm, clientId } = request;
    const configured = environments.get(environment);
    if (configured === undefined) return 'ended';
    const url = addressOf(endpoint, tokenUrlOf(configured, realm));
    if (url === undefined) return addressUnknown(environment);
    const asked = { realm, clientId, scope: '', secrets: secretsOf(request) };
    return hosts.request(
      {
        environment,
        url,
        urlSetting: 'tokenUrl',
        grantType: endpoint,
        exchange: (send) => send(httpRequest(request, url, endpoint)),
        read: (response, context) => {
          const about = { grantType: 'refresh_token' as const, ...asked, ...context };
          const result = processLogoutResponse(response, about);
          const isLast = endpoint === 'revoke' && result === 'unknown-endpoint';
          return isLast ? endpointsUnknown(environment) : result;
        },
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

/** Beside the token endpoint, as Keycloak has them; undefined when it could only be guessed. */
function addressOf(endpoint: LogoutEndpoint, tokenUrl: string): string | undefined {
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

const endpointsUnknown = (environment: string): Failure =>
  new Failure(
    'EndpointNotFound',
    `The server knows neither /logout nor /revoke beside tokenUrl of environment "${environment}"`,
  );

function httpRequest(request: LogoutRequest, url: string, endpoint: LogoutEndpoint): HttpRequest {
  const { clientSecret, refreshToken } = request;
  const value = refreshToken.reveal();
  const token =
    endpoint === 'logout'
      ? { refresh_token: value }
      : { token: value, token_type_hint: 'refresh_token' };
  const client = { client_id: clientIdOf(request), client_secret: clientSecret.reveal() };
  return {
    url,
    method: 'POST',
    headers: { 'content-type': 'application/x-www-form-urlencoded', accept: 'application/json' },
    body: new URLSearchParams({ ...client, ...token }).toString(),
  };
}

/** What has ended already is a success: Keycloak sends 204 again, 400 `invalid_grant`, or 200 with an error. */
function processLogoutResponse(
  response: HttpResponse,
  request: TokenRequestContext & { readonly receivedAt: EpochMs },
): LogoutResult {
  if (isSuccess(response)) return 'ended';
  const { status } = response;
  const body = jsonBody(response);
  const error = textAt(body, 'error') ?? '';
  if (error === 'invalid_grant') return 'ended';
  const isElsewhere = (status === 404 || status === 405) && !isOAuthError(body);
  if (!isElsewhere) return failureFromResponse(response, request);
  return /^realm does not exist/i.test(error) ? 'ended' : 'unknown-endpoint';
}
