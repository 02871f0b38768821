import { beforeEach, describe, expect, it } from '@jest/globals';
import type { ConvercusCredential } from '../../src/credential/api.ts';
import { Failure } from '../../src/lib/failure.ts';
import { hours, minutes, seconds } from '../../src/lib/time.ts';
import { aCredential } from '../support/builders.ts';
import { OUTAGE } from '../support/fake-cluster.ts';
import { KEY, TARGET, World } from '../support/world.ts';

type Target = ConvercusCredential['spec']['target'];

const OTHER = 'shop/other';

let world: World;

const editTarget = (change: Partial<Target>): void =>
  world.cluster.edit(KEY, (spec) => ({ ...spec, target: { ...spec.target, ...change } }));
const storedTarget = () => {
  const target = world.cluster.stored(TARGET);
  if (target === undefined) throw new Error('it is there');
  return target;
};
const deletions = () =>
  world.cluster.requests.splice(0).filter((request) => request.startsWith('deleteSecret'));

describe('a target whose name is changed before its token was told', () => {
  beforeEach(async () => {
    world = World.with();
    world.cluster.failNext('applyStatus', OUTAGE);
    await world.reconcile();
    expect(world.cluster.stored(TARGET)).toBeDefined();
    expect(world.cluster.statusOf(KEY)).toBeUndefined();
    world.cluster.requests.splice(0);
    editTarget({ name: 'other' });
  });

  it('is deleted, and the token goes into the other one', async () => {
    await world.reconcile();

    expect(deletions()).toEqual(['deleteSecret loyalty-token']);
    expect(world.cluster.stored(TARGET)).toBeUndefined();
    expect(world.cluster.stored(OTHER)?.controllerUid).toBe('uid-of-loyalty');
    expect(world.summary('Ready')).toBe('True TokenValid');
    await world.reconcile();
    expect(deletions()).toEqual([]);
  });

  it('is deleted after a restart', async () => {
    world.restart();
    await world.reconcile();

    expect(world.cluster.stored(TARGET)).toBeUndefined();
    expect(world.cluster.stored(OTHER)).toBeDefined();
  });

  it('is deleted later when that fails at first, and keeps the other one from nothing', async () => {
    world.cluster.failNext('deleteSecret', OUTAGE);
    const action = await world.reconcile();
    expect(world.cluster.stored(TARGET)).toBeDefined();
    expect(world.cluster.stored(OTHER)).toBeDefined();
    expect(world.summary('Ready')).toBe('True TokenValid');
    await world.runFor(minutes(1), action);

    expect(world.cluster.stored(TARGET)).toBeUndefined();
    expect(world.cluster.stored(OTHER)).toBeDefined();
  });

  it('stays when another client has put a Secret of another type in its place', async () => {
    world.cluster.putSecret(TARGET, { type: 'Opaque' });
    await world.reconcile();

    expect(deletions()).toEqual([]);
    expect(world.cluster.stored(OTHER)).toBeDefined();
  });

  it('stays when the name was changed back, which the watch has not shown', async () => {
    const shown = world.cluster.credential(KEY);
    if (shown === undefined) throw new Error('it is there');
    editTarget({ name: 'loyalty-token' });
    const current = world.cluster.credential(KEY);
    world.cluster.put(shown);
    world.cluster.readCredential = async () => current ?? 'absent';
    await world.reconcile();

    expect(deletions()).toEqual([]);
  });

  it('stays when its credential has moved to another release, which has changed the name back', async () => {
    const { cluster } = world;
    const shown = cluster.credential(KEY);
    if (shown === undefined) throw new Error('it is there');
    const target = { ...shown.spec.target, name: 'loyalty-token' };
    cluster.readCredential = async () => ({ ...shown, spec: { ...shown.spec, target } });
    const readSecret = cluster.readSecret.bind(cluster);
    cluster.readSecret = async (...args) => {
      cluster.credential = () => undefined;
      return readSecret(...args);
    };
    await world.reconcile();

    expect(deletions()).toEqual([]);
    expect(cluster.stored(TARGET)).toBeDefined();
  });
});

describe('a target whose name is changed while it is written', () => {
  /** @param shown the watch shows the change before the write has ended */
  function renameDuringWrite(shown: boolean): void {
    const { cluster } = world;
    const apply = cluster.applySecret.bind(cluster);
    cluster.applySecret = async (desired) => {
      cluster.applySecret = apply;
      const written = await apply(desired);
      if (shown) {
        editTarget({ name: 'other' });
        return written;
      }
      const applyStatus = cluster.applyStatus.bind(cluster);
      cluster.applyStatus = async (resource, status) => {
        cluster.applyStatus = applyStatus;
        editTarget({ name: 'other' });
        return applyStatus(resource, status);
      };
      return written;
    };
  }

  it.each([
    ['before', true],
    ['after', false],
  ])('is deleted when the watch shows it %s the write has ended', async (_, shown) => {
    world = World.with();
    renameDuringWrite(shown);
    await world.reconcile();
    expect(world.cluster.stored(TARGET)).toBeDefined();
    await world.reconcile();

    expect(world.cluster.stored(TARGET)).toBeUndefined();
    expect(world.cluster.stored(OTHER)?.controllerUid).toBe('uid-of-loyalty');
    expect(world.summary('Ready')).toBe('True TokenValid');
    expect(world.cluster.statusOf(KEY)?.target?.name).toBe('other');
    await world.reconcile();
    expect(deletions()).toEqual(['deleteSecret loyalty-token']);
  });
});

describe('a former target', () => {
  it('that the status names is deleted, though a restored etcd holds the first generation', async () => {
    world = World.with();
    editTarget({ name: 'other' });
    await world.reconcile();
    const told = world.cluster.credential(KEY);
    if (told === undefined) throw new Error('it is there');
    const { name: _, ...target } = told.spec.target;
    const metadata = { ...told.metadata, generation: 1 };
    world.cluster.put({ ...told, metadata, spec: { ...told.spec, target } });
    await world.reconcile();

    expect(world.cluster.stored(OTHER)).toBeUndefined();
    expect(world.cluster.stored(TARGET)).toBeDefined();
  });

  it('that is merged into now is deleted, and the Secret of others is awaited', async () => {
    world = World.with();
    world.cluster.failNext('applyStatus', OUTAGE);
    await world.reconcile();
    editTarget({ creationPolicy: 'Merge' });
    await world.reconcile();

    expect(world.cluster.stored(TARGET)).toBeUndefined();
    expect(world.summary('Ready')).toBe('False TargetMissing');
  });

  it('is deleted by another leader, though status tells of a token in the other one', async () => {
    world = World.with();
    await world.reconcile();
    const target = storedTarget();
    editTarget({ name: 'other' });
    await world.reconcile();
    world.cluster.putSecret(TARGET, target); // etcd was restored to before it was deleted
    world.restart();
    await world.reconcile();

    expect(world.cluster.statusOf(KEY)?.target?.name).toBe('other');
    expect(world.cluster.stored(TARGET)).toBeUndefined();
    expect(world.cluster.stored(OTHER)).toBeDefined();
  });

  it('whose type is another one stays, and is read once', async () => {
    world = World.with();
    await world.reconcile();
    world.cluster.putSecret(OTHER, { ...storedTarget(), type: 'Opaque' });
    await world.reconcile();
    await world.reconcile();

    const reads = world.cluster.requests.filter((request) => request === 'readSecret other');
    expect(reads).toHaveLength(1);
    expect(world.cluster.stored(OTHER)).toBeDefined();
  });

  it('that can not be deleted keeps no token from being renewed', async () => {
    world = World.with();
    const action = await world.reconcile();
    const target = storedTarget();
    world.cluster.putSecret(OTHER, target);
    world.cluster.deleteSecret = async () => new Failure('PermissionDenied', 'not allowed');
    await world.runFor(hours(1), action);

    expect(world.cluster.stored(OTHER)).toBeDefined();
    expect(world.summary('Ready')).toBe('True TokenValid');
    expect(storedTarget().data['token']).not.toBe(target.data['token']);
  });

  it('of thousands is one of ten that are deleted at once', async () => {
    world = World.with();
    await world.reconcile();
    for (let each = 0; each < 25; each += 1) {
      world.cluster.putSecret(`shop/copy-${each}`, storedTarget());
    }
    deletions();
    const action = await world.reconcile();
    expect(deletions()).toHaveLength(10);
    await world.runFor(seconds(5), action);
    expect(deletions()).toHaveLength(15);
  });

  it('of another credential stays', async () => {
    world = World.with();
    world.cluster.failNext('applyStatus', OUTAGE);
    await world.reconcile();
    world.cluster.put(aCredential({ metadata: { name: 'second' } }));
    world.cluster.edit('shop/second', (spec) => ({ ...spec, scope: 'openid profile' }));
    await world.reconcile('shop/second');

    expect(world.cluster.stored(TARGET)).toBeDefined();
  });
});

describe('a name or policy that stands in the way', () => {
  it('of another credential is told with what may be changed', async () => {
    world = World.with();
    await world.reconcile();
    const target = { name: 'loyalty-token' };
    world.cluster.put(aCredential({ metadata: { name: 'second' }, target }));
    await world.reconcile('shop/second');
    expect(world.condition('Renewed', 'shop/second')?.message).toBe(
      'Secret "loyalty-token" is already the target of ConvercusCredential "loyalty". Give this one a spec.target.name of its own.',
    );
    expect(world.cluster.statusOf('shop/second')?.issuedAt).toBeUndefined();
    world.cluster.edit('shop/second', (spec) => ({
      ...spec,
      target: { ...spec.target, name: 'b' },
    }));
    await world.reconcile('shop/second');
    expect(world.summary('Ready', 'shop/second')).toBe('True TokenValid');
  });

  it('of a Secret that others have made is told likewise', async () => {
    world = World.with();
    world.cluster.putSecret(TARGET, { data: { theirs: 'x' } });
    await world.reconcile();
    expect(world.summary('Ready')).toBe('False TargetNotOurs');
    expect(world.condition('Renewed')?.message).toContain(
      'Change spec.target.name, or creationPolicy to Merge to add to it',
    );
    expect(world.cluster.statusOf(KEY)?.issuedAt).toBeUndefined();
    editTarget({ name: 'other' });
    await world.reconcile();
    expect(world.summary('Ready')).toBe('True TokenValid');
    expect(world.cluster.stored(TARGET)?.data).toEqual({ theirs: 'x' });
  });
});
