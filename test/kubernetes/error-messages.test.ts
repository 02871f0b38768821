import { describe, expect, it } from '@jest/globals';
import * as fc from 'fast-check';
import { ApiError } from '../../src/kubernetes/api-error.ts';
import { type ApiCall, toFailure } from '../../src/kubernetes/error-messages.ts';
import { CREDENTIALS, SECRETS } from '../../src/kubernetes/resources.ts';
import { Sensitive } from '../../src/lib/sensitive.ts';

const error = (code: number, reason: string, message = '', details: object = {}): ApiError =>
  new ApiError(code, { reason, message, details });

const reading: ApiCall = { verb: 'get', resource: SECRETS, namespace: 'shop', name: 'loyalty' };
const writing: ApiCall = { ...reading, verb: 'patch' };

const FORBIDDEN =
  'secrets "loyalty" is forbidden: User "op" cannot create resource "secrets" in API group "" in the namespace "shop"';
const QUOTA = 'secrets "loyalty" is forbidden: exceeded quota: small, requested: count/secrets=1';
const TERMINATING =
  'secrets "loyalty" is forbidden: unable to create new content in namespace shop because it is being terminated';
const WEBHOOK = 'admission webhook "labels.example.com" denied the request: label team is missing';

describe('an error of the API server', () => {
  it.each<[string, ApiError, ApiCall, { kind: string; text: RegExp }]>([
    [
      'no answer',
      ApiError.network('ECONNREFUSED'),
      reading,
      { kind: 'ClusterUnavailable', text: /ECONNREFUSED/ },
    ],
    [
      'a time-out',
      ApiError.network('TIMEOUT'),
      writing,
      { kind: 'ClusterUnavailable', text: /TIMEOUT/ },
    ],
    [
      'overload',
      error(429, 'TooManyRequests'),
      writing,
      { kind: 'ClusterUnavailable', text: /429 TooManyReq/ },
    ],
    ['a fault', error(500, 'InternalError'), writing, { kind: 'ClusterUnavailable', text: /500/ }],
    [
      'an unknown identity',
      error(401, 'Unauthorized'),
      reading,
      { kind: 'ClusterUnavailable', text: /credential/ },
    ],
    [
      'a missing permission to write',
      error(403, 'Forbidden', FORBIDDEN),
      writing,
      {
        kind: 'PermissionDenied',
        text: /is not allowed to create secrets in namespace "shop".*"create"/,
      },
    ],
    [
      'a missing permission to read that the server does not explain',
      error(403, 'Forbidden'),
      { verb: 'list', resource: CREDENTIALS },
      {
        kind: 'PermissionDenied',
        text: /is not allowed to list convercuscredentials\.convercus\.io in the whole cluster/,
      },
    ],
    [
      'a quota',
      error(403, 'Forbidden', QUOTA),
      writing,
      { kind: 'TargetRefused', text: /exceeded quota: small/ },
    ],
    [
      'a namespace that is going',
      error(403, 'Forbidden', TERMINATING),
      writing,
      { kind: 'TargetRefused', text: /being terminated/ },
    ],
    [
      'a policy',
      error(400, 'BadRequest', WEBHOOK),
      writing,
      { kind: 'TargetRefused', text: /label team is missing/ },
    ],
    [
      'an invalid object',
      error(422, 'Invalid', '', { causes: [{ field: 'data[a b]', reason: 'FieldValueInvalid' }] }),
      writing,
      { kind: 'TargetRefused', text: /because of data\[a b\]/ },
    ],
    [
      'too large an object',
      error(413, 'RequestEntityTooLarge'),
      writing,
      { kind: 'TargetRefused', text: /413/ },
    ],
    [
      'a missing CRD',
      error(404, 'NotFound'),
      { verb: 'list', resource: CREDENTIALS },
      { kind: 'ClusterUnavailable', text: /install the CRD/ },
    ],
  ])('%s', (_, given, attempt, { kind, text }) => {
    const failure = toFailure(given, attempt);
    expect(failure).toMatchObject({
      kind,
      code: given.code === 0 ? given.reason : `${given.code}`,
    });
    expect(failure.message).toMatch(text);
  });

  it.each([
    ['30', 30_000],
    ['999999', 3_600_000],
    ['0', undefined],
    ['Tue, 24 Nov 2026 02:28:26 GMT', undefined],
    [undefined, undefined],
  ])('asks with Retry-After %s for %s ms of patience', (header, retryAfter) => {
    const failure = toFailure(new ApiError(429, undefined, header), reading);
    expect(failure.retryAfter).toBe(retryAfter);
  });

  it('takes the patience of the Status where there is no header', () => {
    const failure = toFailure(error(504, 'Timeout', '', { retryAfterSeconds: 5 }), reading);
    expect(failure.retryAfter).toBe(5_000);
  });

  it('takes no wait for patience, and none in the past either', () => {
    const failure = toFailure(error(403, 'Forbidden', '', { retryAfterSeconds: -1 }), reading);
    expect(failure.retryAfter).toBeUndefined();
  });

  it('never shows what was sent, nor a cut-off piece of it', () => {
    // What tokens and their base64 look like: long, and of mixed characters.
    const secrets = fc.stringMatching(/^[A-Z][0-9][A-Za-z0-9_-]{30,200}$/);
    const shapes = fc.constantFrom(
      (value: string) => value,
      (value: string) => `Bearer ${value}`,
      (value: string) => Buffer.from(value).toString('base64'),
      (value: string) => Buffer.from(`{"token":"${value}"}`).toString('base64'),
    );
    fc.assert(
      fc.property(secrets, shapes, fc.integer({ min: 24, max: 300 }), (secret, shape, cut) => {
        const echo = shape(secret);
        const message = `denied: Invalid value: "${echo.slice(0, cut)}"`;
        const sent = [new Sensitive(secret)];
        const failure = toFailure(error(422, 'Invalid', message), { ...writing, sent });
        expect(failure.message).toContain('denied: Invalid value');
        expect(failure.message).not.toContain(echo.replace('Bearer ', '').slice(0, 12));
      }),
    );
  });

  it('shows no foreign text at all where the object holds unknown secrets', () => {
    const failure = toFailure(error(400, 'BadRequest', 'denied: hunter2'), {
      ...writing,
      quotable: false,
    });
    expect(failure.message).toBe(
      'The API server refuses to store secrets "loyalty" (400 BadRequest)',
    );
  });

  it('shows no reason that is no word', () => {
    expect(toFailure(error(500, 'a b\n<c>'), reading).message).toContain('500 unknown reason');
  });
});
