import { Failure, type FailureKind } from '../lib/failure.ts';
import { decimalAt, type JsonObject, member, parseJson, textAt } from '../lib/json.ts';
import { Sensitive } from '../lib/sensitive.ts';
import { type EpochMs, type Ms, minutes, seconds } from '../lib/time.ts';
import { type LoginRequest, secretsOf } from './grants.ts';
import type { HttpRequest } from './http-client.ts';
import {
  clockSkewOf,
  type HttpResponse,
  isSuccess,
  type ResponseContext,
  serverTime,
} from './http-response.ts';
import { claimsOf, lifetimeOf, MAX_VALIDITY, type Token } from './token.ts';
import {
  anyStatus,
  classify,
  cutOff,
  type ErrorTable,
  failureFrom,
  type Messages,
  status,
  unusable,
} from './token-errors.ts';
import type { TokenHosts } from './token-hosts.ts';

type LoginSource = (request: LoginRequest, signal: AbortSignal) => Promise<Token | Failure>;

/**
 * The login of the Convercus API that was there before OAuth. Every fault is a Failure; only the signal's reason
 * rejects.
 */
export const createLoginSource =
  (hosts: TokenHosts): LoginSource =>
  (request, signal) => {
    const { environment, grantType, loginUrl: url } = request;
    const secrets = secretsOf(request);
    return hosts.request(
      {
        environment,
        url,
        urlSetting: 'loginUrl',
        grantType,
        exchange: (send) => send(httpRequest(request)),
        read: (response, context) => processLoginResponse(response, { ...context, secrets }),
      },
      signal,
    );
  };

/** Sent at most once: a second wrong password within a moment may lock the account. */
const httpRequest = ({ loginUrl, org, username, password }: LoginRequest): HttpRequest => ({
  url: loginUrl,
  method: 'POST',
  headers: { 'content-type': 'application/json', accept: 'application/json, text/plain, */*' },
  body: JSON.stringify({
    org: org.reveal(),
    userName: username.reveal(),
    password: password.reveal(),
  }),
  once: true,
});

export interface LoginResponseContext extends ResponseContext {
  /** What must never be shown, though the server may echo it. */
  readonly secrets: readonly Sensitive[];
}

const MIN_VALIDITY = minutes(1);
const TOKEN_MEMBERS = ['token', 'jwt', 'access_token', 'accessToken', 'id_token', 'idToken'];

/** What the legacy login sent, whatever it may be. */
export const processLoginResponse = (
  response: HttpResponse,
  context: LoginResponseContext,
): Token | Failure =>
  isSuccess(response)
    ? tokenFromLoginResponse(response, context)
    : failureFromLoginResponse(response, context);

function tokenFromLoginResponse(
  response: HttpResponse,
  context: LoginResponseContext,
): Token | Failure {
  const { requestedAt, receivedAt, jitter } = context;
  if (response.isCut === true) return cutOff(endpointWords(context));
  if (isHtml(response)) return unusableLogin('is an HTML page', context);
  const text = tokenTextIn(response);
  if (text === '') return unusableLogin(response.bodyProblem ?? 'holds no token', context);
  const claims = claimsOf(text);
  if (claims === undefined) return unusableLogin('holds something else than a JWT', context);
  const validity = validityOf(claims, serverTime(response, receivedAt));
  if (validity < MIN_VALIDITY) return tooShort(response, context);
  return {
    accessToken: new Sensitive(text),
    tokenType: 'Bearer',
    scope: '',
    issuedAt: requestedAt,
    expiresAt: requestedAt + validity,
    jitter,
    notBefore: 0,
  };
}

const isHtml = ({ contentType, text }: HttpResponse): boolean =>
  /^text\/html\b/i.test(contentType) || text.trimStart().startsWith('<');

/** The vendor says "in the body" and no more, so any sensible way of putting it there will do. */
function tokenTextIn({ text, authorization = '' }: HttpResponse): string {
  const body = text.trim() || authorization;
  const parsed = parseJson(body);
  const named = TOKEN_MEMBERS.map((name) => textAt(parsed, name)).find(
    (value) => value !== undefined,
  );
  const isStructured = typeof parsed === 'object';
  const found = typeof parsed === 'string' ? parsed : isStructured ? (named ?? '') : body;
  return found.trim().replace(/^bearer\s+/i, '');
}

/**
 * How long the token is good: what is left of it by the server's clock, and never more than it says of itself from
 * its issue. Both are lengths, so our clock may be wrong; it counts only for a response without a date.
 */
function validityOf(claims: JsonObject, now: EpochMs): Ms {
  const exp = decimalAt(claims, 'exp');
  if (exp === undefined) return MAX_VALIDITY;
  return Math.min(seconds(exp) - now, lifetimeOf(claims) ?? MAX_VALIDITY, MAX_VALIDITY);
}

const endpointWords = ({ host }: Pick<ResponseContext, 'host'>): string => `login at ${host}`;

const unusableLogin = (defect: string, context: LoginResponseContext): Failure =>
  unusable(defect, endpointWords(context), 'loginUrl');

const tooShort = (response: HttpResponse, context: LoginResponseContext): Failure =>
  clockSkewOf(response, context.receivedAt) === undefined
    ? new Failure(
        'ShortLivedToken',
        `The login gave out a token that has expired or is about to (${endpointWords(context)}). ` +
          'Ask Convercus how long tokens of this account live; the operator tries again.',
      )
    : new Failure(
        'ClockSkew',
        `The login gave out a token that has expired by the server's own clock (${endpointWords(context)}), ` +
          'and that clock is far from ours. Ask Convercus to check it; the operator tries again.',
      );

/**
 * Convercus documents no error bodies, so the status is all there is. A status that may mean a wrong password is not
 * repeated by itself, so that no account gets locked; any other 4xx is tried again by the hour.
 */
const ERROR_TABLE = [
  // The API speaks JSON; a page comes from a firewall before it, which has not looked at the password
  ['AccessBlocked', status(403), isHtml],
  ['CredentialsRejected', anyStatus(401, 403, 423)],
  ['EndpointNotFound', anyStatus(404, 405, 410)],
  ['AccessBlocked', anyStatus(407, 451)],
  ['RateLimited', anyStatus(408, 425, 429)],
  ['UnexpectedRedirect', status(300, 399)],
  ['InvalidRequest', status(400, 499)],
  ['ServerUnavailable', status(500, 599)],
] as const satisfies ErrorTable<FailureKind, HttpResponse>;

export const MESSAGES: Messages<(typeof ERROR_TABLE)[number][0] | 'UnexpectedResponse'> = {
  AccessBlocked: [
    'Access to the server was refused',
    'Check allow-lists, proxies and firewalls between the operator and the host.',
  ],
  CredentialsRejected: [
    'Organization, user name or password is wrong, or the account is locked for a while',
    'Check all three in the credentials Secret; nothing is sent until they change.',
  ],
  EndpointNotFound: [
    'There is no login endpoint',
    'Check loginUrl of the environment, or ask Convercus whether the program has moved to OAuth.',
  ],
  RateLimited: ['The server is rate limiting', 'The operator slows down by itself.'],
  UnexpectedRedirect: [
    'The endpoint redirects, which is never followed with a password in hand',
    'Correct loginUrl of the environment.',
  ],
  InvalidRequest: [
    'The server calls the request invalid',
    'Check organization, user name and password in the credentials Secret, and loginUrl of the environment.',
  ],
  ServerUnavailable: ['The server is unavailable', 'The operator tries again.'],
  UnexpectedResponse: [
    'The response is not that of a login endpoint',
    'Check loginUrl of the environment and what stands in front of the server.',
  ],
};

export const failureFromLoginResponse = (
  response: HttpResponse,
  context: Pick<LoginResponseContext, 'host' | 'secrets' | 'receivedAt'>,
): Failure =>
  failureFrom(
    classify(ERROR_TABLE, response),
    MESSAGES,
    { words: endpointWords(context), chosen: [], ...context },
    { response, description: descriptionIn(response) },
  );

/** What integrators have met: a `message`, and with 400 an `error` that lists the faults. */
function descriptionIn({ text }: HttpResponse): string {
  const body = parseJson(text);
  const texts = ['message', 'error', 'error_description'].flatMap((name) => member(body, name));
  return texts.filter((value) => typeof value === 'string').join('; ');
}
