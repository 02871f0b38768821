import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { Failure } from '../../src/lib/failure.ts';
import { hours, minutes, seconds } from '../../src/lib/time.ts';
import { aCredential, CANARY, SETTINGS, START } from '../support/builders.ts';
import { OUTAGE } from '../support/fake-cluster.ts';
import {
  GOOD_PASSWORD,
  GOOD_SECRET,
  KEY,
  SESSION,
  SOURCE,
  settled,
  TARGET,
  USERNAME,
  until,
  World,
  WRONG_PASSWORD,
  WRONG_SECRET,
} from '../support/world.ts';

const OFFLINE = new Failure('NetworkError', 'No connection to auth-staging.convercus.io');
const REQUEST = 'convercus.io/renew-requested-at';

let world: World;

beforeEach(() => {
  world = World.withPassword();
});

afterEach(() => {
  expect(world.shown).not.toContain(CANARY);
});

const token = () => world.cluster.stored(TARGET)?.data['token'];
const refreshToken = () => world.cluster.stored(SESSION)?.data['refresh_token'];
const requests = () => world.cluster.requests.splice(0);
const asked = () => world.idp.requests.splice(0).map(({ grantType }) => grantType);
const presents = (data: Record<string, string>) =>
  world.cluster.putSecret(SOURCE, {
    data: { client_secret: GOOD_SECRET, username: USERNAME, password: GOOD_PASSWORD, ...data },
  });

describe('the first login', () => {
  it('stores the session before it publishes the token', async () => {
    await world.reconcile();

    expect(asked()).toEqual(['password']);
    expect(token()).toBe(`${CANARY}-token-1`);
    expect(requests()).toEqual([
      'readSecret convercus-abc',
      'applySecret loyalty-session',
      'applySecret loyalty-token',
      'applyStatus loyalty',
    ]);
    expect(world.summary('Ready')).toBe('True TokenValid');
  });

  it('keeps the refresh token in a Secret of its own, which no deletion takes along', async () => {
    await world.reconcile();

    const session = world.cluster.stored(SESSION);
    expect(session).toMatchObject({
      type: 'convercus.io/session',
      labels: {
        'app.kubernetes.io/managed-by': 'convercus-operator',
        'app.kubernetes.io/component': 'session',
        'convercus.io/credential': 'loyalty',
      },
      annotations: {},
      data: { refresh_token: `${CANARY}-refresh-1`, username: USERNAME },
    });
    expect(session?.controllerUid).toBeUndefined();
    expect(JSON.stringify(world.cluster.stored(TARGET))).not.toContain('refresh');
  });

  it('is not made over a Secret of that name that belongs to another', async () => {
    world.cluster.putSecret(SESSION, { data: { theirs: 'x' } });
    await world.reconcile();

    expect(asked()).toEqual([]);
    expect(world.summary('Ready')).toBe('False TargetNotOurs');
    expect(world.condition('Renewed')?.message).toContain('"loyalty-session"');
    expect(world.cluster.stored(SESSION)?.data).toEqual({ theirs: 'x' });
  });

  it('says which key is missing before anything is sent', async () => {
    world.cluster.putSecret(SOURCE, { data: { client_secret: GOOD_SECRET, username: USERNAME } });
    await world.reconcile();

    expect(asked()).toEqual([]);
    expect(world.summary('Ready')).toBe('False InputMissing');
    expect(world.condition('Renewed')?.message).toContain('no key "password"');
  });
});

describe('a session', () => {
  it('is refreshed at the price of one request and three writes, and the token never expires', async () => {
    const first = await world.reconcile();
    asked();
    requests();
    await world.runFor(minutes(60), first);

    expect(new Set(asked())).toEqual(new Set(['refresh_token']));
    expect(new Set(requests().filter((each) => !each.startsWith('apply')))).toEqual(new Set());
    expect(world.condition('Ready')?.lastTransitionTime).toBe('2026-09-21T12:00:00Z');
    expect(refreshToken()).toBe(`${CANARY}-refresh-16`);
  });

  it('goes on after a restart: nothing is asked while the token is good, then it is refreshed', async () => {
    const first = await world.reconcile();
    asked();
    world.restart();
    requests();
    expect(await world.reconcile()).toEqual(first);
    expect(requests()).toEqual([]);
    await world.runFor(minutes(4), first);

    expect(asked()).toEqual(['refresh_token']);
    expect(requests()).toContain('readSecret loyalty-session');
  });

  it('is logged into again, once, when the provider has lost it', async () => {
    const first = await world.reconcile();
    asked();
    world.idp.loseSessions();
    await world.runFor(minutes(4), first);

    expect(asked()).toEqual(['refresh_token', 'password']);
    expect(world.summary('Renewed')).toBe('True RenewedOnSchedule');
    expect(refreshToken()).toBe(`${CANARY}-refresh-3`);
  });

  it('is left alone for a while when it is lost again and again: another client uses the user', async () => {
    let action = await world.reconcile();
    for (let times = 0; times < 3; times += 1) {
      world.idp.loseSessions();
      asked();
      action = await world.runFor(minutes(4), action);
    }

    await world.reconcile(); // the deletion of the Secret of its session enqueues it
    expect(asked()).toEqual(['refresh_token']);
    expect(world.summary('Renewed')).toBe('False SessionContention');
    await world.runFor(minutes(20), action);
    expect(world.summary('Ready')).toBe('True TokenValid');
  });

  it('is kept when the client secret was refused, and goes on when that is right again', async () => {
    const first = await world.reconcile();
    world.clock.step(SETTINGS.renewal.minimum);
    presents({ client_secret: WRONG_SECRET });
    const action = await world.reconcile();
    expect(world.summary('Renewed')).toBe('False ClientSecretRejected');
    expect(refreshToken()).toBe(`${CANARY}-refresh-1`);
    asked();
    presents({});
    await world.reconcile();

    expect(first).not.toBe('await-change');
    expect(action).not.toBe('await-change');
    expect(asked()).toEqual([]); // the token of the same credential is still known
    expect(world.summary('Renewed')).toBe('True SecretRotated');
  });

  it('outlives an outage of the provider', async () => {
    const first = await world.reconcile();
    world.idp.outage = OFFLINE;
    const action = await world.runFor(minutes(10), first);
    expect(world.summary('Ready')).toBe('False TokenExpired');
    world.idp.outage = undefined;
    asked();
    await world.runFor(minutes(10), action);

    expect(asked()).not.toContain('password');
    expect(world.summary('Ready')).toBe('True TokenValid');
  });

  it('belongs to one user: another one logs in, and the old session is logged out afterwards', async () => {
    await world.reconcile();
    asked();
    world.clock.step(SETTINGS.renewal.minimum);
    presents({ username: `${CANARY}-other` });
    await world.reconcile();
    await until(() => world.idp.logouts.length > 0);

    expect(asked()).toEqual(['password']);
    expect(world.idp.logouts[0]?.refreshToken.reveal()).toBe(`${CANARY}-refresh-1`);
    expect(world.idp.liveSessions).toBe(1);
    expect(refreshToken()).toBe(`${CANARY}-refresh-2`);
  });

  it('does not notice that its credentials Secret was touched', async () => {
    await world.reconcile();
    asked();
    world.cluster.putSecret(SOURCE, { annotations: { team: 'shop' } });
    await world.reconcile();

    expect(asked()).toEqual([]);
  });

  it.each([
    ['deleted its Secret', () => world.cluster.removeSecret(SESSION)],
    ['made its Secret unreadable', () => world.cluster.putSecret(SESSION, { data: {} })],
  ])(
    'is logged into again, and that before is logged out, when a user has %s',
    async (_, change) => {
      const first = await world.reconcile();
      asked();
      change();
      await world.runFor(minutes(4), first);
      await settled();

      expect(asked()).toEqual(['password']);
      expect(world.idp.liveSessions).toBe(1);
      expect(refreshToken()).toBe(`${CANARY}-refresh-2`);
    },
  );

  it('is logged into again for a credential that was made again under the same name', async () => {
    await world.reconcile();
    asked();
    world.cluster.remove(KEY);
    world.clock.step(minutes(1));
    world.cluster.put(
      aCredential({ metadata: { uid: 'another' }, spec: { grantType: 'password' } }),
    );
    await world.reconcile();

    expect(asked()).toEqual(['password']);
    expect(world.idp.logouts).toHaveLength(1);
  });
});

describe('the maximum of a session', () => {
  it('is met by a planned login, so that tokens never get short', async () => {
    world.idp.sessionMax = hours(1);
    const first = await world.reconcile();
    await world.runFor(hours(5), first);

    const logins = world.idp.grants('password');
    expect(logins).toBeGreaterThanOrEqual(5);
    expect(logins).toBeLessThanOrEqual(7);
    expect(world.tokenRequests).toBeLessThanOrEqual(5 * 16);
    expect(world.condition('Ready')?.lastTransitionTime).toBe('2026-09-21T12:00:00Z');
  });

  it('leaves one session: that before is logged out when the new token is in place', async () => {
    world.idp.sessionMax = hours(1);
    const first = await world.reconcile();
    await world.runFor(hours(5), first);
    await settled();

    expect(world.idp.logouts).toHaveLength(world.idp.grants('password') - 1);
    expect(world.idp.liveSessions).toBe(1);
  });

  it('is not there for a session that slides', async () => {
    world.idp.sessionIdle = minutes(30);
    world.idp.sessionMax = hours(100_000);
    const first = await world.reconcile();
    await world.runFor(hours(5), first);

    expect(world.idp.grants('password')).toBe(1);
  });

  it('is no reason to give a living session up when the planned login is rejected', async () => {
    world.idp.sessionMax = hours(1);
    const first = await world.reconcile();
    world.idp.goodPassword = 'changed by a user';
    const action = await world.runFor(minutes(58), first);
    expect(world.idp.grants('password')).toBe(2);
    expect(world.summary('Ready')).toBe('True TokenValid');
    world.restart();
    await world.runFor(minutes(10), action);

    expect(world.idp.grants('password')).toBe(2);
    expect(world.summary('Ready')).toBe('False TokenExpired');
    expect(world.summary('Renewed')).toBe('False CredentialsRejected');
  });

  it('is no reason to give it up when the planned login has to wait for other rejected passwords', async () => {
    world.idp.sessionMax = hours(1);
    const first = await world.reconcile();
    await world.runFor(minutes(50), first);
    const action = await world.reconcile();
    world.restart(); // what has worked is not known any more
    for (const [name, password] of [
      ['one', 'a'],
      ['two', 'b'],
      ['three', 'c'],
    ] as const) {
      world.cluster.putSecret(`shop/source-${name}`, {
        data: { client_secret: GOOD_SECRET, username: USERNAME, password },
      });
      world.cluster.put(
        aCredential({
          metadata: { name, uid: `uid-of-${name}` },
          spec: { grantType: 'password', credentialsSecretRef: { name: `source-${name}` } },
        }),
      );
      await world.reconcile(`shop/${name}`);
      world.clock.step(seconds(3));
    }
    asked();
    await world.runFor(minutes(8), action);
    expect(asked()).toContain('refresh_token');
    expect(world.summary('Ready')).toBe('True TokenValid');
  });
});

describe('the maximum of a session, met by a planned login that outlasts its reconcile', () => {
  it('is no reason to give the living session up when that login is rejected', async () => {
    world.idp.sessionMax = hours(1);
    await world.runFor(minutes(50), await world.reconcile());
    world.idp.goodPassword = 'changed by a user';
    const release = world.idp.hold();
    world.clock.step(minutes(2));
    const transient = world.reconcile();
    await settled();
    world.clock.step(minutes(1));
    await transient;
    expect(world.idp.grants('password')).toBe(2);
    const again = world.reconcile();
    release();
    await again;

    expect(world.summary('Ready')).toBe('True TokenValid');
    expect(world.idp.logouts).toEqual([]);
  });
});

describe('a crash or an outage of the API server', () => {
  it('costs no token when the session could not be stored: it is stored by the next reconcile', async () => {
    world.cluster.failNext('applySecret', OUTAGE);
    const action = await world.reconcile();
    expect(world.cluster.stored(TARGET)).toBeUndefined();
    await world.runFor(minutes(1), action);

    expect(asked()).toEqual(['password']);
    expect(refreshToken()).toBe(`${CANARY}-refresh-1`);
    expect(token()).toBe(`${CANARY}-token-1`);
  });

  it('costs one login when it comes between the answer and the write of a refresh', async () => {
    const first = await world.reconcile();
    world.cluster.failNext('applySecret', OUTAGE);
    const action = await world.runFor(minutes(4), first);
    world.restart();
    asked();
    await world.runFor(minutes(1), action);

    expect(asked()).toEqual(['refresh_token', 'password']);
    expect(world.summary('Ready')).toBe('True TokenValid');
  });

  it('never sends a refresh token again that was refused, not even after a restart', async () => {
    const first = await world.reconcile();
    world.idp.loseSessions();
    world.idp.goodPassword = 'changed by a user';
    const action = await world.runFor(minutes(4), first);
    expect(world.cluster.stored(SESSION)).toBeUndefined();
    world.restart();
    asked();
    await world.reconcile();
    await world.runFor(hours(24), action);

    expect(asked()).not.toContain('refresh_token');
  });

  it('never sends it again on request either, though its Secret could not be deleted', async () => {
    const first = await world.reconcile();
    world.idp.loseSessions();
    world.idp.goodPassword = 'changed by a user';
    for (let times = 0; times < 10; times += 1) world.cluster.failNext('deleteSecret', OUTAGE);
    await world.runFor(minutes(5), first);
    expect(world.cluster.stored(SESSION)).toBeDefined();
    expect(world.idp.grants('refresh_token')).toBe(1);
    world.cluster.annotate(KEY, { [REQUEST]: 'now' });
    await world.reconcile();

    expect(world.idp.grants('refresh_token')).toBe(1);
  });
});

describe('a request that waits longer than anybody has patience', () => {
  it('is not sent twice: the next reconcile takes its answer', async () => {
    const release = world.limiter.hold();
    const transient = world.reconcile();
    await until(() => world.limiter.waiting > 0);
    world.clock.step(minutes(1));
    await transient;
    expect(world.summary('Ready')).toBe('False Throttled');
    const again = world.reconcile();
    release();
    await again;

    expect(asked()).toEqual(['password']);
    expect(token()).toBe(`${CANARY}-token-1`);
  });

  it('is no reason for a second login when the client secret has changed meanwhile', async () => {
    const release = world.idp.hold();
    const transient = world.reconcile();
    await until(() => world.tokenRequests === 1);
    world.clock.step(minutes(1));
    await transient;
    presents({ client_secret: `${GOOD_SECRET}-2` });
    const again = world.reconcile();
    release();
    await settled();
    world.clock.step(seconds(2));
    await again;

    expect(world.idp.grants('password')).toBe(1);
    expect(world.idp.liveSessions).toBe(1);
    expect(world.summary('Ready')).toBe('True TokenValid');
  });
});

describe('a session that comes when nothing is to be published any more', () => {
  const UNWANTED = [
    ['is suspended', { suspend: true }],
    ['makes no sense', { environment: 'moon' }],
  ] as const;
  const resume = { suspend: false, environment: 'staging' };

  /** After a restart and once it is wanted again, the session needs no second login. */
  const expectStored = async (): Promise<void> => {
    expect(refreshToken()).toBe(`${CANARY}-refresh-1`);
    world.restart();
    world.cluster.edit(KEY, (spec) => ({ ...spec, ...resume }));
    await world.reconcile();

    expect(world.idp.grants('password')).toBe(1);
    expect(world.summary('Ready')).toBe('True TokenValid');
  };

  it.each(UNWANTED)(
    'is stored by the next reconcile of a credential that %s',
    async (_, change) => {
      world.cluster.failNext('applySecret', OUTAGE);
      await world.reconcile();
      world.cluster.edit(KEY, (spec) => ({ ...spec, ...change }));
      await world.reconcile();
      await expectStored();
    },
  );

  it.each(UNWANTED)(
    'after its reconcile is stored within a minute though the credential %s',
    async (_, change) => {
      const release = world.idp.hold();
      const transient = world.reconcile();
      await until(() => world.tokenRequests === 1);
      world.clock.step(minutes(1));
      await transient;
      world.cluster.edit(KEY, (spec) => ({ ...spec, ...change }));
      const action = await world.reconcile();
      release();
      await settled();
      await world.runFor(minutes(1), action);
      await expectStored();
    },
  );

  it('is not waited for once its request was refused', async () => {
    const release = world.idp.hold();
    const transient = world.reconcile();
    await until(() => world.tokenRequests === 1);
    world.clock.step(minutes(1));
    await transient;
    world.cluster.edit(KEY, (spec) => ({ ...spec, suspend: true }));
    const action = await world.reconcile();
    world.idp.outage = OFFLINE;
    release();
    await settled();

    expect(await world.runFor(minutes(5), action)).toBe('await-change');
  });

  it('is not stored over a Secret of that name that belongs to another', async () => {
    world.cluster.failNext('applySecret', OUTAGE);
    await world.reconcile();
    world.cluster.putSecret(SESSION, { data: { theirs: 'x' } });
    await world.reconcile();

    expect(world.summary('Ready')).toBe('False TargetNotOurs');
    expect(world.cluster.stored(SESSION)?.data).toEqual({ theirs: 'x' });
  });

  it('says why it can not be stored', async () => {
    for (let times = 0; times < 3; times += 1) {
      world.cluster.failNext(
        'applySecret',
        new Failure('TargetRefused', 'exceeded quota: secrets'),
      );
      await world.reconcile();
    }
    expect(world.summary('Ready')).toBe('False TargetRefused');
    await world.reconcile();

    expect(world.summary('Ready')).toBe('True TokenValid');
    expect(world.tokenRequests).toBe(1);
  });
});

describe('a rejected password', () => {
  beforeEach(async () => {
    presents({ password: WRONG_PASSWORD });
    await world.reconcile();
  });

  it('is tried once, and says so', async () => {
    await world.runFor(hours(48), await world.reconcile());

    expect(asked()).toEqual(['password']);
    expect(world.summary('Ready')).toBe('False CredentialsRejected');
    expect(world.summary('Stalled')).toBe('True CredentialsRejected');
    expect(world.eventSummaries).toEqual(['Warning CredentialsRejected']);
  });

  it('is not tried again after a restart, by which nothing is written either', async () => {
    asked();
    requests();
    world.restart();
    await world.runFor(hours(48), await world.reconcile());

    expect(asked()).toEqual([]);
    expect(requests()).toEqual([]);
    expect(world.summary('Ready')).toBe('False CredentialsRejected');
  });

  it('is not tried again after a restart when nothing was known of its Secret at the first try', async () => {
    world = World.withPassword();
    presents({ password: WRONG_PASSWORD });
    world.cluster.hide(SOURCE);
    await world.reconcile();
    world.restart();
    await world.reconcile();

    expect(asked()).toEqual(['password']);
  });

  it('is not tried again when its Secret is only touched', async () => {
    asked();
    world.cluster.putSecret(SOURCE, { annotations: { team: 'shop' } });
    await world.reconcile();
    world.restart();
    await world.reconcile();

    expect(asked()).toEqual([]);
  });

  it('is not tried again for another credential that presents the same', async () => {
    asked();
    world.cluster.put(
      aCredential({ metadata: { name: 'other' }, spec: { grantType: 'password' } }),
    );
    await world.reconcile('shop/other');
    world.restart();
    await world.reconcile('shop/other');

    expect(asked()).toEqual([]);
    expect(world.summary('Ready', 'shop/other')).toBe('False CredentialsRejected');
  });

  it('is told to another credential that presents the same with its times', async () => {
    presents({ password: GOOD_PASSWORD });
    world.clock.step(minutes(16));
    await world.reconcile();
    world.idp.loseSessions();
    world.idp.goodPassword = 'another';
    world.clock.step(minutes(4));
    await world.reconcile();
    const { lastFailureTime, nextAttemptAt } = world.cluster.statusOf(KEY) ?? {};
    expect(nextAttemptAt).toBeDefined();
    world.clock.step(minutes(1));
    world.cluster.put(
      aCredential({ metadata: { name: 'other' }, spec: { grantType: 'password' } }),
    );
    await world.reconcile('shop/other');

    expect(world.cluster.statusOf('shop/other')).toMatchObject({ lastFailureTime, nextAttemptAt });
  });

  it('is not tried again for a credential that is new after a restart', async () => {
    asked();
    world.restart();
    world.cluster.put(
      aCredential({ metadata: { name: 'other' }, spec: { grantType: 'password' } }),
    );
    await world.reconcile('shop/other');

    expect(asked()).toEqual([]);
    expect(world.summary('Ready', 'shop/other')).toBe('False CredentialsRejected');
  });

  it('is replaced at once by the right one', async () => {
    world.clock.step(minutes(16));
    presents({});
    await world.reconcile();

    expect(asked()).toEqual(['password', 'password']);
    expect(world.summary('Ready')).toBe('True TokenValid');
    expect(world.cluster.statusOf(KEY)?.rejectedLogin).toBeUndefined();
  });

  it('is tried once more when a person asks for it', async () => {
    asked();
    world.clock.step(minutes(1));
    world.cluster.annotate(KEY, { [REQUEST]: 'now' });
    await world.reconcile();
    expect(asked()).toEqual(['password']);
    world.restart();
    await world.runFor(hours(48), await world.reconcile());

    expect(asked()).toEqual([]);
    expect(world.cluster.statusOf(KEY)?.lastHandledRenewRequest).toBe('now');
  });

  it.each([
    ['', () => undefined],
    ['also after a restart', () => world.restart()],
  ])('is tried until there is an answer when a person asks for it %s', async (_, happens) => {
    asked();
    world.clock.step(minutes(1));
    world.idp.goodPassword = WRONG_PASSWORD;
    world.idp.outage = new Failure('NetworkError', 'offline');
    world.cluster.annotate(KEY, { [REQUEST]: 'now' });
    await world.reconcile();
    happens();
    // Logins of one user are two seconds apart
    world.clock.step(seconds(2));
    world.idp.outage = undefined;
    await world.runFor(minutes(2), await world.reconcile());

    expect(asked()).toEqual(['password', 'password']);
    expect(world.summary('Ready')).toBe('True TokenValid');
    expect(world.cluster.statusOf(KEY)?.rejectedLogin).toBeUndefined();
  });

  it('that follows another rejection is tried after the lock, whatever people ask for before', async () => {
    const right = `${WRONG_PASSWORD}-2`;
    world.clock.step(minutes(5));
    presents({ password: right }); // the account is locked
    await world.reconcile();
    world.clock.step(minutes(1));
    world.cluster.annotate(KEY, { [REQUEST]: 'now' });
    const action = await world.reconcile();
    expect(asked()).toEqual(['password', 'password', 'password']);
    world.idp.goodPassword = right;
    await world.runFor(hours(3), action);

    expect(world.summary('Ready')).toBe('True TokenValid');
  });

  describe('that another credential presents as well', () => {
    const OTHER = 'shop/other';
    const password = { spec: { grantType: 'password' } } as const;

    beforeEach(async () => {
      world.cluster.put(aCredential({ metadata: { name: 'other' }, ...password }));
      await world.reconcile(OTHER);
      world.idp.goodPassword = WRONG_PASSWORD;
      world.clock.step(minutes(1));
      asked();
      world.cluster.annotate(OTHER, { [REQUEST]: 'now' });
    });

    it('is presented for this one, too, once a login of the other has succeeded', async () => {
      await world.reconcile(OTHER);
      expect(world.enqueued).toContain(KEY);
      world.clock.step(seconds(2));
      await world.reconcile();

      expect(asked()).toEqual(['password', 'password']);
      expect(world.summary('Ready')).toBe('True TokenValid');
      expect(world.cluster.statusOf(KEY)?.rejectedLogin).toBeUndefined();
    });

    it('is presented again for the other when its session has ended', async () => {
      const action = await world.reconcile(OTHER);
      world.idp.loseSessions();
      await world.runFor(minutes(10), action, OTHER);

      expect(asked().slice(0, 3)).toEqual(['password', 'refresh_token', 'password']);
      expect(world.summary('Ready', OTHER)).toBe('True TokenValid');
    });
  });

  it('is presented after the end of a session whose refresh was the answer to a renew request', async () => {
    presents({});
    world.clock.step(minutes(16));
    await world.reconcile();
    presents({ password: WRONG_PASSWORD });
    world.idp.goodPassword = WRONG_PASSWORD;
    world.cluster.annotate(KEY, { [REQUEST]: 'now' });
    await world.runFor(minutes(1), await world.reconcile());
    expect(asked()).toEqual(['password', 'password', 'refresh_token']);
    const action = await world.reconcile();
    world.idp.loseSessions();
    await world.runFor(minutes(10), action);

    expect(asked().slice(0, 2)).toEqual(['refresh_token', 'password']);
    expect(world.summary('Ready')).toBe('True TokenValid');
  });

  it('is presented when a renew request has met a client secret that was wrong as well', async () => {
    world.clock.step(minutes(16));
    world.idp.goodPassword = WRONG_PASSWORD;
    world.idp.outage = new Failure('ClientSecretRejected', 'wrong client secret');
    world.cluster.annotate(KEY, { [REQUEST]: 'now' });
    await world.reconcile();
    world.idp.outage = undefined;
    world.clock.step(seconds(2));
    presents({ password: WRONG_PASSWORD, client_secret: `${CANARY}-client-secret-2` });
    await world.reconcile();

    expect(world.summary('Ready')).toBe('True TokenValid');
  });

  it('that follows another rejection closely is tried once more after the longest lock', async () => {
    asked();
    world.clock.step(minutes(5));
    presents({ password: `${WRONG_PASSWORD}-2` });
    const action = await world.reconcile();
    expect(action).toEqual({ requeueAt: START + minutes(5) + minutes(20) * 1.05 });
    world.restart();
    const last = await world.runFor(hours(48), action);

    expect(asked()).toEqual(['password', 'password']);
    expect(last).toBe('await-change');
  });
});

describe('a password that had worked before', () => {
  it('is tried again after 20 minutes, 2 hours and then every 12: the account may be locked', async () => {
    const first = await world.reconcile();
    world.idp.loseSessions();
    world.idp.goodPassword = 'locked';
    const action = await world.runFor(minutes(4), first);
    asked();
    world.restart();
    await world.runFor(hours(30), action);
    expect(asked()).toEqual(['password', 'password', 'password', 'password']);
    world.idp.goodPassword = GOOD_PASSWORD;
    await world.runFor(hours(14), await world.reconcile());

    expect(asked().slice(0, 1)).toEqual(['password']);
    expect(world.summary('Ready')).toBe('True TokenValid');
  });
});

describe('logins of one user', () => {
  it('are two seconds apart, whichever credentials they are for', async () => {
    world.cluster.put(
      aCredential({ metadata: { name: 'other' }, spec: { grantType: 'password' } }),
    );
    await world.reconcile();
    const other = world.reconcile('shop/other');
    world.clock.step(seconds(1.9));
    await new Promise((resolve) => setImmediate(resolve));
    expect(world.tokenRequests).toBe(1);
    world.clock.step(seconds(0.1));
    await other;

    expect(world.tokenRequests).toBe(2);
  });
});

describe('the legacy login', () => {
  it('publishes a token and keeps no session', async () => {
    world = World.with({ spec: { grantType: 'legacy_login' } });
    world.cluster.putSecret(SOURCE, {
      data: { org: `${CANARY}-org`, username: USERNAME, password: GOOD_PASSWORD },
    });
    await world.reconcile();

    expect(asked()).toEqual(['legacy_login']);
    expect(world.summary('Ready')).toBe('True TokenValid');
    expect(world.cluster.stored(SESSION)).toBeUndefined();
  });

  it('tries a rejected password once, over restarts', async () => {
    world = World.with({ spec: { grantType: 'legacy_login' } });
    world.cluster.putSecret(SOURCE, {
      data: { org: `${CANARY}-org`, username: USERNAME, password: WRONG_PASSWORD },
    });
    await world.reconcile();
    world.restart();
    await world.runFor(hours(48), await world.reconcile());

    expect(asked()).toEqual(['legacy_login']);
    expect(world.summary('Ready')).toBe('False CredentialsRejected');
  });
});
