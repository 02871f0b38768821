import { afterEach, describe, expect, it } from '@jest/globals';
import { parseCredential } from '../../src/credential/credential.ts';
import { DELETION_POLICY_ANNOTATION, renderTarget } from '../../src/credential/target-secret.ts';
import { isFailure } from '../../src/lib/failure.ts';
import { Sensitive } from '../../src/lib/sensitive.ts';
import { hours, minutes, seconds } from '../../src/lib/time.ts';
import { aToken, CANARY, SETTINGS } from '../support/builders.ts';
import { CLUSTER_SOURCE, ClusterWorld } from '../support/cluster-world.ts';

const THREE = ['a', 'b', 'c'];
const INSTANCE = 'a/ClusterConvercusCredential/loyalty';

let world: ClusterWorld;

afterEach(() => {
  expect(world.shown).not.toContain(CANARY);
});

/** The owner of the namespace writes a token that is nearly due into the target, digest and all: that needs no key. */
function forge(): void {
  const resource = world.cluster.credential(INSTANCE);
  const source = world.cluster.stored(CLUSTER_SOURCE);
  const before = world.target('a');
  if (resource === undefined || source === undefined || before === undefined) throw new Error();
  const credential = parseCredential(resource, SETTINGS);
  if (isFailure(credential)) throw new Error(credential.message);
  const issuedAt = world.clock.now();
  const text = `${CANARY}-forged`;
  const accessToken = new Sensitive(text);
  const token = aToken({ issuedAt, expiresAt: issuedAt + seconds(10), accessToken });
  const sourceVersion = `${source.uid}/${source.resourceVersion}`;
  const provenance = { sourceVersion, renewRequest: undefined };
  const rendered = renderTarget(credential, token, provenance, 'absent');
  if (isFailure(rendered)) throw new Error(rendered.message);
  const { annotations } = rendered.secret;
  world.cluster.putSecret('a/convercus-token', { ...before, annotations, data: { token: text } });
  world.cluster.changed.add(INSTANCE);
}

describe('the owner of a namespace', () => {
  it.each(['client_credentials', 'password'] as const)(
    'has no token requested by forged dates in the target (%s)',
    async (grantType) => {
      world = ClusterWorld.serving(THREE, { spec: { grantType } });
      world.idp.validity = hours(5);
      await world.workFor(minutes(5));
      for (let times = 0; times < 20; times += 1) {
        forge();
        await world.workFor(minutes(1));
      }
      expect(world.tokenRequests).toBe(1);
      expect(world.tokens(...THREE)).toEqual(THREE.map(() => `${CANARY}-token-1`));

      await world.workFor(hours(4));
      expect(world.tokenRequests).toBe(2);
      expect(world.tokens(...THREE)).toEqual(THREE.map(() => `${CANARY}-token-2`));
    },
  );

  it('has a Secret that looks like a target read once, however often it is written', async () => {
    world = ClusterWorld.serving(['a']);
    await world.workFor(seconds(10));
    const target = world.target('a');
    if (target === undefined) throw new Error('no target');
    const forged = { ...target, type: 'Opaque' };
    const write = (name: string, text: string) => {
      const uid = `uid-of-${name}`;
      world.cluster.putSecret(`other/${name}`, { ...forged, uid, data: { text } });
      world.cluster.changed.add('other/ClusterConvercusCredential/loyalty');
    };
    for (const name of ['one', 'two', 'three']) write(name, '');
    await world.work();
    world.cluster.requests.length = 0;
    for (let times = 0; times < 10; times += 1) {
      write('one', `${times}`);
      await world.work();
    }
    expect(world.cluster.requests).toEqual([]);
    expect(world.cluster.stored('other/one')?.data).toEqual({ text: '9' });
  });

  it('has nothing asked for a cluster credential that seems to have merged into a Secret', async () => {
    world = ClusterWorld.serving(['a']);
    await world.workFor(seconds(10));
    world.cluster.requests.length = 0;
    for (const name of ['loyalty', 'ghost']) {
      const field = `annotations.${DELETION_POLICY_ANNOTATION}`;
      const managers = { [field]: `convercus-operator.ClusterConvercusCredential/${name}` };
      world.cluster.putSecret(`other/${name}`, { managers, data: { own: 'thing' } });
      world.cluster.changed.add(`other/ClusterConvercusCredential/${name}`);
    }
    await world.workFor(minutes(1));
    expect(world.cluster.requests).toEqual([]);
  });
});
