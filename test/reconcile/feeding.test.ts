import { afterEach, describe, expect, it } from '@jest/globals';
import { minutes, seconds } from '../../src/lib/time.ts';
import { aCredential, CANARY, SETTINGS } from '../support/builders.ts';
import { GOOD_SECRET, World } from '../support/world.ts';

const X = 'shop/x';
const Y = 'shop/y';

/** Its owner lets that credential merge into it. */
const putSource = (world: World, name: string, mergedBy: string): void =>
  world.cluster.putSecret(`shop/${name}`, {
    annotations: { 'convercus.io/merge': mergedBy },
    data: { client_secret: GOOD_SECRET },
  });

/** `x` reads `s1` and merges its token into `s2`; `y` reads `s2` and merges its token into `s1`. */
function feedingEachOther(): World {
  const world = new World();
  putSource(world, 's1', 'y');
  putSource(world, 's2', 'x');
  const { keys } = aCredential().spec.credentialsSecretRef;
  const put = (name: string, source: string, target: string) =>
    world.cluster.put(
      aCredential({
        metadata: { name },
        spec: { credentialsSecretRef: { name: source, keys } },
        target: { name: target, creationPolicy: 'Merge', data: { [name]: '{{access_token}}' } },
      }),
    );
  put('x', 's1', 's2');
  put('y', 's2', 's1');
  return world;
}

let world: World;

const writes = () =>
  world.cluster.requests.splice(0).filter((request) => request.startsWith('applySecret')).length;

afterEach(() => {
  expect(world.shown).not.toContain(CANARY);
});

describe('two credentials that are each the source of the other', () => {
  it('write once, and the second is told', async () => {
    world = feedingEachOther();
    for (let round = 0; round < 50; round += 1) {
      await world.reconcile(X);
      await world.reconcile(Y);
    }

    expect(writes()).toBe(1);
    expect(world.summary('Ready', X)).toBe('True TokenValid');
    expect(world.summary('Ready', Y)).toBe('False InputInvalid');
    expect(world.condition('Renewed', Y)?.message).toContain(
      'Secret "s2" is the target of a ConvercusCredential',
    );
    expect(world.tokenRequests).toBe(1);
  });

  it('of which both have published keep their tokens, and present nothing of the other', async () => {
    world = feedingEachOther();
    await world.reconcile(X);
    const s2 = world.cluster.stored('shop/s2')!;
    world.cluster.removeSecret('shop/s2');
    putSource(world, 's2', 'x');
    await world.reconcile(Y);
    world.cluster.removeSecret('shop/s2');
    world.cluster.putSecret('shop/s2', s2);
    writes();
    const requested = world.tokenRequests;
    for (let round = 0; round < 50; round += 1) {
      await world.reconcile(X);
      await world.reconcile(Y);
      world.clock.step(seconds(5));
    }

    expect(writes()).toBe(0);
    expect(world.tokenRequests).toBe(requested);
    for (const key of [X, Y]) expect(world.summary('Renewed', key)).toBe('False InputInvalid');
  });

  it('recover when one has got a Secret of its own', async () => {
    world = feedingEachOther();
    await world.reconcile(X);
    await world.reconcile(Y);
    world.cluster.putSecret('shop/own', { data: { client_secret: GOOD_SECRET } });
    world.cluster.edit(Y, ({ credentialsSecretRef: { keys }, ...spec }) => ({
      ...spec,
      credentialsSecretRef: { name: 'own', keys },
      target: { ...spec.target, name: 'another' },
    }));
    world.cluster.putSecret('shop/another', { annotations: { 'convercus.io/merge': 'y' } });
    await world.reconcile(Y);

    expect(world.summary('Ready', X)).toBe('True TokenValid');
    expect(world.summary('Ready', Y)).toBe('True TokenValid');
  });
});

describe('a credentials Secret that another client writes again and again', () => {
  it('makes a credential publish no oftener than the least time between renewals', async () => {
    world = World.with();
    world.idp.validity = minutes(30);
    const { minimum } = SETTINGS.renewal;
    for (let elapsed = 0; elapsed < minutes(10); elapsed += seconds(1)) {
      world.cluster.putSecret('shop/convercus-abc', { annotations: { at: String(elapsed) } });
      await world.reconcile();
      world.clock.step(seconds(1));
    }

    expect(writes()).toBe(minutes(10) / minimum);
    expect(world.tokenRequests).toBe(1);
    expect(world.cluster.events.length).toBeLessThanOrEqual(minutes(10) / minimum);
  });
});

describe('a credentials Secret of a type that holds something else', () => {
  it.each([
    'kubernetes.io/service-account-token',
    'kubernetes.io/tls',
    'helm.sh/release.v1',
    'convercus.io/session',
  ])('such as %s is never presented', async (type) => {
    world = World.withPassword();
    const data = world.cluster.stored('shop/convercus-abc')?.data ?? {};
    world.cluster.removeSecret('shop/convercus-abc');
    world.cluster.putSecret('shop/convercus-abc', { type, data });

    expect(await world.reconcile()).toBe('await-change');
    expect(world.summary('Ready')).toBe('False InputInvalid');
    expect(world.summary('Stalled')).toBe('True InputInvalid');
    expect(world.idp.requests).toEqual([]);
  });

  it('is not presented for a log-out either, and a token in place stays', async () => {
    world = World.withPassword();
    await world.reconcile();
    const data = world.cluster.stored('shop/convercus-abc')?.data ?? {};
    world.cluster.removeSecret('shop/convercus-abc');
    world.cluster.putSecret('shop/convercus-abc', { type: 'kubernetes.io/tls', data });
    await world.reconcile();
    expect(world.summary('Ready')).toBe('True TokenValid');
    expect(world.summary('Renewed')).toBe('False InputInvalid');

    world.restart();
    world.cluster.remove('shop/loyalty');
    await world.reconcile();
    expect(world.idp.logouts).toEqual([]);
    expect(world.cluster.stored('shop/loyalty-session')).toBeUndefined();
  });
});
