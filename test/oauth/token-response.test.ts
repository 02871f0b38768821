import { describe, expect, it } from '@jest/globals';
import * as fc from 'fast-check';
import { Failure } from '../../src/lib/failure.ts';
import { hours, minutes, seconds } from '../../src/lib/time.ts';
import { clockSkewOf, type HttpResponse } from '../../src/oauth/http-response.ts';
import { claimsOf, lifetimeOf, type Token } from '../../src/oauth/token.ts';
import {
  processTokenResponse,
  type TokenResponseContext,
  tokenFromResponse,
} from '../../src/oauth/token-endpoint.ts';
import { anyCharacter } from '../support/arbitraries.ts';
import { runs } from '../support/runs.ts';

const REQUESTED_AT = Date.parse('2026-03-01T12:00:00Z');
const CONTEXT: TokenResponseContext = {
  grantType: 'client_credentials',
  host: 'auth.convercus.test',
  realm: 'abc-staging',
  clientId: 'machine-2-machine',
  scope: 'openid',
  secrets: [],
  requestedAt: REQUESTED_AT,
  receivedAt: REQUESTED_AT + seconds(1),
  jitter: 0.25,
};

const part = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url');
const jwt = (claims: unknown) => `${part({ alg: 'RS256' })}.${part(claims)}.c2lnbmF0dXJl`;
const thirtyMinuteJwt = jwt({ iat: 5_000, exp: 6_800 });

const body = (changes: object = {}) => ({
  access_token: thirtyMinuteJwt,
  token_type: 'Bearer',
  expires_in: 1800,
  ...changes,
});
const response = (content: unknown, changes: Partial<HttpResponse> = {}): HttpResponse => ({
  status: 200,
  contentType: 'application/json',
  text: JSON.stringify(content),
  ...changes,
});

function tokenOf(result: Token | Failure): Token {
  if (result instanceof Failure) throw new Error(`${result.kind}: ${result.message}`);
  return result;
}
const validity = (changes: object) =>
  tokenOf(tokenFromResponse(body(changes), CONTEXT)).expiresAt - REQUESTED_AT;
const kindOf = (result: Token | Failure) => (result instanceof Failure ? result.kind : 'a token');

describe('a token response', () => {
  it('becomes a token whose validity counts from the request', () => {
    const keycloaks = body({ id_token: jwt({}), scope: 'profile openid', 'not-before-policy': 7 });
    const token = tokenOf(processTokenResponse(response(keycloaks), CONTEXT));
    expect({
      ...token,
      accessToken: token.accessToken.reveal(),
      idToken: token.idToken?.reveal(),
    }).toEqual({
      accessToken: thirtyMinuteJwt,
      idToken: jwt({}),
      tokenType: 'Bearer',
      scope: 'profile openid',
      issuedAt: REQUESTED_AT,
      expiresAt: REQUESTED_AT + minutes(30),
      jitter: 0.25,
      notBefore: seconds(7),
      clockLag: CONTEXT.receivedAt - seconds(5_000),
    });
  });

  it.each([
    ['a number', { expires_in: 600 }, minutes(10)],
    ['decimal text', { expires_in: '600' }, minutes(10)],
    ['missing', { expires_in: undefined }, minutes(30)],
    ['null', { expires_in: null }, minutes(30)],
    ['zero', { expires_in: 0 }, minutes(30)],
    ['negative', { expires_in: -5 }, minutes(30)],
    ['words', { expires_in: 'soon' }, minutes(30)],
    ['absurd', { expires_in: 1e12 }, minutes(30)],
    ['longer than the JWT', { expires_in: 3600 }, minutes(30)],
    ['absurd beside an opaque token', { access_token: 'opaque', expires_in: 1e12 }, hours(24)],
    [
      'missing beside a JWT of a week',
      { access_token: jwt({ iat: 0, exp: 604_800 }), expires_in: undefined },
      hours(24),
    ],
    ['beside a JWT that says nothing', { access_token: jwt({}), expires_in: 60 }, minutes(1)],
    ['beside a JWT without iat', { access_token: jwt({ exp: 10 }), expires_in: 60 }, minutes(1)],
    [
      'beside a JWT that ends before it begins',
      { access_token: jwt({ iat: 9, exp: 3 }), expires_in: 60 },
      minutes(1),
    ],
    ['beside three parts that are no JWT', { access_token: 'a.b.c', expires_in: 60 }, minutes(1)],
  ])('takes the sane and smaller validity: expires_in %s', (_, changes, expected) => {
    expect(validity(changes)).toBe(expected);
  });

  it.each([
    ['validity is known from nowhere', body({ access_token: 'opaque', expires_in: 0 })],
    ['access_token is missing', body({ access_token: undefined })],
    ['access_token is empty', body({ access_token: '' })],
    ['access_token is no text', body({ access_token: 42 })],
    ['access_token holds a line break', body({ access_token: 'abc\r\nX-Evil: 1' })],
    ['access_token holds a blank', body({ access_token: 'abc def' })],
    ['access_token is not ASCII', body({ access_token: 'abcü' })],
    ['token_type is missing', body({ token_type: undefined })],
    ['token_type is DPoP', body({ token_type: 'DPoP' })],
    ['the body is a list', [body()]],
    ['the body is null', null],
    ['the body is text', 'token'],
    ['the token is in a prototype', JSON.parse(`{"__proto__":${JSON.stringify(body())}}`)],
  ])('is an UnexpectedResponse when %s', (_, content) => {
    const result = processTokenResponse(response(content), CONTEXT);
    expect(kindOf(result)).toBe('UnexpectedResponse');
    expect(result).toHaveProperty(
      'message',
      expect.stringContaining('realm "abc-staging" at auth.convercus.test'),
    );
  });

  it.each(['text/html', '', 'application/jsonp', 'text/plain; application/json'])(
    'is refused with the content type "%s"',
    (contentType) => {
      expect(kindOf(processTokenResponse(response(body(), { contentType }), CONTEXT))).toBe(
        'UnexpectedResponse',
      );
    },
  );

  it.each(['application/json;charset=UTF-8', 'Application/JSON', 'application/problem+json'])(
    'is accepted with the content type "%s"',
    (contentType) => {
      expect(kindOf(processTokenResponse(response(body(), { contentType }), CONTEXT))).toBe(
        'a token',
      );
    },
  );

  it('accepts Bearer in any letter case', () => {
    expect(tokenOf(tokenFromResponse(body({ token_type: 'bEARER' }), CONTEXT)).tokenType).toBe(
      'Bearer',
    );
  });

  it('falls back to the requested scope', () => {
    expect(tokenOf(tokenFromResponse(body(), CONTEXT)).scope).toBe('openid');
    expect(tokenOf(tokenFromResponse(body({ scope: 'a\nb' }), CONTEXT)).scope).toBe('openid');
  });

  it('leaves out an id_token that fits into no header', () => {
    expect(tokenOf(tokenFromResponse(body({ id_token: 'a\nb' }), CONTEXT)).idToken).toBeUndefined();
  });

  it.each([
    ['missing', undefined, 0],
    ['text', '1000', seconds(1000)],
    ['negative', -1, 0],
    ['after the request, by a clock ahead of ours', 2e9, seconds(2e9)],
  ])('reads not-before-policy in seconds: %s', (_, policy, expected) => {
    expect(
      tokenOf(tokenFromResponse(body({ 'not-before-policy': policy }), CONTEXT)).notBefore,
    ).toBe(expected);
  });

  it.each([
    ['behind ours', REQUESTED_AT - minutes(10), minutes(10) + seconds(1)],
    ['like ours', REQUESTED_AT, seconds(1)],
    ['ahead of ours', REQUESTED_AT + minutes(10), 0],
  ])('tells how far the clock of the server may be behind ours: %s', (_, at, lag) => {
    const access_token = jwt({ iat: at / 1_000, exp: at / 1_000 + 1_800 });
    expect(tokenOf(tokenFromResponse(body({ access_token }), CONTEXT)).clockLag).toBe(lag);
  });

  it('tells nothing of the clock of the server without a JWT', () => {
    const token = tokenOf(tokenFromResponse(body({ access_token: 'opaque' }), CONTEXT));
    expect(token.clockLag).toBeUndefined();
  });

  it('with an OAuth error is a failure even when the status says 200', () => {
    expect(kindOf(processTokenResponse(response({ error: 'invalid_scope' }), CONTEXT))).toBe(
      'InvalidScope',
    );
  });

  it('is a failure or a token that is valid for some time up to a day, whatever it holds', () => {
    const number = fc.oneof(
      fc.double(),
      fc.constantFrom(1e308, -1e308, '9'.repeat(400), `-${'9'.repeat(400)}`),
    );
    const claims = fc.record({ iat: number, exp: number }, { requiredKeys: [] });
    const member = fc.oneof(
      fc.jsonValue(),
      fc.constant(thirtyMinuteJwt),
      number,
      fc.string(),
      claims.map(jwt),
    );
    const content = fc.record(
      {
        access_token: member,
        token_type: fc.constantFrom('Bearer', 'x'),
        expires_in: member,
        'not-before-policy': member,
        refresh_token: fc.constant('opaque'),
        refresh_expires_in: member,
        scope: member,
      },
      { requiredKeys: [] },
    );
    fc.assert(
      fc.property(fc.oneof(fc.jsonValue(), content), (content) => {
        const result = processTokenResponse(response(content), CONTEXT);
        if (result instanceof Failure) return result.message !== '';
        const { issuedAt, expiresAt, notBefore, clockLag = 0, refreshToken } = result;
        const valid = expiresAt - issuedAt;
        const dates = [notBefore, clockLag, refreshToken?.expiresAt ?? 0];
        return valid > 0 && valid <= hours(24) && dates.every((at) => at >= 0 && at <= 8.64e15);
      }),
      { numRuns: runs(1_000) },
    );
  });
});

describe('the claims of a token', () => {
  it('are an object or nothing, for any text', () => {
    const encoded = fc.oneof(
      fc.json().map((text) => Buffer.from(text).toString('base64url')),
      fc.string(),
      fc.constant(Buffer.from('['.repeat(60_000)).toString('base64url')),
    );
    const text = fc.oneof(
      fc.string({ unit: anyCharacter }),
      fc.array(encoded, { maxLength: 5 }).map((parts) => parts.join('.')),
    );
    fc.assert(
      fc.property(text, (token) => {
        const lifetime = lifetimeOf(claimsOf(token)) ?? 1;
        return lifetime > 0;
      }),
      { numRuns: runs(1_000) },
    );
  });
});

describe('the clock of the server', () => {
  const at = (date: string) => clockSkewOf(response({}, { date }), REQUESTED_AT);

  it('is reported when it is more than half a minute from ours', () => {
    expect(at('Sun, 01 Mar 2026 12:01:00 GMT')).toBe(seconds(60));
    expect(at('Sun, 01 Mar 2026 11:59:00 GMT')).toBe(seconds(-60));
  });

  it('is no matter when it is near, missing or unreadable', () => {
    expect(at('Sun, 01 Mar 2026 12:00:30 GMT')).toBeUndefined();
    expect(clockSkewOf(response({}), REQUESTED_AT)).toBeUndefined();
    expect(at('yesterday GMT')).toBeUndefined();
    expect(at('2020')).toBeUndefined();
  });
});
