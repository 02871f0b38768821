import { beforeEach, describe, expect, it } from '@jest/globals';
import { Failure } from '../../src/lib/failure.ts';
import { minutes, seconds } from '../../src/lib/time.ts';
import { aCredential } from '../support/builders.ts';
import { GOOD_SECRET, KEY, SOURCE, TARGET, until, World, WRONG_SECRET } from '../support/world.ts';

const REQUEST = { 'convercus.io/renew-requested-at': 'a' };

let world: World;

beforeEach(() => {
  world = World.with();
});

describe('what happens in the middle of something else', () => {
  it('a rejection in answer to a request stays in the status after the next reconcile', async () => {
    await world.reconcile();
    world.clock.step(minutes(1));
    world.idp.outage = new Failure('ClientSecretRejected', 'no');
    world.cluster.annotate(KEY, REQUEST);
    await world.reconcile();
    await world.reconcile();

    expect(world.summary('Stalled')).toBe('True ClientSecretRejected');
  });

  it('a failure that needs a person is not told any more of a suspended credential', async () => {
    await world.reconcile();
    world.clock.step(minutes(1));
    world.idp.outage = new Failure('ClientSecretRejected', 'no');
    world.cluster.annotate(KEY, REQUEST);
    await world.reconcile();
    world.cluster.edit(KEY, (spec) => ({ ...spec, suspend: true }));
    await world.reconcile();
    expect(world.summary('Stalled')).toBe('absent');

    // The renewal is to be tried again
    world.cluster.edit(KEY, (spec) => ({ ...spec, suspend: false }));
    const resumed = await world.reconcile();
    expect(world.summary('Stalled')).toBe('True ClientSecretRejected');
    world.idp.outage = undefined;
    await world.runFor(minutes(3), resumed);
    expect(world.summary('Stalled')).toBe('absent');
    expect(world.summary('Renewed')).toBe('True RenewRequested');
  });

  it('a failure of an edited spec ends when the edit is taken back', async () => {
    await world.reconcile();
    world.clock.step(minutes(1));
    world.idp.outage = new Failure('InvalidScope', 'no');
    const { scope } = world.cluster.credential(KEY)?.spec ?? { scope: '' };
    world.cluster.edit(KEY, (spec) => ({ ...spec, scope: 'unknown' }));
    await world.reconcile();
    expect(world.summary('Renewed')).toBe('False InvalidScope');
    world.cluster.edit(KEY, (spec) => ({ ...spec, scope }));
    await world.reconcile();

    expect(world.summary('Ready')).toBe('True TokenValid');
    expect(world.summary('Renewed')).toBe('True TokenValid');
    expect(world.summary('Stalled')).toBe('absent');
  });

  it('a request soon after a refusal leads to an attempt, if later', async () => {
    world.cluster.putSecret(SOURCE, { data: { client_secret: WRONG_SECRET } });
    await world.reconcile();
    world.clock.step(seconds(10));
    world.cluster.annotate(KEY, REQUEST);
    await world.runFor(minutes(2), await world.reconcile());

    expect(world.tokenRequests).toBe(2);
  });

  it('a kept target is not written for a credential that went while it waited', async () => {
    world.cluster.put(aCredential({ target: { deletionPolicy: 'Retain' } }));
    world.cluster.putSecret(SOURCE, { data: { client_secret: GOOD_SECRET } });
    const release = world.limiter.hold();
    const transient = world.reconcile();
    await until(() => world.limiter.waiting > 0);
    world.cluster.remove(KEY);
    release();
    await transient;

    expect(world.cluster.stored(TARGET)).toBeUndefined();
  });
});
