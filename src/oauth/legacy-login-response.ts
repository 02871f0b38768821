import { Failure } from '../lib/failure.ts';
import { Sensitive } from '../lib/sensitive.ts';
import { type EpochMs, hours, type Ms, minutes, seconds } from '../lib/time.ts';
import {
  clockSkewOf,
  type HttpResponse,
  httpDate,
  numberMember,
  parseJson,
  textMember,
} from './http-response.ts';
import {
  endpointOf,
  failureFromLoginResponse,
  isHtml,
  type LoginRequestContext,
} from './legacy-login-errors.ts';
import type { Token } from './token.ts';

/** The question, and what only the asker knows of its answer. */
export interface LoginResponseContext extends LoginRequestContext {
  /** When the request was sent: validity counts from here, so a slow answer never stretches it. */
  readonly requestedAt: EpochMs;
  readonly receivedAt: EpochMs;
  /** In [-1, 1], drawn once per token. */
  readonly jitter: number;
}

/** What the vendor says, and the most that is believed. */
const MAX_VALIDITY = hours(24);
const MIN_VALIDITY = minutes(1);
const TOKEN_MEMBERS = ['token', 'jwt', 'access_token', 'accessToken', 'id_token', 'idToken'];
const JWT = /^([\w-]+)\.([\w-]+)\.[\w-]+$/;

/** What the legacy login answered, whatever it may be. */
export function processLoginResponse(
  response: HttpResponse,
  context: LoginResponseContext,
): Token | Failure {
  const isSuccess = response.status >= 200 && response.status < 300;
  return isSuccess
    ? tokenFromLoginResponse(response, context)
    : failureFromLoginResponse(response, context);
}

function tokenFromLoginResponse(
  response: HttpResponse,
  context: LoginResponseContext,
): Token | Failure {
  if (isHtml(response)) return unusable('is an HTML page', context);
  const text = tokenTextIn(response);
  if (text === '') return unusable('holds no token of at most 64 KiB', context);
  const claims = claimsOf(text);
  if (claims === undefined) return unusable('holds something else than a JWT', context);
  const validity = validityOf(claims, response, context);
  if (validity < MIN_VALIDITY) return tooShort(response, context);
  return {
    accessToken: new Sensitive(text),
    tokenType: 'Bearer',
    scope: '',
    issuedAt: context.requestedAt,
    expiresAt: context.requestedAt + validity,
    jitter: context.jitter,
    notBefore: 0,
  };
}

/** The vendor says "in the body" and no more, so any sensible way of putting it there will do. */
function tokenTextIn({ text, authorization = '' }: HttpResponse): string {
  const body = text.trim() || authorization;
  const parsed = parseJson(body);
  const named = TOKEN_MEMBERS.map((name) => textMember(parsed, name)).find(
    (value) => value !== undefined,
  );
  const isStructured = typeof parsed === 'object';
  const found = typeof parsed === 'string' ? parsed : isStructured ? (named ?? '') : body;
  return found.trim().replace(/^bearer\s+/i, '');
}

/** The claims of a JWT, unverified; undefined for anything else, even if it consists of three words with dots. */
function claimsOf(text: string): object | undefined {
  const [header, claims] = (JWT.exec(text)?.slice(1) ?? []).map((part) =>
    parseJson(Buffer.from(part, 'base64url').toString()),
  );
  return isObject(header) && isObject(claims) ? claims : undefined;
}

const isObject = (value: unknown): value is object =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/**
 * How long the token is good: what is left of it by the server's clock, and never more than it says of itself from
 * its issue. Both are lengths, so our clock may be wrong; it counts only for an answer without a date.
 */
function validityOf(
  claims: object,
  response: HttpResponse,
  { receivedAt }: LoginResponseContext,
): Ms {
  const exp = numberMember(claims, 'exp');
  if (exp === undefined) return MAX_VALIDITY;
  const left = seconds(exp) - (httpDate(response.date) ?? receivedAt);
  const whole = seconds(exp - (numberMember(claims, 'iat') ?? exp));
  return Math.min(left, whole > 0 ? whole : left, MAX_VALIDITY);
}

const unusable = (defect: string, context: LoginResponseContext): Failure =>
  new Failure(
    'UnexpectedResponse',
    `The answer ${defect} (${endpointOf(context)}). ` +
      'Check loginUrl of the environment and what stands in front of the server.',
  );

const tooShort = (response: HttpResponse, context: LoginResponseContext): Failure =>
  clockSkewOf(response, context.receivedAt) === undefined
    ? new Failure(
        'ShortLivedToken',
        `The login gave out a token that has expired or is about to (${endpointOf(context)}). ` +
          'Ask Convercus how long tokens of this account live; the operator tries again.',
      )
    : new Failure(
        'ClockSkew',
        `The login gave out a token that has expired by the server's own clock (${endpointOf(context)}), ` +
          'and that clock is far from ours. Ask Convercus to check it; the operator tries again.',
      );
