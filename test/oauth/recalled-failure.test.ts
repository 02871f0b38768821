import { describe, expect, it } from '@jest/globals';
import type { FailureKind } from '../../src/lib/failure.ts';
import { Sensitive } from '../../src/lib/sensitive.ts';
import { minutes } from '../../src/lib/time.ts';
import type { TokenRequest } from '../../src/oauth/grants.ts';
import { toFailure } from '../../src/oauth/network-errors.ts';
import { recalledFailure } from '../../src/oauth/recalled-failure.ts';
import { CANARY, KINDS } from '../support/builders.ts';

const REQUEST: TokenRequest = {
  grantType: 'client_credentials',
  environment: 'staging',
  realm: 'abc-staging',
  tokenUrl: 'https://auth.example/realms/abc-staging/token',
  clientId: 'm2m',
  scope: 'openid',
  clientSecret: new Sensitive(CANARY),
};
const LOGIN: TokenRequest = {
  grantType: 'legacy_login',
  environment: 'staging',
  loginUrl: 'https://api.example/auth/login',
  org: new Sensitive(`${CANARY}-org`),
  username: new Sensitive(`${CANARY}-user`),
  password: new Sensitive(`${CANARY}-password`),
};

const record = (kind: FailureKind, code?: string) => ({ kind, code, retryAfter: undefined });
const messageOf = (request: TokenRequest, kind: FailureKind, code?: string) =>
  recalledFailure(record(kind, code), request).message;

describe('a failure that is recalled', () => {
  it.each([
    [
      REQUEST,
      'RateLimited',
      '429',
      'The server is rate limiting (realm "abc-staging" at auth.example, client "m2m"). The operator slows down by itself. The server answered HTTP 429.',
    ],
    [
      LOGIN,
      'CredentialsRejected',
      '401',
      'Organization, user name or password is wrong, or the account is locked for a while (login at api.example). Check all three in the credentials Secret; nothing is sent until they change. The server answered HTTP 401.',
    ],
    [
      REQUEST,
      'ClockSkew',
      undefined,
      'The server gave out a token that had expired by the server\'s own clock (realm "abc-staging" at auth.example, client "m2m"). Ask Convercus to check that clock; the operator tries again.',
    ],
    [
      REQUEST,
      'InternalError',
      undefined,
      'An equal request failed before (realm "abc-staging" at auth.example, client "m2m").',
    ],
  ] as const)('says what, where and what to do', (request, kind, code, message) => {
    expect(messageOf(request, kind, code)).toBe(message);
  });

  it.each(['ECONNREFUSED', 'TIMEOUT', 'CERT_HAS_EXPIRED'])(
    'of the network says what the first one said: %s',
    (code) => {
      const failure = toFailure(Object.assign(new Error(), { code }), 'auth.example');
      expect(recalledFailure(record(failure.kind, code), REQUEST)).toEqual(failure);
    },
  );

  it('keeps code and wait', () => {
    const kept = { kind: 'ServerUnavailable', code: '503', retryAfter: minutes(2) } as const;
    expect(recalledFailure(kept, REQUEST)).toMatchObject(kept);
  });

  it.each(KINDS)('holds no secret: %s', (kind) => {
    expect(messageOf(REQUEST, kind, 'code')).not.toContain(CANARY);
    expect(messageOf(LOGIN, kind, 'code')).not.toContain(CANARY);
  });
});
