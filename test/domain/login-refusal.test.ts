import { describe, expect, it } from '@jest/globals';
import * as fc from 'fast-check';
import { FAILURE_KINDS, type FailureKind } from '../../src/domain/failure.ts';
import type { HttpAnswer } from '../../src/domain/http-answer.ts';
import { failureFromLogin } from '../../src/domain/login-refusal.ts';
import { Sensitive } from '../../src/domain/sensitive.ts';
import { hours, seconds } from '../../src/domain/time.ts';

const question = (secrets: readonly string[] = []) => ({
  host: 'api.convercus.test',
  secrets: secrets.map((secret) => new Sensitive(secret)),
  receivedAt: Date.parse('2026-03-01T12:00:00Z'),
});
const json = (status: number, body: unknown = {}): HttpAnswer => ({
  status,
  contentType: 'application/json',
  text: JSON.stringify(body),
});
const page = (status: number): HttpAnswer => ({
  status,
  contentType: 'text/html',
  text: '<html>no</html>',
});

const UNAUTHORIZED = json(401, { message: 'Unauthorized', code: 17 });

describe('a refused login', () => {
  it.each<[string, HttpAnswer, FailureKind, retry: string, needsPerson: boolean]>([
    ['400', json(400), 'InvalidRequest', 'on-change', true],
    ['400 as a page', page(400), 'InvalidRequest', 'on-change', true],
    ['401', UNAUTHORIZED, 'CredentialsRejected', 'on-change', true],
    ['401 as a page', page(401), 'CredentialsRejected', 'on-change', true],
    ['403', json(403), 'CredentialsRejected', 'on-change', true],
    ['403 without a body', { ...json(403), text: '' }, 'CredentialsRejected', 'on-change', true],
    ['403 as a page', page(403), 'AccessBlocked', 'slow', false],
    ['404', json(404), 'EndpointNotFound', 'patient', false],
    ['404 as a page', page(404), 'EndpointNotFound', 'patient', false],
    ['405', json(405), 'EndpointNotFound', 'patient', false],
    ['410', json(410), 'EndpointNotFound', 'patient', false],
    ['407', page(407), 'AccessBlocked', 'slow', false],
    ['451', page(451), 'AccessBlocked', 'slow', false],
    ['408', page(408), 'RateLimited', 'soon', false],
    ['425', page(425), 'RateLimited', 'soon', false],
    ['429', json(429), 'RateLimited', 'soon', false],
    ['415', json(415), 'InvalidRequest', 'on-change', true],
    ['422', json(422), 'InvalidRequest', 'on-change', true],
    ['423', json(423), 'CredentialsRejected', 'on-change', true],
    ['a 4xx that nobody knows', json(499), 'InvalidRequest', 'on-change', true],
    ['301', page(301), 'UnexpectedRedirect', 'on-change', true],
    ['302', page(302), 'UnexpectedRedirect', 'on-change', true],
    ['500', json(500), 'ServerUnavailable', 'soon', false],
    ['502', page(502), 'ServerUnavailable', 'soon', false],
    ['503', page(503), 'ServerUnavailable', 'soon', false],
    ['504', page(504), 'ServerUnavailable', 'soon', false],
    ['a status that nobody knows', json(600), 'UnexpectedResponse', 'patient', false],
  ])('with %s → its kind', (_, answer, kind, retry, needsPerson) => {
    const failure = failureFromLogin(answer, question());
    expect([failure.kind, failure.code]).toEqual([kind, String(answer.status)]);
    expect(FAILURE_KINDS[failure.kind]).toEqual({ retry, needsPerson });
    expect(failure.message).toContain('(login at api.convercus.test). ');
    expect(failure.message).toContain(`The server answered HTTP ${answer.status}`);
    expect(failure.message).not.toContain('<html>');
  });

  it('reads as what, where, what to do, and what the server said', () => {
    expect(failureFromLogin(UNAUTHORIZED, question()).message).toBe(
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
    expect(failureFromLogin(json(400, faults), question()).message).toContain(
      'HTTP 400, "Bad Request; org is required; password is required".',
    );
  });

  it.each([
    ['no JSON', 'Unauthorized'],
    ['no object', '["Unauthorized"]'],
    ['no text', '{"message":{"error":"x"},"error":[[1]]}'],
  ])('quotes nothing of %s', (_, text) => {
    expect(failureFromLogin({ ...json(401), text }, question()).message).toMatch(/HTTP 401\.$/);
  });

  it('never holds a secret, whatever the server echoes, and stays short', () => {
    const secret = fc
      .string({ minLength: 8, unit: 'binary' })
      .map((text) => text.toWellFormed())
      .filter((text) => text.trim().length > 7);
    fc.assert(
      fc.property(fc.array(secret, { minLength: 3, maxLength: 3 }), (secrets) => {
        const echo = `${secrets.join(' ')} ${secrets.map(encodeURIComponent).join(' ')}`;
        const body = { message: echo, error: secrets, [secrets[0] ?? '']: echo };
        const { message, code } = failureFromLogin(json(400, body), question(secrets));
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
  ])('with %d and Retry-After "%s" asks for so much patience', (status, retryAfter, expected) => {
    const failure = failureFromLogin({ ...json(status), retryAfter }, question());
    expect(failure.retryAfter).toBe(expected);
  });
});
