import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { beforeEach, describe, expect, it } from '@jest/globals';
import * as fc from 'fast-check';
import { Failure, isFailure } from '../../src/lib/failure.ts';
import { Sensitive } from '../../src/lib/sensitive.ts';
import { hours, minutes, rfc3339, seconds } from '../../src/lib/time.ts';
import type {
  ClientCredentialsRequest,
  LoginRequest,
  PasswordRequest,
} from '../../src/oauth/grants.ts';
import { CachedFailures } from '../../src/tokens/cached-failures.ts';
import { RequestDigests } from '../../src/tokens/request-digests.ts';
import type { TokenDemand } from '../../src/tokens/token-demand.ts';
import { CANARY, SETTINGS, START } from '../support/builders.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { runs } from '../support/runs.ts';

const REJECTED = new Failure('CredentialsRejected', 'no', { code: '401' });

let clock: FakeClock;
let failures: CachedFailures;

beforeEach(() => {
  clock = new FakeClock();
  failures = new CachedFailures({ digests: new RequestDigests('key'), clock, random: () => 0.5 });
});

const withSecret = (clientSecret: string): ClientCredentialsRequest => ({
  grantType: 'client_credentials',
  environment: 'staging',
  realm: 'abc-staging',
  tokenUrl: 'https://auth.example/realms/abc-staging/protocol/openid-connect/token',
  clientId: 'machine-2-machine',
  scope: 'openid',
  clientSecret: new Sensitive(clientSecret),
});

const withPassword = (password: string, username = 'user'): LoginRequest => ({
  grantType: 'legacy_login',
  environment: 'staging',
  loginUrl: 'https://api.example/auth/login',
  org: new Sensitive('abc'),
  username: new Sensitive(username),
  password: new Sensitive(password),
});

const withGrant = (password: string, username: string, clientId: string): PasswordRequest => ({
  ...withSecret('secret'),
  grantType: 'password',
  clientId,
  username: new Sensitive(username),
  password: new Sensitive(password),
});

const aDemand = (request: TokenDemand['request'], namespace = 'shop'): TokenDemand => ({
  request,
  namespace,
  freshness: { newerThan: 0, requested: false },
  policy: SETTINGS.renewal,
  currentToken: undefined,
  deadline: START,
  maxWait: minutes(1),
  loginHistory: { hasWorked: false },
});

const add = (request: TokenDemand['request'], namespace: string, failure: Failure): void =>
  void failures.add(failure, aDemand(request, namespace), [namespace]);

const reject = (password: string, namespace = 'shop'): void =>
  add(withPassword(password), namespace, REJECTED);

const found = (request: TokenDemand['request'], namespace = 'shop') =>
  failures.inForce(aDemand(request, namespace));

describe('cached failures', () => {
  const collectGarbage = (): void => {
    setFlagsFromString('--expose-gc');
    runInNewContext('gc')();
  };

  it('are 10,000 at most and take less than 10 MB, however long their messages are', () => {
    collectGarbage();
    const before = process.memoryUsage().heapUsed;
    for (let n = 0; n < 30_000; n += 1) {
      const failure = new Failure('ClientSecretRejected', `${n} \u{1F511}`.padEnd(2_000, '.'), {
        code: 'invalid_client',
      });
      add(withSecret(`${n}`), 'crowd', failure);
    }
    collectGarbage();

    expect(failures.size).toBe(10_000);
    expect((process.memoryUsage().heapUsed - before) / 1e6).toBeLessThan(10);
  });

  it('of one namespace do not push out those of another', () => {
    const failure = new Failure('ClientSecretRejected', 'no', { code: 'invalid_client' });
    add(withSecret('of the shop'), 'shop', failure);
    for (let n = 0; n < 20_000; n += 1) add(withSecret(`${n}`), 'crowd', failure);

    expect(found(withSecret('of the shop'))).toBeDefined();
    expect(found(withSecret('0'), 'crowd')).toBeUndefined();
    expect(found(withSecret('19999'), 'crowd')).toBeDefined();
  });

  it('tell what is wrong and where in words of our own, not in those of the server', () => {
    const said = 'The client secret was refused. The server answered HTTP 401, "foreign text".';
    const failure = new Failure('ClientSecretRejected', said, { code: 'invalid_client' });
    add(withSecret(CANARY), 'shop', failure);

    expect(found(withSecret(CANARY))?.failure).toEqual(
      new Failure(
        'ClientSecretRejected',
        'The client secret was refused (realm "abc-staging" at auth.example, client "machine-2-machine"). ' +
          'Put the current one into the credentials Secret. The server answered invalid_client.',
        { code: 'invalid_client' },
      ),
    );
  });

  it('keep how long the server has asked to wait', () => {
    const failure = new Failure('RateLimited', 'later', { code: '429', retryAfter: minutes(7) });
    add(withSecret('a'), 'shop', failure);
    clock.step(minutes(7) - 1);

    expect(found(withSecret('a'))?.failure).toMatchObject({ code: '429', retryAfter: minutes(7) });
    clock.step(minutes(1));
    expect(found(withSecret('a'))).toBeUndefined();
  });
});

describe('three rejected passwords of a user from one namespace', () => {
  beforeEach(() => {
    for (const password of ['one', 'two', 'three']) {
      reject(password);
      clock.step(minutes(1));
    }
  });

  it('keep its further ones waiting for the rest of 15 minutes, and say so', () => {
    const throttled = found(withPassword('four'));
    const at = START + minutes(15);
    expect(throttled).toMatchObject({ retryAt: at, isCached: true });
    expect(throttled?.failure.kind).toBe('Throttled');
    expect(throttled?.failure.message).toContain('3 different passwords of this user');
    expect(throttled?.failure.message).toContain(`before ${rfc3339(at)}`);
    expect(throttled?.failure.message).toContain('login at api.example');

    clock.step(minutes(12));
    expect(found(withPassword('four'))).toBeUndefined();
    reject('four');
    expect(found(withPassword('five'))?.retryAt).toBe(START + minutes(16));
  });

  it('are those of the user, however its name is written and whatever the client', () => {
    add(withGrant('one', 'user', 'a'), 'shop', REJECTED);
    add(withGrant('two', 'User', 'a'), 'shop', REJECTED);
    add(withGrant('three', ' user', 'b'), 'shop', REJECTED);
    expect(found(withGrant('four', 'USER', 'c'))?.failure.kind).toBe('Throttled');
    expect(found(withPassword('four', 'User'))?.failure.kind).toBe('Throttled');
  });

  it('keep no other namespace, no other user and no client secret waiting', () => {
    expect(found(withPassword('four'), 'elsewhere')).toBeUndefined();
    expect(found(withPassword('four', 'another user'))).toBeUndefined();
    expect(found(withSecret('four'))).toBeUndefined();
  });

  it('have rules of their own, for the user name as it was written', () => {
    expect(found(withPassword('one'))?.failure.kind).toBe('CredentialsRejected');
    clock.step(minutes(14));
    expect(found(withPassword('one', 'User'))).toBeUndefined();
  });

  it('keep no password waiting that was accepted for that namespace', () => {
    failures.succeeded(withPassword('right'), ['shop']);
    for (const password of ['a', 'b', 'c']) {
      failures.add(REJECTED, aDemand(withPassword(password)), ['shop']);
    }
    expect(found(withPassword('other'))?.failure.kind).toBe('Throttled');
    expect(found(withPassword('right'))).toBeUndefined();
  });

  it('do not tell which of many guesses another namespace has had accepted', () => {
    failures.succeeded(withPassword('right'), ['elsewhere']);
    expect(found(withPassword('right'))?.failure.kind).toBe('Throttled');
  });

  it('keep one waiting of which only target and session say that it has worked', () => {
    const loginHistory = { hasWorked: true };
    const demand = { ...aDemand(withPassword('right')), loginHistory };
    expect(failures.inForce(demand)?.failure.kind).toBe('Throttled');
  });

  it('are forgotten when one is accepted from that namespace', () => {
    failures.succeeded(withPassword('right'), ['shop']);
    expect(found(withPassword('four'))).toBeUndefined();
  });

  it.each([-1, 1])('keep waiting as long when the clock is set by %i hours', (by) => {
    clock.jump(hours(by));
    expect(found(withPassword('four'))?.retryAt).toBe(clock.now() + minutes(12));
    clock.step(minutes(12));
    expect(found(withPassword('four'))).toBeUndefined();
  });

  it('count for each namespace that has waited for them', () => {
    for (const password of ['a', 'b', 'c']) {
      const demand = aDemand(withPassword(password), 'first');
      failures.add(REJECTED, demand, ['first', 'second']);
    }
    expect(found(withPassword('d'), 'second')?.failure.kind).toBe('Throttled');
  });
});

it('a failure is in force for as long as it was to be when the clock is set back later', () => {
  add(withSecret('a'), 'shop', new Failure('RateLimited', 'wait', { retryAfter: hours(1) }));
  clock.step(minutes(30));
  clock.jump(-minutes(20));
  // The wait is up to a tenth longer
  clock.step(minutes(33) - 1);
  expect(found(withSecret('a'))).toBeDefined();
  clock.step(1);
  expect(found(withSecret('a'))).toBeUndefined();
});

it.each([withPassword('wrong'), withGrant('wrong', 'user', 'a')])(
  'a password that was given up stays so when the clock is set back, but for a renew request: %#',
  (request) => {
    add(request, 'shop', REJECTED);
    clock.jump(-hours(1));
    expect(found(request)).toMatchObject({ isCached: true, retryAt: undefined });
    const freshness = { newerThan: 0, requested: true };
    expect(failures.inForce({ ...aDemand(request), freshness })).toBeUndefined();
  },
);

it('a password that may only be locked out is tried again when the clock is set back', () => {
  failures.succeeded(withPassword('right'), ['shop']);
  reject('right');
  clock.jump(-hours(1));
  expect(found(withPassword('right'))).toBeUndefined();
});

it('a password that may only be locked out is tried again, also when the clock was set since', () => {
  reject('wrong', 'elsewhere');
  clock.jump(minutes(20));
  const { retryAt } = failures.add(REJECTED, aDemand(withPassword('right')), ['shop']);
  expect(retryAt).toBe(clock.now() + minutes(20) * 1.05);
});

it.each([
  ['no answer', new Failure('NetworkError', 'no response'), minutes(20) * 1.05],
  ['503', new Failure('ServerUnavailable', 'later', { status: 503 }), minutes(20) * 1.05],
  [
    '502 with Retry-After',
    new Failure('ServerUnavailable', 'later', { status: 502, retryAfter: seconds(5) }),
    minutes(20) * 1.05,
  ],
  ['429', new Failure('RateLimited', 'later', { status: 429 }), undefined],
  ['TLSError', new Failure('TLSError', 'unknown certificate'), undefined],
  ['an answer about something else', new Failure('ClientSecretRejected', 'no'), undefined],
])('a password may be locked out by another one that had %s', (_, failure, wait) => {
  add(withPassword('wrong'), 'shop', failure);
  clock.step(minutes(1));
  const { retryAt } = failures.add(REJECTED, aDemand(withPassword('right')), ['shop']);
  expect(retryAt).toBe(wait && clock.now() + wait);
});

it('no namespace has more than three different passwords of a user rejected within 15 minutes', () => {
  const tries = fc.array(
    fc.record({
      after: fc.integer({ min: 0, max: 300_000 }),
      password: fc.nat(12),
      namespace: fc.constantFrom('a', 'b'),
    }),
    { maxLength: 60 },
  );
  fc.assert(
    fc.property(tries, (all) => {
      clock = new FakeClock();
      failures = new CachedFailures({ digests: new RequestDigests('k'), clock, random: () => 0 });
      const rejected: { namespace: string; password: number; at: number }[] = [];
      for (const { after, password, namespace } of all) {
        clock.step(after);
        const request = withPassword(`${password}`);
        const inForce = found(request, namespace);
        if (inForce !== undefined) {
          expect(isFailure(inForce.failure)).toBe(true);
          expect(inForce.retryAt ?? Infinity).toBeGreaterThan(clock.now());
          expect(inForce.failure.kind === 'Throttled' && inForce.retryAt === undefined).toBe(false);
          continue;
        }
        rejected.push({ namespace, password, at: clock.now() });
        reject(`${password}`, namespace);
      }
      for (const { namespace, at } of rejected) {
        const near = rejected.filter(
          (each) => each.namespace === namespace && each.at >= at && each.at < at + minutes(15),
        );
        expect(new Set(near.map(({ password }) => password)).size).toBeLessThanOrEqual(3);
      }
    }),
    { numRuns: runs(1_000) },
  );
});

it('a password waits no longer than 15 minutes for others that were rejected', () => {
  for (const password of ['one', 'two', 'three']) reject(password);
  clock.step(minutes(15) - seconds(1));
  expect(found(withPassword('four'))?.failure.kind).toBe('Throttled');
  clock.step(seconds(1));
  expect(found(withPassword('four'))).toBeUndefined();
});
