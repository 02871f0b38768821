import { beforeEach, describe, expect, it } from '@jest/globals';
import { Failure } from '../../src/lib/failure.ts';
import { hours, minutes, seconds } from '../../src/lib/time.ts';
import { aCredential, CANARY } from '../support/builders.ts';
import type { StoredSecret } from '../support/fake-cluster.ts';
import { KEY, TARGET, World } from '../support/world.ts';

const OFFLINE = new Failure('NetworkError', 'No connection to auth-staging.convercus.io');
const NEW = 'shop/new';
const MERGE = { name: 'loyalty-token', creationPolicy: 'Merge' } as const;

let world: World;

const stored = () => world.cluster.stored(TARGET);
const token = () => stored()?.data['token'];
const managerOf = (field: string) => stored()?.managers?.[field];
const annotation = (name: string) => stored()?.annotations[`convercus.io/${name}`];
const requests = () => world.cluster.requests.splice(0);

/** The owner of the Secret lets that credential merge into it, or none. */
function allow(name?: string): void {
  const { 'convercus.io/merge': _, ...rest } = stored()?.annotations ?? {};
  const annotations = name === undefined ? rest : { ...rest, 'convercus.io/merge': name };
  world.cluster.putSecret(TARGET, { annotations });
}

/** The Secret of an owner, with a key of its own. */
function putTheirs(change: Partial<StoredSecret> = {}): void {
  const managers = { 'data.theirs': 'kubectl' };
  world.cluster.putSecret(TARGET, { data: { theirs: 'stays' }, managers, ...change });
}

/** As an operator of version 0.1.0 has left it. */
function forgetPolicy(): void {
  const { 'convercus.io/deletion-policy': _, ...annotations } = stored()?.annotations ?? {};
  const { 'annotations.convercus.io/deletion-policy': __, ...managers } = stored()?.managers ?? {};
  world.cluster.putSecret(TARGET, { annotations, managers });
}

const putNew = (metadata: { creationTimestamp?: string } = {}): void =>
  world.cluster.put(aCredential({ metadata: { name: 'new', ...metadata }, target: MERGE }));

describe('a Secret to merge into', () => {
  beforeEach(() => {
    world = World.with({ target: MERGE });
  });

  it('is awaited, then filled without touching the rest', async () => {
    expect(await world.reconcile()).toBe('await-change');
    expect(world.summary('Ready')).toBe('False TargetMissing');
    expect(world.condition('Renewed')?.message).toContain('convercus.io/merge: loyalty');
    expect(world.tokenRequests).toBe(0);

    putTheirs();
    allow('loyalty');
    requests();
    await world.reconcile();
    expect(requests()).not.toContain('readSecret loyalty-token');
    expect(stored()).toMatchObject({
      type: 'Opaque',
      data: { theirs: 'stays', token: `${CANARY}-token-1` },
    });
    expect(world.summary('Ready')).toBe('True TokenValid');
  });

  it('stays as it is when its owner has passed it on, which the watch has not shown', async () => {
    putTheirs();
    allow('loyalty');
    await world.reconcile();
    const shown = world.cluster.secret('shop', 'loyalty-token');
    allow('other');
    const before = stored();
    world.cluster.edit(KEY, (spec) => ({ ...spec, renewal: { percent: 50, jitterPercent: 0 } }));
    const isShown = world.cluster.secret.bind(world.cluster);
    world.cluster.secret = (namespace, name) =>
      name === 'loyalty-token' ? shown : isShown(namespace, name);
    await world.reconcile();
    expect(stored()).toEqual(before);

    world.cluster.secret = isShown;
    await world.reconcile();
    expect(stored()).toEqual(before);
    expect(world.summary('Renewed')).toBe('False MergeNotAllowed');
  });

  it.each<[string, string | undefined]>([
    ['no credential', undefined],
    ['another credential', 'other'],
  ])('that allows %s is neither written nor read, and no token is requested', async (_, name) => {
    putTheirs();
    allow(name);
    const before = stored();
    requests();
    expect(await world.reconcile()).toBe('await-change');

    expect(world.summary('Ready')).toBe('False MergeNotAllowed');
    expect(world.summary('Stalled')).toBe('True MergeNotAllowed');
    expect(requests()).toEqual(['applyStatus loyalty']);
    expect(stored()).toEqual(before);
    expect(world.tokenRequests).toBe(0);

    allow('loyalty');
    await world.reconcile();
    expect(world.summary('Ready')).toBe('True TokenValid');
    expect(world.summary('Stalled')).toBe('absent');
  });

  it('that does not allow it any more keeps its token until that expires', async () => {
    putTheirs();
    allow('loyalty');
    await world.reconcile();
    allow();
    const before = stored();
    const action = await world.reconcile();
    expect(world.summary('Ready')).toBe('True TokenValid');
    expect(world.summary('Renewed')).toBe('False MergeNotAllowed');

    await world.runFor(hours(1), action);
    expect(world.summary('Ready')).toBe('False TokenExpired');
    expect(world.condition('Renewed')?.message).toContain('kubectl annotate secret');
    expect(stored()).toEqual(before);
    expect(world.tokenRequests).toBe(1);

    allow('loyalty');
    await world.reconcile();
    expect(world.summary('Ready')).toBe('True TokenValid');
    expect(world.tokenRequests).toBe(2);
  });

  it('of version 0.1.0 is told, and costs nothing once its owner allows it', async () => {
    putTheirs();
    allow('loyalty');
    await world.reconcile();
    forgetPolicy();
    allow();
    world.restart();
    await world.reconcile();
    expect(world.summary('Ready')).toBe('True TokenValid');
    expect(world.summary('Renewed')).toBe('False MergeNotAllowed');

    allow('loyalty');
    requests();
    const action = await world.reconcile();
    expect(requests()).toEqual(['readSecret loyalty-token', 'applyStatus loyalty']);
    expect(world.summary('Renewed')).toBe('True TokenValid');
    expect(world.tokenRequests).toBe(1);

    await world.runFor(minutes(4), action);
    expect(annotation('deletion-policy')).toBe('Delete');
  });

  it('is not written when its owner changes his mind while the token is on its way', async () => {
    putTheirs();
    allow('loyalty');
    const release = world.idp.hold();
    const reconcile = world.reconcile();
    const apply = world.cluster.applySecret.bind(world.cluster);
    world.cluster.applySecret = (desired) => {
      world.cluster.applySecret = apply;
      allow(); // right before the request arrives
      return apply(desired);
    };
    release();
    await world.runFor(seconds(30), await reconcile);

    expect(token()).toBeUndefined();
    expect(world.summary('Ready')).toBe('False MergeNotAllowed');
  });

  /** Finding M2a: a value that is set to what it is already is no conflict. */
  it('does not tell a guess from the value that it holds', async () => {
    const guesses = ['0815', '1234', '4711', '', 'DB', '47112'];
    const told = new Set<string>();
    for (const guess of guesses) {
      const target = { ...MERGE, data: { DB_PASSWORD: guess } };
      world = World.with({ target });
      const managers = { 'data.DB_PASSWORD': 'kubectl' };
      putTheirs({ data: { DB_PASSWORD: '4711' }, managers });
      const action = await world.reconcile();
      const { conditions } = world.cluster.statusOf(KEY) ?? {};
      const { requests, events } = world.cluster;
      told.add(
        JSON.stringify([action, conditions, requests, events, world.logged, world.renewals]),
      );
      expect(managerOf('data.DB_PASSWORD')).toBe('kubectl');
    }
    expect([...told]).toHaveLength(1);
    expect([...told][0]).toContain('MergeNotAllowed');
  });

  it('gets no labels and annotations of the spec', async () => {
    const labels = { 'argocd.argoproj.io/secret-type': 'repository' };
    const annotations = { 'replicator.v1.mittwald.de/replicate-to': 'evil' };
    world = World.with({ target: { ...MERGE, labels, annotations } });
    putTheirs();
    allow('loyalty');
    const action = await world.reconcile();
    await world.runFor(hours(1), action);

    expect(world.summary('Ready')).toBe('True TokenValid');
    expect(stored()?.labels).toEqual({});
    expect(Object.keys(stored()?.annotations ?? {})).toEqual(
      expect.not.arrayContaining(Object.keys(annotations)),
    );
    expect(world.renewals).not.toContain('TargetEdited success');
  });

  it('is not Ready when it is the leftover target of another credential', async () => {
    const other = World.with({ metadata: { name: 'other' }, target: { deletionPolicy: 'Retain' } });
    await other.reconcile('shop/other');
    const leftover = other.cluster.stored('shop/other-token');
    if (leftover === undefined) throw new Error('unreachable');
    world.cluster.putSecret(TARGET, leftover);
    allow('loyalty');
    await world.reconcile();

    expect(world.summary('Ready')).toBe('False TargetNotOurs');
  });
});

describe('a Secret that another credential has merged into', () => {
  /** As an operator of version 0.1.0 has left it. */
  function forgetName(): void {
    const { 'convercus.io/credential': _, ...annotations } = stored()?.annotations ?? {};
    world.cluster.putSecret(TARGET, { annotations });
  }

  /** The same spec under another name, before the operator has looked. */
  function rename(): void {
    world.cluster.remove(KEY);
    putNew();
    allow('new');
  }

  beforeEach(async () => {
    world = World.with({ target: MERGE });
    putTheirs();
    allow('loyalty');
    await world.reconcile();
  });

  it.each([
    ['this version', () => undefined],
    ['version 0.1.0', forgetName],
  ])('that is gone, by %s, is taken over without another token request', async (_, age) => {
    age();
    rename();
    const action = await world.reconcile(NEW);

    expect(world.summary('Ready', NEW)).toBe('True TokenValid');
    expect(annotation('credential')).toBe('new');
    expect(managerOf('data.token')).toContain('convercus-operator.new');
    expect(world.tokenRequests).toBe(1);

    await world.reconcile(KEY);
    await world.runFor(minutes(60), action, NEW);
    expect(managerOf('data.token')).toBe('convercus-operator.new');
    expect(world.summary('Ready', NEW)).toBe('True TokenValid');
    expect(stored()?.data['theirs']).toBe('stays');
  });

  it('is never shown as a token of its own', async () => {
    rename();
    world.idp.outage = OFFLINE;
    world.restart();
    await world.reconcile(NEW);
    expect(world.summary('Ready', NEW)).toBe('False NetworkError');

    world.cluster.edit(NEW, (spec) => ({ ...spec, environment: 'moon' }));
    await world.reconcile(NEW);
    expect(world.summary('Ready', NEW)).toBe('False InvalidSpec');
  });

  it('stays with that one, also when an older one names it, until its owner passes it on', async () => {
    putNew({ creationTimestamp: '2026-08-01T00:00:00Z' });
    await world.reconcile(NEW);
    await world.reconcile();
    expect(world.summary('Ready', NEW)).toBe('False TargetNotOurs');
    expect(world.summary('Renewed')).toBe('True Issued');

    allow('new');
    world.clock.step(minutes(4));
    await world.reconcile();
    await world.reconcile(NEW);
    expect(world.summary('Ready', NEW)).toBe('True TokenValid');
    expect(world.summary('Ready')).toBe('False TargetNotOurs');
    expect(managerOf('data.token')).toBe('convercus-operator.new');
  });

  it('that another release looks after goes on to the one that its owner names', async () => {
    world.cluster.unwatch(KEY);
    putNew();
    world.clock.step(minutes(4));
    await world.reconcile(NEW);
    expect(world.summary('Ready', NEW)).toBe('False MergeNotAllowed');
    expect(token()).toBe(`${CANARY}-token-1`);

    allow('new');
    await world.reconcile(NEW);
    expect(world.summary('Ready', NEW)).toBe('True TokenValid');
    expect(managerOf('data.token')).toBe('convercus-operator.new');
  });

  it('is not taken over where another client has set a key', async () => {
    rename();
    world.cluster.putSecret(TARGET, { managers: { ...stored()?.managers, 'data.token': 'helm' } });
    world.clock.step(minutes(4));
    await world.reconcile(NEW);

    expect(world.summary('Ready', NEW)).toBe('False TargetNotOurs');
    expect(token()).toBe(`${CANARY}-token-1`);
  });

  it('is not taken over while it is changed: the next reconcile looks again', async () => {
    rename();
    world.clock.step(minutes(4));
    const apply = world.cluster.applySecret.bind(world.cluster);
    world.cluster.applySecret = async (desired) => {
      const written = await apply(desired);
      world.cluster.applySecret = apply;
      world.cluster.putSecret(TARGET, { data: { token: `${CANARY}-theirs` } });
      return written;
    };
    const action = await world.reconcile(NEW);
    expect(token()).toBe(`${CANARY}-theirs`);

    await world.runFor(minutes(1), action, NEW);
    expect(world.summary('Ready', NEW)).toBe('True TokenValid');
  });

  it('by version 0.1.0, of the same credential, costs nothing until it is due', async () => {
    forgetName();
    world.restart();
    requests();
    const action = await world.reconcile();
    expect(requests()).not.toContain('applySecret loyalty-token');
    expect(world.tokenRequests).toBe(1);
    expect(world.summary('Ready')).toBe('True TokenValid');

    await world.runFor(minutes(4), action);
    expect(annotation('credential')).toBe('loyalty');
    expect(world.tokenRequests).toBe(2);
  });
});

/** Finding L18. */
describe('what a credential has merged into a Secret', () => {
  async function merged(deletionPolicy: 'Delete' | 'Retain' = 'Delete'): Promise<void> {
    const data = { token: '{{access_token}}', note: 'literal' };
    world = World.with({ target: { ...MERGE, deletionPolicy, data } });
    putTheirs();
    allow('loyalty');
    await world.reconcile();
    expect(token()).toBeDefined();
    requests();
  }

  const expectNothingOfOurs = () =>
    expect(stored()).toMatchObject({
      data: { theirs: 'stays' },
      managers: { 'data.theirs': 'kubectl' },
    });

  it('goes with it, and nothing else does', async () => {
    await merged();
    world.cluster.remove(KEY);
    expect(await world.reconcile()).toBe('await-change');

    expect(requests()).toEqual(['readCredential loyalty', 'applySecret loyalty-token']);
    expect(stored()).toMatchObject({
      data: { theirs: 'stays' },
      annotations: { 'convercus.io/merge': 'loyalty' },
      managers: { 'data.theirs': 'kubectl' },
    });
    expect(Object.keys(stored()?.annotations ?? {})).toEqual(['convercus.io/merge']);
    expect(Object.keys(stored()?.data ?? {})).toEqual(['theirs']);
    await world.reconcile();
    expect(requests()).toEqual([]);
  });

  it('goes when the operator was down at that time', async () => {
    await merged();
    world.cluster.remove(KEY);
    world.restart();
    await world.reconcile();
    expectNothingOfOurs();
  });

  it.each<[string, () => void]>([
    ['its owner does not allow it any more', () => allow()],
    ['its owner has passed it on', () => allow('other')],
    ['the namespace has another credential with that target', () => putNew()],
  ])('goes although %s', async (_, happens) => {
    await merged();
    happens();
    world.cluster.remove(KEY);
    await world.reconcile();
    expectNothingOfOurs();
  });

  it('lets a successor of another name have its keys', async () => {
    await merged();
    world.cluster.remove(KEY);
    await world.reconcile();
    putNew();
    allow('new');
    await world.reconcile(NEW);
    expect(world.summary('Ready', NEW)).toBe('True TokenValid');
    expect(managerOf('data.token')).toBe('convercus-operator.new');
    expect(stored()?.data).not.toHaveProperty('note');
  });

  it('stays with deletionPolicy Retain, and serves the next of that name without a request', async () => {
    await merged('Retain');
    const before = stored();
    const resource = world.cluster.credential(KEY);
    world.cluster.remove(KEY);
    expect(await world.reconcile()).toBe('await-change');
    world.restart();
    await world.reconcile();
    expect(stored()).toEqual(before);

    if (resource === undefined) throw new Error('unreachable');
    const { status: _, ...fresh } = resource;
    world.cluster.put({ ...fresh, metadata: { ...fresh.metadata, uid: 'another' } });
    await world.reconcile();
    expect(world.summary('Ready')).toBe('True TokenValid');
    expect(world.tokenRequests).toBe(1);
  });

  it('with deletionPolicy Retain goes to the one that its owner passes it on to', async () => {
    await merged('Retain');
    world.cluster.remove(KEY);
    await world.reconcile();
    putNew();
    allow('new');
    world.clock.step(minutes(4));
    await world.reconcile(NEW);
    expect(world.summary('Ready', NEW)).toBe('True TokenValid');

    await world.reconcile();
    world.cluster.remove(NEW);
    await world.reconcile(NEW);
    expect(stored()?.data).toEqual({ theirs: 'stays', note: 'literal' });
  });

  it('stays as version 0.1.0 has left it', async () => {
    await merged();
    forgetPolicy();
    const before = stored();
    world.cluster.remove(KEY);
    world.restart();
    await world.reconcile();
    expect(stored()).toEqual(before);
  });

  it('stays while another release looks after the credential', async () => {
    await merged();
    const before = stored();
    world.cluster.unwatch(KEY);
    expect(await world.reconcile()).toBe('await-change');
    expect(stored()).toEqual(before);
    expect(requests()).toEqual(['readCredential loyalty']);
  });

  it('goes when the credential was made again with another target', async () => {
    await merged();
    world.cluster.remove(KEY);
    world.cluster.put(aCredential({ metadata: { uid: 'again' }, target: { name: 'own' } }));
    await world.reconcile();
    expectNothingOfOurs();
    expect(world.summary('Ready')).toBe('True TokenValid');
  });

  it('goes when the credential was made again to own that Secret, which it can not', async () => {
    await merged();
    world.cluster.remove(KEY);
    const target = { name: 'loyalty-token', creationPolicy: 'Owner' } as const;
    world.cluster.put(aCredential({ metadata: { uid: 'again' }, target }));
    await world.reconcile();
    expectNothingOfOurs();
    expect(world.summary('Ready')).toBe('False TargetNotOurs');
  });

  it('is not looked for in a Secret that its owner has made again', async () => {
    await merged();
    world.cluster.removeSecret(TARGET);
    putTheirs({ uid: 'made-again', managers: {} });
    const before = stored();
    world.cluster.remove(KEY);
    expect(await world.reconcile()).toBe('await-change');
    expect(stored()).toEqual(before);
    expect(requests()).toEqual([]);
  });

  it('in a Secret that is made again right then is not written', async () => {
    await merged();
    world.cluster.remove(KEY);
    const read = world.cluster.readCredential.bind(world.cluster);
    world.cluster.readCredential = (...args) => {
      world.cluster.removeSecret(TARGET);
      putTheirs({ uid: 'made-again', managers: {} });
      world.cluster.readCredential = read;
      return read(...args);
    };
    const action = await world.reconcile();
    const before = stored();
    await world.runFor(minutes(10), action);
    expect(stored()).toEqual(before);
  });

  it.each(['applySecret', 'readCredential'] as const)(
    'goes in the end when the API server fails for a while (%s)',
    async (call) => {
      await merged();
      world.cluster.failNext(call);
      world.cluster.failNext(call);
      world.cluster.remove(KEY);
      const action = await world.reconcile();
      expect(action).not.toBe('await-change');
      await world.runFor(minutes(1), action);
      expectNothingOfOurs();
    },
  );

  it('is tried again ever more seldom while a policy refuses it', async () => {
    await merged();
    const refused = new Failure('TargetRefused', 'The API server refuses to store it');
    world.cluster.failWhile('applySecret', () => true, refused);
    world.cluster.remove(KEY);
    await world.runFor(hours(4), await world.reconcile());
    const tries = requests().filter((each) => each === 'applySecret loyalty-token');
    expect(tries.length).toBeGreaterThan(3);
    expect(tries.length).toBeLessThan(25);
  });

  it.each(['Delete', 'Retain'] as const)(
    'goes from a credential that was passed over for one with %s, which keeps its own',
    async (deletionPolicy) => {
      await merged();
      world.cluster.put(
        aCredential({
          metadata: { name: 'new' },
          target: { ...MERGE, deletionPolicy, data: { other: '{{access_token}}' } },
        }),
      );
      allow('new');
      await world.reconcile(NEW);
      expect(world.summary('Ready', NEW)).toBe('True TokenValid');
      expect(token()).toBe(`${CANARY}-token-1`);
      await world.reconcile();
      expect(token()).toBe(`${CANARY}-token-1`);

      world.cluster.remove(KEY);
      await world.reconcile();
      expect(Object.keys(stored()?.data ?? {}).sort()).toEqual(['other', 'theirs']);
      expect(annotation('credential')).toBe('new');
      expect(world.tokenRequests).toBe(1);
    },
  );

  it('stays with Retain when another one took its place before it went', async () => {
    await merged('Retain');
    putNew();
    allow('new');
    world.clock.step(minutes(4));
    await world.reconcile(NEW);
    world.cluster.remove(KEY);
    await world.reconcile();
    world.cluster.remove(NEW);
    await world.reconcile(NEW);
    expect(stored()?.data).toEqual({ theirs: 'stays', note: 'literal' });
  });
});
