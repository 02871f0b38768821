import {
  allowInsecureRequests,
  ClientSecretPost,
  Configuration,
  clientCredentialsGrant,
  customFetch,
  genericGrantRequest,
  refreshTokenGrant,
} from 'openid-client';
import type { Failure } from '../lib/failure.ts';
import { decimalAt, type JsonObject, textAt } from '../lib/json.ts';
import { Sensitive } from '../lib/sensitive.ts';
import { type EpochMs, hours, type Ms, seconds } from '../lib/time.ts';
import { clientIdOf, type EndpointRequest, secretsOf } from './grants.ts';
import type { Exchange } from './http-client.ts';
import { type HttpResponse, isSuccess, jsonBody, type ResponseContext } from './http-response.ts';
import { claimsOf, lifetimeOf, MAX_VALIDITY, type RefreshToken, type Token } from './token.ts';
import {
  cutOff,
  endpointWords,
  failureFromResponse,
  isOAuthError,
  type TokenRequestContext,
  unusable,
} from './token-errors.ts';
import type { Send, TokenHosts } from './token-hosts.ts';

type EndpointSource = (request: EndpointRequest, signal: AbortSignal) => Promise<Token | Failure>;

/** The token endpoint of a Keycloak. Every fault is a Failure; only the signal's reason rejects. */
export const createTokenSource =
  (hosts: TokenHosts): EndpointSource =>
  (request, signal) => {
    const { environment, grantType, tokenUrl, realm, clientId, scope } = request;
    const asked = {
      grantType,
      realm,
      clientId,
      scope,
      secrets: secretsOf(request),
      isServiceAccount: isServiceAccount(request),
    };
    return hosts.request(
      {
        environment,
        url: tokenUrl,
        urlSetting: 'tokenUrl',
        grantType,
        exchange: (send) => sendGrant(request, send),
        read: (response, context) => processTokenResponse(response, { ...asked, ...context }),
      },
      signal,
    );
  };

/** Keycloak gives service accounts this name, and tells users apart without upper and lower case. */
const isServiceAccount = (request: EndpointRequest): boolean =>
  request.grantType === 'password' && /^service-account-/i.test(request.username.reveal());

/**
 * Sends a grant as openid-client builds it: the client secret as a form field (RFC 6749, 2.3.1), JSON wanted.
 * openid-client itself gets no response and ends with an error: it would refuse good tokens (an id_token by another
 * issuer name or clock, a negative expires_in) and keep bodies in its errors. ADR 21, ADR 41.
 */
async function sendGrant(request: EndpointRequest, send: Send): Promise<Exchange | Failure> {
  const exchange = Promise.withResolvers<Exchange | Failure>();
  const server = configurationFor(request);
  server[customFetch] = async (url, { method, headers, body }) => {
    // A grant's body is always a form; the type of customFetch is that of all its requests
    const form = body instanceof URLSearchParams ? body.toString() : '';
    exchange.resolve(send({ url, method, headers, body: form, once: isOnce(request) }));
    await exchange.promise;
    throw RESPONSE_KEPT;
  };
  // It rejects in any case, which changes the outcome only when nothing was sent
  await grant(server, request).catch(exchange.reject);
  return exchange.promise;
}

/** A TypeError, as fetch rejects with when there is no response: openid-client passes it on as it is. Made once. */
const RESPONSE_KEPT = new TypeError('the response is read elsewhere');

/** A second refresh finds a spent refresh token, and a second wrong password within a moment may lock the account. */
const isOnce = ({ grantType }: EndpointRequest): boolean => grantType !== 'client_credentials';

/** No timer and no rule about https of openid-client's own: both are the HTTP client's. */
function configurationFor(request: EndpointRequest): Configuration {
  const { tokenUrl, clientSecret } = request;
  const metadata = { issuer: tokenUrl, token_endpoint: tokenUrl };
  const authentication = ClientSecretPost(clientSecret.reveal());
  const server = new Configuration(metadata, clientIdOf(request), undefined, authentication);
  allowInsecureRequests(server);
  server.timeout = 0;
  return server;
}

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

export type TokenResponseContext = TokenRequestContext & ResponseContext;

/** What an HTTP header can carry as one word; RFC 6750 allows even less. */
const HEADER_WORD = /^[\x21-\x7e]+$/;
const SCOPE = /^[\x20-\x7e]+$/;

/** A token endpoint's response (RFC 6749, 5.1 and 5.2), whatever it may be. */
export function processTokenResponse(
  response: HttpResponse,
  context: TokenResponseContext,
): Token | Failure {
  const body = jsonBody(response);
  if (!isSuccess(response) || isOAuthError(body)) return failureFromResponse(response, context);
  const { bodyProblem, isCut = false } = response;
  if (isCut) return cutOff(endpointWords(context));
  return bodyProblem === undefined
    ? tokenFromResponse(body, context)
    : unusableToken(bodyProblem, context);
}

/** The token in the body of a successful response. Every defect is an `UnexpectedResponse`. */
export function tokenFromResponse(body: unknown, context: TokenResponseContext): Token | Failure {
  if (typeof body !== 'object') return unusableToken('is not JSON', context);
  const accessToken = headerWord(body, 'access_token');
  if (accessToken === undefined) return unusableToken('holds no usable access_token', context);
  const tokenType = textAt(body, 'token_type') ?? '';
  if (tokenType.toLowerCase() !== 'bearer') {
    return unusableToken('holds a token of another type than Bearer', context);
  }
  const claims = claimsOf(accessToken);
  const validity = validityOf(body, claims);
  if (validity === undefined) {
    return unusableToken('does not say how long its token is valid', context);
  }
  const { requestedAt, jitter } = context;
  const idToken = headerWord(body, 'id_token');
  const refreshToken = refreshTokenOf(body, requestedAt);
  return {
    accessToken: new Sensitive(accessToken),
    ...(idToken !== undefined && { idToken: new Sensitive(idToken) }),
    ...(refreshToken !== undefined && { refreshToken }),
    tokenType: 'Bearer',
    scope: scopeOf(body) ?? context.scope,
    issuedAt: requestedAt,
    expiresAt: requestedAt + validity,
    jitter,
    notBefore: momentAt(decimalAt(body, 'not-before-policy') ?? 0),
    ...clockLagOf(claims, context.receivedAt),
  };
}

const unusableToken = (defect: string, context: TokenResponseContext): Failure =>
  unusable(defect, endpointWords(context), 'tokenUrl');

function headerWord(body: unknown, name: string): string | undefined {
  const value = textAt(body, name) ?? '';
  return HEADER_WORD.test(value) ? value : undefined;
}

function scopeOf(body: unknown): string | undefined {
  const scope = textAt(body, 'scope') ?? '';
  return SCOPE.test(scope) ? scope : undefined;
}

/**
 * The smaller of what the response says and what the token says of itself, if it is a JWT. Both are lengths by the
 * server's clock, so ours may be wrong. `expires_in` 0 has been seen with tokens that are accepted: it says nothing.
 */
function validityOf(body: unknown, claims: JsonObject | undefined): Ms | undefined {
  const known = [seconds(decimalAt(body, 'expires_in') ?? 0), lifetimeOf(claims) ?? 0].filter(
    (validity) => validity >= seconds(1),
  );
  return known.length === 0 ? undefined : Math.min(...known, MAX_VALIDITY);
}

/** Ten years: any number that a server may send becomes a date. */
const MAX_REFRESH_VALIDITY = hours(24 * 3_650);

/** The last that a Date can hold. */
const LAST_MOMENT: EpochMs = 8.64e15;

/** @param time in seconds, whatever the server says */
const momentAt = (time: number): EpochMs => Math.min(Math.max(seconds(time), 0), LAST_MOMENT);

/** Whether there is one is told by its presence: `refresh_expires_in` is 0 for none and for one that never expires. */
function refreshTokenOf(body: unknown, requestedAt: EpochMs): RefreshToken | undefined {
  const value = headerWord(body, 'refresh_token');
  if (value === undefined) return undefined;
  const validity = seconds(decimalAt(body, 'refresh_expires_in') ?? 0);
  const expiresAt =
    validity > 0 ? requestedAt + Math.min(validity, MAX_REFRESH_VALIDITY) : undefined;
  return { value: new Sensitive(value), expiresAt };
}

/**
 * Its `iat` is by the same clock as the not-before policy; the header `Date` may be a proxy's. It was written before we
 * received it, so the lag is never taken for less than it is.
 */
function clockLagOf(claims: JsonObject | undefined, receivedAt: EpochMs): Pick<Token, 'clockLag'> {
  const signedAt = decimalAt(claims, 'iat');
  return signedAt === undefined ? {} : { clockLag: Math.max(receivedAt - momentAt(signedAt), 0) };
}
