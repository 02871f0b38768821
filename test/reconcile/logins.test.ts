import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { Failure } from '../../src/lib/failure.ts';
import { hours, minutes, seconds } from '../../src/lib/time.ts';
import { aCredential, CANARY, SETTINGS, START } from '../support/builders.ts';
import { OUTAGE } from '../support/fake-cluster.ts';
import {
  endingEarlier,
  GOOD_PASSWORD,
  GOOD_SECRET,
  KEY,
  SESSION,
  SOURCE,
  settled,
  USERNAME,
  until,
  World,
  WRONG_PASSWORD,
  WRONG_SECRET,
} from '../support/world.ts';

const REQUEST = 'convercus.io/renew-requested-at';

let world: World;

beforeEach(() => {
  world = World.withPassword();
});

afterEach(() => {
  expect(world.shown).not.toContain(CANARY);
});

const asked = () => world.idp.requests.splice(0).map(({ grantType }) => grantType);
const presents = (password: string) =>
  world.cluster.putSecret(SOURCE, {
    data: { client_secret: GOOD_SECRET, username: USERNAME, password },
  });

/** A reconcile whose request waits for longer than the patience of any credential. Returns how to let it go. */
async function outOfPatience(): Promise<() => void> {
  const release = world.limiter.hold();
  const transient = world.reconcile();
  await until(() => world.limiter.waiting > 0);
  world.clock.step(minutes(1));
  await transient;
  return release;
}

describe('a right password', () => {
  it('is sent although the wrong one before it was still waiting for its turn', async () => {
    presents(WRONG_PASSWORD);
    const release = await outOfPatience();
    presents(GOOD_PASSWORD);
    const transient = world.reconcile();
    release();
    await until(() => world.tokenRequests > 0);
    world.clock.step(seconds(2));
    await transient;

    expect(world.summary('Ready')).toBe('True TokenValid');
    expect(world.cluster.statusOf(KEY)?.rejectedLogin).toBeUndefined();
  });

  it('that waits for its turn is not taken for the wrong one before it', async () => {
    presents(WRONG_PASSWORD);
    await world.reconcile();
    world.clock.step(minutes(16));
    presents(GOOD_PASSWORD);
    const release = await outOfPatience();
    const again = world.reconcile();
    release();
    await again;

    expect(world.summary('Ready')).toBe('True TokenValid');
  });
});

describe('a client secret', () => {
  it('is sent at once although the wrong one before it was still waiting for its turn', async () => {
    await world.reconcile();
    world.clock.step(SETTINGS.renewal.minimum);
    world.cluster.putSecret(SOURCE, {
      data: { client_secret: WRONG_SECRET, username: USERNAME, password: GOOD_PASSWORD },
    });
    const release = world.limiter.hold();
    const transient = world.reconcile();
    await until(() => world.limiter.waiting > 0);
    world.clock.step(minutes(5));
    await transient;
    presents(GOOD_PASSWORD);
    const again = world.reconcile();
    release();
    await again;

    expect(world.summary('Ready')).toBe('True TokenValid');
  });
});

it('a request that breaks is not waited for again: the next reconcile asks again', async () => {
  const response = world.idp.response;
  let isBroken = true;
  world.source = (request) => {
    if (!isBroken) return response(request);
    isBroken = false;
    throw new Error('a bug');
  };
  await expect(world.reconcile()).rejects.toThrow('a bug');
  const transient = world.reconcile();
  world.clock.step(seconds(2));
  await transient;

  expect(world.summary('Ready')).toBe('True TokenValid');
});

describe('a password that waits for its turn', () => {
  it.each([
    ['gone', () => world.cluster.removeSecret(SOURCE)],
    ['faulty', () => presents(`${WRONG_PASSWORD}\n`)],
  ])('is not sent when its Secret is %s by then', async (_, withdraw) => {
    presents(WRONG_PASSWORD);
    const release = world.limiter.hold();
    await world.reconcileOnce();
    withdraw();
    await world.reconcileOnce();
    release();
    await settled();

    expect(asked()).toEqual([]);
    expect(world.enqueued).toEqual(new Set([KEY]));
    expect(await world.reconcile()).toBe('await-change');
    expect(asked()).toEqual([]);
  });

  it('keeps its place when its Secret can not be read', async () => {
    const release = world.limiter.hold();
    await world.reconcileOnce();
    presents(GOOD_PASSWORD);
    world.cluster.failNext('readSecret', OUTAGE);
    await world.reconcileOnce();
    release();
    await settled();

    expect(world.limiter.turns).toHaveLength(1);
    expect(asked()).toEqual(['password']);
  });
});

describe('a rejected password', () => {
  beforeEach(async () => {
    presents(WRONG_PASSWORD);
    await world.reconcile();
    asked();
  });

  it('is what the status tells of again when nothing else stands in the way any more', async () => {
    world.cluster.edit(KEY, (spec) => ({ ...spec, suspend: true }));
    await world.reconcile();
    world.cluster.edit(KEY, (spec) => ({ ...spec, suspend: false }));
    await world.reconcile();

    expect(asked()).toEqual([]);
    expect(world.summary('Ready')).toBe('False CredentialsRejected');
    expect(world.summary('Renewed')).toBe('False CredentialsRejected');
    expect(world.summary('Stalled')).toBe('True CredentialsRejected');
  });

  it('is tried once more on request, if later when it was rejected a moment ago', async () => {
    world.clock.step(seconds(10));
    world.cluster.annotate(KEY, { [REQUEST]: 'now' });
    const action = await world.reconcile();
    expect(action).toEqual({ requeueAt: START + seconds(30) });
    await world.runFor(hours(1), action);

    expect(asked()).toEqual(['password']);
  });

  it('is tried once more on request although the clock has been set back', async () => {
    world.clock.step(seconds(2));
    world.clock.jump(-hours(5));
    world.cluster.annotate(KEY, { [REQUEST]: 'now' });
    await world.reconcile();

    expect(asked()).toEqual(['password']);
  });

  it('is tried only once on request, even when the API server does not take the status', async () => {
    world.clock.step(minutes(1));
    world.cluster.annotate(KEY, { [REQUEST]: 'now' });
    world.cluster.failNext('applyStatus', OUTAGE);
    await world.runFor(hours(1), await world.reconcile());

    expect(asked()).toEqual(['password']);
    expect(world.cluster.statusOf(KEY)?.lastHandledRenewRequest).toBe('now');
  });

  it('is tried again when the one try on request was not answered and the status not taken', async () => {
    world.idp.goodPassword = WRONG_PASSWORD;
    world.idp.outage = new Failure('NetworkError', 'no response');
    world.clock.step(minutes(1));
    world.cluster.annotate(KEY, { [REQUEST]: 'now' });
    world.cluster.failNext('applyStatus', OUTAGE);
    await world.reconcile();
    world.idp.outage = undefined;
    world.clock.step(minutes(1));
    await world.reconcile();

    expect(world.summary('Ready')).toBe('True TokenValid');
  });
});

describe('a renew request for a credential whose Secret', () => {
  it.each([
    ['is gone', () => world.cluster.removeSecret(SOURCE)],
    ['is faulty', () => presents(`${WRONG_PASSWORD}\n`)],
  ])('%s is open until the Secret has been put right', async (_, spoil) => {
    presents(WRONG_PASSWORD);
    await world.reconcile();
    spoil();
    world.clock.step(minutes(1));
    world.cluster.annotate(KEY, { [REQUEST]: 'now' });
    asked();
    expect(await world.runFor(hours(1), await world.reconcile())).toBe('await-change');
    expect(asked()).toEqual([]);
    expect(world.cluster.statusOf(KEY)?.lastHandledRenewRequest).toBeUndefined();
    world.idp.goodPassword = WRONG_PASSWORD;
    presents(WRONG_PASSWORD);
    await world.runFor(minutes(1), await world.reconcile());

    expect(asked()).toEqual(['password']);
    expect(world.summary('Ready')).toBe('True TokenValid');
    expect(world.cluster.statusOf(KEY)?.lastHandledRenewRequest).toBe('now');
  });
});

describe('a rejection that comes in while the credential is suspended', () => {
  it('does not answer a renew request that is made when it is resumed', async () => {
    presents(WRONG_PASSWORD);
    const release = world.idp.hold();
    await world.reconcileOnce();
    world.cluster.edit(KEY, (spec) => ({ ...spec, suspend: true }));
    await world.reconcileOnce();
    release();
    await until(() => world.enqueued.has(KEY));
    await world.reconcileOnce();
    asked();
    world.clock.step(hours(1));
    world.idp.goodPassword = WRONG_PASSWORD;
    world.cluster.edit(KEY, (spec) => ({ ...spec, suspend: false }));
    world.cluster.annotate(KEY, { [REQUEST]: 'now' });
    await world.reconcile();

    expect(asked()).toEqual(['password']);
    expect(world.summary('Ready')).toBe('True TokenValid');
  });
});

describe('a session', () => {
  it('from a planned login is not given up because it could not be stored at once', async () => {
    world.idp.sessionMax = minutes(40);
    let action = await world.reconcile();
    while (world.idp.grants('password') < 2) {
      if (action === 'await-change') throw new Error('no renewal');
      const before = world.idp.liveSessions;
      expect(before).toBe(1);
      world.clock.step(action.requeueAt - world.clock.now());
      const isNear = world.clock.now() > START + minutes(34);
      if (isNear) world.cluster.failNext('applySecret', OUTAGE);
      action = await world.reconcile();
    }
    asked();
    await world.runFor(minutes(5), action);

    expect(asked()).toEqual(['refresh_token']);
  });

  it('that a login has not renewed is not gone on with: its refresh token is spent', async () => {
    const first = await world.reconcile();
    world.idp.loseSessions();
    world.idp.givesRefreshTokens = false;
    asked();
    await world.runFor(minutes(20), first);

    expect(asked()).toEqual([
      'refresh_token',
      'password',
      'password',
      'password',
      'password',
      'password',
    ]);
    expect(world.cluster.stored(SESSION)).toBeUndefined();
    expect(world.summary('Ready')).toBe('True TokenValid');
  });

  it('that has ended is not asked again, even when its Secret can not be deleted', async () => {
    await world.reconcile();
    world.idp.loseSessions();
    world.idp.goodPassword = 'changed';
    world.clock.step(minutes(4));
    for (let times = 0; times < 4; times += 1) world.cluster.failNext('deleteSecret', OUTAGE);
    asked();
    await world.reconcile();
    world.clock.step(minutes(1));
    await world.reconcile();
    await world.reconcile();

    expect(asked()).toEqual(['refresh_token', 'password']);
    expect(world.summary('Renewed')).toBe('False CredentialsRejected');
  });
});

/** Logins of one user are two seconds apart. */
async function whileTurnsCome(transient: Promise<unknown>): Promise<void> {
  for (let ticket = 0; ticket < 3; ticket += 1) {
    await new Promise((resolve) => setImmediate(resolve));
    world.clock.step(seconds(2));
  }
  await transient;
}

it('a rejected password is not presented again with another scope', async () => {
  presents(WRONG_PASSWORD);
  const spec = { grantType: 'password', scope: 'openid profile' } as const;
  world.cluster.put(aCredential({ metadata: { name: 'other' }, spec }));
  await whileTurnsCome(Promise.all([world.reconcile(), world.reconcile('shop/other')]));
  expect(asked()).toEqual(['password']);
  expect(world.summary('Ready', 'shop/other')).toBe('False CredentialsRejected');
});

it('nor is it after a 429 for the other scope', async () => {
  const spec = { grantType: 'password', scope: 'openid profile' } as const;
  world.cluster.put(aCredential({ metadata: { name: 'other' }, spec }));
  world.idp.outage = new Failure('RateLimited', 'Too many requests', { retryAfter: seconds(1) });
  presents(WRONG_PASSWORD);
  await whileTurnsCome(Promise.all([world.reconcile(), world.reconcile('shop/other')]));
  world.idp.outage = undefined;
  asked();
  world.clock.step(minutes(1));
  await whileTurnsCome(Promise.all([world.reconcile(), world.reconcile('shop/other')]));
  expect(asked()).toEqual(['password']);
});

it('a session that has expired by our clock is logged out, for the clock may be wrong', async () => {
  await world.reconcile();
  world.clock.jump(hours(200));
  await whileTurnsCome(world.reconcile());
  expect(asked()).toEqual(['password', 'password']);
  expect(world.idp.logouts).toHaveLength(1);
});

it.each([
  ['at once', 0],
  ['in the end', 1],
])(
  'a session whose refresh token was taken for a used one is logged out when the login succeeds %s',
  async (_, failures) => {
    const first = await world.reconcile();
    const responses = [
      new Failure('RefreshTokenReused', 'The refresh token was used before'),
      ...Array.from({ length: failures }, () => new Failure('ServerUnavailable', 'Bad gateway')),
    ];
    world.source = async (request) => responses.shift() ?? world.idp.response(request);
    await whileTurnsCome(world.runFor(minutes(5), first));
    expect(world.summary('Ready')).toBe('True TokenValid');
    expect(world.idp.logouts).toHaveLength(1);
    expect(world.idp.liveSessions).toBe(1);
  },
);

it('a token that would expire before the one in place is not taken again at the next try', async () => {
  world.idp.sessionMax = minutes(5);
  world.source = endingEarlier(world, seconds(3));
  const first = await world.reconcile();
  await world.runFor(minutes(4) + seconds(50), first);
  expect(asked()).toEqual(['password', 'refresh_token', 'password']);
  expect(world.summary('Ready')).toBe('True TokenValid');
});

it('a token that ends with the session as the one in place does is a renewal, though servers count in whole seconds', async () => {
  world.idp.sessionMax = minutes(5);
  world.source = endingEarlier(world, seconds(1));
  const first = await world.reconcile();
  await world.runFor(minutes(4) + seconds(10), first);
  expect(asked()).toEqual(['password', 'refresh_token']);
  expect(world.summary('Renewed')).toBe('True RenewedOnSchedule');
});
