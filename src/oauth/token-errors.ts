import { Failure, type FailureKind } from '../lib/failure.ts';
import { textAt } from '../lib/json.ts';
import { holdsSecret, Sensitive, sanitize } from '../lib/sensitive.ts';
import type { EpochMs } from '../lib/time.ts';
import type { EndpointRequest } from './grants.ts';
import { type HttpResponse, jsonBody, retryAfterOf } from './http-response.ts';

type Predicate<T> = (response: T) => boolean;

/** Which failure a response is: the first row whose predicates all hold decides. */
export type ErrorTable<Kind extends FailureKind, T> = readonly (readonly [
  Kind,
  ...Predicate<T>[],
])[];

export const classify = <Kind extends FailureKind, T>(
  table: ErrorTable<Kind, T>,
  response: T,
): Kind | 'UnexpectedResponse' =>
  table.find(([, ...predicates]) => predicates.every((holds) => holds(response)))?.[0] ??
  'UnexpectedResponse';

export const status =
  (from: number, to = from) =>
  (response: { readonly status: number }): boolean =>
    response.status >= from && response.status <= to;

export const anyStatus =
  (...codes: readonly number[]) =>
  (response: { readonly status: number }): boolean =>
    codes.includes(response.status);

/** What is wrong, and what to do about it. */
export type Messages<Kind extends FailureKind> = Readonly<
  Record<Kind, readonly [what: string, todo: string]>
>;

/** What was sent and may come back in the response. */
interface Sent {
  /** What must never be shown. */
  readonly secrets: readonly Sensitive[];
  /** What the author of a credential has chosen, such as its scope. */
  readonly chosen: readonly string[];
}

interface Endpoint extends Sent {
  /** Host, and what else tells people where the request went. */
  readonly words: string;
  readonly receivedAt: EpochMs;
}

/** What a message quotes of an error response. */
interface Quoted {
  readonly response: HttpResponse;
  /** The OAuth error code; absent or empty when there is none. */
  readonly error?: string;
  readonly description: string;
}

/** What, where, what to do, and what the server said unless that may be an echo. */
export function failureFrom<Kind extends FailureKind>(
  kind: Kind,
  messages: Messages<Kind>,
  endpoint: Endpoint,
  quoted: Quoted,
): Failure {
  const [what, todo] = messages[kind];
  const { response } = quoted;
  const { code, quote } = shownOf(quoted, endpoint);
  const said = [`HTTP ${response.status}`, code, quote && `"${quote}"`].filter(Boolean).join(', ');
  const isUnreadable = response.bodyProblem !== undefined;
  const body = isUnreadable ? ` with a body that ${response.bodyProblem}` : '';
  const mayPass = kind === 'RateLimited' || kind === 'ServerUnavailable';
  const retryAfter = mayPass ? retryAfterOf(response, endpoint.receivedAt) : undefined;
  return new Failure(
    kind,
    `${what} (${endpoint.words}). ${todo} The server answered ${said}${body}.`,
    {
      code: code || String(response.status),
      status: response.status,
      ...(retryAfter !== undefined && { retryAfter }),
      isUnreadable,
    },
  );
}

/** What may be shown of what the server said; empty for nothing. */
function shownOf({ response, error = '', description }: Quoted, sent: Sent) {
  const isEcho = holdsPartOf([error, description, response.text].join(' '), sent);
  return {
    code: isEcho && !isKnownCode(error) ? '' : error,
    // Keycloak repeats the scopes, and it does so before it looks at the user
    quote: isEcho || error === 'invalid_scope' ? '' : sanitize(description, []),
  };
}

/** A server may shorten what it repeats. */
const PREFIX_LENGTH = 8;

/**
 * Whether a response may repeat something of its request. Nothing of it is shown then: with the secret replaced, a list
 * of guesses in a scope would tell which of them is the secret. A word that was chosen counts like a secret, so that
 * nothing changes when the two are equal.
 */
function holdsPartOf(said: string, { secrets, chosen }: Sent): boolean {
  const words = chosen.flatMap((text) => text.split(/\s+/)).filter((word) => word !== '');
  const parts = words.flatMap((word) => [word, word.slice(0, PREFIX_LENGTH)]);
  return holdsSecret(said, [...secrets, ...parts.map((part) => new Sensitive(part))]);
}

/** A response that holds no token for another reason than an error. */
export const unusable = (
  defect: string,
  words: string,
  urlSetting: 'tokenUrl' | 'loginUrl',
): Failure =>
  new Failure(
    'UnexpectedResponse',
    `The response ${defect} (${words}). ` +
      `Check ${urlSetting} of the environment and what stands in front of the server.`,
  );

/** The end of a success did not arrive. The next try may meet no such fault of a proxy or of the network. */
export const cutOff = (words: string): Failure =>
  new Failure(
    'ServerUnavailable',
    `The response was cut off (${words}). The operator tries again.`,
  );

/** What was asked of a token endpoint: enough to say what failed and where, and what must never be echoed. */
export interface TokenRequestContext
  extends Pick<EndpointRequest, 'grantType' | 'realm' | 'clientId' | 'scope'> {
  /** Host and port of the token endpoint. */
  readonly host: string;
  readonly secrets: readonly Sensitive[];
  /** The user name of a password grant is that of a client's service account. */
  readonly isServiceAccount?: boolean;
}

const sentIn = ({ secrets, realm, clientId, scope }: TokenRequestContext): Sent => ({
  secrets,
  chosen: [realm, scope, ...(typeof clientId === 'string' ? [clientId] : [])],
});

/** Codes of RFC 6749 and of Keycloak. To show one tells nothing of the request. */
const KNOWN_CODES = [
  'access_denied',
  'invalid_client',
  'invalid_dpop_proof',
  'invalid_grant',
  'invalid_request',
  'invalid_scope',
  'not_allowed',
  'server_error',
  'slow_down',
  'temporarily_unavailable',
  'unauthorized_client',
  'unknown_error',
  'unsupported_grant_type',
  'use_dpop_nonce',
] as const;

type KnownCode = (typeof KNOWN_CODES)[number];

const isKnownCode = (code: string): boolean => KNOWN_CODES.some((known) => known === code);

/** An error response of RFC 6749, 5.2, or what stands in its place. */
interface TokenError {
  readonly status: number;
  /** The OAuth error code; empty when the response is not an OAuth error. */
  readonly error: string;
  /** `error_description`, or the prose that Keycloak puts into `error` when it is no OAuth error. */
  readonly description: string;
  readonly grantType: EndpointRequest['grantType'];
  readonly isServiceAccount: boolean;
  /** The body can't be read, so there may have been an OAuth error. */
  readonly isUnreadable: boolean;
}

const error =
  (...codes: readonly KnownCode[]): Predicate<TokenError> =>
  (tokenError) =>
    codes.some((code) => code === tokenError.error);
/** Only the beginning counts: patterns take their time on a long text that is made for it. */
const describedAs =
  (words: RegExp): Predicate<TokenError> =>
  ({ description }) =>
    words.test(description.slice(0, 1_000));
const refreshing: Predicate<TokenError> = ({ grantType }) => grantType === 'refresh_token';
const withoutUser: Predicate<TokenError> = ({ grantType }) => grantType === 'client_credentials';
const withPassword: Predicate<TokenError> = ({ grantType }) => grantType === 'password';
const asServiceAccount: Predicate<TokenError> = ({ isServiceAccount }) => isServiceAccount;
const unreadable: Predicate<TokenError> = ({ isUnreadable }) => isUnreadable;
const isOAuth: Predicate<TokenError> = (tokenError) => tokenError.error !== '';

/**
 * Codes come before descriptions and both before the status, because Keycloak changed its statuses between versions
 * (wrong password: 401 up to 26.5, 400 from 26.6) and proxies invent theirs. Texts are Keycloak's, 16 to 26.7.
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
  // The latter from Keycloak 22, with the code generic_authentication_error
  ['SessionContention', describedAs(/^there are too many sessions|^sessionLimitExceeded/i)],

  // A service account can't log in by password; Keycloak up to 26.0 breaks with 500 instead of saying so
  ['CredentialsRejected', error('unknown_error'), withPassword, asServiceAccount],

  ['RateLimited', error('slow_down')],
  ['ServerUnavailable', error('temporarily_unavailable', 'server_error', 'unknown_error')],

  // A password that may be wrong is presented once
  ['CredentialsRejected', unreadable, withPassword, anyStatus(400, 401)],

  // Unknown codes are a client policy's with 400, else a proxy's, where the status is all there is
  ['UnexpectedRedirect', status(300, 399)],
  ['RateLimited', anyStatus(408, 425, 429)],
  ['ServerUnavailable', status(500, 599)],
  ['InvalidRequest', isOAuth, status(400)],
  ['AccessBlocked', anyStatus(401, 403, 407, 451)],
  ['EndpointNotFound', anyStatus(404, 405, 410)],
] as const satisfies ErrorTable<FailureKind, TokenError>;

const ASK_CONVERCUS = 'Ask Convercus to change it.';

export const MESSAGES: Messages<(typeof ERROR_TABLE)[number][0] | 'UnexpectedResponse'> = {
  AccountDisabled: ['The account is disabled', 'Ask Convercus to enable it.'],
  AccountNotReady: ['The account is not fully set up', 'Ask Convercus to complete it.'],
  RefreshTokenReused: [
    'The refresh token was used before',
    'Make sure that nothing else uses this session; the operator logs in again.',
  ],
  SessionEnded: ['The session has ended', 'The operator logs in again.'],
  CredentialsRejected: [
    'User name or password is wrong, or the account is locked for a while',
    'Check both in the credentials Secret; nothing is sent until they change.',
  ],
  GrantNotAllowed: ['The client is not allowed to use this grant', ASK_CONVERCUS],
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
  InsecureEndpoint: ['The server requires HTTPS', 'Correct tokenUrl of the environment.'],
  InvalidRequest: ['The server calls the request invalid', 'Check spec.clientId and spec.scope.'],
  RealmDisabled: ['The realm is disabled', 'Ask Convercus to enable it.'],
  RealmNotFound: [
    'The realm does not exist',
    'Check spec.program, spec.environment and spec.realm: letter case counts (names are usually in lower ' +
      'case), and the realms of staging end in "-staging".',
  ],
  SessionContention: [
    'The account has as many sessions as it may',
    'Make sure that nothing else logs in with it, or ask Convercus to allow more.',
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
  RateLimited: ['The server is rate limiting', 'The operator slows down by itself.'],
  ServerUnavailable: ['The server is unavailable', 'The operator tries again.'],
  UnexpectedResponse: [
    'The response is not a token response (RFC 6749, 5.1)',
    'Check tokenUrl of the environment and what stands in front of the server.',
  ],
};

/** The failure that an error response of the token endpoint, or of the log-out beside it, is. */
export function failureFromResponse(
  response: HttpResponse,
  request: TokenRequestContext & { readonly receivedAt: EpochMs },
): Failure {
  const { receivedAt } = request;
  const tokenError = tokenErrorFrom(response, request);
  const kind = classify(ERROR_TABLE, tokenError);
  const endpoint = { words: endpointWords(request), receivedAt, ...sentIn(request) };
  const { error, description } = tokenError;
  return failureFrom(kind, MESSAGES, endpoint, { response, error, description });
}

export function endpointWords({ realm, host, clientId }: TokenRequestContext): string {
  const endpoint = `realm "${realm}" at ${host}`;
  return typeof clientId === 'string' ? `${endpoint}, client "${clientId}"` : endpoint;
}

/** RFC 6749, 5.2. Prose in `error` comes from Keycloak's outer layers or from a proxy, and is no OAuth error. */
export const isOAuthError = (body: unknown): boolean =>
  /^[a-z_]{1,64}$/.test(textAt(body, 'error') ?? '');

function tokenErrorFrom(
  response: HttpResponse,
  { grantType, isServiceAccount = false }: TokenRequestContext,
): TokenError {
  const body = jsonBody(response);
  const error = textAt(body, 'error') ?? '';
  const said = isOAuthError(body)
    ? { error, description: textAt(body, 'error_description') ?? '' }
    : { error: '', description: error };
  const isUnreadable = response.bodyProblem !== undefined;
  return { status: response.status, ...said, grantType, isServiceAccount, isUnreadable };
}
