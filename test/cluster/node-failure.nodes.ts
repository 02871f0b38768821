import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { CLUSTER_DIR } from '../../dev/envtest/cluster/prepare.ts';
import { OPERATOR_REPOSITORY } from '../../dev/operator-image.ts';
import { Lab, OPERATOR_NAMESPACE, RELEASE, until } from './lab.ts';
import { Report } from './report.ts';
import { LeaseHolders, PublishedTokens } from './watches.ts';

/**
 * A node loses its power: what ran there falls silent. Tokens are renewed every 36 s, staggered, so that one is always
 * due when the next leader begins. Nodes, tolerations and the Lease have their defaults.
 */

const LONG = 15 * 60_000;
const FLEET = Array.from({ length: 20 }, (_, index) => `fleet${index}`);
const LIFETIME = 300;
/** Of a token of half an hour, when its renewal is due as late as by default: 80 % and 5 % of jitter. */
const LEFT_AT_RENEWAL = 1_800 * 0.15;
/** Until kubelet shows a changed Secret in a file: its sync period of a minute, and a margin. */
const KUBELET_SECONDS = 75;

const report = new Report();
let lab: Lab;
let lease: LeaseHolders;
let fleet: PublishedTokens;

interface OperatorPod {
  readonly name: string;
  readonly node: string;
  readonly isReady: boolean;
  readonly created: number;
}

/** Also those that are being deleted, as a pod on a dead node is until the node is removed. */
async function pods(): Promise<OperatorPod[]> {
  const args = ['get', 'pods', '-n', OPERATOR_NAMESPACE, '-o', 'json'];
  const { items } = JSON.parse(await lab.cluster.kubectl(args));
  return items.map(
    ({
      metadata,
      spec,
      status,
    }: {
      metadata: { name: string; creationTimestamp: string };
      spec: { nodeName?: string };
      status: { conditions?: readonly { type: string; status: string }[] };
    }) => ({
      name: metadata.name,
      node: spec.nodeName ?? '',
      created: Date.parse(metadata.creationTimestamp),
      isReady: (status.conditions ?? []).some(
        (condition) => condition.type === 'Ready' && condition.status === 'True',
      ),
    }),
  );
}

/** @returns milliseconds until another replica led, and until it had renewed a token */
async function cut(node: string): Promise<{ led: number; renewed: number; since: number }> {
  const before = lease.current;
  const since = Date.now();
  await lab.cluster.cutNode(node);
  const isOther = (holder: string): boolean => holder !== before && holder !== '';
  const leader = await until(() => lease.firstAfter(since, isOther), 400);
  const first = await until(() => fleet.all.find(({ at }) => at > leader.at));
  return { led: leader.at - since, renewed: first.at - since, since };
}

/** When the node was last said to be ready or not, in milliseconds since 1970. */
async function turned(node: string): Promise<number> {
  const path = 'jsonpath={.status.conditions[?(@.type=="Ready")].lastTransitionTime}';
  return Date.parse(await lab.cluster.kubectl(['get', 'node', node, '-o', path]));
}

/** Seconds that a token has to live to be renewed in time by the defaults, whenever the node fails. */
const leastLifetime = (seconds: number): number => (seconds + KUBELET_SECONDS) / 0.15;

const minutes = (seconds: number): string => `${(seconds / 60).toFixed(1)} min`;

beforeAll(async () => {
  lab = await Lab.start(process.env[CLUSTER_DIR] ?? '', '5s');
  for (const name of ['fleet', OPERATOR_NAMESPACE]) await lab.namespace(name);
  await lab.cluster.addNode();
  await lab.cluster.addNode();
  await lab.cluster.kubectl(['cordon', 'node3']);
}, LONG);

afterAll(async () => {
  report.print(process.env['CONVERCUS_E2E_FIGURES']);
  await lab?.stop();
});

describe('two replicas', () => {
  it(
    'are spread over two nodes by the chart',
    async () => {
      const image = { repository: OPERATOR_REPOSITORY, tag: 'first', pullPolicy: 'Never' };
      await lab.helm('install', { image }, '--wait', '--timeout', '300s');
      const nodes = (await pods()).map(({ node }) => node);
      expect(nodes.sort()).toEqual(['node1', 'node2']);
    },
    LONG,
  );

  it(
    'renew',
    async () => {
      lease = new LeaseHolders(lab.cluster, OPERATOR_NAMESPACE, RELEASE);
      fleet = new PublishedTokens(lab.cluster, 'fleet');
      for (const name of FLEET) {
        await lab.customer('fleet', name, LIFETIME);
        await lab.credential('fleet', name, { percent: 12, jitterPercent: 1 });
        await sleep(1_000);
      }
      await until(() => fleet.all.length > FLEET.length + 5);
    },
    LONG,
  );
});

describe('the node of the leader fails', () => {
  it(
    'and the other replica renews within a minute',
    async () => {
      const onNode1 = (await pods()).find(({ node }) => node === 'node1')?.name;
      if (lease.current === onNode1) {
        await lab.cluster.kubectl(['delete', 'pod', onNode1, '-n', OPERATOR_NAMESPACE]);
        await until(() => lease.current !== onNode1 && lease.current !== '');
      }
      const leader = (await pods()).find(({ name }) => name === lease.current);
      expect(leader?.node).toBe('node2');
      const { led, renewed } = await cut('node2');
      report.seconds("leader's node fails: the other replica leads after", led);
      report.seconds("leader's node fails: first renewal after (T)", renewed);
      report.add(
        "leader's node fails: least lifetime that survives",
        minutes(leastLifetime(renewed / 1_000)),
      );
      expect(renewed / 1_000).toBeLessThan(60);
    },
    LONG,
  );
});

describe('the node of both replicas fails', () => {
  it(
    'once they are on one node',
    async () => {
      for (const name of ['node1', 'node2']) await lab.cluster.kubectl(['cordon', name]);
      await lab.cluster.kubectl(['uncordon', 'node3']);
      for (const { name, node } of await pods()) {
        const how = node === 'node2' ? ['--force', '--grace-period=0'] : [];
        const which = [name, '-n', OPERATOR_NAMESPACE, '--ignore-not-found', '--wait=false'];
        await lab.cluster.kubectl(['delete', 'pod', ...which, ...how]);
      }
      await until(async () => {
        const all = await pods();
        const isThere = all.every(({ node, isReady }) => node === 'node3' && isReady);
        return all.length === 2 && isThere && all.some(({ name }) => name === lease.current);
      });
      const from = Date.now();
      await until(() => fleet.all.filter(({ at }) => at > from).length > 3);
      await lab.cluster.kubectl(['uncordon', 'node1']);
    },
    LONG,
  );

  it(
    'and replacements elsewhere renew in time for tokens of half an hour',
    async () => {
      const { led, renewed, since } = await cut('node3');
      const started = (await pods()).filter(({ node }) => node === 'node1');
      report.seconds('node of both fails: known to be so after', (await turned('node3')) - since);
      const created = Math.min(...started.map((pod) => pod.created));
      report.seconds('node of both fails: replacements made after', created - since);
      report.seconds('node of both fails: a replacement leads after', led);
      report.seconds("node of both fails: first renewal after (T')", renewed);
      const least = leastLifetime(renewed / 1_000);
      report.add('node of both fails: least lifetime that survives', minutes(least));
      expect(renewed / 1_000 + KUBELET_SECONDS).toBeLessThan(LEFT_AT_RENEWAL);
    },
    LONG,
  );
});
