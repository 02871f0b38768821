import { describe, expect, it } from '@jest/globals';
import * as fc from 'fast-check';
import { FAILURE_KINDS, type FailureKind, type RetryRule } from '../../src/lib/failure.ts';
import { Sensitive } from '../../src/lib/sensitive.ts';
import { hours, seconds } from '../../src/lib/time.ts';
import type { HttpResponse } from '../../src/oauth/http-response.ts';
import { failureFromLoginResponse } from '../../src/oauth/legacy-login.ts';
import { anyCharacter } from '../support/arbitraries.ts';

const context = (secrets: readonly string[] = []) => ({
  host: 'api.convercus.test',
  secrets: secrets.map((secret) => new Sensitive(secret)),
  receivedAt: Date.parse('2026-03-01T12:00:00Z'),
});
const json = (status: number, body: unknown = {}): HttpResponse => ({
  status,
  contentType: 'application/json',
  text: JSON.stringify(body),
});
const page = (status: number): HttpResponse => ({
  status,
  contentType: 'text/html',
  text: '<html>no</html>',
});

const STOPS = { retry: 'on-change', isTerminal: true };
const terminal = (retry: RetryRule) => ({ retry, isTerminal: true });
const transient = (retry: RetryRule) => ({ retry, isTerminal: false });
const UNAUTHORIZED = json(401, { message: 'Unauthorized', code: 17 });

describe('an error response of the login', () => {
  it.each<[string, HttpResponse, FailureKind, rules: object]>([
    ['400', json(400), 'InvalidRequest', terminal('hourly')],
    ['400 as a page', page(400), 'InvalidRequest', terminal('hourly')],
    ['401', UNAUTHORIZED, 'CredentialsRejected', STOPS],
    ['401 as a page', page(401), 'CredentialsRejected', STOPS],
    ['403', json(403), 'CredentialsRejected', STOPS],
    ['403 without a body', { ...json(403), text: '' }, 'CredentialsRejected', STOPS],
    ['403 as a page', page(403), 'AccessBlocked', transient('slow')],
    ['404', json(404), 'EndpointNotFound', transient('patient')],
    ['404 as a page', page(404), 'EndpointNotFound', transient('patient')],
    ['405', json(405), 'EndpointNotFound', transient('patient')],
    ['410', json(410), 'EndpointNotFound', transient('patient')],
    ['407', page(407), 'AccessBlocked', transient('slow')],
    ['451', page(451), 'AccessBlocked', transient('slow')],
    ['408', page(408), 'RateLimited', transient('soon')],
    ['425', page(425), 'RateLimited', transient('soon')],
    ['429', json(429), 'RateLimited', transient('soon')],
    ['415', json(415), 'InvalidRequest', terminal('hourly')],
    ['422', json(422), 'InvalidRequest', terminal('hourly')],
    ['423', json(423), 'CredentialsRejected', STOPS],
    ['an unknown 4xx', json(499), 'InvalidRequest', terminal('hourly')],
    ['301', page(301), 'UnexpectedRedirect', terminal('slow')],
    ['302', page(302), 'UnexpectedRedirect', terminal('slow')],
    ['500', json(500), 'ServerUnavailable', transient('soon')],
    ['502', page(502), 'ServerUnavailable', transient('soon')],
    ['503', page(503), 'ServerUnavailable', transient('soon')],
    ['504', page(504), 'ServerUnavailable', transient('soon')],
    ['an unknown status', json(600), 'UnexpectedResponse', transient('patient')],
  ])('with %s → its kind', (_, response, kind, rules) => {
    const failure = failureFromLoginResponse(response, context());
    expect([failure.kind, failure.code]).toEqual([kind, String(response.status)]);
    expect(FAILURE_KINDS[failure.kind]).toMatchObject(rules);
    expect(failure.message).toContain('(login at api.convercus.test). ');
    expect(failure.message).toContain(`The server answered HTTP ${response.status}`);
    expect(failure.message).not.toContain('<html>');
  });

  it('reads as what, where, what to do, and what the server said', () => {
    expect(failureFromLoginResponse(UNAUTHORIZED, context()).message).toBe(
      'Organization, user name or password is wrong, or the account is locked for a while ' +
        '(login at api.convercus.test). Check all three in the credentials Secret; nothing is sent until they change. ' +
        'The server answered HTTP 401, "Unauthorized".',
    );
  });

  it('quotes the list of faults', () => {
    const faults = {
      message: 'Bad Request',
      error: ['org is required', 7, 'password is required'],
    };
    expect(failureFromLoginResponse(json(400, faults), context()).message).toContain(
      'HTTP 400, "Bad Request; org is required; password is required".',
    );
  });

  it.each([
    ['no JSON', 'Unauthorized'],
    ['no object', '["Unauthorized"]'],
    ['no text', '{"message":{"error":"x"},"error":[[1]]}'],
  ])('quotes nothing of %s', (_, text) => {
    expect(failureFromLoginResponse({ ...json(401), text }, context()).message).toMatch(
      /HTTP 401\.$/,
    );
  });

  it('never holds a secret, whatever the server echoes, and stays short', () => {
    const secret = fc
      .string({ minLength: 8, unit: anyCharacter })
      .map((text) => text.toWellFormed())
      .filter((text) => text.trim().length > 7);
    fc.assert(
      fc.property(fc.array(secret, { minLength: 3, maxLength: 3 }), (secrets) => {
        const echo = `${secrets.join(' ')} ${secrets.map(encodeURIComponent).join(' ')}`;
        const body = { message: echo, error: secrets, [secrets[0] ?? '']: echo };
        const { message, code } = failureFromLoginResponse(json(400, body), context(secrets));
        for (const value of secrets) expect(`${message} ${code}`).not.toContain(value);
        expect(message.length).toBeLessThan(600);
        expect(message).not.toMatch(/\p{Cc}/u);
      }),
    );
  });

  it.each([
    [429, '7', seconds(7)],
    [503, 'Sun, 01 Mar 2026 12:00:07 GMT', seconds(7)],
    [503, '86400', hours(1)],
    [429, 'Tue, 03 Mar 2026 12:00:00 GMT', hours(1)],
    [401, '7', undefined],
  ])('with %d and Retry-After "%s" has that retryAfter', (status, retryAfter, expected) => {
    const failure = failureFromLoginResponse({ ...json(status), retryAfter }, context());
    expect(failure.retryAfter).toBe(expected);
  });
});
