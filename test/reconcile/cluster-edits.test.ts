import { afterEach, describe, expect, it } from '@jest/globals';
import { minutes, seconds } from '../../src/lib/time.ts';
import { CANARY } from '../support/builders.ts';
import {
  aClusterCredential,
  type ClusterOverrides,
  ClusterWorld,
} from '../support/cluster-world.ts';
import { settled } from '../support/world.ts';

const THREE = ['a', 'b', 'c'];
const PASSWORD = { grantType: 'password' } as const;

let world: ClusterWorld;

afterEach(() => {
  expect(world.shown).not.toContain(CANARY);
});

function edit(change: ClusterOverrides): void {
  const before = world.cluster.cluster('loyalty');
  const { spec, metadata } = aClusterCredential(change);
  const generation = before.metadata.generation + 1;
  world.cluster.putCluster({ ...before, metadata: { ...metadata, generation }, spec });
}

/** `GRANT REALM` of each token request so far. */
const asked = () =>
  world.idp.requests.map((request) =>
    'realm' in request ? `${request.grantType} ${request.realm}` : request.grantType,
  );

describe('an edit of a cluster credential', () => {
  it.each([
    ['login', 0, 'password abc-staging'],
    ['refresh', 239, 'refresh_token abc-staging'],
  ])('during a %s: no namespace gets a token of the former program', async (_, at, former) => {
    world = ClusterWorld.serving(THREE, { spec: PASSWORD });
    if (at > 0) await world.workFor(seconds(at));
    const before = asked().length;
    const release = world.idp.hold();
    await world.workFor(seconds(2));
    edit({ spec: { ...PASSWORD, program: 'XYZ' } });
    release();
    await settled(); // The response comes before the next reconcile
    await world.workFor(seconds(10));

    expect(asked().slice(before)).toEqual([former, 'password xyz-staging']);
    const latest = `${CANARY}-token-${asked().length}`;
    expect(world.tokens(...THREE)).toEqual(THREE.map(() => latest));
    expect(world.idp.liveSessions).toBe(1);
  });

  it('to an environment that does not exist: told, nothing is sent, and the session goes on once it is mended', async () => {
    world = ClusterWorld.serving(THREE, { spec: PASSWORD });
    await world.workFor(seconds(20));
    edit({ spec: { ...PASSWORD, environment: 'nowhere' } });
    await world.workFor(minutes(10));
    expect(world.clusterSummary('Stalled')).toBe('True InvalidSpec');
    expect(asked()).toEqual(['password abc-staging']);
    edit({ spec: PASSWORD });
    await world.workFor(seconds(20));
    expect(asked()).toEqual(['password abc-staging', 'refresh_token abc-staging']);
    expect(world.tokens(...THREE)).toEqual(THREE.map(() => `${CANARY}-token-2`));
    expect(world.clusterSummary('Ready')).toBe('True TokenValid');
  });

  it('of the name of the target, before the status tells of a token, leaves no other Secret', async () => {
    world = ClusterWorld.serving(THREE);
    await world.work();
    expect(world.status.issuedAt).toBeUndefined();
    expect(world.target('a')).toBeDefined();
    edit({ target: { name: 'other' } });
    await world.workFor(seconds(20));

    const others = THREE.map((namespace) => world.cluster.stored(`${namespace}/other`));
    expect(others.map((it) => it?.data['token'])).toEqual(THREE.map(() => `${CANARY}-token-1`));
    expect(world.tokens(...THREE)).toEqual(THREE.map(() => undefined));
  });
});

describe('the name of the target', () => {
  it.each(['convercus-abc', 'loyalty-cluster-session'])(
    'may be %s, which is a Secret of another namespace',
    async (name) => {
      world = ClusterWorld.serving(THREE, { spec: PASSWORD, target: { name } });
      await world.workFor(seconds(20));
      expect(world.cluster.stored(`a/${name}`)?.data['token']).toBe(`${CANARY}-token-1`);
      expect(world.clusterSummary('Ready')).toBe('True TokenValid');
    },
  );
});
