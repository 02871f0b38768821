import { beforeEach, describe, expect, it } from '@jest/globals';
import { Failure } from '../../src/lib/failure.ts';
import { Sensitive } from '../../src/lib/sensitive.ts';
import { hours, type Ms, minutes, seconds } from '../../src/lib/time.ts';
import type { ClientCredentialsRequest, LoginRequest } from '../../src/oauth/grants.ts';
import type { Token } from '../../src/oauth/token.ts';
import { HostLimiters, type RequestLimiter } from '../../src/tokens/host-limiters.ts';
import { TokenClient } from '../../src/tokens/token-client.ts';
import {
  isPending,
  isTokenFailure,
  type TokenDemand,
  type TokenFailure,
} from '../../src/tokens/token-demand.ts';
import type { TokenSource } from '../../src/tokens/token-source.ts';
import { aTicket, CANARY, SETTINGS, START } from '../support/builders.ts';
import { FakeClock, settle } from '../support/fake-clock.ts';
import { FakeIdentityProvider, OpenBudget, until, WRONG_SECRET } from '../support/world.ts';

const HOST = 'auth-staging.convercus.io';
const never = new AbortController().signal;

let clock: FakeClock;
let idp: FakeIdentityProvider;
let limiter: OpenBudget;
let tokens: TokenClient;
let enqueued: Set<string>;
let count: number;
let closing: AbortController;

const tokensFrom = (source: TokenSource, budget: RequestLimiter = limiter) =>
  new TokenClient({
    source,
    logOut: idp.logOut,
    environments: SETTINGS.environments,
    limiter: budget,
    clock,
    random: () => 0.5,
    digestKey: 'key',
    closing: closing.signal,
    signal: never,
    enqueue: (key) => enqueued.add(key),
    onNotBeforeRaised: () => undefined,
    onSessionAbandoned: () => undefined,
  });

beforeEach(() => {
  clock = new FakeClock();
  idp = new FakeIdentityProvider(clock);
  limiter = new OpenBudget();
  closing = new AbortController();
  tokens = tokensFrom(idp.response);
  enqueued = new Set();
  count = 0;
});

const aRequest = (overrides: Partial<ClientCredentialsRequest> = {}): ClientCredentialsRequest => ({
  grantType: 'client_credentials',
  environment: 'staging',
  realm: 'abc-staging',
  tokenUrl: `https://${HOST}/realms/abc-staging/protocol/openid-connect/token`,
  clientId: 'machine-2-machine',
  scope: 'openid',
  clientSecret: new Sensitive(`${CANARY}-good`),
  ...overrides,
});

const aDemand = (overrides: Partial<TokenDemand> = {}): TokenDemand => ({
  request: aRequest(),
  namespace: 'shop',
  freshness: { newerThan: 0, requested: false },
  policy: SETTINGS.renewal,
  currentToken: undefined,
  deadline: START,
  maxWait: minutes(1),
  loginHistory: { hasWorked: false },
  ...overrides,
});

const aLogin = (password: string): LoginRequest => ({
  grantType: 'legacy_login',
  environment: 'staging',
  loginUrl: `https://${HOST}/auth/login`,
  org: new Sensitive('abc'),
  username: new Sensitive('other-user'),
  password: new Sensitive(password),
});

/** As a credential of its own does: asks again when it is enqueued, or when its wait is to be reported. */
async function obtain(
  overrides: Partial<TokenDemand> = {},
  key = `shop/${(count += 1)}`,
): Promise<Token | TokenFailure> {
  const demand = aDemand(overrides);
  for (;;) {
    const outcome = tokens.get(key, demand);
    if (!isPending(outcome)) return outcome;
    await until(() => enqueued.delete(key) || clock.now() >= outcome.reportAt);
  }
}

const wrong = () => obtain({ request: aRequest({ clientSecret: new Sensitive(WRONG_SECRET) }) });
const requested = { newerThan: 0, requested: true };

function refusalIn(response: Token | TokenFailure): TokenFailure {
  if (!isTokenFailure(response)) throw new Error('got a token');
  return response;
}

describe('tokens', () => {
  it('are asked for once by all who wish for the same at the same time', async () => {
    const responses = await Promise.all(Array.from({ length: 20 }, () => obtain()));

    expect(idp.requests).toHaveLength(1);
    expect(new Set(responses).size).toBe(1);
  });

  it('are handed on while they need no renewal', async () => {
    await obtain();
    clock.step(minutes(4) - 1);
    await obtain();
    expect(idp.requests).toHaveLength(1);

    clock.step(1);
    await obtain();
    expect(idp.requests).toHaveLength(2);
  });

  it('are not handed on to who needs a newer one', async () => {
    await obtain();
    clock.step(1);
    await obtain({ freshness: { newerThan: START, requested: false } });

    expect(idp.requests).toHaveLength(2);
  });

  it.each<[string, Partial<ClientCredentialsRequest>]>([
    ['client secret', { clientSecret: new Sensitive('another') }],
    ['client', { clientId: 'another' }],
    ['client id that is in a Secret', { clientId: new Sensitive('machine-2-machine') }],
    ['scope', { scope: 'openid profile' }],
    ['token URL', { tokenUrl: `https://${HOST}/realms/xyz/protocol/openid-connect/token` }],
    ['environment', { environment: 'another' }],
  ])('are never shared with another %s', async (_, difference) => {
    const [one, other] = await Promise.all([obtain(), obtain({ request: aRequest(difference) })]);

    expect(idp.requests).toHaveLength(2);
    expect(one).not.toBe(other);
  });

  it('are never handed on after their end, however long the least time between renewals is', async () => {
    idp.validity = seconds(10);
    await obtain();
    clock.step(seconds(10));
    await obtain();

    expect(idp.requests).toHaveLength(2);
  });
});

describe('a refusal', () => {
  it('holds for all with that client secret, and for no other, until its time', async () => {
    const first = refusalIn(await wrong());
    await wrong();
    expect(idp.requests).toHaveLength(1);
    expect(first.retryAt).toBe(START + minutes(15));
    expect(isTokenFailure(await obtain())).toBe(false);

    clock.step(minutes(15));
    await wrong();
    expect(idp.requests).toHaveLength(3);
  });

  it('that nothing but a change can lift stands for good', async () => {
    idp.outage = new Failure('CredentialsRejected', 'no');
    expect(refusalIn(await obtain()).retryAt).toBeUndefined();
    clock.step(hours(1_000));
    await obtain();

    expect(idp.requests).toHaveLength(1);
  });

  it('makes each wait longer, and is forgotten after a success', async () => {
    idp.outage = new Failure('TLSError', 'no');
    const waits: number[] = [];
    for (let times = 0; times < 7; times += 1) {
      const { retryAt = 0 } = refusalIn(await obtain());
      waits.push((retryAt - clock.now()) / minutes(1));
      clock.step(retryAt - clock.now());
    }
    expect(waits).toEqual([1, 2, 4, 8, 15, 15, 15]);

    idp.outage = undefined;
    await obtain();
    idp.outage = new Failure('TLSError', 'no');
    clock.step(minutes(5));
    expect(refusalIn(await obtain()).retryAt).toBe(clock.now() + minutes(1));
  });

  it('yields to a person, but not within the least time between renewals', async () => {
    idp.outage = new Failure('CredentialsRejected', 'no');
    await obtain();
    clock.step(seconds(30) - 1);
    await obtain({ freshness: requested });
    expect(idp.requests).toHaveLength(1);

    clock.step(1);
    await obtain({ freshness: requested });
    await obtain({ freshness: requested });
    expect(idp.requests).toHaveLength(2);
  });

  it('that an earlier clock dated into the future does not stand', async () => {
    idp.outage = new Failure('CredentialsRejected', 'no');
    await obtain();
    clock.jump(-hours(1));
    await obtain();

    expect(idp.requests).toHaveLength(2);
  });

  it.each(['RateLimited', 'ServerUnavailable'] as const)(
    'for %s keeps all away from its realm',
    async (kind) => {
      idp.outage = new Failure(kind, 'later', { retryAfter: minutes(2) });
      const { retryAt } = refusalIn(await obtain());

      expect(retryAt).toBeGreaterThanOrEqual(START + minutes(2));
      expect(limiter.paused.get(`${HOST} ${aRequest().tokenUrl}`)).toBe(retryAt);
    },
  );

  it.each([{ status: 503 }, { code: 'temporarily_unavailable' }])(
    'with %j too',
    async (details) => {
      idp.outage = new Failure('ServerUnavailable', 'later', details);
      const { retryAt } = refusalIn(await obtain());

      expect(limiter.paused.get(`${HOST} ${aRequest().tokenUrl}`)).toBe(retryAt);
    },
  );

  it('for any other reason keeps no other credential away', async () => {
    await wrong();
    expect(limiter.paused.size).toBe(0);
  });
});

describe('a realm that asks for patience', () => {
  const limits = { requestsPerSecond: 0, burst: 1, passwordLoginsPerSecond: 0 };
  const refused = new Failure('RateLimited', 'later', { retryAfter: minutes(2) });
  const scoped = (scope: string) => aDemand({ request: aRequest({ scope }) });

  it('gets none of the requests that wait', async () => {
    const budget = new HostLimiters({ ...limits, concurrency: 1 }, clock, () => 0.5);
    tokens = tokensFrom(idp.response, budget);
    idp.outage = refused;
    for (const scope of ['one', 'two']) tokens.get(`shop/${scope}`, scoped(scope));
    await settle();

    expect(idp.requests).toHaveLength(1);
  });

  it('gets none either when that is its first response after an outage', async () => {
    const budget = new HostLimiters({ ...limits, concurrency: 4 }, clock, () => 0.5);
    tokens = tokensFrom(idp.response, budget);
    idp.outage = new Failure('NetworkError', 'down');
    for (let n = 0; n < 5; n += 1) tokens.get(`shop/${n}`, scoped(`${n}`));
    await settle();
    idp.requests.splice(0);
    idp.outage = refused;
    for (let n = 5; n < 10; n += 1) tokens.get(`shop/${n}`, scoped(`${n}`));
    await clock.advance(seconds(30));

    expect(idp.requests).toHaveLength(1);
  });
});

describe('how a request went', () => {
  it.each([
    ['NetworkError', 'unreachable'],
    ['ServerUnavailable', 'abnormal'],
    ['RateLimited', 'refused'],
    ['CredentialsRejected', 'responded'],
    ['TLSError', 'unsent'],
  ] as const)('is told to the budget: after %s it is %s', async (kind, outcome) => {
    idp.outage = new Failure(kind, 'later');
    await obtain();
    expect(limiter.reports).toEqual([[HOST, outcome]]);
  });

  it('is told to the budget: a token is an answer', async () => {
    await obtain();
    expect(limiter.reports).toEqual([[HOST, 'responded']]);
  });
});

describe('who waits', () => {
  it('longer than its patience is told so, while its request keeps its place', async () => {
    const release = limiter.hold();
    const asked = obtain({ maxWait: minutes(1) });
    await until(() => limiter.waiting > 0);
    clock.step(minutes(1));
    const { failure, retryAt } = refusalIn(await asked);
    expect(failure.kind).toBe('Throttled');
    expect(failure.message).toContain(HOST);
    expect(retryAt).toBe(clock.now() + minutes(1));

    const again = obtain();
    release();
    expect(isTokenFailure(await again)).toBe(false);
    expect(idp.requests).toHaveLength(1);
  });

  it('for a request that others wait for too makes it as urgent as its own need', async () => {
    const release = limiter.hold();
    const currentToken = (validity: Ms) => ({
      expiresAt: START + validity,
      failingSince: START,
      minInterval: seconds(30),
    });
    const asked = [obtain({ deadline: START + hours(2), currentToken: currentToken(hours(2)) })];
    await until(() => limiter.waiting > 0);
    asked.push(obtain({ deadline: START + minutes(1) }));
    asked.push(obtain({ deadline: START + hours(1), currentToken: currentToken(hours(1)) }));
    expect(limiter.turns).toEqual([
      aTicket({
        realm: aRequest().tokenUrl,
        deadline: START + minutes(1),
        expiresAt: START + hours(1),
        login: false,
      }),
    ]);
    expect(new Set(limiter.hurried)).toEqual(new Set(limiter.turns));

    release();
    expect((await Promise.all(asked)).some(isTokenFailure)).toBe(false);
    expect(idp.requests).toHaveLength(1);
  });

  it('for the turn of its user does so as well', async () => {
    const [one, other, third] = ['a', 'b', 'c'].map((password) => aLogin(password));
    if (one === undefined || other === undefined || third === undefined) throw new Error();
    const asked = [obtain({ request: one })];
    await until(() => idp.requests.length === 1);
    asked.push(obtain({ request: other, deadline: START + hours(1) }));
    asked.push(obtain({ request: third, deadline: START + hours(2) }));
    asked.push(obtain({ request: third, deadline: START + minutes(1) }));
    clock.step(seconds(2));
    await until(() => idp.requests.length === 2);
    expect(idp.requests[1]).toBe(third);

    clock.step(seconds(2));
    await Promise.all(asked);
  });

  it('leaves no timer behind', async () => {
    await obtain();
    expect(clock.timers).toBe(0);
  });

  it('and leaves does not keep others from what they wait for', async () => {
    const release = limiter.hold();
    tokens.get('shop/leaver', aDemand());
    const other = obtain();
    await until(() => limiter.waiting > 0);
    tokens.leave('shop/leaver');

    release();
    expect(isTokenFailure(await other)).toBe(false);
    expect(idp.requests).toHaveLength(1);
    expect(enqueued).not.toContain('shop/leaver');
  });

  it('alone and leaves takes a request along that has not been sent', async () => {
    const release = limiter.hold();
    tokens.get('shop/leaver', aDemand());
    await until(() => limiter.waiting > 0);
    tokens.leave('shop/leaver');
    release();
    await tokens.idle();

    expect(idp.requests).toHaveLength(0);
    expect(enqueued.size).toBe(0);
  });

  it('joins a request in the moment of its cancellation, and asks again', async () => {
    const release = limiter.hold();
    tokens.get('shop/leaver', aDemand());
    await until(() => limiter.waiting > 0);
    tokens.leave('shop/leaver');
    const other = obtain();
    release();

    expect(isTokenFailure(await other)).toBe(false);
    expect(idp.requests).toHaveLength(1);
  });

  it('gets no response once no request leaves any more, and nothing is left to wait for', async () => {
    limiter.hold();
    tokens.get('shop/a', aDemand());
    await until(() => limiter.waiting > 0);
    closing.abort(new Error('closing'));
    await tokens.idle();
    tokens.get('shop/b', aDemand());
    await tokens.idle();

    expect(idp.requests).toHaveLength(0);
    expect(enqueued.size).toBe(0);
  });

  it('is waited for by a stop until it has taken its token', async () => {
    const release = idp.hold();
    tokens.get('shop/a', aDemand());
    await until(() => idp.requests.length > 0);
    let isIdle = false;
    const idle = tokens.idle().finally(() => {
      isIdle = true;
    });
    closing.abort(new Error('closing'));
    release();
    await until(() => enqueued.has('shop/a'));
    expect(isIdle).toBe(false);
    tokens.get('shop/a', aDemand());
    await idle;
  });

  it('for a request under way still gets its token while everything closes', async () => {
    const release = idp.hold();
    const asked = obtain();
    await until(() => idp.requests.length > 0);
    closing.abort(new Error('closing'));
    release();

    expect(isTokenFailure(await asked)).toBe(false);
  });

  it('for a request that breaks hears of it, and the next one asks again', async () => {
    let calls = 0;
    const source = async (): Promise<Failure> => {
      calls += 1;
      throw new Error('a bug');
    };
    tokens = tokensFrom(source);

    await expect(obtain({}, 'shop/a')).rejects.toThrow('a bug');
    await expect(obtain({}, 'shop/a')).rejects.toThrow('a bug');
    expect(calls).toBe(2);
    expect(clock.timers).toBe(0);
  });
});

describe('the namespaces of a request', () => {
  it('are those of all credentials that wait for it', async () => {
    const release = limiter.hold();
    const asked = ['shop', 'ops', 'shop'].map((namespace) => obtain({ namespace }));
    await until(() => limiter.waiting > 0);
    expect(limiter.turns.map(({ namespaces }) => [...namespaces])).toEqual([['shop', 'ops']]);
    release();
    await Promise.all(asked);
  });

  it('have no part in what is sent for a log-out, which goes behind all others', async () => {
    const request = {
      environment: 'staging',
      realm: 'abc-staging',
      clientId: 'c',
      clientSecret: new Sensitive('s'),
      refreshToken: new Sensitive('r'),
    };
    tokens.logOut('shop/a', request);
    await until(() => idp.logouts.length === 1);
    expect(limiter.turns).toMatchObject([{ realm: aRequest().tokenUrl, namespaces: new Set() }]);
  });

  it('decide about three rejected passwords: a fourth one is not sent', async () => {
    idp.outage = new Failure('CredentialsRejected', 'no');
    const asked = ['a', 'b', 'c', 'd'].map((password) => obtain({ request: aLogin(password) }));
    for (let turn = 0; turn < 3; turn += 1) {
      await until(() => idp.requests.length > turn);
      await new Promise((resolve) => setImmediate(resolve));
      clock.step(seconds(2));
    }
    const kinds = (await Promise.all(asked)).map((each) => refusalIn(each).failure.kind);
    expect(kinds).toEqual([...Array<string>(3).fill('CredentialsRejected'), 'Throttled']);
    expect(idp.requests).toHaveLength(3);

    const other = obtain({ request: aLogin('d'), namespace: 'ops' });
    await until(() => idp.requests.length === 4);
    expect(refusalIn(await other).failure.kind).toBe('CredentialsRejected');
  });

  it('and realms of two organizations are two, though their endpoint is one', async () => {
    await obtain({ request: aLogin('a') });
    await obtain({ request: { ...aLogin('a'), org: new Sensitive('xyz') } });
    const realms = limiter.turns.map(({ realm }) => realm);
    expect(new Set(realms).size).toBe(2);
    expect(realms.join()).not.toContain('xyz');
  });
});
