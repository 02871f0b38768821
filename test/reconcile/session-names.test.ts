import { afterEach, describe, expect, it } from '@jest/globals';
import { minutes, seconds } from '../../src/lib/time.ts';
import { aCredential, CANARY } from '../support/builders.ts';
import { CLUSTER_SESSION, ClusterWorld, SELECTED } from '../support/cluster-world.ts';
import { CREDENTIALS_NAMESPACE } from '../support/fake-cluster.ts';

const PASSWORD = { grantType: 'password' } as const;
const NAMESAKE = `${CREDENTIALS_NAMESPACE}/loyalty-cluster`;

let world: ClusterWorld;

afterEach(() => {
  expect(world.shown).not.toContain(CANARY);
});

/** Its session has the name of that of the ClusterConvercusCredential "loyalty". */
function putNamesake(): void {
  const metadata = { name: 'loyalty-cluster', namespace: CREDENTIALS_NAMESPACE, uid: 'uid-2' };
  world.cluster.put(aCredential({ metadata, spec: PASSWORD }));
  world.cluster.changed.add(NAMESAKE);
}

/** The credential whose session the Secret holds. */
function ownerOfSession(): string | undefined {
  const labels = world.cluster.stored(CLUSTER_SESSION)?.labels ?? {};
  return labels['convercus.io/cluster-credential'] ?? labels['convercus.io/credential'];
}

describe('one name for the sessions of two credentials', () => {
  it('is told to the ConvercusCredential that comes later', async () => {
    world = ClusterWorld.serving(['a'], { spec: PASSWORD });
    await world.workFor(seconds(10));
    putNamesake();
    await world.workFor(minutes(10));

    expect(world.summary('Renewed', NAMESAKE)).toBe('False TargetNotOurs');
    expect(world.condition('Renewed', NAMESAKE)?.message).toBe(
      'Secret "loyalty-cluster-session" holds the session of ClusterConvercusCredential "loyalty", and that of this credential would have the same name; leave the Secret as it is, and replace one of the two credentials by one of another name',
    );
    expect(world.clusterSummary('Ready')).toBe('True TokenValid');
    expect(ownerOfSession()).toBe('loyalty');
    expect(world.idp.grants('password')).toBe(1);
  });

  it('is told to the ClusterConvercusCredential that comes later', async () => {
    world = ClusterWorld.serving([], { spec: PASSWORD });
    putNamesake();
    await world.workFor(seconds(10));
    world.cluster.putNamespace('a', { labels: SELECTED });
    await world.workFor(minutes(10));

    expect(world.status.failures).toEqual([
      {
        namespace: 'a',
        reason: 'TargetNotOurs',
        message: expect.stringContaining(
          'holds the session of ConvercusCredential "loyalty-cluster", and',
        ),
      },
    ]);
    expect(world.summary('Ready', NAMESAKE)).toBe('True TokenValid');
    expect(ownerOfSession()).toBe('loyalty-cluster');
    expect(world.idp.grants('password')).toBe(1);
  });

  it('never has the session of the other one replaced, though a namespace waits for a token', async () => {
    world = ClusterWorld.serving(['a'], { spec: PASSWORD });
    await world.reconcileOnce('a/ClusterConvercusCredential/loyalty');
    world.cluster.changed.clear();
    world.enqueued.clear();
    putNamesake();
    await world.work();
    expect(ownerOfSession()).toBe('loyalty-cluster');
    await world.reconcileOnce('/ClusterConvercusCredential/loyalty');
    await world.workFor(minutes(1));

    expect(world.idp.grants('password')).toBe(1);
    expect(world.idp.liveSessions).toBe(1);
  });
});
