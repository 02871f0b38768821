import { Failure } from './failure.ts';
import {
  clockSkewOf,
  type HttpAnswer,
  httpDate,
  numberMember,
  parseJson,
  textMember,
} from './http-answer.ts';
import { failureFromLogin, isHtml, type LoginQuestion, whereOf } from './login-refusal.ts';
import { Sensitive } from './sensitive.ts';
import { type EpochMs, hours, type Ms, minutes, seconds } from './time.ts';
import type { Token } from './token.ts';

/** The question, and what only the asker knows of its answer. */
export interface LoginContext extends LoginQuestion {
  /** When the request was sent: validity counts from here, so a slow answer never stretches it. */
  readonly requestedAt: EpochMs;
  readonly receivedAt: EpochMs;
  /** In [-1, 1], drawn once per token. */
  readonly jitter: number;
}

/** What the vendor says, and the most that is believed. */
const LONGEST_VALIDITY = hours(24);
const SHORTEST_VALIDITY = minutes(1);
const NAMES = ['token', 'jwt', 'access_token', 'accessToken', 'id_token', 'idToken'];
const JWT = /^([\w-]+)\.([\w-]+)\.[\w-]+$/;

/** What the legacy login answered, whatever it may be. */
export function readLoginAnswer(answer: HttpAnswer, context: LoginContext): Token | Failure {
  const isSuccess = answer.status >= 200 && answer.status < 300;
  return isSuccess ? tokenFromLogin(answer, context) : failureFromLogin(answer, context);
}

function tokenFromLogin(answer: HttpAnswer, context: LoginContext): Token | Failure {
  if (isHtml(answer)) return unusable('is an HTML page', context);
  const text = tokenTextIn(answer);
  if (text === '') return unusable('holds no token of at most 64 KiB', context);
  const claims = claimsOf(text);
  if (claims === undefined) return unusable('holds something else than a JWT', context);
  const validity = validityOf(claims, answer, context);
  if (validity < SHORTEST_VALIDITY) return tooShort(answer, context);
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
function tokenTextIn({ text, authorization = '' }: HttpAnswer): string {
  const body = text.trim() || authorization;
  const parsed = parseJson(body);
  const named = NAMES.map((name) => textMember(parsed, name)).find((value) => value !== undefined);
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
function validityOf(claims: object, answer: HttpAnswer, { receivedAt }: LoginContext): Ms {
  const exp = numberMember(claims, 'exp');
  if (exp === undefined) return LONGEST_VALIDITY;
  const left = seconds(exp) - (httpDate(answer.date) ?? receivedAt);
  const whole = seconds(exp - (numberMember(claims, 'iat') ?? exp));
  return Math.min(left, whole > 0 ? whole : left, LONGEST_VALIDITY);
}

const unusable = (defect: string, context: LoginContext): Failure =>
  new Failure(
    'UnexpectedResponse',
    `The answer ${defect} (${whereOf(context)}). ` +
      'Check loginUrl of the environment and what stands in front of the server.',
  );

const tooShort = (answer: HttpAnswer, context: LoginContext): Failure =>
  clockSkewOf(answer, context.receivedAt) === undefined
    ? new Failure(
        'ShortLivedToken',
        `The login gave out a token that has expired or is about to (${whereOf(context)}). ` +
          'Ask Convercus how long tokens of this account live; the operator tries again.',
      )
    : new Failure(
        'ClockSkew',
        `The login gave out a token that has expired by the server's own clock (${whereOf(context)}), ` +
          'and that clock is far from ours. Ask Convercus to check it; the operator tries again.',
      );
