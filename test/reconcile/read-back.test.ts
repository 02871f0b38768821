import { beforeEach, describe, expect, it } from '@jest/globals';
import type { ConvercusCredential } from '../../src/credential/api.ts';
import { hours, minutes } from '../../src/lib/time.ts';
import { aCredential, CANARY } from '../support/builders.ts';
import { GOOD_PASSWORD, KEY, SESSION, SOURCE, TARGET, USERNAME, World } from '../support/world.ts';

type Target = ConvercusCredential['spec']['target'];

let world: World;

const stored = () => world.cluster.stored(TARGET);
const annotation = (name: string) => stored()?.annotations[`convercus.io/${name}`];
const grants = () => world.idp.requests.splice(0).map(({ grantType }) => grantType);
const editTarget = (change: Partial<Target>): void =>
  world.cluster.edit(KEY, (spec) => ({ ...spec, target: { ...spec.target, ...change } }));

describe.each(['client_credentials', 'password'] as const)(
  'after a restart, with grantType %s',
  (grantType) => {
    beforeEach(async () => {
      world = grantType === 'password' ? World.withPassword() : World.with({ spec: { grantType } });
      await world.reconcile();
      expect(grants()).toEqual([grantType]);
      world.restart();
      await world.reconcile();
    });

    it.each<[string, Partial<Target>, object]>([
      ['labels', { labels: { team: 'shop' } }, { labels: { team: 'shop' } }],
      ['annotations', { annotations: { note: 'x' } }, { annotations: { note: 'x' } }],
    ])('an edit of %s writes them and asks for no token', async (_, change, expected) => {
      const before = stored();
      editTarget(change);
      await world.reconcile();

      expect(grants()).toEqual([]);
      expect(stored()).toMatchObject({ uid: before?.uid, data: before?.data, ...expected });
      expect(annotation('issued-at')).toBe(before?.annotations['convercus.io/issued-at']);
      expect(world.condition('Renewed')).toMatchObject({ status: 'True', reason: 'SpecChanged' });
      world.restart();
      world.cluster.requests.splice(0);
      await world.reconcile();
      expect(world.cluster.requests).toEqual([]);
    });

    it('an edit of the deletion policy gives the target up, or takes it back', async () => {
      editTarget({ deletionPolicy: 'Retain' });
      await world.reconcile();
      expect(stored()?.controllerUid).toBeUndefined();
      world.restart();
      editTarget({ deletionPolicy: 'Delete' });
      await world.reconcile();

      expect(stored()?.controllerUid).toBe('uid-of-loyalty');
      expect(grants()).toEqual([]);
    });

    it('an edit of the renewal moves its date', async () => {
      world.cluster.edit(KEY, (spec) => ({ ...spec, renewal: { percent: 50, jitterPercent: 0 } }));
      const action = await world.reconcile();

      expect(grants()).toEqual([]);
      expect(annotation('renew-at')).toBe('2026-09-21T12:02:30Z');
      expect(action).toEqual({ requeueAt: Date.parse('2026-09-21T12:02:30Z') });
    });

    it('an edit of the renewal to an earlier date than now renews', async () => {
      world.clock.step(minutes(3));
      world.cluster.edit(KEY, (spec) => ({ ...spec, renewal: { percent: 50, jitterPercent: 0 } }));
      await world.reconcile();

      expect(grants()).toEqual([grantType === 'password' ? 'refresh_token' : grantType]);
    });

    it.each<[string, (spec: ConvercusCredential['spec']) => ConvercusCredential['spec']]>([
      ['the scope', (spec) => ({ ...spec, scope: 'openid profile' })],
      ['the data', ({ target, ...spec }) => ({ ...spec, target: { ...target, data: { a: 'b' } } })],
    ])('an edit of %s asks for a token', async (_, edit) => {
      world.cluster.edit(KEY, edit);
      await world.reconcile();

      expect(grants()).toHaveLength(1);
    });

    it('an edit does not bring back what another client has written into the target', async () => {
      const data = { token: `${CANARY}-forged` };
      world.cluster.putSecret(TARGET, { data });
      editTarget({ labels: { team: 'shop' } });
      await world.reconcile();

      expect(grants()).toHaveLength(1);
      expect(stored()?.data).not.toEqual(data);
    });

    it('an edit together with a renew request asks for a token', async () => {
      world.clock.step(minutes(1));
      editTarget({ labels: { team: 'shop' } });
      world.cluster.annotate(KEY, { 'convercus.io/renew-requested-at': '1' });
      await world.reconcile();

      expect(grants()).toHaveLength(1);
    });

    it('the claims of the token stay in the status', async () => {
      const status = world.cluster.statusOf(KEY);
      const token = { subject: 'me' };
      world.cluster.put({ ...aCredentialOf(), status: { ...status, token } });
      editTarget({ labels: { team: 'shop' } });
      await world.reconcile();

      expect(world.cluster.statusOf(KEY)?.token).toEqual(token);
    });

    const aCredentialOf = () => aCredential({ spec: { grantType } });
  },
);

it('an edit of a word to the placeholder of that name publishes the token', async () => {
  world = World.with({ target: { data: { token: 'access_token' } } });
  await world.reconcile();
  editTarget({ data: { token: '{{access_token}}' } });
  await world.reconcile();

  expect(stored()?.data['token']).toBe(`${CANARY}-token-1`);
});

it('an edit of labels is written although the login is rejected, which is not forgotten', async () => {
  world = World.with({ spec: { grantType: 'legacy_login' } });
  const data = { username: USERNAME, password: GOOD_PASSWORD, org: 'abc' };
  world.cluster.putSecret(SOURCE, { data });
  await world.reconcile();
  world.clock.step(minutes(1));
  world.idp.goodPassword = 'another';
  world.cluster.annotate(KEY, { 'convercus.io/renew-requested-at': '1' });
  await world.reconcile();
  expect(world.summary('Renewed')).toBe('False CredentialsRejected');
  grants();
  editTarget({ labels: { team: 'shop' } });
  await world.reconcile();

  expect(stored()?.labels).toMatchObject({ team: 'shop' });
  expect(grants()).toEqual([]);

  world.restart();
  await world.runFor(minutes(10), await world.reconcile());
  expect(world.summary('Renewed')).toBe('False CredentialsRejected');
  expect(grants()).toEqual([]);
});

describe('a target of version 0.1.0, which does not say what its data were made from', () => {
  it('is written with a new token after an edit', async () => {
    world = World.with();
    await world.reconcile();
    const { 'convercus.io/data-hash': _, ...annotations } = stored()?.annotations ?? {};
    world.cluster.putSecret(TARGET, { annotations });
    world.restart();
    editTarget({ labels: { team: 'shop' } });
    await world.reconcile();

    expect(world.tokenRequests).toBe(2);
    expect(annotation('data-hash')).toBeDefined();
  });
});

describe('a backup that is restored', () => {
  /** As Velero does it: new uids, and no owner references. */
  function restore(metadata: { uid?: string } = {}): void {
    const secrets = [SOURCE, TARGET, SESSION].flatMap((key) => {
      const found = world.cluster.stored(key);
      return found === undefined ? [] : [{ key, found }];
    });
    world.cluster.remove(KEY);
    for (const { key, found } of secrets) {
      const { uid: _, controllerUid: __, resourceVersion: ___, ...rest } = found;
      world.cluster.removeSecret(key);
      world.cluster.putSecret(key, rest);
    }
    const spec = { grantType: secrets.length > 2 ? 'password' : 'client_credentials' } as const;
    world.cluster.put(aCredential({ spec, metadata }));
    world.restart();
  }

  it('has its target adopted', async () => {
    world = World.with();
    await world.reconcile();
    restore({ uid: 'restored' });
    await world.reconcile();

    expect(world.summary('Ready')).toBe('True TokenValid');
    expect(stored()?.controllerUid).toBe('restored');
  });

  it('of the target alone has it adopted without a token', async () => {
    world = World.with();
    await world.reconcile();
    const { uid: _, controllerUid: __, ...rest } = stored() ?? {};
    world.cluster.removeSecret(TARGET);
    world.cluster.putSecret(TARGET, rest);
    world.restart();
    await world.reconcile();

    expect(world.summary('Ready')).toBe('True TokenValid');
    expect(stored()?.controllerUid).toBe('uid-of-loyalty');
    expect(world.tokenRequests).toBe(1);
  });

  it('has its session replaced, whose refresh token may have been used since', async () => {
    world = World.withPassword();
    await world.reconcile();
    world.clock.step(hours(1));
    restore({ uid: 'restored' });
    grants();
    await world.reconcile();

    expect(world.summary('Ready')).toBe('True TokenValid');
    expect(grants()).toEqual(['password']);
    world.restart();
    world.clock.step(minutes(4));
    await world.reconcile();
    expect(grants()).toEqual(['refresh_token']);
  });
});
