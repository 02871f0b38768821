import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { Failure } from '../../src/domain/failure.ts';
import { minutes, seconds } from '../../src/domain/time.ts';
import { aCredential, CANARY, START } from '../support/builders.ts';
import { OUTAGE } from '../support/fake-cluster.ts';
import { KEY, SESSION, SOURCE, until, World } from '../support/world.ts';

const OFFLINE = new Failure('NetworkError', 'No connection to auth-staging.convercus.io');

let world: World;

beforeEach(async () => {
  world = World.withPassword();
  await world.pass();
  world.cluster.requests.splice(0);
});

afterEach(() => {
  expect(world.shown).not.toContain(CANARY);
});

const loggedOut = () => world.idp.logouts.map(({ refreshToken }) => refreshToken.reveal());

describe('the session of a deleted credential', () => {
  it('is logged out, then its Secret goes', async () => {
    world.cluster.remove(KEY);

    expect(await world.pass()).toBe('await-change');
    expect(loggedOut()).toEqual([`${CANARY}-refresh-1`]);
    expect(world.idp.liveSessions).toBe(0);
    expect(world.cluster.stored(SESSION)).toBeUndefined();
  });

  it('is found after a restart as well', async () => {
    world.cluster.remove(KEY);
    world.restart();
    await world.pass();

    expect(loggedOut()).toHaveLength(1);
    expect(world.cluster.stored(SESSION)).toBeUndefined();
  });

  it('is logged out with the client secret that is known when the credentials Secret is gone too', async () => {
    world.cluster.remove(KEY);
    world.cluster.removeSecret(SOURCE);
    await world.pass();

    expect(loggedOut()).toHaveLength(1);
  });

  it('is logged out too when the credential took its time to go, as with foreground deletion', async () => {
    const deletionTimestamp = '2026-09-21T12:00:00Z';
    world.cluster.put(
      aCredential({ metadata: { deletionTimestamp }, spec: { grantType: 'password' } }),
    );
    await world.pass();
    expect(loggedOut()).toEqual([]);
    world.cluster.remove(KEY);
    world.cluster.removeSecret(SOURCE);
    await world.pass();

    expect(loggedOut()).toHaveLength(1);
  });

  it('goes without a log-out when nobody knows the client secret any more', async () => {
    world.cluster.remove(KEY);
    world.cluster.removeSecret(SOURCE);
    world.restart();
    await world.pass();

    expect(loggedOut()).toEqual([]);
    expect(world.cluster.stored(SESSION)).toBeUndefined();
  });

  it('is given up after three tries, and people are told', async () => {
    world.idp.logoutFailure = OFFLINE;
    world.cluster.remove(KEY);
    await world.runFor(minutes(1), await world.pass());

    expect(loggedOut()).toHaveLength(3);
    expect(world.cluster.stored(SESSION)).toBeUndefined();
    expect(world.eventSummaries.at(-1)).toBe('Warning LogoutFailed');
  });

  it('holds no worker while its host has no room for the log-out, and does not wait for ever', async () => {
    world.budget.hold();
    world.cluster.remove(KEY);
    const passing = world.pass();
    await until(() => world.budget.waiting > 0);
    expect(world.parked).toBe(1);
    world.clock.advance(minutes(1));

    expect(await passing).toEqual({ lookAgainAt: START + minutes(1) + seconds(10) });
    expect(world.cluster.stored(SESSION)).toBeDefined();
  });

  it('is not touched when the credential belongs to another release', async () => {
    world.cluster.remove(KEY);
    world.cluster.putUnwatched(aCredential({ spec: { grantType: 'password' } }));

    expect(await world.pass()).toBe('await-change');
    expect(loggedOut()).toEqual([]);
    expect(world.cluster.stored(SESSION)).toBeDefined();
  });

  it('stays as long as the API server can not be asked', async () => {
    world.cluster.remove(KEY);
    world.cluster.failNext('readCredential', OUTAGE);
    const action = await world.pass();
    expect(loggedOut()).toEqual([]);
    await world.runFor(minutes(1), action);

    expect(world.cluster.stored(SESSION)).toBeUndefined();
  });

  it.each(['readSecret', 'deleteSecret'] as const)(
    'goes in the end when %s fails',
    async (call) => {
      world.cluster.remove(KEY);
      world.cluster.failNext(call, OUTAGE);
      await world.runFor(minutes(1), await world.pass());

      expect(world.cluster.stored(SESSION)).toBeUndefined();
    },
  );
});

it('a login that nobody waits for any more leaves no session behind when its credential is gone', async () => {
  world = World.withPassword();
  const release = world.budget.hold();
  const passing = world.pass();
  await until(() => world.budget.waiting > 0);
  world.clock.advance(minutes(1));
  await passing;
  world.cluster.remove(KEY);
  await world.pass();
  release();
  await until(() => world.idp.logouts.length > 0);

  expect(world.idp.liveSessions).toBe(0);
});

it('the session of a credential that has another grant by now is logged out', async () => {
  world.cluster.edit(KEY, (spec) => ({ ...spec, grantType: 'client_credentials' }));
  await world.pass();

  expect(loggedOut()).toHaveLength(1);
  expect(world.cluster.stored(SESSION)).toBeUndefined();
  expect(world.summary('Ready')).toBe('True TokenValid');
});

it('the session of a credential that has another grant by now is tried again as soon as that of a deleted one', async () => {
  world.idp.logoutFailure = OFFLINE;
  world.cluster.edit(KEY, (spec) => ({ ...spec, grantType: 'client_credentials' }));
  await world.runFor(minutes(1), await world.pass());

  expect(loggedOut()).toHaveLength(3);
  expect(world.cluster.stored(SESSION)).toBeUndefined();
});

it('a Secret that only looks like a session is left alone', async () => {
  world.cluster.remove(KEY);
  world.cluster.putSecret(SESSION, { labels: { 'app.kubernetes.io/component': 'session' } });
  await world.pass();

  expect(world.cluster.stored(SESSION)).toBeDefined();
});
