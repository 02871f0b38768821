import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { Failure } from '../../src/lib/failure.ts';
import { minutes, seconds } from '../../src/lib/time.ts';
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
} from '../support/world.ts';

const OFFLINE = new Failure('NetworkError', 'No connection to auth-staging.convercus.io');

let world: World;

beforeEach(async () => {
  world = World.withPassword();
  await world.reconcile();
  world.cluster.requests.splice(0);
});

afterEach(() => {
  expect(world.shown).not.toContain(CANARY);
});

const loggedOut = () => world.idp.logouts.map(({ refreshToken }) => refreshToken.reveal());
const user = (username: string) =>
  world.cluster.putSecret(SOURCE, {
    data: { client_secret: GOOD_SECRET, username, password: GOOD_PASSWORD },
  });

/** The first login waits for its answer for longer than its reconcile does. */
async function outlast(): Promise<() => void> {
  world = World.withPassword();
  const release = world.idp.hold();
  const transient = world.reconcile();
  await until(() => world.tokenRequests === 1);
  world.clock.step(minutes(1));
  await transient;
  return release;
}

/** Another user logs in; the credential changes before the answer comes. */
async function changeWhileAnotherLogsIn(username: string, change: () => void): Promise<void> {
  user(username);
  const release = world.idp.hold();
  const asked = world.tokenRequests;
  await world.reconcileOnce();
  await until(() => world.tokenRequests > asked);
  change();
  release();
  await until(() => world.enqueued.has(KEY));
}

describe('the session of a deleted credential', () => {
  it('is logged out, then its Secret goes', async () => {
    world.cluster.remove(KEY);

    expect(await world.reconcile()).toBe('await-change');
    expect(loggedOut()).toEqual([`${CANARY}-refresh-1`]);
    expect(world.idp.liveSessions).toBe(0);
    expect(world.cluster.stored(SESSION)).toBeUndefined();
  });

  it('is only one of the type of sessions: any other that is labelled like one stays', async () => {
    const { labels = {}, data = {} } = world.cluster.stored(SESSION) ?? {};
    world.cluster.removeSecret(SESSION);
    world.cluster.putSecret(SESSION, { type: 'convercus.io/token', labels, data });
    world.restart();
    world.cluster.remove(KEY);
    await world.reconcile();

    expect(world.cluster.stored(SESSION)).toBeDefined();
    expect(loggedOut()).toEqual([]);
  });

  it('is found after a restart as well', async () => {
    world.cluster.remove(KEY);
    world.restart();
    await world.reconcile();

    expect(loggedOut()).toHaveLength(1);
    expect(world.cluster.stored(SESSION)).toBeUndefined();
  });

  it('is logged out with the client secret that is known when the credentials Secret is gone too', async () => {
    world.cluster.remove(KEY);
    world.cluster.removeSecret(SOURCE);
    await world.reconcile();

    expect(loggedOut()).toHaveLength(1);
  });

  it('is logged out however long its client secret could not be read, less and less often', async () => {
    const { cluster } = world;
    const readSecret = cluster.readSecret.bind(cluster);
    let [isAway, reads] = [true, 0];
    cluster.readSecret = async (namespace, name) => {
      if (name !== 'convercus-abc') return readSecret(namespace, name);
      reads += 1;
      return isAway ? OUTAGE : readSecret(namespace, name);
    };
    cluster.remove(KEY);
    const action = await world.runFor(minutes(10), await world.reconcile());
    expect(loggedOut()).toEqual([]);
    expect(cluster.stored(SESSION)).toBeDefined();
    expect(reads).toBeLessThan(20);
    isAway = false;
    await world.runFor(minutes(10), action);

    expect(loggedOut()).toEqual([`${CANARY}-refresh-1`]);
    expect(cluster.stored(SESSION)).toBeUndefined();
  });

  it('is logged out too when the credential took its time to go, as with foreground deletion', async () => {
    const deletionTimestamp = '2026-09-21T12:00:00Z';
    world.cluster.put(
      aCredential({ metadata: { deletionTimestamp }, spec: { grantType: 'password' } }),
    );
    await world.reconcile();
    expect(loggedOut()).toEqual([]);
    world.cluster.remove(KEY);
    world.cluster.removeSecret(SOURCE);
    await world.reconcile();

    expect(loggedOut()).toHaveLength(1);
  });

  it.each([
    ['its Secret', [SESSION]],
    ['its Secret and the credentials Secret', [SESSION, SOURCE]],
  ])('is logged out although %s went first, as when a namespace is deleted', async (_, secrets) => {
    for (const secret of secrets) world.cluster.removeSecret(secret);
    await world.reconcile();
    world.cluster.remove(KEY);
    await world.runFor(minutes(1), await world.reconcile());

    expect(loggedOut()).toEqual([`${CANARY}-refresh-1`]);
    expect(world.idp.liveSessions).toBe(0);
  });

  it('is logged out although its Secret goes between two tries, over a restart', async () => {
    world.cluster.remove(KEY);
    world.restart();
    world.idp.logoutFailure = OFFLINE;
    const action = await world.reconcile();
    world.idp.logoutFailure = undefined;
    world.cluster.removeSecret(SESSION);
    await world.runFor(minutes(1), action);

    expect(world.idp.liveSessions).toBe(0);
  });

  it('is logged out with the newest refresh token, though that could not be stored', async () => {
    world.clock.step(minutes(4));
    world.cluster.failNext('applySecret', OUTAGE);
    await world.reconcile();
    world.cluster.remove(KEY);
    await world.reconcile();

    expect(loggedOut()).toEqual([`${CANARY}-refresh-2`]);
    expect(world.idp.liveSessions).toBe(0);
    expect(world.cluster.stored(SESSION)).toBeUndefined();
  });

  it('is logged out though it was never stored', async () => {
    world = World.withPassword();
    world.cluster.failNext('applySecret', OUTAGE);
    await world.reconcile();
    world.cluster.remove(KEY);
    await world.reconcile();

    expect(world.idp.liveSessions).toBe(0);
  });

  it('goes without a log-out when the client secret is gone', async () => {
    world.cluster.remove(KEY);
    world.cluster.removeSecret(SOURCE);
    world.restart();
    await world.reconcile();

    expect(loggedOut()).toEqual([]);
    expect(world.cluster.stored(SESSION)).toBeUndefined();
  });

  it('is given up after three tries, and people are told', async () => {
    world.idp.logoutFailure = OFFLINE;
    world.cluster.remove(KEY);
    await world.runFor(minutes(1), await world.reconcile());

    expect(loggedOut()).toHaveLength(3);
    expect(world.cluster.stored(SESSION)).toBeUndefined();
    expect(world.eventSummaries.at(-1)).toBe('Warning LogoutFailed');
  });

  it('holds no worker while its host has no room for the log-out, and looks again whether it is needed', async () => {
    world.limiter.hold();
    world.cluster.remove(KEY);
    expect(await world.reconcileOnce()).toEqual({ requeueAt: START + minutes(10) });
    expect(world.limiter.waiting).toBe(1);
    world.clock.step(minutes(10));

    expect(await world.reconcileOnce()).toEqual({ requeueAt: START + minutes(20) });
    expect(world.limiter.waiting).toBe(1);
    expect(world.cluster.stored(SESSION)).toBeDefined();
  });

  it('is not touched when the credential belongs to another release', async () => {
    world.cluster.remove(KEY);
    world.cluster.putUnwatched(aCredential({ spec: { grantType: 'password' } }));

    expect(await world.reconcile()).toBe('await-change');
    expect(loggedOut()).toEqual([]);
    expect(world.cluster.stored(SESSION)).toBeDefined();
  });

  it('stays as long as the API server can not be asked', async () => {
    world.cluster.remove(KEY);
    world.cluster.failNext('readCredential', OUTAGE);
    const action = await world.reconcile();
    expect(loggedOut()).toEqual([]);
    await world.runFor(minutes(1), action);

    expect(world.cluster.stored(SESSION)).toBeUndefined();
  });

  it.each(['readSecret', 'deleteSecret'] as const)(
    'goes in the end when %s fails',
    async (call) => {
      world.cluster.remove(KEY);
      world.cluster.failNext(call, OUTAGE);
      await world.runFor(minutes(1), await world.reconcile());

      expect(world.cluster.stored(SESSION)).toBeUndefined();
    },
  );
});

it('a login that has not been sent never is when its credential is gone', async () => {
  world = World.withPassword();
  const release = world.limiter.hold();
  await world.reconcileOnce();
  await until(() => world.limiter.waiting > 0);
  world.cluster.remove(KEY);
  await world.reconcile();
  release();
  await settled();

  expect(world.tokenRequests).toBe(0);
});

it('a login that is not waited for any more leaves no session behind when its credential is gone', async () => {
  const release = await outlast();
  world.cluster.remove(KEY);
  await world.reconcile();
  release();
  await until(() => world.idp.logouts.length > 0);

  expect(world.idp.liveSessions).toBe(0);
});

it('a login that is not waited for any more leaves no session behind when its credential has another grant', async () => {
  const release = await outlast();
  world.cluster.edit(KEY, (spec) => ({ ...spec, grantType: 'client_credentials' }));
  const transient = world.reconcile();
  release();
  await transient;
  await settled();

  expect(world.idp.liveSessions).toBe(0);
  expect(world.cluster.stored(SESSION)).toBeUndefined();
});

describe('the session of a former user', () => {
  beforeEach(() => world.clock.step(SETTINGS.renewal.minimum));

  it('is logged out too when the credential goes before the new token is published', async () => {
    await changeWhileAnotherLogsIn(`${CANARY}-other`, () => world.cluster.remove(KEY));
    await world.reconcile();
    await settled();

    expect(new Set(loggedOut())).toEqual(new Set([`${CANARY}-refresh-1`, `${CANARY}-refresh-2`]));
    expect(world.idp.liveSessions).toBe(0);
  });

  it('is logged out too when the credential gets another grant before the new token is published', async () => {
    await changeWhileAnotherLogsIn(`${CANARY}-other`, () =>
      world.cluster.edit(KEY, (spec) => ({ ...spec, grantType: 'client_credentials' })),
    );
    await world.reconcile();
    await settled();

    expect(world.idp.liveSessions).toBe(0);
  });

  it('is logged out too when yet another user comes before the new token is published', async () => {
    await changeWhileAnotherLogsIn(`${CANARY}-other`, () => {
      user(`${CANARY}-third`);
      world.cluster.edit(KEY, (spec) => ({ ...spec }));
    });
    await world.reconcile();
    await settled();

    expect(loggedOut()).toEqual([`${CANARY}-refresh-1`, `${CANARY}-refresh-2`]);
    expect(world.idp.liveSessions).toBe(1);
  });

  it('is logged out after an API server was away for a minute, which does not tell the client secret', async () => {
    user(`${CANARY}-other`);
    const { cluster } = world;
    const readSecret = cluster.readSecret.bind(cluster);
    let isAway = false;
    cluster.readSecret = async (...args) => (isAway ? OUTAGE : readSecret(...args));
    const apply = cluster.applySecret.bind(cluster);
    cluster.applySecret = async (desired) => {
      isAway = desired.name === 'loyalty-token'; // from the write of the new token on
      return apply(desired);
    };
    await world.reconcile();
    for (let times = 0; times < 6; times += 1) {
      await settled();
      world.clock.step(seconds(10));
    }
    expect(loggedOut()).toEqual([]);
    isAway = false;
    await settled();
    world.clock.step(seconds(10));
    await settled();

    expect(loggedOut()).toEqual([`${CANARY}-refresh-1`]);
    expect(world.idp.liveSessions).toBe(1);
  });

  it('is given up after three tries, and people are told', async () => {
    world.idp.logoutFailure = OFFLINE;
    user(`${CANARY}-other`);
    await world.reconcile();
    for (let times = 0; times < 6; times += 1) {
      await settled();
      world.clock.step(seconds(10));
    }

    expect(loggedOut()).toHaveLength(3);
    expect(world.eventSummaries.at(-1)).toBe('Warning LogoutFailed');
    expect(world.summary('Ready')).toBe('True TokenValid');
    expect(world.clock.timers).toBe(0);
  });

  it('stays until the new token is published', async () => {
    await changeWhileAnotherLogsIn(`${CANARY}-other`, () =>
      world.cluster.edit(KEY, (spec) => ({ ...spec, suspend: true })),
    );
    await world.reconcile();
    await settled();
    expect(loggedOut()).toEqual([]);
    world.cluster.edit(KEY, (spec) => ({ ...spec, suspend: false }));
    await world.reconcile();
    await settled();

    expect(loggedOut()).toEqual([`${CANARY}-refresh-1`]);
  });

  it('is logged out without a new token when the target has become that of another user', async () => {
    await changeWhileAnotherLogsIn(`${CANARY}-other`, () => {
      world.cluster.removeSecret(TARGET);
      world.cluster.putSecret(TARGET, { data: { theirs: 'x' } });
    });
    await world.reconcile();
    await settled();

    expect(world.summary('Ready')).toBe('False TargetNotOurs');
    expect(loggedOut()).toEqual([`${CANARY}-refresh-1`]);
    expect(world.idp.liveSessions).toBe(1);
  });

  it('is logged out without a new token when the one in place has expired', async () => {
    await changeWhileAnotherLogsIn(`${CANARY}-other`, () =>
      world.cluster.edit(KEY, (spec) => ({ ...spec, suspend: true })),
    );
    const action = await world.reconcile();
    await settled();
    expect(loggedOut()).toEqual([]);
    await world.runFor(minutes(6), action);
    await settled();

    expect(loggedOut()).toEqual([`${CANARY}-refresh-1`]);
  });

  it('who comes back before the new token is published logs in again', async () => {
    await changeWhileAnotherLogsIn(`${CANARY}-other`, () => {
      user(USERNAME);
      world.cluster.edit(KEY, (spec) => ({ ...spec }));
    });
    world.clock.step(seconds(2));
    await world.reconcile();
    await settled();

    expect(loggedOut()).toEqual([`${CANARY}-refresh-1`, `${CANARY}-refresh-2`]);
    expect(world.cluster.stored(SESSION)?.data['refresh_token']).toBe(`${CANARY}-refresh-3`);
    expect(world.idp.liveSessions).toBe(1);
  });
});

it('the session of a credential that has another grant by now is logged out', async () => {
  world.cluster.edit(KEY, (spec) => ({ ...spec, grantType: 'client_credentials' }));
  await world.reconcile();

  expect(loggedOut()).toHaveLength(1);
  expect(world.cluster.stored(SESSION)).toBeUndefined();
  expect(world.summary('Ready')).toBe('True TokenValid');
});

it('a log-out that waits for its turn holds back no renewal of the same credential', async () => {
  world.cluster.edit(KEY, (spec) => ({ ...spec, grantType: 'client_credentials' }));
  await world.reconcileOnce();
  await until(() => world.enqueued.has(KEY));
  world.limiter.hold();
  const action = await world.reconcileOnce();
  expect(world.cluster.stored(TARGET)?.data['token']).toBe(`${CANARY}-token-2`);
  expect(world.limiter.waiting).toBe(1);
  expect(action).toEqual({ requeueAt: START + minutes(4) });
  world.clock.step(minutes(4));
  await world.reconcileOnce();
  await until(() => world.limiter.waiting === 2);
});

it.each([
  ['the token of that is in place', () => world.cluster.failNext('applySecret', OUTAGE), 1],
  [
    'its own token has expired',
    () => {
      world.idp.outage = OFFLINE;
    },
    5,
  ],
])(
  'the session of a credential that has another grant by now lives until %s',
  async (_, fail, until) => {
    fail();
    world.cluster.edit(KEY, (spec) => ({ ...spec, grantType: 'client_credentials' }));
    const action = await world.reconcile();
    expect(loggedOut()).toEqual([]);
    await world.runFor(minutes(until), action);

    expect(loggedOut()).toHaveLength(1);
    expect(world.cluster.stored(SESSION)).toBeUndefined();
  },
);

it('the session of a credential that has another grant by now is tried again as soon as that of a deleted one', async () => {
  world.idp.logoutFailure = OFFLINE;
  world.cluster.edit(KEY, (spec) => ({ ...spec, grantType: 'client_credentials' }));
  await world.runFor(minutes(1), await world.reconcile());

  expect(loggedOut()).toHaveLength(3);
  expect(world.cluster.stored(SESSION)).toBeUndefined();
});

it('a Secret that only looks like a session is left alone', async () => {
  world.cluster.remove(KEY);
  world.cluster.putSecret(SESSION, { labels: { 'app.kubernetes.io/component': 'session' } });
  await world.reconcile();

  expect(world.cluster.stored(SESSION)).toBeDefined();
});

/** Finding M3. */
describe('a Secret of another type with the labels and the data of a session', () => {
  const SESSION_JSON = {
    credentialUid: 'u',
    environment: 'staging',
    realm: 'a-realm-of-the-tenant',
    clientId: 'any',
    source: { name: 'database', key: 'password' },
    startedAt: 1,
    longest: 1,
  };
  const LOOKALIKE = {
    labels: {
      'app.kubernetes.io/managed-by': 'convercus-operator',
      'app.kubernetes.io/component': 'session',
      'convercus.io/credential': 'loyalty',
    },
    data: {
      refresh_token: 'anything',
      username: 'anyone',
      'session.json': JSON.stringify(SESSION_JSON),
    },
  };

  beforeEach(() => {
    world = World.with();
    world.cluster.putSecret('shop/database', { data: { password: `${CANARY}-database` } });
  });

  /** As version 0.1.0 has published it, with the label that the spec names. */
  const published = async () => {
    await world.reconcile();
    const { annotations } = world.cluster.stored(TARGET) ?? {};
    world = World.with({ target: { name: 'loyalty-session' } });
    world.cluster.putSecret(SESSION, {
      ...LOOKALIKE,
      type: 'convercus.io/token',
      ...(annotations && { annotations }),
    });
  };

  it('is neither logged out nor deleted nor read when it is a target', async () => {
    await published();
    const before = world.cluster.stored(SESSION);
    for (let count = 0; count < 3; count += 1) await world.reconcile();
    world.cluster.remove(KEY);
    await world.reconcile();

    expect(world.idp.logouts).toEqual([]);
    expect(world.cluster.stored(SESSION)).toEqual(before);
    expect(world.cluster.requests.filter((each) => each.endsWith('loyalty-session'))).toEqual([]);
  });

  it.each(['Opaque', 'convercus.io/token'])(
    'is neither logged out nor deleted, and no other Secret is read, when its type is %s',
    async (type) => {
      world.cluster.putSecret(SESSION, { ...LOOKALIKE, type });
      await world.reconcile();
      world.cluster.remove(KEY);
      await world.reconcile();

      expect(world.idp.logouts).toEqual([]);
      expect(world.cluster.stored(SESSION)).toMatchObject(LOOKALIKE);
      expect(world.cluster.requests).not.toContain('readSecret database');
    },
  );

  it('does not stand in for the session of a password credential', async () => {
    world = World.withPassword();
    world.cluster.putSecret(SESSION, { ...LOOKALIKE, type: 'Opaque' });
    const action = await world.reconcile();
    await world.runFor(minutes(10), action);

    expect(world.summary('Ready')).toBe('False TargetNotOurs');
    expect(world.idp.grants('refresh_token')).toBe(0);
    expect(world.cluster.stored(SESSION)).toMatchObject(LOOKALIKE);
    expect(world.cluster.stored(TARGET)).toBeUndefined();
  });

  it.each([
    ['with those labels', LOOKALIKE.labels],
    ['without labels', {}],
  ])('is not deleted when the session before it has ended (%s)', async (_, labels) => {
    world = World.withPassword();
    await world.reconcile();
    world.clock.step(minutes(4));
    world.idp.loseSessions();
    const release = world.idp.hold();
    await world.reconcileOnce();
    await until(() => world.idp.grants('refresh_token') === 1);
    world.cluster.removeSecret(SESSION);
    world.cluster.putSecret(SESSION, { ...LOOKALIKE, labels, type: 'Opaque' });
    const before = world.cluster.stored(SESSION);
    release();
    await until(() => world.enqueued.has(KEY));
    await world.runFor(minutes(10), await world.reconcile());

    expect(world.cluster.stored(SESSION)).toEqual(before);
  });
});
