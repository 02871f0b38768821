import { afterEach, describe, expect, it } from '@jest/globals';
import type { ConvercusCredential } from '../../src/credential/api.ts';
import { Failure } from '../../src/lib/failure.ts';
import { minutes } from '../../src/lib/time.ts';
import { clientIdOf } from '../../src/oauth/grants.ts';
import { aCredential, CANARY } from '../support/builders.ts';
import {
  GOOD_PASSWORD,
  GOOD_SECRET,
  KEY,
  SESSION,
  SOURCE,
  USERNAME,
  World,
} from '../support/world.ts';

type Spec = ConvercusCredential['spec'];

const CLIENT_ID = `${CANARY}-client-id`;
const { keys } = aCredential().spec.credentialsSecretRef;
const SOURCE_REF = { name: 'convercus-abc', keys: { ...keys, clientId: 'client_id' } };

let world: World;

afterEach(() => {
  expect(world.shown).not.toContain(CANARY);
});

function worldOf(grantType: Spec['grantType']): World {
  const made = World.with({ spec: { grantType, credentialsSecretRef: SOURCE_REF } });
  made.cluster.putSecret(SOURCE, {
    data: {
      client_id: CLIENT_ID,
      client_secret: GOOD_SECRET,
      username: USERNAME,
      password: GOOD_PASSWORD,
    },
  });
  return made;
}

const presentedIds = () =>
  world.idp.requests.map((request) =>
    request.grantType === 'legacy_login' ? undefined : clientIdOf(request),
  );

describe('a client id in the credentials Secret', () => {
  it('wins over that of the spec', async () => {
    world = worldOf('client_credentials');
    await world.reconcile();

    expect(world.summary('Ready')).toBe('True TokenValid');
    expect(presentedIds()).toEqual([CLIENT_ID]);
  });

  it('that is refused is told by the key it is in', async () => {
    world = worldOf('client_credentials');
    world.idp.outage = new Failure('ClientUnknownOrDisabled', 'The client is unknown or disabled.');
    await world.reconcile();

    expect(world.condition('Renewed')?.message).toBe(
      'The client is unknown or disabled. The client id is in Secret "convercus-abc", key "client_id".',
    );
  });

  it('is missed by its key', async () => {
    world = worldOf('client_credentials');
    world.cluster.putSecret(SOURCE, { data: { client_secret: GOOD_SECRET } });
    await world.reconcile();

    expect(world.summary('Ready')).toBe('False InputMissing');
    expect(world.condition('Renewed')?.message).toBe(
      'Secret "convercus-abc" has no key "client_id"; put the client id there',
    );
  });

  it.each(['a b', `${CANARY}\n`, `${CANARY} x`, 'x'.repeat(256)])('is not %j', async (value) => {
    world = worldOf('client_credentials');
    world.cluster.putSecret(SOURCE, { data: { client_id: value, client_secret: GOOD_SECRET } });
    await world.reconcile();

    expect(world.summary('Ready')).toBe('False InputInvalid');
    expect(world.tokenRequests).toBe(0);
  });

  it('belongs to the session, which is refreshed and logged out with it, also after a restart', async () => {
    world = worldOf('password');
    await world.reconcile();
    world.restart();
    world.clock.step(minutes(4));
    await world.reconcile();
    world.restart();
    world.cluster.remove(KEY);
    await world.reconcile();

    expect(world.idp.requests.map(({ grantType }) => grantType)).toEqual([
      'password',
      'refresh_token',
    ]);
    expect(presentedIds()).toEqual([CLIENT_ID, CLIENT_ID]);
    expect(world.idp.logouts.map(clientIdOf)).toEqual([CLIENT_ID]);
    expect(world.cluster.stored(SESSION)).toBeUndefined();
  });

  it('that changes begins another session', async () => {
    world = worldOf('password');
    await world.reconcile();
    const data = { ...world.cluster.stored(SOURCE)?.data, client_id: `${CANARY}-other` };
    world.cluster.putSecret(SOURCE, { data });
    world.clock.step(minutes(1));
    await world.reconcile();

    expect(world.idp.requests.map(({ grantType }) => grantType)).toEqual(['password', 'password']);
    expect(presentedIds()).toEqual([CLIENT_ID, `${CANARY}-other`]);
  });

  it('is not read for legacy_login, which has none', async () => {
    world = worldOf('legacy_login');
    world.cluster.putSecret(SOURCE, {
      data: { org: `${CANARY}-org`, username: USERNAME, password: GOOD_PASSWORD },
    });
    await world.reconcile();

    expect(world.summary('Ready')).toBe('True TokenValid');
  });
});

describe('the organization code', () => {
  const presentedOrgs = () =>
    world.idp.requests.map((request) => ('org' in request ? request.org.reveal() : undefined));

  it('of the spec is presented, and its key in the Secret is not read', async () => {
    world = World.with({ spec: { grantType: 'legacy_login', org: 'abc' } });
    const data = { username: USERNAME, password: GOOD_PASSWORD, org: `${CANARY}-org` };
    world.cluster.putSecret(SOURCE, { data });
    await world.reconcile();

    expect(world.summary('Ready')).toBe('True TokenValid');
    expect(presentedOrgs()).toEqual(['abc']);
  });

  it('that changes brings another token, also after a rejection', async () => {
    world = World.with({ spec: { grantType: 'legacy_login', org: 'abc' } });
    const data = { username: USERNAME, password: `${CANARY}-wrong` };
    world.cluster.putSecret(SOURCE, { data });
    await world.reconcile();
    expect(world.summary('Ready')).toBe('False CredentialsRejected');
    world.idp.goodPassword = data.password;
    world.clock.step(minutes(1));
    world.cluster.edit(KEY, (spec) => ({ ...spec, org: 'other' }));
    await world.reconcile();

    expect(world.summary('Ready')).toBe('True TokenValid');
    expect(presentedOrgs()).toEqual(['abc', 'other']);
  });
});
