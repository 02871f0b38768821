import { describe, expect, it } from '@jest/globals';
import * as fc from 'fast-check';
import { Failure } from '../../src/lib/failure.ts';
import { hours, minutes, seconds } from '../../src/lib/time.ts';
import type { HttpResponse } from '../../src/oauth/http-response.ts';
import { type LoginResponseContext, processLoginResponse } from '../../src/oauth/legacy-login.ts';
import type { Token } from '../../src/oauth/token.ts';
import { anyCharacter } from '../support/arbitraries.ts';
import { runs } from '../support/runs.ts';

const REQUESTED_AT = Date.parse('2026-03-01T12:00:00Z');
const NOW = REQUESTED_AT / 1_000;
const DATE = 'Sun, 01 Mar 2026 12:00:00 GMT';
const CONTEXT: LoginResponseContext = {
  host: 'api.convercus.test',
  secrets: [],
  requestedAt: REQUESTED_AT,
  receivedAt: REQUESTED_AT + seconds(1),
  jitter: 0.25,
};

const part = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url');
const jwt = (claims: unknown, header: unknown = { alg: 'RS256' }) =>
  `${part(header)}.${part(claims)}.c2lnbmF0dXJl`;
const DAY = { iat: NOW, exp: NOW + 86_400 };
const TOKEN = jwt(DAY);

const response = (text: string, changes: Partial<HttpResponse> = {}): HttpResponse => ({
  status: 200,
  contentType: 'text/plain;charset=UTF-8',
  text,
  date: DATE,
  ...changes,
});
const read = (text: string, changes: Partial<HttpResponse> = {}) =>
  processLoginResponse(response(text, changes), CONTEXT);

function tokenOf(result: Token | Failure): Token {
  if (result instanceof Failure) throw new Error(`${result.kind}: ${result.message}`);
  return result;
}
const kindOf = (result: Token | Failure) => (result instanceof Failure ? result.kind : 'a token');

describe('the response of a login', () => {
  it('becomes a token whose validity counts from the request', () => {
    const token = tokenOf(read(TOKEN));
    expect({ ...token, accessToken: token.accessToken.reveal() }).toEqual({
      accessToken: TOKEN,
      tokenType: 'Bearer',
      scope: '',
      issuedAt: REQUESTED_AT,
      expiresAt: REQUESTED_AT + hours(24),
      jitter: 0.25,
      notBefore: 0,
    });
  });

  it.each([
    ['as text', TOKEN],
    ['as text among blanks', `\n  ${TOKEN} \r\n`],
    ['behind a byte order mark', `\ufeff${TOKEN}`],
    ['as a JSON string', JSON.stringify(TOKEN)],
    ['as a JSON string with blanks inside', JSON.stringify(` ${TOKEN}\n`)],
    ['with Bearer before it', `Bearer ${TOKEN}`],
    ['with Bearer in capitals', `BEARER  ${TOKEN}`],
    ['as a JSON string with Bearer', JSON.stringify(`bearer ${TOKEN}`)],
    ['as an object with Bearer', JSON.stringify({ token: `Bearer ${TOKEN}` })],
    ['as token', JSON.stringify({ id: 7, token: TOKEN })],
    ['as jwt', JSON.stringify({ jwt: TOKEN })],
    ['as access_token', JSON.stringify({ access_token: TOKEN, id_token: jwt({ exp: 1 }) })],
    ['as accessToken', JSON.stringify({ accessToken: TOKEN })],
    ['as id_token', JSON.stringify({ id_token: TOKEN })],
    ['as idToken', JSON.stringify({ idToken: TOKEN })],
    ['under the first name that holds text', JSON.stringify({ token: null, jwt: TOKEN })],
  ])('may hold the token %s', (_, text) => {
    expect(tokenOf(read(text)).accessToken.reveal()).toBe(TOKEN);
  });

  it.each(['application/json', 'application/jwt', '', 'application/octet-stream'])(
    'is not judged by its content type "%s"',
    (contentType) => {
      expect(tokenOf(read(TOKEN, { contentType })).accessToken.reveal()).toBe(TOKEN);
    },
  );

  it.each([200, 201, 204])('with %d may have the token in a header and an empty body', (status) => {
    const token = tokenOf(read(' ', { status, authorization: `Bearer ${TOKEN}` }));
    expect(token.accessToken.reveal()).toBe(TOKEN);
  });

  it('counts for more than the header', () => {
    const authorization = `Bearer ${jwt({ exp: 1 })}`;
    expect(tokenOf(read(TOKEN, { authorization })).accessToken.reveal()).toBe(TOKEN);
    expect(kindOf(read('{}', { authorization }))).toBe('UnexpectedResponse');
  });

  it.each([
    ['empty', ''],
    ['blank', ' \n'],
    ['a page', `<!DOCTYPE html><p>${TOKEN}`],
    ['a page after blanks', '\n <html>'],
    ['words', 'Welcome back'],
    ['a host name', 'api.convercus.test'],
    ['opaque', 'c0ffee'.repeat(9)],
    ['two tokens', `${TOKEN} ${TOKEN}`],
    ['Bearer twice', `Bearer Bearer ${TOKEN}`],
    ['two parts', TOKEN.split('.').slice(0, 2).join('.')],
    ['no signature', `${TOKEN.split('.').slice(0, 2).join('.')}.`],
    ['five parts', `${TOKEN}.${TOKEN.split('.')[0]}.e`],
    ['not base64url', TOKEN.replace('.', '=.')],
    ['a header line', `${TOKEN}\r\nX-Evil: 1`],
    ['claims that are a list', jwt([DAY])],
    ['claims that are null', jwt(null)],
    ['a header that is none', jwt(DAY, 'RS256')],
    ['a number', '42'],
    ['null', 'null'],
    ['a list', JSON.stringify([TOKEN])],
    ['an object without a token', '{"message":"ok"}'],
    ['an object with an empty token', '{"token":""}'],
    ['a token in an object in an object', JSON.stringify({ data: { token: TOKEN } })],
    ['a token in a prototype', `{"__proto__":{"token":"${TOKEN}"}}`],
    ['half an object', `{"token":"${TOKEN}"`],
  ])('is an UnexpectedResponse when it is %s', (_, text) => {
    const result = read(text);
    expect(kindOf(result)).toBe('UnexpectedResponse');
    expect(result).toHaveProperty(
      'message',
      expect.stringContaining('login at api.convercus.test'),
    );
    expect(JSON.stringify(result)).not.toContain('eyJ');
  });

  it('is an UnexpectedResponse when it calls itself a page', () => {
    expect(kindOf(read(TOKEN, { contentType: 'text/html;charset=UTF-8' }))).toBe(
      'UnexpectedResponse',
    );
  });
});

describe('the validity of a login', () => {
  const validity = (claims: object, changes: Partial<HttpResponse> = {}) =>
    tokenOf(read(jwt(claims), changes)).expiresAt - REQUESTED_AT;

  it.each([
    ['an hour', { iat: NOW, exp: NOW + 3_600 }, hours(1)],
    ['without iat', { exp: NOW + 3_600 }, hours(1)],
    ['as text', { iat: String(NOW), exp: String(NOW + 3_600) }, hours(1)],
    ['of a token that is not fresh', { iat: NOW - 7_200, exp: NOW + 3_600 }, hours(1)],
    ['with an issuer whose clock is ahead', { iat: NOW + 600, exp: NOW + 4_200 }, hours(1)],
    ['with an iat after exp', { iat: NOW + 9_999, exp: NOW + 3_600 }, hours(1)],
    ['with an iat in milliseconds', { iat: REQUESTED_AT, exp: NOW + 3_600 }, hours(1)],
    ['with an iat in words', { iat: 'now', exp: NOW + 3_600 }, hours(1)],
    ['no exp', { iat: NOW }, hours(24)],
    ['exp null', { exp: null }, hours(24)],
    ['exp in words', { exp: 'tomorrow' }, hours(24)],
    ['a week', { iat: NOW, exp: NOW + 604_800 }, hours(24)],
    ['an exp in milliseconds', { exp: REQUESTED_AT }, hours(24)],
    ['an absurd exp', { exp: 1e308 }, hours(24)],
    ['a minute', { exp: NOW + 60 }, minutes(1)],
  ])('is read from exp: %s', (_, claims, expected) => {
    expect(validity(claims)).toBe(expected);
  });

  it('is a length by the clock of the server, however wrong ours is', () => {
    const claims = { iat: NOW + 7_200, exp: NOW + 10_800 };
    expect(validity(claims, { date: 'Sun, 01 Mar 2026 14:00:00 GMT' })).toBe(hours(1));
  });

  it('is measured by our clock when the server does not tell its own', () => {
    const { date: _, ...undated } = response(jwt({ exp: NOW + 3_601 }));
    expect(tokenOf(processLoginResponse(undated, CONTEXT)).expiresAt).toBe(REQUESTED_AT + hours(1));
  });

  it.each([
    ['expired', { exp: NOW - 1 }],
    ['expired at the beginning of time', { exp: 0 }],
    ['expired before that', { exp: -1e308 }],
    ['about to expire', { exp: NOW + 59 }],
    ['never longer than that', { iat: NOW + 3_600, exp: NOW + 3_630 }],
  ])('is too short when the token is %s', (_, claims) => {
    const result = read(jwt(claims));
    expect(kindOf(result)).toBe('ShortLivedToken');
    expect(result).toHaveProperty(
      'message',
      expect.stringContaining('login at api.convercus.test'),
    );
  });

  it('is too short because of a clock when the date of the response shows it', () => {
    const result = read(jwt({ exp: NOW + 3_600 }), { date: 'Sun, 01 Mar 2026 13:30:00 GMT' });
    expect(kindOf(result)).toBe('ClockSkew');
    expect(result).toHaveProperty(
      'message',
      expect.stringContaining('login at api.convercus.test'),
    );
  });

  it('is between a minute and a day for every token, whatever the response holds', () => {
    const claims = fc.record(
      {
        exp: fc.oneof(fc.jsonValue(), fc.double(), fc.integer({ min: NOW - 90, max: NOW + 9e4 })),
        iat: fc.oneof(fc.jsonValue(), fc.double(), fc.integer({ min: NOW - 90, max: NOW + 90 })),
      },
      { requiredKeys: [] },
    );
    const text = fc.oneof(
      fc.string({ unit: anyCharacter }),
      fc.json(),
      claims.map((it) => jwt(it)),
    );
    const date = fc.constantFrom(DATE, 'Sun, 01 Mar 2026 13:30:00 GMT', 'never', '');
    fc.assert(
      fc.property(text, date, fc.integer({ min: 200, max: 599 }), (content, date, status) => {
        const result = read(content, { date, status });
        if (result instanceof Failure) return result.message !== '';
        const valid = result.expiresAt - result.issuedAt;
        return status < 300 && valid >= minutes(1) && valid <= hours(24);
      }),
      { numRuns: runs(2_000) },
    );
  });
});
