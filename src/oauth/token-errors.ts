import { Failure, type FailureKind } from '../lib/failure.ts';
import { type Sensitive, sanitize } from '../lib/sensitive.ts';
import type { EpochMs } from '../lib/time.ts';
import {
  anyStatus,
  describedAs,
  error,
  isOAuth,
  type Predicate,
  refreshing,
  status,
  type TokenError,
  withoutUser,
} from './error-predicates.ts';
import { type HttpResponse, jsonBody, retryAfterOf, textMember } from './http-response.ts';

/** What was asked: enough to say in a message what failed and where, and what must never be echoed in it. */
export interface TokenRequestContext {
  readonly grantType: 'client_credentials' | 'password' | 'refresh_token';
  /** Host and port of the token endpoint. */
  readonly host: string;
  readonly realm: string;
  readonly clientId: string;
  readonly scope: string;
  readonly secrets: readonly Sensitive[];
}

/**
 * Which failure an answer is; the first row whose tests all hold decides. Codes come before descriptions and both
 * before the status, because Keycloak changed its statuses between versions (wrong password: 401 up to 26.5, 400
 * from 26.6) and proxies invent theirs. Texts are Keycloak's, 16 to 26.7.
 */
const ERROR_TABLE = [
  // The same code has opposite meanings by grant: a session is over, or a password is wrong
  ['AccountDisabled', error('invalid_grant'), refreshing, describedAs(/^user disabled/i)],
  ['RefreshTokenReused', error('invalid_grant'), refreshing, describedAs(/refresh token reuse/i)],
  ['SessionEnded', error('invalid_grant'), refreshing],
  ['AccountDisabled', error('invalid_grant'), describedAs(/account disabled/i)],
  ['AccountNotReady', error('invalid_grant'), describedAs(/not fully set up/i)],
  // A client policy against passwords speaks with the code of a wrong one
  ['GrantNotAllowed', error('invalid_grant'), describedAs(/grant is prohibited/i)],
  // Without a user there is no password that could be wrong, and no account that could be locked
  ['InvalidRequest', error('invalid_grant'), withoutUser],
  ['CredentialsRejected', error('invalid_grant')],

  // An unknown client and a wrong secret share one description; only the code tells them apart
  ['GrantNotAllowed', error('invalid_client'), describedAs(/user consent/i)],
  [
    'UnsupportedByOperator',
    error('invalid_client', 'unauthorized_client'),
    describedAs(/assertion/i),
  ],
  [
    'GrantNotAllowed',
    error('unauthorized_client'),
    describedAs(/not (enabled|allowed) (to|for) /i),
  ],
  ['ClientSecretRejected', error('invalid_client'), describedAs(/invalid client secret/i)],
  ['ClientUnknownOrDisabled', error('invalid_client')],
  [
    'ClientUnknownOrDisabled',
    error('unauthorized_client'),
    describedAs(/not find client|not enabled/i),
  ],
  [
    'ClientSecretRejected',
    error('unauthorized_client'),
    describedAs(/client (credentials|secret)/i),
  ],
  ['ClientSecretRejected', error('unauthorized_client'), status(401)],
  ['GrantNotAllowed', error('unauthorized_client', 'unsupported_grant_type')],

  ['GrantNotAllowed', error('invalid_scope'), refreshing, describedAs(/consent/i)],
  ['InvalidScope', error('invalid_scope')],
  // The scope offline_access for an account that may not have it
  ['InvalidScope', error('not_allowed')],

  ['InsecureEndpoint', error('invalid_request'), describedAs(/https required/i)],
  ['UnsupportedByOperator', error('invalid_request'), describedAs(/mtls|certificat|dpop/i)],
  ['UnsupportedByOperator', error('invalid_dpop_proof', 'use_dpop_nonce')],
  // The client's service account; nothing in the cluster can change it, so these are looked at again by the hour
  ['AccountDisabled', error('invalid_request'), describedAs(/^user .* disabled/i)],
  ['AccountNotReady', error('invalid_request'), describedAs(/service account .* does not exist/i)],
  ['InvalidRequest', error('invalid_request')],

  ['RealmDisabled', error('access_denied'), describedAs(/realm not enabled/i)],
  ['AccessBlocked', error('access_denied')],
  ['RealmNotFound', describedAs(/^realm does not exist/i)],
  ['SessionContention', describedAs(/^there are too many sessions/i)],

  ['RateLimited', error('slow_down')],
  ['ServerUnavailable', error('temporarily_unavailable', 'server_error', 'unknown_error')],

  // Codes that nobody knows are a client policy's with 400, else a proxy's, where the status is all there is
  ['UnexpectedRedirect', status(300, 399)],
  ['RateLimited', anyStatus(408, 425, 429)],
  ['ServerUnavailable', status(500, 599)],
  ['InvalidRequest', isOAuth, status(400)],
  ['AccessBlocked', anyStatus(401, 403, 407, 451)],
  ['EndpointNotFound', anyStatus(404, 405, 410)],
] as const satisfies (readonly [FailureKind, ...Predicate[]])[];

type ErrorKind = (typeof ERROR_TABLE)[number][0] | 'UnexpectedResponse';

const ASK_CONVERCUS = 'Ask Convercus to change it.';

/** What is wrong, and what to do about it. */
const MESSAGES: Record<ErrorKind, readonly [what: string, todo: string]> = {
  AccountDisabled: ['The account is disabled', 'Ask Convercus to enable it.'],
  AccountNotReady: ['The account is not fully set up', 'Ask Convercus to complete it.'],
  RefreshTokenReused: [
    'The refresh token was used before',
    'Make sure that nobody else uses this session; the operator logs in again.',
  ],
  SessionEnded: ['The session has ended', 'The operator logs in again.'],
  CredentialsRejected: [
    'User name or password is wrong, or the account is locked for a while',
    'Check both in the credentials Secret; nothing is sent until they change.',
  ],
  GrantNotAllowed: ['The client may not use this grant', ASK_CONVERCUS],
  UnsupportedByOperator: [
    'The server demands a way of proving the client that the operator does not speak',
    'Ask Convercus to allow a client secret sent as a form field.',
  ],
  ClientSecretRejected: [
    'The client secret was refused',
    'Put the current one into the credentials Secret.',
  ],
  ClientUnknownOrDisabled: [
    'The client is unknown or disabled',
    'Check spec.clientId and the realm, or ask Convercus to enable it.',
  ],
  InvalidScope: ['The scope was refused', 'Correct spec.scope.'],
  InsecureEndpoint: ['The server wants HTTPS', 'Correct tokenUrl of the environment.'],
  InvalidRequest: ['The server calls the request invalid', 'Check spec.clientId and spec.scope.'],
  RealmDisabled: ['The realm is disabled', 'Ask Convercus to enable it.'],
  RealmNotFound: [
    'The realm does not exist',
    'Check spec.program, spec.environment and spec.realm: letter case counts (names are usually in lower ' +
      'case), and the realms of staging end in "-staging".',
  ],
  SessionContention: [
    'The account has as many sessions as it may',
    'Make sure that nobody else logs in with it, or ask Convercus to allow more.',
  ],
  AccessBlocked: [
    'Access to the server was refused',
    'Check allow-lists, proxies and firewalls between the operator and the host.',
  ],
  EndpointNotFound: ['There is no token endpoint', 'Check tokenUrl of the environment.'],
  UnexpectedRedirect: [
    'The endpoint redirects, which is never followed with a secret in hand',
    'Correct tokenUrl of the environment.',
  ],
  RateLimited: ['The server asks for patience', 'The operator slows down by itself.'],
  ServerUnavailable: ['The server is unavailable', 'The operator tries again.'],
  UnexpectedResponse: [
    'The answer is none of a token endpoint',
    'Check tokenUrl of the environment and what stands in front of the server.',
  ],
};

/** The failure that a refusing answer is. Never holds a secret that the server echoes. */
export function failureFromResponse(
  response: HttpResponse,
  request: TokenRequestContext & { readonly receivedAt: EpochMs },
): Failure {
  const tokenError = tokenErrorFrom(response, request);
  const kind = kindOf(tokenError);
  const [what, todo] = MESSAGES[kind];
  const code = sanitize(tokenError.error, request.secrets);
  const description = sanitize(tokenError.description, request.secrets);
  const quoted = [`HTTP ${response.status}`, code, description && `"${description}"`]
    .filter(Boolean)
    .join(', ');
  const isWorthWaiting = kind === 'RateLimited' || kind === 'ServerUnavailable';
  const retryAfter = isWorthWaiting ? retryAfterOf(response, request.receivedAt) : undefined;
  return new Failure(
    kind,
    `${what} (${endpointOf(request)}). ${todo} The server answered ${quoted}.`,
    { code: code || String(response.status), ...(retryAfter !== undefined && { retryAfter }) },
  );
}

const kindOf = (tokenError: TokenError): ErrorKind =>
  ERROR_TABLE.find(([, ...tests]) => tests.every((test) => test(tokenError)))?.[0] ??
  'UnexpectedResponse';

export const endpointOf = (request: TokenRequestContext): string =>
  `realm "${request.realm}" at ${request.host}, client "${request.clientId}"`;

/** RFC 6749, 5.2. Prose in `error` comes from Keycloak's outer layers or from a proxy, and is no OAuth error. */
export const isOAuthError = (body: unknown): boolean =>
  /^[a-z_]{1,64}$/.test(textMember(body, 'error') ?? '');

function tokenErrorFrom(response: HttpResponse, { grantType }: TokenRequestContext): TokenError {
  const body = jsonBody(response);
  const error = textMember(body, 'error') ?? '';
  const description = textMember(body, 'error_description') ?? '';
  return isOAuthError(body)
    ? { status: response.status, error, description: description, grantType }
    : { status: response.status, error: '', description: error, grantType };
}
