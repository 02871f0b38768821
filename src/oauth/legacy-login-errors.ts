import { Failure, type FailureKind } from '../lib/failure.ts';
import { type Sensitive, sanitize } from '../lib/sensitive.ts';
import type { EpochMs } from '../lib/time.ts';
import { type HttpResponse, memberOf, parseJson, retryAfterOf } from './http-response.ts';

/** What was asked of the legacy login: enough to say where it failed, and what must never be echoed. */
export interface LoginRequestContext {
  /** Host and port of the login endpoint. */
  readonly host: string;
  readonly secrets: readonly Sensitive[];
}

type Predicate = (response: HttpResponse) => boolean;

const status =
  (from: number, to = from): Predicate =>
  (response) =>
    response.status >= from && response.status <= to;
const anyStatus =
  (...codes: number[]): Predicate =>
  (response) =>
    codes.includes(response.status);
export const isHtml: Predicate = ({ contentType, text }) =>
  /^text\/html\b/i.test(contentType) || text.trimStart().startsWith('<');

/**
 * Which failure an answer is; the first row whose tests all hold decides. Convercus documents no error bodies, so the
 * status is all there is. A status that may mean a wrong password is not repeated by itself, so that no account gets
 * locked; any other 4xx is tried again by the hour.
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
] as const satisfies (readonly [FailureKind, ...Predicate[]])[];

type ErrorKind = (typeof ERROR_TABLE)[number][0] | 'UnexpectedResponse';

/** What is wrong, and what to do about it. */
const MESSAGES: Record<ErrorKind, readonly [what: string, todo: string]> = {
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
  RateLimited: ['The server asks for patience', 'The operator slows down by itself.'],
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
    'The answer is none of a login endpoint',
    'Check loginUrl of the environment and what stands in front of the server.',
  ],
};

/** The failure that a refusing answer is. Never holds a secret that the server echoes. */
export function failureFromLoginResponse(
  response: HttpResponse,
  request: LoginRequestContext & { readonly receivedAt: EpochMs },
): Failure {
  const kind = kindOf(response);
  const [what, todo] = MESSAGES[kind];
  const description = sanitize(descriptionIn(response), request.secrets);
  const quoted = [`HTTP ${response.status}`, description && `"${description}"`]
    .filter(Boolean)
    .join(', ');
  const isWorthWaiting = kind === 'RateLimited' || kind === 'ServerUnavailable';
  const retryAfter = isWorthWaiting ? retryAfterOf(response, request.receivedAt) : undefined;
  return new Failure(
    kind,
    `${what} (${endpointOf(request)}). ${todo} The server answered ${quoted}.`,
    { code: String(response.status), ...(retryAfter !== undefined && { retryAfter }) },
  );
}

const kindOf = (response: HttpResponse): ErrorKind =>
  ERROR_TABLE.find(([, ...tests]) => tests.every((test) => test(response)))?.[0] ??
  'UnexpectedResponse';

export const endpointOf = ({ host }: LoginRequestContext): string => `login at ${host}`;

/** What integrators have met: a `message`, and with 400 an `error` that lists the faults. */
function descriptionIn({ text }: HttpResponse): string {
  const body = parseJson(text);
  const texts = ['message', 'error', 'error_description'].flatMap((name) => memberOf(body, name));
  return texts.filter((value) => typeof value === 'string').join('; ');
}
