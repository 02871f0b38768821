import { Failure } from '../lib/failure.ts';
import { Sensitive, sanitize } from '../lib/sensitive.ts';
import { type EpochMs, hours, type Ms, seconds } from '../lib/time.ts';
import {
  type HttpResponse,
  jsonBody,
  numberMember,
  parseJson,
  textMember,
} from './http-response.ts';
import type { RefreshToken, Token } from './token.ts';
import {
  endpointOf,
  failureFromResponse,
  isOAuthError,
  type TokenRequestContext,
} from './token-errors.ts';

/** The question, and what only the asker knows of its answer. */
export interface TokenResponseContext extends TokenRequestContext {
  /** When the request was sent: validity counts from here, so a slow answer never stretches it. */
  readonly requestedAt: EpochMs;
  readonly receivedAt: EpochMs;
  /** In [-1, 1], drawn once per token. */
  readonly jitter: number;
}

const MAX_VALIDITY = hours(24);
/** What an HTTP header can carry as one word; RFC 6750 allows even less. */
const HEADER_WORD = /^[\x21-\x7e]+$/;
const SCOPE = /^[\x20-\x7e]+$/;

/** A token endpoint's answer (RFC 6749, 5.1 and 5.2), whatever it may be. */
export function processTokenResponse(
  response: HttpResponse,
  context: TokenResponseContext,
): Token | Failure {
  const body = jsonBody(response);
  const isSuccess = response.status >= 200 && response.status < 300 && !isOAuthError(body);
  return isSuccess ? tokenFromResponse(body, context) : failureFromResponse(response, context);
}

/** The token in the body of a successful answer. Every defect is an `UnexpectedResponse`. */
export function tokenFromResponse(body: unknown, context: TokenResponseContext): Token | Failure {
  if (typeof body !== 'object') return unusable('is not JSON of at most 64 KiB', context);
  const accessToken = headerWord(body, 'access_token');
  if (accessToken === undefined) return unusable('holds no usable access_token', context);
  const tokenType = textMember(body, 'token_type') ?? '';
  if (tokenType.toLowerCase() !== 'bearer') {
    return unusable(`holds a token of the type "${tokenType}" instead of Bearer`, context);
  }
  const validity = validityOf(body, accessToken);
  if (validity === undefined) {
    return unusable('does not say how long its token is valid', context);
  }
  const idToken = headerWord(body, 'id_token');
  const refreshToken = refreshTokenOf(body, context.requestedAt);
  return {
    accessToken: new Sensitive(accessToken),
    ...(idToken !== undefined && { idToken: new Sensitive(idToken) }),
    ...(refreshToken !== undefined && { refreshToken }),
    tokenType: 'Bearer',
    scope: scopeOf(body) ?? context.scope,
    issuedAt: context.requestedAt,
    expiresAt: context.requestedAt + validity,
    jitter: context.jitter,
    notBefore: Math.max(seconds(numberMember(body, 'not-before-policy') ?? 0), 0),
    ...clockLagOf(accessToken, context.receivedAt),
  };
}

/**
 * Its `iat` is by the same clock as the not-before policy; the header `Date` may be a proxy's. It was written before we
 * received it, so the lag is never taken for less than it is.
 */
function clockLagOf(accessToken: string, receivedAt: EpochMs): Pick<Token, 'clockLag'> {
  const signedAt = numberMember(claimsOf(accessToken), 'iat');
  return signedAt === undefined ? {} : { clockLag: Math.max(receivedAt - seconds(signedAt), 0) };
}

function unusable(defect: string, { secrets, ...request }: TokenResponseContext): Failure {
  return new Failure(
    'UnexpectedResponse',
    `The answer ${sanitize(defect, secrets)} (${endpointOf({ secrets, ...request })}). ` +
      'Check tokenUrl of the environment and what stands in front of the server.',
  );
}

function headerWord(body: unknown, name: string): string | undefined {
  const value = textMember(body, name) ?? '';
  return HEADER_WORD.test(value) ? value : undefined;
}

function scopeOf(body: unknown): string | undefined {
  const scope = textMember(body, 'scope') ?? '';
  return SCOPE.test(scope) ? scope : undefined;
}

/**
 * The smaller of what the answer says and what the token says of itself, if it is a JWT. Both are lengths by the
 * server's clock, so ours may be wrong. `expires_in` 0 has been seen with tokens that are accepted: it says nothing.
 */
function validityOf(body: unknown, accessToken: string): Ms | undefined {
  const claims = claimsOf(accessToken);
  const said = numberMember(body, 'expires_in') ?? 0;
  const signed = (numberMember(claims, 'exp') ?? 0) - (numberMember(claims, 'iat') ?? Infinity);
  const known = [said, signed].filter((length) => length >= 1).map(seconds);
  return known.length === 0 ? undefined : Math.min(...known, MAX_VALIDITY);
}

/** The claims of a JWT, unverified; undefined for an opaque token. */
function claimsOf(token: string): unknown {
  const [, payload, ...rest] = token.split('.');
  if (payload === undefined || rest.length !== 1) return undefined;
  return parseJson(Buffer.from(payload, 'base64url').toString());
}

/** Whether there is one is told by its presence: `refresh_expires_in` is 0 for none and for one that never expires. */
function refreshTokenOf(body: unknown, requestedAt: EpochMs): RefreshToken | undefined {
  const value = headerWord(body, 'refresh_token');
  if (value === undefined) return undefined;
  const validity = numberMember(body, 'refresh_expires_in') ?? 0;
  const expiresAt = validity > 0 ? requestedAt + seconds(validity) : undefined;
  return { value: new Sensitive(value), expiresAt };
}
