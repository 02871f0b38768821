import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { Failure } from '../../src/lib/failure.ts';
import { Sensitive } from '../../src/lib/sensitive.ts';
import { hours, type Ms, minutes, seconds } from '../../src/lib/time.ts';
import { secretsOf } from '../../src/oauth/grants.ts';
import {
  aCredential,
  aToken,
  CANARY,
  type CredentialOverrides,
  SETTINGS,
  START,
} from '../support/builders.ts';
import { OUTAGE } from '../support/fake-cluster.ts';
import { GOOD_SECRET, KEY, SOURCE, TARGET, until, World, WRONG_SECRET } from '../support/world.ts';

const RENEW_AT = START + minutes(4);
const EXPIRY = START + minutes(5);
const OFFLINE = new Failure('NetworkError', 'No connection to auth-staging.convercus.io');
const REQUEST = 'convercus.io/renew-requested-at';

let world: World;

beforeEach(() => {
  world = World.with();
});

afterEach(() => {
  expect(world.shown).not.toContain(CANARY);
});

const token = () => world.cluster.stored(TARGET)?.data['token'];
const requests = () => world.cluster.requests.splice(0);
const events = () => world.cluster.events.splice(0).map(({ type, reason }) => `${type} ${reason}`);

describe('the first sync', () => {
  it('publishes a token at the price of one read, two writes and one event', async () => {
    const action = await world.reconcile();

    expect(token()).toBe(`${CANARY}-token-1`);
    expect(requests()).toEqual([
      'readSecret convercus-abc',
      'applySecret loyalty-token',
      'applyStatus loyalty',
    ]);
    expect(events()).toEqual(['Normal TokenIssued']);
    expect(world.summary('Ready')).toBe('True TokenValid');
    expect(world.summary('Renewed')).toBe('True Issued');
    expect(world.summary('Stalled')).toBe('absent');
    expect(world.cluster.statusOf(KEY)).toMatchObject({
      observedGeneration: 1,
      tokenUrl: expect.stringMatching(/realms\/abc-staging\//),
      issuedAt: '2026-09-21T12:00:00Z',
      expiresAt: '2026-09-21T12:05:00Z',
      renewAt: '2026-09-21T12:04:00Z',
      target: { name: 'loyalty-token' },
    });
    expect(action).toEqual({ requeueAt: RENEW_AT });
    expect(world.renewals).toEqual(['TokenMissing success']);
    const fields = { namespace: 'shop', name: 'loyalty', reason: 'TokenIssued' };
    expect(world.logged).toMatchObject([{ level: 'debug', fields }]);
  });

  it('presents the client secret to the realm of the program', async () => {
    await world.reconcile();

    expect(world.idp.requests).toHaveLength(1);
    const [request] = world.idp.requests;
    expect(request).toMatchObject({ realm: 'abc-staging', scope: 'openid' });
    expect(request && secretsOf(request).map((each) => each.reveal())).toEqual([GOOD_SECRET]);
  });

  it('creates a target that the watches have not shown without asking for it', async () => {
    world.cluster.hide(SOURCE);
    world.cluster.hide(TARGET);
    await world.reconcile();

    expect(requests()).toEqual([
      'readSecret convercus-abc',
      'applySecret loyalty-token',
      'applyStatus loyalty',
    ]);
    expect(world.summary('Ready')).toBe('True TokenValid');
  });

  it('learns from the refusal that a target exists which the watches have not shown', async () => {
    world.cluster.putSecret(TARGET, { data: { password: 'theirs' } });
    world.cluster.hide(TARGET);
    await world.runFor(seconds(10), await world.reconcile());

    expect(world.summary('Ready')).toBe('False TargetNotOurs');
    expect(world.cluster.stored(TARGET)?.data).toEqual({ password: 'theirs' });
    expect(world.tokenRequests).toBe(1);
  });

  it('of a Secret to merge into asks the API server first when the watches have not shown it', async () => {
    world.cluster.put(aCredential({ target: { creationPolicy: 'Merge' } }));
    world.cluster.hide(TARGET);
    await world.reconcile();

    expect(requests()).toContain('readSecretMeta loyalty-token');
    expect(world.summary('Ready')).toBe('False TargetMissing');
    expect(world.tokenRequests).toBe(0);
  });

  it('asks about another credentials Secret, named since, while a token is in place', async () => {
    await world.reconcile();
    world.cluster.putSecret('shop/another', { data: { client_secret: GOOD_SECRET } });
    world.cluster.hide('shop/another');
    const { spec, metadata } = aCredential({ metadata: { generation: 2 } });
    const credentialsSecretRef = { ...spec.credentialsSecretRef, name: 'another' };
    const status = world.cluster.statusOf(KEY);
    world.cluster.put(aCredential({ metadata, spec: { credentialsSecretRef }, status }));
    await world.reconcile();

    expect(world.renewals).toEqual(['TokenMissing success', 'CredentialChanged success']);
  });

  it('says what is missing when there is no credentials Secret, and goes on once there is', async () => {
    world.cluster.removeSecret(SOURCE);

    expect(await world.reconcile()).toBe('await-change');
    expect(world.summary('Ready')).toBe('False InputMissing');
    expect(world.summary('Stalled')).toBe('True InputMissing');
    expect(events()).toEqual(['Warning InputMissing']);
    expect(world.logged).toMatchObject([{ level: 'warn', fields: { reason: 'InputMissing' } }]);
    expect(world.tokenRequests).toBe(0);

    world.cluster.putSecret(SOURCE, { data: { client_secret: GOOD_SECRET } });
    await world.reconcile();
    expect(world.summary('Ready')).toBe('True TokenValid');
    expect(world.summary('Stalled')).toBe('absent');
    expect(events()).toEqual(['Normal Recovered']);
  });

  it('stops at a client secret that ends with a line break', async () => {
    world.cluster.putSecret(SOURCE, { data: { client_secret: `${GOOD_SECRET}\n` } });

    expect(await world.reconcile()).toBe('await-change');
    expect(world.summary('Ready')).toBe('False InputInvalid');
    expect(world.tokenRequests).toBe(0);
  });

  it('asks once with a wrong client secret, and again when it was corrected', async () => {
    world.cluster.putSecret(SOURCE, { data: { client_secret: WRONG_SECRET } });
    const action = await world.reconcile();
    await world.reconcile();
    await world.runFor(minutes(10), action);

    expect(world.tokenRequests).toBe(1);
    expect(world.summary('Ready')).toBe('False ClientSecretRejected');
    expect(world.summary('Stalled')).toBe('True ClientSecretRejected');
    expect(world.cluster.stored(TARGET)).toBeUndefined();
    expect(events()).toEqual(['Warning ClientSecretRejected']);

    world.cluster.putSecret(SOURCE, { data: { client_secret: GOOD_SECRET } });
    await world.reconcile();
    expect(world.tokenRequests).toBe(2);
    expect(world.summary('Ready')).toBe('True TokenValid');
  });

  it('reads the client secret again when the spec names another key of the same Secret', async () => {
    world.cluster.putSecret(SOURCE, { data: { client_secret: WRONG_SECRET, right: GOOD_SECRET } });
    await world.reconcile();
    world.cluster.edit(KEY, ({ credentialsSecretRef: { name, keys }, ...spec }) => ({
      ...spec,
      credentialsSecretRef: { name, keys: { ...keys, clientSecret: 'right' } },
    }));
    await world.reconcile();

    expect(world.summary('Ready')).toBe('True TokenValid');
  });

  it('stops at a spec that the server can not fulfil, without asking again and again', async () => {
    world = World.with({ target: { data: { id: '{{id_token}}' } } });

    const action = await world.reconcile();
    await world.reconcile();
    expect(world.summary('Ready')).toBe('False InvalidSpec');
    expect(world.summary('Stalled')).toBe('True InvalidSpec');
    expect(world.tokenRequests).toBe(1);

    world.source = async () =>
      aToken({
        issuedAt: world.clock.now(),
        expiresAt: world.clock.now() + minutes(5),
        idToken: new Sensitive(`${CANARY}-id`),
      });
    await world.runFor(hours(1.1), action);
    expect(world.summary('Ready')).toBe('True TokenValid');
  });
});

describe('a token in place', () => {
  beforeEach(async () => {
    await world.reconcile();
    requests();
    events();
  });

  it('costs nothing while nothing is due', async () => {
    const action = await world.reconcile();
    await world.runFor(minutes(3), action);

    expect(requests()).toEqual([]);
    expect(events()).toEqual([]);
    expect(world.tokenRequests).toBe(1);
  });

  it('is renewed when due, at the price of two writes and no event', async () => {
    const action = await world.runFor(minutes(4), { requeueAt: RENEW_AT });

    expect(token()).toBe(`${CANARY}-token-2`);
    expect(requests()).toEqual(['applySecret loyalty-token', 'applyStatus loyalty']);
    expect(events()).toEqual([]);
    expect(world.summary('Renewed')).toBe('True RenewedOnSchedule');
    expect(action).toEqual({ requeueAt: RENEW_AT + minutes(4) });
  });

  it('is renewed again and again with the same two writes, and never expires', async () => {
    await world.runFor(minutes(60), { requeueAt: RENEW_AT });

    expect(world.tokenRequests).toBe(16);
    expect(requests()).toHaveLength(2 * 15);
    expect(world.condition('Ready')?.lastTransitionTime).toBe('2026-09-21T12:00:00Z');
  });

  it('costs nothing after a restart', async () => {
    world.restart();

    expect(await world.reconcile()).toEqual({ requeueAt: RENEW_AT });
    expect(requests()).toEqual([]);
    expect(world.tokenRequests).toBe(1);
  });

  it('survives a wiped status without a token request', async () => {
    world.cluster.wipeStatus(KEY);
    world.restart();
    await world.reconcile();

    expect(world.tokenRequests).toBe(1);
    expect(requests()).not.toContain('applySecret loyalty-token');
    expect(world.summary('Ready')).toBe('True TokenValid');
  });

  it('is not asked for again when the credentials Secret was touched without a change', async () => {
    world.clock.step(SETTINGS.renewal.minimum);
    world.cluster.putSecret(SOURCE, { annotations: { team: 'shop' } });
    await world.reconcile();
    expect(requests()).toContain('readSecret convercus-abc');
    await world.reconcile();

    expect(world.tokenRequests).toBe(1);
    expect(world.summary('Renewed')).toBe('True SecretRotated');
  });

  it('is replaced at once when the client secret has changed', async () => {
    world.clock.step(SETTINGS.renewal.minimum);
    world.cluster.putSecret(SOURCE, { data: { client_secret: `${GOOD_SECRET}-2` } });
    await world.reconcile();

    expect(token()).toBe(`${CANARY}-token-2`);
    expect(events()).toEqual(['Normal SecretRotated']);
  });

  it('is replaced after the least time between renewals when that has changed sooner', async () => {
    world.cluster.putSecret(SOURCE, { data: { client_secret: `${GOOD_SECRET}-2` } });
    const action = await world.reconcile();
    expect(action).toEqual({ requeueAt: START + SETTINGS.renewal.minimum });
    expect(requests()).toEqual([]);
    await world.runFor(SETTINGS.renewal.minimum, action);

    expect(token()).toBe(`${CANARY}-token-2`);
    expect(world.tokenRequests).toBe(2);
  });

  it('outlives its credentials Secret, but not longer than it is valid', async () => {
    world.cluster.removeSecret(SOURCE);
    const action = await world.reconcile();

    expect(world.summary('Ready')).toBe('True TokenValid');
    expect(world.summary('Renewed')).toBe('False InputMissing');
    expect(action).toEqual({ requeueAt: EXPIRY });

    await world.runFor(minutes(5), action);
    expect(world.summary('Ready')).toBe('False TokenExpired');
    expect(world.condition('Renewed')?.message).toMatch(/does not exist/);
    expect(token()).toBe(`${CANARY}-token-1`);
  });

  it('is rewritten after a change of the spec, from the token that is known', async () => {
    world.cluster.edit(KEY, (spec) => ({
      ...spec,
      target: { ...spec.target, data: { header: 'Bearer {{access_token}}' } },
    }));
    await world.reconcile();

    expect(world.cluster.stored(TARGET)?.data['header']).toBe(`Bearer ${CANARY}-token-1`);
    expect(world.tokenRequests).toBe(1);
    expect(world.cluster.statusOf(KEY)?.observedGeneration).toBe(2);
    expect(events()).toEqual(['Normal SpecChanged']);
  });

  it('is asked for again after a change of what shapes the token', async () => {
    world.cluster.edit(KEY, (spec) => ({ ...spec, scope: 'openid profile' }));
    await world.reconcile();

    expect(world.tokenRequests).toBe(2);
    expect(world.idp.requests[1]).toMatchObject({ scope: 'openid profile' });
  });

  it.each<[string, Target]>([
    ['owned by the credential', {}],
    ['kept for the time after', { deletionPolicy: 'Retain' }],
    ['merged into', { creationPolicy: 'Merge' }],
  ])('stays Ready beside a spec that makes no sense (%s)', async (_, target) => {
    world = World.with({ target });
    world.cluster.putSecret(TARGET, target.creationPolicy === undefined ? OURS : ALLOWED);
    await world.reconcile();
    expect(world.summary('Ready')).toBe('True TokenValid');
    world.cluster.edit(KEY, (spec) => ({ ...spec, environment: 'moon' }));
    const action = await world.reconcile();

    expect(world.summary('Ready')).toBe('True TokenValid');
    expect(world.summary('Renewed')).toBe('False InvalidSpec');
    expect(world.summary('Stalled')).toBe('True InvalidSpec');
    expect(action).toEqual({ requeueAt: EXPIRY });
  });

  it('does not count beside a spec that makes no sense when it belongs to another', async () => {
    world.cluster.putSecret(TARGET, { controllerUid: 'their-uid' });
    world.cluster.edit(KEY, (spec) => ({ ...spec, environment: 'moon' }));
    await world.reconcile();

    expect(world.summary('Ready')).toBe('False InvalidSpec');
  });

  it('is left alone while suspended, and renewed afterwards', async () => {
    world.cluster.edit(KEY, (spec) => ({ ...spec, suspend: true }));
    const action = await world.reconcile();
    expect(world.summary('Ready')).toBe('True Suspended');
    expect(action).toEqual({ requeueAt: EXPIRY });

    await world.runFor(minutes(6), action);
    expect(world.summary('Ready')).toBe('False TokenExpired');
    expect(world.tokenRequests).toBe(1);

    world.cluster.edit(KEY, (spec) => ({ ...spec, suspend: false }));
    await world.reconcile();
    expect(world.summary('Ready')).toBe('True TokenValid');
    expect(token()).toBe(`${CANARY}-token-2`);
  });

  it('goes with its credential, and nothing is done any more', async () => {
    world.cluster.remove(KEY);

    expect(await world.reconcile()).toBe('await-change');
    expect(requests()).toEqual([]);
    expect(world.cluster.stored(TARGET)).toBeUndefined();
  });

  it('is forgotten with its credential: what comes after begins without it', async () => {
    const credential = aCredential({ metadata: { uid: 'another-uid' } });
    world.cluster.remove(KEY);
    await world.reconcile();
    world.cluster.put(credential);
    await world.reconcile();

    expect(world.cluster.stored(TARGET)?.controllerUid).toBe('another-uid');
    expect(requests()).toContain('readSecret convercus-abc');
  });

  it('is not renewed while its credential is being deleted', async () => {
    const credential = world.cluster.credential(KEY);
    if (credential === undefined) throw new Error('unreachable');
    const deletionTimestamp = '2026-09-21T12:00:01Z';
    world.cluster.put({ ...credential, metadata: { ...credential.metadata, deletionTimestamp } });

    world.clock.step(minutes(4));
    expect(await world.reconcile()).toBe('await-change');
    expect(world.tokenRequests).toBe(1);
  });
});

describe('a first token that takes long', () => {
  it('is told after 5 s, and once more when it is there', async () => {
    const release = world.limiter.hold();
    const waiting = world.reconcile();
    await until(() => world.limiter.waiting > 0);
    expect(world.condition('Ready')).toBeUndefined();
    world.clock.step(seconds(5));
    await until(() => world.summary('Ready') === 'Unknown Pending');
    expect(world.summary('Renewed')).toBe('Unknown Pending');
    expect(events()).toEqual([]);
    release();
    await waiting;
    expect(world.summary('Ready')).toBe('True TokenValid');
    expect(events()).toEqual(['Normal TokenIssued']);
  });
});

describe('a failing renewal', () => {
  beforeEach(async () => {
    await world.reconcile();
    requests();
    events();
    world.idp.outage = OFFLINE;
  });

  it('keeps the token, and Ready true until the token expires', async () => {
    const action = await world.runFor(minutes(5) - seconds(1), { requeueAt: RENEW_AT });

    expect(token()).toBe(`${CANARY}-token-1`);
    expect(world.summary('Ready')).toBe('True TokenValid');
    expect(world.summary('Renewed')).toBe('False NetworkError');
    expect(world.summary('Stalled')).toBe('absent');
    expect(events()).toEqual(['Warning NetworkError']);

    await world.runFor(seconds(1), action);
    expect(world.summary('Ready')).toBe('False TokenExpired');
    expect(world.condition('Ready')?.lastTransitionTime).toBe('2026-09-21T12:05:00Z');
    expect(world.condition('Renewed')?.message).toContain(OFFLINE.message);
    expect(events()).toEqual(['Warning TokenExpired']);
  });

  it('writes no status while nothing changes for people', async () => {
    await world.runFor(minutes(60), { requeueAt: RENEW_AT });

    expect(requests()).toHaveLength(2); // the failure, and the expiry
    expect(world.tokenRequests).toBeGreaterThan(10);
    expect(world.tokenRequests).toBeLessThan(40);
  });

  it('recovers when the server does', async () => {
    const action = await world.runFor(minutes(7), { requeueAt: RENEW_AT });
    world.idp.outage = undefined;
    await world.runFor(minutes(5), action);

    expect(world.summary('Ready')).toBe('True TokenValid');
    expect(events().at(-1)).toBe('Normal Recovered');
  });

  it('is not tried sooner because of a restart of the watch or any other reconcile', async () => {
    world.clock.step(minutes(4));
    await world.reconcile();
    const { length } = world.idp.requests;
    await world.reconcile();
    await world.reconcile();

    expect(world.tokenRequests).toBe(length);
  });

  it('because the host is busy says so when the token expires, and goes on waiting', async () => {
    world.idp.outage = undefined;
    const release = world.limiter.hold();
    world.clock.step(minutes(4));
    const waiting = world.reconcile();
    await until(() => world.limiter.waiting > 0);
    world.clock.step(minutes(1));

    expect(await waiting).toEqual({ requeueAt: EXPIRY + minutes(1) });
    expect(world.summary('Ready')).toBe('False TokenExpired');
    expect(world.condition('Renewed')?.message).toContain('Waiting for a turn');
    expect(events()).toEqual(['Warning TokenExpired']);

    release();
    await world.reconcile();
    expect(world.summary('Ready')).toBe('True TokenValid');
    expect(world.tokenRequests).toBe(2);
  });

  it('with a rejected secret says so at once, although the token is still good', async () => {
    world.idp.outage = undefined;
    world.clock.step(minutes(1));
    world.cluster.putSecret(SOURCE, { data: { client_secret: WRONG_SECRET } });
    const action = await world.reconcile();

    expect(world.summary('Ready')).toBe('True TokenValid');
    expect(world.summary('Stalled')).toBe('True ClientSecretRejected');
    expect(action).toEqual({ requeueAt: START + minutes(3) });
  });

  it('with a secret that is not yet known to the server is tried again before the token expires', async () => {
    world.idp.outage = new Failure('ClientSecretRejected', 'Not yet');
    world.cluster.putSecret(SOURCE, { data: { client_secret: `${CANARY}-new` } });
    const first = await world.reconcile();
    const action = await world.runFor(minutes(4), first);
    expect(world.tokenRequests).toBe(1 + 3);

    world.idp.outage = undefined;
    await world.runFor(minutes(1), action);
    expect(world.summary('Ready')).toBe('True TokenValid');
    expect(token()).toBe(`${CANARY}-token-5`);
  });
});

describe('a renewal on request', () => {
  beforeEach(async () => {
    await world.reconcile();
    events();
    world.clock.step(minutes(1));
  });

  it('happens once per value', async () => {
    world.cluster.annotate(KEY, { [REQUEST]: 'a' });
    await world.reconcile();
    await world.reconcile();
    world.restart();
    await world.reconcile();
    world.cluster.wipeStatus(KEY);
    await world.reconcile();

    expect(world.tokenRequests).toBe(2);
    expect(token()).toBe(`${CANARY}-token-2`);
    expect(events()[0]).toBe('Normal RenewRequested');

    world.clock.step(minutes(1));
    world.cluster.annotate(KEY, { [REQUEST]: 'b' });
    await world.reconcile();
    expect(world.tokenRequests).toBe(3);
    expect(world.cluster.statusOf(KEY)?.lastHandledRenewRequest).toBe('b');
  });

  it('that fails for a while is answered by the failure, and tried again until it succeeds', async () => {
    world.idp.outage = OFFLINE;
    world.cluster.annotate(KEY, { [REQUEST]: 'a' });
    const failed = await world.reconcile();
    expect(world.summary('Renewed')).toBe('False NetworkError');
    expect(world.cluster.statusOf(KEY)?.lastHandledRenewRequest).toBe('a');
    await world.reconcile();
    expect(world.tokenRequests).toBe(2);

    const action = await world.runFor(minutes(2), failed);
    world.idp.outage = undefined;
    await world.runFor(minutes(4), action);
    expect(world.summary('Renewed')).toBe('True RenewRequested');
    expect(token()).toBe(`${CANARY}-token-${world.tokenRequests}`);
    expect(world.tokenRequests).toBeLessThan(12);
    const { tokenRequests } = world;
    await world.reconcile();
    expect(world.tokenRequests).toBe(tokenRequests);
  });

  it('that has failed is not tried at once after a restart', async () => {
    world.idp.outage = OFFLINE;
    world.cluster.annotate(KEY, { [REQUEST]: 'a' });
    await world.reconcile();

    world.clock.step(minutes(1));
    world.restart();
    await world.reconcile();
    expect(world.tokenRequests).toBe(2);
  });

  it('that is refused is tried once per value', async () => {
    world.cluster.annotate(KEY, { [REQUEST]: 'a' });
    world.idp.outage = new Failure('ClientSecretRejected', 'Wrong client secret');
    await world.reconcile();
    expect(world.summary('Renewed')).toBe('False ClientSecretRejected');

    await world.runFor(minutes(1), await world.reconcile());
    expect(world.tokenRequests).toBe(2);
  });

  it('that is refused is tried again later, long before the next renewal of a long token', async () => {
    world.idp.validity = hours(24);
    world.clock.step(hours(1));
    await world.reconcile();
    const { tokenRequests } = world;
    world.clock.step(hours(1));
    world.cluster.annotate(KEY, { [REQUEST]: 'a' });
    world.idp.outage = new Failure('UnexpectedRedirect', 'A page about maintenance');
    const failed = await world.reconcile();
    expect(world.summary('Stalled')).toBe('True UnexpectedRedirect');

    world.idp.outage = undefined;
    await world.runFor(minutes(20), failed);
    expect(world.summary('Renewed')).toBe('True RenewRequested');
    expect(world.tokenRequests).toBe(tokenRequests + 2);
  });

  it('is not lost when the API server does not take the new token', async () => {
    world.cluster.annotate(KEY, { [REQUEST]: 'a' });
    for (let times = 0; times < 3; times += 1) world.cluster.failNext('applySecret');
    await world.runFor(minutes(1), await world.reconcile());

    expect(token()).toBe(`${CANARY}-token-2`);
    expect(world.tokenRequests).toBe(2);
  });

  it('is not lost when it has to wait for its turn', async () => {
    const release = world.limiter.hold();
    world.cluster.annotate(KEY, { [REQUEST]: 'a' });
    const waiting = world.reconcile();
    await until(() => world.limiter.waiting > 0);
    world.clock.step(minutes(5));
    await waiting;
    expect(world.summary('Renewed')).toBe('False Throttled');

    release();
    await world.reconcile();
    expect(token()).toBe(`${CANARY}-token-2`);
    expect(world.tokenRequests).toBe(2);
  });

  it('gets past a refusal that would have stood for long', async () => {
    world.cluster.putSecret(SOURCE, { data: { client_secret: WRONG_SECRET } });
    await world.reconcile();
    expect(world.tokenRequests).toBe(2);

    world.clock.step(minutes(1));
    world.cluster.annotate(KEY, { [REQUEST]: 'a' });
    await world.reconcile();
    await world.reconcile();
    expect(world.tokenRequests).toBe(3);
  });
});

describe('a status whose write was lost', () => {
  it('is written again, though the next one equals what the watch has shown', async () => {
    await world.reconcile();
    const good = world.cluster.statusOf(KEY);
    const apply = world.cluster.applyStatus.bind(world.cluster);
    let stored = good;
    let isLost = true;
    // The API server carries it out, but neither its response nor the watch arrives
    world.cluster.applyStatus = async (resource, status) => {
      stored = status;
      return isLost ? OUTAGE : apply(resource, status);
    };
    let isAway = true;
    world.cluster.failWhile('readSecretMeta', () => isAway);
    world.cluster.hide(TARGET);
    await world.reconcile();
    await world.reconcile();
    expect(stored).not.toEqual(good);
    expect(world.cluster.statusOf(KEY)).toEqual(good);

    isAway = false;
    isLost = false;
    await world.reconcile();
    expect(stored).toEqual(good);
  });
});

describe('a target that others have to do with', () => {
  beforeEach(async () => {
    await world.reconcile();
    requests();
    events();
  });

  it('comes back when it was deleted', async () => {
    world.cluster.removeSecret(TARGET);
    await world.reconcile();

    expect(token()).toBe(`${CANARY}-token-1`);
    expect(world.tokenRequests).toBe(1);
    expect(world.summary('Renewed')).toBe('True Issued');
  });

  it('is restored when it was edited', async () => {
    world.cluster.putSecret(TARGET, { data: { token: 'nonsense' } });
    await world.reconcile();

    expect(token()).toBe(`${CANARY}-token-1`);
    expect(world.summary('Renewed')).toBe('True TargetRepaired');
    expect(events()).toEqual(['Normal TargetRepaired']);
    expect(world.tokenRequests).toBe(1);
  });

  describe('and is changed after each repair', () => {
    const WAYS: readonly [string, () => void][] = [
      ['its key', () => world.cluster.putSecret(TARGET, { data: { token: 'nonsense' } })],
      ['its dates', () => annotate({ 'convercus.io/expires-at': '2099-01-01T00:00:00Z' })],
      ['its spec hash', () => annotate({ 'convercus.io/spec-hash': 'x' })],
      ['its source', () => annotate({ 'convercus.io/source-version': 'x' })],
      ['its annotations', () => world.cluster.putSecret(TARGET, { annotations: {} })],
      ['its existence', () => world.cluster.removeSecret(TARGET)],
    ];

    function annotate(changed: Record<string, string>): void {
      const annotations = { ...world.cluster.stored(TARGET)?.annotations, ...changed };
      world.cluster.putSecret(TARGET, { annotations });
    }

    /** It is done again as soon as it has been repaired. Answers how often that was. */
    async function repairsIn(length: Ms, damage: () => void): Promise<number> {
      const end = world.clock.now() + length;
      let repairs = 0;
      for (damage(); world.clock.now() < end && repairs < 300; ) {
        const action = await world.reconcile();
        if (requests().includes('applySecret loyalty-token')) {
          repairs += 1;
          damage();
          continue;
        }
        if (action === 'await-change') throw new Error('never enqueued again');
        world.clock.step(Math.max(action.requeueAt - world.clock.now(), 1));
      }
      return repairs;
    }

    it.each(WAYS)('in %s: it is repaired ever more seldom', async (_, damage) => {
      world.idp.validity = hours(10);
      const started = world.clock.now();
      damage();
      await world.reconcile();
      expect(requests()).toContain('applySecret loyalty-token');
      expect(world.clock.now()).toBe(started);

      const repairs = await repairsIn(minutes(60), damage);
      expect(repairs).toBeGreaterThan(10);
      expect(repairs).toBeLessThan(25);
      expect(world.summary('Stalled')).toBe('True TargetNotOurs');
      expect(world.condition('Renewed')?.message).toContain('--show-managed-fields');

      await world.runFor(minutes(5), await world.reconcile());
      expect(world.summary('Ready')).toBe('True TokenValid');
      expect(world.summary('Stalled')).toBe('absent');
    });

    it.each(WAYS)('in %s: it is repaired at once again after a quiet time', async (_, damage) => {
      world.idp.validity = hours(10);
      await repairsIn(minutes(10), damage);
      await world.runFor(minutes(30), await world.reconcile());
      requests();
      damage();
      await world.reconcile();
      expect(requests()).toContain('applySecret loyalty-token');
    });

    it('what is due or asked for is done in time all the same', async () => {
      const damage = () => annotate({ 'convercus.io/content-hash': 'x' });
      await repairsIn(minutes(3.9), damage);
      const asked = world.tokenRequests;
      await world.runFor(minutes(1), await world.reconcile());
      expect(world.tokenRequests).toBe(asked + 1);

      await repairsIn(minutes(1), damage);
      world.cluster.annotate(KEY, { [REQUEST]: 'now' });
      await world.reconcile();
      expect(requests()).toContain('applySecret loyalty-token');
    });
  });

  it('is no matter of repair when its credential is made again and again', async () => {
    for (let n = 0; n < 9; n += 1) {
      world.cluster.remove(KEY);
      world.cluster.put(
        aCredential({ metadata: { uid: `uid-${n}`, annotations: { [REQUEST]: 'x' } } }),
      );
      await world.reconcile();
      expect(requests()).toContain('applySecret loyalty-token');
      expect(world.summary('Stalled')).toBe('absent');
      expect(world.cluster.statusOf(KEY)?.lastHandledRenewRequest).toBe('x');
    }
  });

  it('is not Ready while an edited token can not be restored', async () => {
    world.restart();
    world.idp.outage = OFFLINE;
    world.cluster.putSecret(TARGET, { data: { token: 'nonsense' } });
    await world.reconcile();

    expect(world.summary('Ready')).toBe('False NetworkError');
    world.restart();
    await world.reconcile();
    expect(world.summary('Ready')).toBe('False NetworkError');
  });

  it('is looked into once, and no event is told, when others wrote what is none of our business', async () => {
    const { annotations = {} } = world.cluster.stored(TARGET) ?? {};
    world.cluster.putSecret(TARGET, { annotations: { ...annotations, team: 'shop' } });
    await world.reconcile();
    await world.reconcile();

    expect(requests()).toEqual(['readSecret loyalty-token', 'applyStatus loyalty']);
    expect(events()).toEqual([]);

    world.restart();
    await world.reconcile();
    expect(requests()).toEqual([]);
  });

  it('is taken back when its owner reference was removed', async () => {
    const stored = world.cluster.stored(TARGET);
    if (stored === undefined) throw new Error('unreachable');
    const { controllerUid: _, ...orphan } = stored;
    world.cluster.removeSecret(TARGET);
    world.cluster.putSecret(TARGET, orphan);
    await world.reconcile();

    expect(world.cluster.stored(TARGET)?.controllerUid).toBe('uid-of-loyalty');
    expect(world.tokenRequests).toBe(1);
  });

  it('is never overwritten when it belongs to another', async () => {
    world.cluster.removeSecret(TARGET);
    world.cluster.putSecret(TARGET, { data: { password: 'theirs' }, controllerUid: 'their-uid' });

    expect(await world.reconcile()).toBe('await-change');
    expect(world.cluster.stored(TARGET)?.data).toEqual({ password: 'theirs' });
    expect(world.summary('Ready')).toBe('False TargetNotOurs');
    expect(world.summary('Stalled')).toBe('True TargetNotOurs');
  });

  it('is never overwritten when it only looks like ours', async () => {
    world.cluster.removeSecret(TARGET);
    world.cluster.putSecret(TARGET, { ...OURS, type: 'Opaque', data: { password: 'theirs' } });

    expect(await world.reconcile()).toBe('await-change');
    expect(world.cluster.stored(TARGET)?.data).toEqual({ password: 'theirs' });
    expect(world.summary('Ready')).toBe('False TargetNotOurs');
  });

  it('has one owner when two credentials name it, and the other takes over after its deletion', async () => {
    const second = 'shop/second';
    world.cluster.put(aSecond());
    expect(await world.reconcile(second)).toBe('await-change');
    expect(await world.reconcile()).toEqual({ requeueAt: RENEW_AT });

    expect(world.summary('Ready', second)).toBe('False TargetNotOurs');
    expect(world.condition('Renewed', second)?.message).toContain('"loyalty"');
    expect(world.summary('Ready')).toBe('True TokenValid');

    world.cluster.remove(KEY);
    await world.reconcile(second);
    expect(world.summary('Ready', second)).toBe('True TokenValid');
  });

  it.each([
    ['the older', '2026-08-01T00:00:00Z', 'second'],
    ['the first by name of two of the same age', '2026-09-01T00:00:00Z', 'loyalty'],
    ['the older, be it the first by name', '2026-10-01T00:00:00Z', 'loyalty'],
  ])('of two claimants goes to %s while none has written it', async (_, created, winner) => {
    world = World.with();
    const second = aSecond();
    const metadata = { ...second.metadata, creationTimestamp: created };
    world.cluster.put({ ...second, metadata });
    await world.reconcile();
    await world.reconcile('shop/second');

    const ready = (name: string) => world.summary('Ready', `shop/${name}`);
    const loser = winner === 'second' ? 'loyalty' : 'second';
    expect([ready(winner), ready(loser)]).toEqual(['True TokenValid', 'False TargetNotOurs']);
  });

  it('of two claimants stays with the one that published to it, even when it is kept by Retain', async () => {
    world = World.with({ target: { deletionPolicy: 'Retain' } });
    await world.reconcile();
    world.cluster.put(aSecond());
    await world.reconcile('shop/second');
    await world.reconcile();

    expect(world.summary('Ready')).toBe('True TokenValid');
    expect(world.summary('Ready', 'shop/second')).toBe('False TargetNotOurs');
  });
});

type Target = NonNullable<CredentialOverrides['target']>;

const ALLOWED = { annotations: { 'convercus.io/merge': 'loyalty' } };

/** A Secret that carries our labels, as one kept by Retain. */
const OURS = {
  type: 'convercus.io/token',
  labels: {
    'app.kubernetes.io/managed-by': 'convercus-operator',
    'convercus.io/credential': 'loyalty',
  },
};

function aSecond() {
  const credential = world.cluster.credential(KEY);
  if (credential === undefined) throw new Error('unreachable');
  const { metadata, spec } = credential;
  return {
    metadata: {
      ...metadata,
      name: 'second',
      uid: 'uid-of-second',
      creationTimestamp: '2026-08-01T00:00:00Z',
    },
    spec: { ...spec, target: { ...spec.target, name: 'loyalty-token' } },
  };
}
