import { afterEach, describe, expect, it } from '@jest/globals';
import { Failure } from '../../src/lib/failure.ts';
import { hours, minutes, seconds } from '../../src/lib/time.ts';
import { aCredential, CANARY } from '../support/builders.ts';
import {
  aClusterCredential,
  CLUSTER_SESSION,
  CLUSTER_SOURCE,
  ClusterWorld,
  SELECTED,
} from '../support/cluster-world.ts';
import { endingEarlier, GOOD_SECRET, SOURCE, USERNAME, WRONG_PASSWORD } from '../support/world.ts';

const THREE = ['a', 'b', 'c'];

let world: ClusterWorld;

afterEach(() => {
  expect(world.shown).not.toContain(CANARY);
  expect(JSON.stringify(world.status)).not.toContain(CANARY);
});

const requests = () => world.cluster.requests.splice(0);
const asked = () => world.idp.requests.splice(0).map(({ grantType }) => grantType);
const edit = (change: Parameters<typeof aClusterCredential>[0]) => {
  const before = world.cluster.cluster('loyalty');
  const { spec, metadata } = aClusterCredential(change);
  const generation = before.metadata.generation + 1;
  world.cluster.putCluster({ ...before, metadata: { ...metadata, generation }, spec });
};

describe('a cluster credential', () => {
  it('asks for one token and writes it into each namespace that it selects', async () => {
    world = ClusterWorld.serving(THREE);
    world.cluster.putNamespace('other');
    await world.workFor(seconds(6));
    expect(asked()).toEqual(['client_credentials']);
    expect(world.tokens('a', 'b', 'c', 'other')).toEqual([
      ...THREE.map(() => `${CANARY}-token-1`),
      undefined,
    ]);
    expect(requests().sort()).toEqual([
      'applyClusterStatus loyalty',
      ...THREE.map(() => 'applySecret convercus-token'),
      'readSecret convercus-abc',
    ]);
    expect(world.clusterSummary('Ready')).toBe('True TokenValid');
    expect(world.clusterSummary('Renewed')).toBe('True Issued');
    expect(world.status).toMatchObject({
      observedGeneration: 1,
      namespaces: { selected: 3, ready: 3, failing: 0, terminating: 0 },
      expiresAt: '2026-09-21T12:05:00Z',
    });
    expect(world.status.failures).toBeUndefined();
  });

  it('owns its targets, which say whose they are', async () => {
    world = ClusterWorld.serving(['a']);
    await world.work();
    expect(world.target('a')).toMatchObject({
      type: 'convercus.io/token',
      controllerUid: 'uid-of-cluster-loyalty',
      labels: {
        'app.kubernetes.io/managed-by': 'convercus-operator',
        'convercus.io/cluster-credential': 'loyalty',
      },
      annotations: { 'convercus.io/credential': 'ClusterConvercusCredential/loyalty' },
    });
    expect(world.target('a')?.labels['convercus.io/credential']).toBeUndefined();
  });

  it('renews by one request and one write in each namespace', async () => {
    world = ClusterWorld.serving(THREE);
    await world.workFor(seconds(10));
    asked();
    requests();
    await world.workFor(minutes(4));
    expect(asked()).toEqual(['client_credentials']);
    expect(world.tokens(...THREE)).toEqual(THREE.map(() => `${CANARY}-token-2`));
    expect(requests().filter((each) => !each.startsWith('applyClusterStatus'))).toEqual(
      THREE.map(() => 'applySecret convercus-token'),
    );
  });

  it('asks for nothing after a restart', async () => {
    world = ClusterWorld.serving(THREE);
    await world.workFor(seconds(10));
    asked();
    requests();
    world.restartAll();
    await world.workFor(seconds(10));
    expect(asked()).toEqual([]);
    expect(requests().filter((each) => each.startsWith('apply'))).toEqual([]);
  });

  it('shares its request with a ConvercusCredential that presents the same', async () => {
    world = ClusterWorld.serving(['a']);
    world.cluster.putSecret(SOURCE, { data: { client_secret: GOOD_SECRET } });
    world.cluster.put(aCredential());
    world.cluster.changed.add('shop/loyalty');
    await world.work();
    expect(asked()).toEqual(['client_credentials']);
    expect(world.cluster.stored('shop/loyalty-token')?.data).toEqual(world.target('a')?.data);
  });

  it('renews in all namespaces on request, once', async () => {
    world = ClusterWorld.serving(THREE);
    await world.workFor(minutes(1));
    asked();
    const annotations = { 'convercus.io/renew-requested-at': 'now' };
    const before = world.cluster.cluster('loyalty');
    world.cluster.putCluster({ ...before, metadata: { ...before.metadata, annotations } });
    await world.workFor(seconds(20));
    expect(asked()).toEqual(['client_credentials']);
    expect(new Set(world.tokens(...THREE))).toEqual(new Set([`${CANARY}-token-2`]));
    expect(world.status.lastHandledRenewRequest).toBe('now');
  });
});

describe('a namespace', () => {
  it('gets the token when it begins to match, without a request for another', async () => {
    world = ClusterWorld.serving(['a']);
    await world.workFor(seconds(10));
    asked();
    world.cluster.putNamespace('late', { labels: SELECTED });
    await world.workFor(seconds(6));
    expect(asked()).toEqual([]);
    expect(world.tokens('late')).toEqual([`${CANARY}-token-1`]);
    expect(world.status.namespaces).toMatchObject({ selected: 2, ready: 2 });
  });

  it('loses its Secret when it ceases to match, and it alone', async () => {
    world = ClusterWorld.serving(THREE);
    await world.workFor(seconds(10));
    world.cluster.putNamespace('b');
    await world.workFor(seconds(10));
    expect(world.tokens(...THREE)).toEqual([`${CANARY}-token-1`, undefined, `${CANARY}-token-1`]);
    expect(world.status.namespaces).toMatchObject({ selected: 2, ready: 2 });
  });

  it('loses it as well when it ceased to match while no operator ran', async () => {
    world = ClusterWorld.serving(THREE);
    await world.workFor(seconds(10));
    world.cluster.putNamespace('b');
    world.cluster.changed.clear();
    world.restartAll();
    await world.workFor(seconds(10));
    expect(world.tokens('b')).toEqual([undefined]);
  });

  it('keeps it with deletionPolicy Retain', async () => {
    world = ClusterWorld.serving(['a'], { target: { deletionPolicy: 'Retain' } });
    await world.workFor(seconds(10));
    world.cluster.putNamespace('a');
    await world.workFor(minutes(10));
    expect(world.tokens('a')).toEqual([`${CANARY}-token-1`]);
  });

  it('keeps a Secret that is no target, whatever its owner and labels say', async () => {
    world = ClusterWorld.serving(['a']);
    await world.workFor(seconds(10));
    const forged = world.target('a');
    if (forged === undefined) throw new Error('no target');
    world.cluster.putSecret('other/forged', { ...forged, type: 'Opaque' });
    world.cluster.changed.add('other/ClusterConvercusCredential/loyalty');
    await world.work();
    expect(world.cluster.stored('other/forged')).toBeDefined();
  });

  it('gets nothing any more once it is being deleted, and is told', async () => {
    world = ClusterWorld.serving(['a', 'b']);
    await world.workFor(seconds(10));
    world.cluster.putNamespace('b', { labels: SELECTED, isTerminating: true });
    world.cluster.removeSecret('b/convercus-token');
    requests();
    await world.workFor(seconds(10));
    expect(requests().filter((each) => !each.includes('ClusterStatus'))).toEqual([]);
    expect(world.clusterSummary('Ready')).toBe('True TokenValid');
    expect(world.status).toMatchObject({
      namespaces: { selected: 1, ready: 1, failing: 0, terminating: 1 },
      failures: [{ namespace: 'b', reason: 'NamespaceTerminating' }],
    });
    world.cluster.removeNamespace('b');
    await world.workFor(seconds(10));
    expect(world.status.namespaces).toMatchObject({ selected: 1, terminating: 0 });
    world.cluster.putNamespace('b', { labels: SELECTED });
    await world.workFor(seconds(10));
    expect(world.tokens('b')).toEqual([`${CANARY}-token-1`]);
  });

  it('that is listed and does not exist is told', async () => {
    world = ClusterWorld.serving(['a'], { spec: { namespaces: ['ghost', 'a'] } });
    await world.workFor(seconds(10));
    expect(world.status).toMatchObject({
      namespaces: { selected: 1, ready: 1 },
      failures: [{ namespace: 'ghost', reason: 'NamespaceNotFound' }],
    });
    world.cluster.putNamespace('ghost');
    await world.workFor(seconds(10));
    expect(world.status.namespaces).toMatchObject({ selected: 2, ready: 2 });
    expect(world.status.failures).toBeUndefined();
  });
});

describe('what is in the way', () => {
  it('a selector that matches nothing: told', async () => {
    world = ClusterWorld.serving([]);
    await world.workFor(seconds(10));
    expect(world.clusterSummary('Ready')).toBe('False NoNamespaceSelected');
    expect(asked()).toEqual([]);
  });

  it('a Secret of that name in one namespace: it stops that one alone', async () => {
    world = ClusterWorld.serving(THREE);
    world.cluster.putSecret('b/convercus-token', { data: { own: 'thing' } });
    await world.workFor(seconds(10));
    expect(world.tokens(...THREE)).toEqual([`${CANARY}-token-1`, undefined, `${CANARY}-token-1`]);
    expect(world.clusterSummary('Ready')).toBe('False TargetNotOurs');
    expect(world.clusterSummary('Stalled')).toBe('True TargetNotOurs');
    expect(world.status).toMatchObject({
      namespaces: { selected: 3, ready: 2, failing: 1 },
      failures: [
        {
          namespace: 'b',
          reason: 'TargetNotOurs',
          message: expect.stringMatching(
            /this ClusterConvercusCredential. Change spec.target.name;/,
          ),
        },
      ],
    });
  });

  it('a missing credentials Secret: told for each namespace, the first ten by name', async () => {
    const namespaces = Array.from({ length: 12 }, (_, at) => `n${at + 10}`);
    world = ClusterWorld.serving(namespaces);
    world.cluster.removeSecret(CLUSTER_SOURCE);
    await world.workFor(seconds(10));
    expect(world.status.namespaces).toMatchObject({ selected: 12, ready: 0, failing: 12 });
    expect(world.status.failures?.map(({ namespace }) => namespace)).toEqual(
      namespaces.slice(0, 10),
    );
    const events = world.cluster.events.map(({ about, reason }) => `${about} ${reason}`);
    expect(new Set(events)).toEqual(new Set(['/ClusterConvercusCredential/loyalty InputMissing']));
    world.cluster.putSecret(CLUSTER_SOURCE, { data: { client_secret: GOOD_SECRET } });
    for (const name of namespaces) {
      world.cluster.changed.add(`${name}/ClusterConvercusCredential/loyalty`);
    }
    await world.workFor(seconds(10));
    expect(world.clusterSummary('Ready')).toBe('True TokenValid');
    expect(asked()).toEqual(['client_credentials']);
  });

  it('another claim to the target: the older one has it', async () => {
    world = ClusterWorld.serving(['a', 'shop']);
    world.cluster.putSecret(SOURCE, { data: { client_secret: GOOD_SECRET } });
    const older = { creationTimestamp: '2026-08-01T00:00:00Z', name: 'older' };
    world.cluster.put(aCredential({ metadata: older, target: { name: 'convercus-token' } }));
    world.cluster.changed.add('shop/older');
    await world.workFor(seconds(10));
    expect(world.target('shop')?.labels['convercus.io/credential']).toBe('older');
    expect(world.status.failures).toEqual([
      {
        namespace: 'shop',
        reason: 'TargetNotOurs',
        message: expect.stringContaining('target of ConvercusCredential "older"'),
      },
    ]);
    const younger = { creationTimestamp: '2026-09-02T00:00:00Z', name: 'younger' };
    world.cluster.putNamespace('a', { labels: SELECTED });
    world.cluster.put(
      aCredential({
        metadata: { ...younger, namespace: 'a' },
        target: { name: 'convercus-token' },
      }),
    );
    world.cluster.changed.add('a/younger');
    await world.workFor(seconds(10));
    expect(world.target('a')?.labels['convercus.io/cluster-credential']).toBe('loyalty');
    expect(world.summary('Renewed', 'a/younger')).toBe('False TargetNotOurs');
    expect(world.condition('Renewed', 'a/younger')?.message).toContain(
      'is already the target of ClusterConvercusCredential "loyalty".',
    );
  });

  it('an outage of the provider: the tokens in place stay, one request is tried again', async () => {
    world = ClusterWorld.serving(THREE);
    await world.workFor(minutes(3.5));
    asked();
    world.idp.outage = new Failure('NetworkError', 'No connection');
    await world.workFor(minutes(1));
    expect(world.clusterSummary('Ready')).toBe('True TokenValid');
    expect(world.clusterSummary('Renewed')).toBe('False NetworkError');
    expect(asked().length).toBeLessThan(10);
    world.idp.outage = undefined;
    await world.workFor(minutes(1));
    expect(world.clusterSummary('Renewed')).toBe('True RenewedOnSchedule');
  });
});

describe('a session', () => {
  const password = { spec: { grantType: 'password' } } as const;

  it('is one for all namespaces, beside the credentials Secret', async () => {
    world = ClusterWorld.serving(THREE, password);
    await world.workFor(seconds(10));
    expect(asked()).toEqual(['password']);
    expect(world.tokens(...THREE)).toEqual(THREE.map(() => `${CANARY}-token-1`));
    expect(world.cluster.stored(CLUSTER_SESSION)?.labels).toMatchObject({
      'convercus.io/cluster-credential': 'loyalty',
      'app.kubernetes.io/component': 'session',
    });
    expect(world.idp.liveSessions).toBe(1);
  });

  it('is refreshed by one request a round, for hours', async () => {
    world = ClusterWorld.serving(THREE, password);
    await world.workFor(seconds(10));
    asked();
    requests();
    await world.workFor(hours(1));
    const refreshes = asked();
    expect(new Set(refreshes)).toEqual(new Set(['refresh_token']));
    expect(refreshes.length).toBe(15);
    expect(
      requests().filter((each) => each === 'applySecret loyalty-cluster-session'),
    ).toHaveLength(refreshes.length);
    expect(new Set(world.tokens(...THREE)).size).toBe(1);
    expect(world.idp.liveSessions).toBe(1);
  });

  it('keeps its place in the queue of the host, however long it waits', async () => {
    world = ClusterWorld.serving(THREE, password);
    const release = world.limiter.hold();
    await world.workFor(minutes(5));
    expect(world.clusterSummary('Renewed')).toBe('False Throttled');
    expect(world.limiter.turns).toHaveLength(1);
    release();
    await world.workFor(seconds(10));
    expect(asked()).toEqual(['password']);
    expect(world.clusterSummary('Ready')).toBe('True TokenValid');
  });

  it('is not begun with a password whose Secret is deleted while it waits for its turn', async () => {
    world = ClusterWorld.serving(THREE, password);
    const release = world.limiter.hold();
    await world.workFor(seconds(10));
    world.cluster.removeSecret(CLUSTER_SOURCE);
    for (const name of THREE) {
      world.cluster.changed.add(`${name}/ClusterConvercusCredential/loyalty`);
    }
    await world.workFor(seconds(10));
    expect(world.clusterSummary('Renewed')).toBe('False InputMissing');
    release();
    await world.workFor(minutes(1));
    expect(asked()).toEqual([]);
  });

  it('goes on after a restart', async () => {
    world = ClusterWorld.serving(THREE, password);
    await world.workFor(seconds(10));
    asked();
    world.restartAll();
    await world.workFor(minutes(4));
    expect(asked()).toEqual(['refresh_token']);
    expect(world.idp.liveSessions).toBe(1);
  });

  it('ends with the credential', async () => {
    world = ClusterWorld.serving(THREE, password);
    await world.workFor(seconds(10));
    world.cluster.removeCluster('loyalty');
    await world.workFor(minutes(1));
    expect(world.idp.liveSessions).toBe(0);
    expect(world.cluster.stored(CLUSTER_SESSION)).toBeUndefined();
    world.cluster.putCluster(aClusterCredential());
  });

  it('ends when the grant changes, once no target holds a token of it', async () => {
    world = ClusterWorld.serving(THREE, password);
    await world.workFor(seconds(10));
    edit({});
    await world.workFor(minutes(1));
    expect(world.idp.liveSessions).toBe(0);
    expect(world.cluster.stored(CLUSTER_SESSION)).toBeUndefined();
    expect(world.clusterSummary('Ready')).toBe('True TokenValid');
  });

  it('is replaced before its end, and logged out when every target has the new token', async () => {
    world = ClusterWorld.serving(THREE, password);
    world.idp.sessionMax = hours(1);
    await world.workFor(hours(1));
    expect(asked().filter((each) => each === 'password')).toHaveLength(2);
    expect(world.idp.liveSessions).toBe(1);
    expect(world.clusterSummary('Ready')).toBe('True TokenValid');
  });

  it('whose end cuts its tokens lets no renewal fail, though servers count in whole seconds', async () => {
    world = ClusterWorld.serving(THREE, password);
    world.idp.sessionMax = minutes(5);
    world.source = endingEarlier(world, seconds(1));
    for (let step = 0; step < 29; step += 1) {
      await world.workFor(seconds(10));
      expect(world.clusterSummary('Renewed')).toMatch(/^True/);
    }
    expect(asked()).toEqual(['password', 'refresh_token', 'password']);
  });

  it('is logged out when the one that replaces it brings no refresh token', async () => {
    world = ClusterWorld.serving(THREE, password);
    await world.workFor(seconds(10));
    world.idp.givesRefreshTokens = false;
    edit({ spec: { grantType: 'password', scope: 'openid profile' } });
    await world.workFor(minutes(1));
    expect(asked()).toEqual(['password', 'password']);
    expect(world.idp.liveSessions).toBe(1); // the new one, of which there is nothing to end it with
    expect(world.cluster.stored(CLUSTER_SESSION)).toBeUndefined();
  });

  it('whose refresh token was refused as reused is logged out once no token of it is valid', async () => {
    world = ClusterWorld.serving(THREE, password);
    await world.workFor(seconds(10));
    world.source = async ({ grantType }) =>
      grantType === 'password'
        ? new Failure('CredentialsRejected', 'no')
        : new Failure('RefreshTokenReused', 'no');
    await world.workFor(minutes(10));

    expect(world.idp.logouts).toHaveLength(1);
  });

  it('that can not be stored is tried again after longer and longer waits', async () => {
    world = ClusterWorld.serving(['a'], password);
    const { cluster } = world;
    const apply = cluster.applySecret.bind(cluster);
    let tries = 0;
    cluster.applySecret = async (desired) => {
      if (desired.name !== 'loyalty-cluster-session') return apply(desired);
      tries += 1;
      return new Failure('ClusterUnavailable', 'down');
    };
    await world.workFor(minutes(30));
    expect(tries).toBeGreaterThan(3);
    expect(tries).toBeLessThan(40);
    cluster.applySecret = apply;
    await world.workFor(minutes(6));
    expect(cluster.stored(CLUSTER_SESSION)).toBeDefined();
    expect(asked()).toContain('password');
  });

  it('that has ended is followed by one login', async () => {
    world = ClusterWorld.serving(THREE, password);
    await world.workFor(seconds(10));
    asked();
    world.idp.loseSessions();
    await world.workFor(minutes(5));
    expect(asked()).toEqual(['refresh_token', 'password']);
    expect(world.clusterSummary('Renewed')).toBe('True RenewedOnSchedule');
  });

  it('is not begun with a rejected password again, not even after a restart', async () => {
    world = ClusterWorld.serving(THREE, password);
    world.cluster.putSecret(CLUSTER_SOURCE, {
      data: { client_secret: GOOD_SECRET, username: USERNAME, password: WRONG_PASSWORD },
    });
    await world.workFor(minutes(10));
    expect(asked()).toEqual(['password']);
    expect(world.clusterSummary('Renewed')).toBe('False CredentialsRejected');
    expect(world.status.rejectedLogin).toBeDefined();
    world.restartAll();
    await world.workFor(minutes(10));
    expect(asked()).toEqual([]);
    expect(world.clusterSummary('Renewed')).toBe('False CredentialsRejected');
  });

  it('near its end is not replaced with a rejected password again, not even after restarts', async () => {
    world = ClusterWorld.serving(THREE, password);
    world.idp.sessionMax = hours(1);
    await world.workFor(minutes(30));
    world.idp.goodPassword = 'another';
    await world.workFor(minutes(25));
    expect(asked().filter((each) => each === 'password')).toHaveLength(2);
    expect(world.clusterSummary('Ready')).toBe('True TokenValid');
    const { rejectedLogin } = world.status;
    expect(rejectedLogin).toMatchObject({ count: 1, hadWorked: true });
    world.restartAll();
    await world.workFor(seconds(10));
    world.restartAll();
    await world.workFor(minutes(4));
    expect(asked().filter((each) => each === 'password')).toEqual([]);
    expect(world.status.rejectedLogin).toEqual(rejectedLogin);
  });

  it('is not begun so by a standby either, whose instances are older than the rejection', async () => {
    world = ClusterWorld.serving(['a'], password);
    const key = 'a/ClusterConvercusCredential/loyalty';
    const atFirst = world.cluster.credential(key);
    if (atFirst === undefined) throw new Error('no instance');
    world.cluster.putSecret(CLUSTER_SOURCE, {
      data: { client_secret: GOOD_SECRET, username: USERNAME, password: WRONG_PASSWORD },
    });
    await world.workFor(minutes(1));
    expect(asked()).toEqual(['password']);
    world.cluster.put(atFirst);
    world.restartAll();
    await world.workFor(minutes(10));
    expect(asked()).toEqual([]);
  });
});
