import { describe, expect, it } from '@jest/globals';
import { TimeoutError } from '../../src/lib/with-timeout.ts';
import { isTransient, isUnsent, toFailure } from '../../src/oauth/network-errors.ts';

const coded = (code: string, cause?: unknown) =>
  Object.assign(new Error(`words with a secret in them`, { cause }), { code });

describe('a thrown error', () => {
  it.each([
    ['a plain code', coded('ECONNREFUSED'), 'NetworkError', 'ECONNREFUSED'],
    ['a cause', new TypeError('fetch failed', { cause: coded('EPIPE') }), 'NetworkError', 'EPIPE'],
    [
      'causes of causes',
      coded('OAUTH_X', coded('UND_ERR', coded('CERT_HAS_EXPIRED'))),
      'TLSError',
      'CERT_HAS_EXPIRED',
    ],
    [
      'several at once',
      new AggregateError([coded('ENETUNREACH'), coded('ECONNREFUSED')]),
      'NetworkError',
      'ENETUNREACH',
    ],
    [
      'an unknown certificate',
      coded('UNABLE_TO_GET_ISSUER_CERT_LOCALLY'),
      'TLSError',
      'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
    ],
    ['a handshake with something else', coded('EPROTO'), 'TLSError', 'EPROTO'],
    ['a time-out', new TimeoutError(), 'NetworkError', 'TIMEOUT'],
    ['a bad argument', coded('ERR_INVALID_ARG_VALUE'), 'InternalError', 'ERR_INVALID_ARG_VALUE'],
    ['an error without a code', new Error('boom'), 'InternalError', undefined],
    ['a code that is prose', coded('the secret is 42'), 'InternalError', undefined],
    ['no error at all', 'boom', 'InternalError', undefined],
    ['null', null, 'InternalError', undefined],
  ])('with %s becomes a failure of which only the code is kept', (_, error, kind, code) => {
    const failure = toFailure(error, 'auth.test');
    expect([failure.kind, failure.code]).toEqual([kind, code]);
    expect(failure.message).toContain('auth.test');
    expect(JSON.stringify(failure)).not.toContain('secret');
  });

  it('whose causes go in a circle ends all the same', () => {
    const error = coded('ECONNRESET');
    error.cause = error;
    expect(toFailure(error, 'auth.test').code).toBe('ECONNRESET');
  });

  it.each([
    ['ECONNRESET', true, false],
    ['UND_ERR_SOCKET', true, false],
    ['ETIMEDOUT', true, false],
    ['UND_ERR_CONNECT_TIMEOUT', true, true],
    ['ECONNREFUSED', true, true],
    ['EAI_AGAIN', true, true],
    ['ENOTFOUND', false, false],
    ['CERT_HAS_EXPIRED', false, false],
  ])(
    'of %s is worth a second try: %s, even if one must not arrive twice: %s',
    (code, ...expected) => {
      const error = new TypeError('fetch failed', { cause: coded(code) });
      expect([isTransient(error), isUnsent(error)]).toEqual(expected);
    },
  );

  it('without a code is worth no second try', () => {
    expect([isTransient, isUnsent].map((is) => is(new Error('boom')))).toEqual([false, false]);
  });
});
