import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { imagesOf } from '../../dev/envtest/cluster/images.ts';
import { NODE } from '../../dev/envtest/cluster/node.ts';
import { CLUSTER_DIR } from '../../dev/envtest/cluster/prepare.ts';
import { OPERATOR_REPOSITORY, operatorImage } from '../../dev/operator-image.ts';
import { describeCli } from './cli.ts';
import { cutApiAccess, disturb, leaderOf, signalLeader, type Watched } from './disturbance.ts';
import { Lab, OPERATOR_NAMESPACE, PATIENCE, RELEASE, until } from './lab.ts';
import { memoryOf, processOf, uptime } from './operator-processes.ts';
import { monitoringCrds, Prometheus } from './prometheus.ts';
import { quantile, Report } from './report.ts';
import { difference } from './stand-in-api.ts';
import { LeaseHolders, PublishedTokens } from './watches.ts';
import { workloadPod } from './workload.ts';

/**
 * The tests run in order on one cluster: each continues with the state that the previous one left.
 * Workload `loyalty` has tokens of a minute, as short as the operator renews without falling behind kubelet;
 * workload `fleet` uses 20 credentials with tokens of five minutes that are renewed every 36 s.
 */

/** Time limit of a test in milliseconds, only reached when it hangs. */
const LONG = 10 * 60_000;
const isLong = process.env['CONVERCUS_E2E'] === 'long';
const FLEET = Array.from({ length: 20 }, (_, index) => `fleet${index}`);
/** In the short run the durations of alerts are divided by 30. */
const shorten = (duration: string): string =>
  isLong ? duration : `${Math.ceil((Number.parseInt(duration, 10) * 60) / 30)}s`;

/** As the chart's defaults of 30 s and 25 s, on the time scale of the rules. */
const SCRAPES = isLong
  ? { interval: '30s', scrapeTimeout: '25s' }
  : { interval: '1s', scrapeTimeout: '900ms' };

const dir = process.env[CLUSTER_DIR] ?? '';
const report = new Report();
let lab: Lab;
let prometheus: Prometheus;
let watched: Watched;
let shop: PublishedTokens;

const values = (version: string, more: object = {}): object => ({
  image: { repository: OPERATOR_REPOSITORY, tag: version, pullPolicy: 'Never' },
  serviceMonitor: { enabled: true, ...SCRAPES },
  prometheusRule: { enabled: true },
  ...more,
});

beforeAll(async () => {
  const started = Date.now();
  lab = await Lab.start(dir, '5s');
  report.seconds('cluster started', Date.now() - started);
  await lab.cluster.apply(...monitoringCrds());
  await lab.cluster.kubectl(['wait', '--for=condition=Established', 'crd', '--all']);
  for (const namespace of ['shop', 'fleet', OPERATOR_NAMESPACE]) await lab.namespace(namespace);
}, 2 * LONG);

afterAll(async () => {
  report.print(process.env['CONVERCUS_E2E_FIGURES']);
  await lab?.stop();
});

describe('the node', () => {
  it('collects no image and evicts no pod, however full the disk is', async () => {
    const path = `/api/v1/nodes/${NODE}/proxy/configz`;
    const { kubeletconfig } = JSON.parse(await lab.cluster.kubectl(['get', '--raw', path]));
    expect(kubeletconfig).toMatchObject({
      imageGCHighThresholdPercent: 100,
      imageMaximumGCAge: '0s',
    });
    expect(kubeletconfig.evictionHard ?? {}).toEqual({});
    expect(kubeletconfig.evictionSoft ?? {}).toEqual({});
  });

  it('changes no limit of the kernel, however many cores there are', async () => {
    const response = await fetch('http://127.0.0.1:10249/configz');
    const configuration = JSON.parse(await response.text())['kubeproxy.config.k8s.io'];
    expect(configuration.conntrack.maxPerCore).toBe(0);
  });
});

describe('the image', () => {
  it('has the same layers when built again, no root, and its labels', async () => {
    const { base, operator } = JSON.parse(
      await readFile(join(imagesOf(dir), 'facts.json'), 'utf8'),
    );
    const [first, second] = operator;
    report.mebibytes('image, unpacked', first.size);
    report.mebibytes('image, without its base', first.size - base.size);
    expect(second.layers).toEqual(first.layers);
    expect(first.user).toBe('65532:65532');
    expect(first.labels).toMatchObject({
      'org.opencontainers.image.licenses': 'Apache-2.0',
      'org.opencontainers.image.version': 'first',
    });
  });
});

describe('installed by the chart', () => {
  it(
    'gives a token to a pod',
    async () => {
      await lab.customer('shop', 'loyalty', 60);
      const started = Date.now();
      await lab.helm('install', values('first'));
      await lab.cluster.kubectl(['wait', '--for=condition=Established', 'crd', '--all']);
      await lab.credential('shop', 'loyalty');
      const pod = {
        name: 'loyalty',
        namespace: 'shop',
        api: lab.api.url,
        credentials: ['loyalty'],
      };
      await lab.cluster.apply(workloadPod(pod));
      await until(() => lab.api.calls('loyalty').accepted > 0);
      report.seconds('helm install to the first accepted call', Date.now() - started);
    },
    LONG,
  );

  it(
    'has two ready replicas, one of which leads',
    async () => {
      const deployment = `deployment/${RELEASE}`;
      await lab.cluster.kubectl(['rollout', 'status', deployment, '-n', OPERATOR_NAMESPACE]);
      const lease = new LeaseHolders(lab.cluster, OPERATOR_NAMESPACE, RELEASE);
      const fleet = new PublishedTokens(lab.cluster, 'fleet');
      shop = new PublishedTokens(lab.cluster, 'shop');
      watched = { lab, fleet, lease, report };
      const names = (await lab.operatorPods()).map(({ metadata }) => metadata.name);
      expect(names).toHaveLength(2);
      expect(names).toContain((await leaderOf(watched)).metadata.name);
    },
    LONG,
  );

  it(
    'passes its own test',
    async () => {
      expect(await lab.helm('test', {}, '--timeout', '180s')).toContain('Succeeded');
    },
    LONG,
  );

  it(
    'is scraped and watched by Prometheus as the chart says',
    async () => {
      prometheus = await Prometheus.start(lab.cluster, shorten);
      await until(async () => (await prometheus.query('convercus_credential_ready')).length > 0);
      await until(async () => {
        const [up] = await prometheus.query('count(up == 1)');
        return up?.value[1] === '2';
      });
    },
    LONG,
  );

  it(
    'is small, and soon ready after a start',
    async () => {
      const leader = await leaderOf(watched);
      const before = await lab.operatorPods();
      const standby = before.find(({ metadata }) => metadata.uid !== leader.metadata.uid);
      await lab.cluster.kubectl([
        'delete',
        'pod',
        standby?.metadata.name ?? '',
        '-n',
        OPERATOR_NAMESPACE,
        '--wait=false',
      ]);
      const known = new Set(before.map(({ metadata }) => metadata.uid));
      const pod = await until(async () => {
        const pods = await lab.operatorPods();
        return pods.find(
          ({ metadata, status }) => !known.has(metadata.uid) && status.podIP !== undefined,
        );
      });
      const its = await until(() => processOf(pod.metadata.uid), PATIENCE, 10);
      await until(() => isReady(pod.status.podIP ?? ''), PATIENCE, 10);
      report.seconds('process started to ready', (await uptime()) - its.started);
      const leaders = await until(() => processOf(leader.metadata.uid));
      report.mebibytes('memory of a leader', await memoryOf(leaders));
      report.mebibytes('memory of a standby', await memoryOf(its));
    },
    LONG,
  );
});

const isReady = (address: string): Promise<boolean> =>
  fetch(`http://${address}:8081/readyz`, { signal: AbortSignal.timeout(1_000) }).then(
    ({ ok }) => ok,
    () => false,
  );

describe('under load', () => {
  it(
    'serves a fleet of credentials',
    async () => {
      for (const name of FLEET) {
        await lab.customer('fleet', name, 300);
        await lab.credential('fleet', name, { percent: 12, jitterPercent: 1 });
        // Spreads the renewals over time
        await sleep(1_000);
      }
      const pod = { name: 'fleet', namespace: 'fleet', api: lab.api.url, credentials: FLEET };
      await lab.cluster.apply(workloadPod(pod));
      await until(() => lab.api.calls('fleet').accepted > FLEET.length);
    },
    LONG,
  );

  it(
    `never lets a pod use an expired token for ${isLong ? '15 minutes' : '90 s'}`,
    async () => {
      const from = Date.now();
      const before = lab.api.calls('loyalty');
      await sleep((isLong ? 900 : 90) * 1_000);
      const calls = difference(lab.api.calls('loyalty'), before);
      const delays = [...shop.all, ...watched.fleet.all]
        .filter(({ at }) => at > from)
        .map(({ at, token }) => (lab.api.firstSeen.get(token) ?? Number.NaN) - at)
        .filter((delay) => !Number.isNaN(delay));
      report.add('calls with tokens of 60 s', calls.accepted);
      report.add('calls refused as expired', calls.expired);
      report.add('calls without a token', calls.other);
      report.seconds(
        `Secret written to used by the pod, median of ${delays.length}`,
        quantile(delays, 0.5),
      );
      report.seconds('Secret written to used by the pod, worst', Math.max(...delays));
      expect(calls.expired + calls.other).toBe(0);
      // 20 a second on an idle machine
      expect(calls.accepted).toBeGreaterThan(isLong ? 900 : 90);
      expect(delays.length).toBeGreaterThan(0);
    },
    2 * LONG,
  );

  it('raises no alert, and no rule is broken', async () => {
    expect(await prometheus.brokenRules()).toEqual([]);
    expect((await prometheus.alerts()).filter(({ state }) => state === 'firing')).toEqual([]);
  });
});

describe('high availability', () => {
  const nothingLost = { lost: 0, expired: 0 };

  it(
    'hands over within seconds when the leader is deleted',
    async () => {
      const outcome = await disturb('leader deleted', watched, async () => {
        const leader = (await leaderOf(watched)).metadata.name;
        await lab.cluster.kubectl([
          'delete',
          'pod',
          leader,
          '-n',
          OPERATOR_NAMESPACE,
          '--wait=false',
        ]);
        const released = await until(
          () => watched.lease.current !== leader && watched.lease.all.at(-1),
          PATIENCE,
          5,
        );
        return { since: released.holder === '' ? released.at : released.at - 1 };
      });
      expect(outcome).toMatchObject({ ...nothingLost, expiredOfShortLived: 0 });
      // The standby looks after 2 to 4.4 s. Without the release of the Lease it would wait for its duration, 15 s.
      expect(outcome.leaderless).toBeLessThan(7_500);
    },
    LONG,
  );

  it(
    'goes on when the leader is killed',
    async () => {
      const outcome = await disturb('leader killed', watched, async () => {
        await signalLeader(watched, 'SIGKILL');
        return { since: Date.now() + 100 };
      });
      expect(outcome).toMatchObject({ expired: 0, expiredOfShortLived: 0 });
      // A response that is on its way is lost.
      expect(outcome.lost).toBeLessThanOrEqual(1);
      // The lease duration is 15 s, and the standby retries every 2 s.
      expect(outcome.leaderless).toBeLessThan(30_000);
    },
    LONG,
  );

  it(
    'goes on when the leader is frozen for 30 s',
    async () => {
      const outcome = await disturb('leader frozen', watched, async () => {
        const frozen = watched.lease.current;
        const pid = await signalLeader(watched, 'SIGSTOP');
        const since = Date.now();
        await sleep(30_000);
        process.kill(pid, 'SIGCONT');
        return { since, isSuccessor: (holder) => holder !== frozen && holder !== '' };
      });
      expect(outcome).toMatchObject({ expired: 0 });
      expect(outcome.leaderless).toBeLessThan(30_000);
    },
    LONG,
  );

  it(
    'outlives 60 s without the API server',
    async () => {
      const restarts = await restartsOfOperator();
      const outcome = await disturb('no API server for 60 s', watched, async () => {
        await cutApiAccess(watched, 60);
        return { since: Date.now() };
      });
      expect(outcome.expired).toBe(0);
      // A token that arrives while the API server is away can't be stored, and the leader loses the Lease.
      expect(outcome.lost).toBeLessThanOrEqual(2);
      expect(outcome.leaderless).toBeLessThan(20_000);
      expect(await restartsOfOperator()).toBe(restarts);
    },
    LONG,
  );

  it(
    'lets nothing expire while the image is upgraded',
    async () => {
      const outcome = await disturb('helm upgrade', watched, async () => {
        await lab.helm('upgrade', values('second'), '--wait');
        return undefined;
      });
      report.seconds('helm upgrade: no leader for', outcome.vacant);
      expect(outcome).toMatchObject({ ...nothingLost, expiredOfShortLived: 0 });
      expect(outcome.vacant).toBeLessThan(7_500);
    },
    LONG,
  );
});

async function restartsOfOperator(): Promise<number> {
  const path = 'jsonpath={.items[*].status.containerStatuses[*].restartCount}';
  const text = await lab.cluster.kubectl(['get', 'pods', '-n', OPERATOR_NAMESPACE, '-o', path]);
  return text.split(' ').reduce((sum, count) => sum + Number(count), 0);
}

describe('alerts', () => {
  const stalled = async (): Promise<boolean> =>
    (await prometheus.alerts()).some(
      ({ state, labels }) =>
        state === 'firing' &&
        labels['alertname'] === 'ConvercusCredentialStalled' &&
        labels['name'] === 'loyalty',
    );

  it(
    'fires while the client secret is wrong',
    async () => {
      const right = lab.provider.realms.get('loyalty-staging').clients.get('machine-2-machine');
      await lab.setSecret('shop', 'loyalty', 'wrong');
      const spoiled = Date.now();
      await until(stalled, isLong ? 900 : 300, 250);
      report.seconds(`client secret wrong to alert (for: ${shorten('5m')})`, Date.now() - spoiled);
      await lab.setSecret('shop', 'loyalty', right?.secret ?? '');
      const mended = Date.now();
      await until(async () => !(await stalled()), 300, 250);
      report.seconds('client secret right to alert resolved', Date.now() - mended);
    },
    2 * LONG,
  );
});

describeCli(() => lab, report);

describe('uninstalled', () => {
  it(
    'leaves credentials and Secrets',
    async () => {
      const count = async (what: string): Promise<number> =>
        (await lab.cluster.kubectl(['get', what, '-A', '-o', 'name'])).trim().split('\n').length;
      const before = [await count('convcred'), await count('secrets')];
      const started = Date.now();
      await lab.helm('uninstall', {}, '--wait', '--timeout', '180s');
      report.seconds('helm uninstall', Date.now() - started);
      const helmsOwn = 2;
      const after = [await count('convcred'), (await count('secrets')) + helmsOwn];
      expect(after).toEqual(before);
    },
    LONG,
  );

  it(
    'does not hold up the deletion of a namespace',
    async () => {
      await lab.cluster.kubectl(['delete', 'pod', 'fleet', '-n', 'fleet']);
      const started = Date.now();
      await lab.cluster.kubectl(['delete', 'namespace', 'fleet', '--timeout=180s']);
      report.seconds(`namespace with ${FLEET.length} credentials deleted`, Date.now() - started);
    },
    LONG,
  );
});

describe('for a list of namespaces', () => {
  const account = `system:serviceaccount:${OPERATOR_NAMESPACE}:${RELEASE}`;
  const can = (namespace: string, verb: string): Promise<boolean> =>
    lab.cluster
      .kubectl(['auth', 'can-i', '--quiet', verb, 'secrets', '-n', namespace, `--as=${account}`])
      .then(
        () => true,
        () => false,
      );

  it(
    'serves those and leaves a credential elsewhere alone',
    async () => {
      await lab.namespace('elsewhere');
      await lab.customer('elsewhere', 'unlisted', 60);
      await lab.credential('elsewhere', 'unlisted');
      await lab.customer('shop', 'listed', 60);
      await lab.credential('shop', 'listed');
      await lab.helm('install', values('second', { watch: { namespaces: ['shop'] } }), '--wait');
      await lab.cluster.kubectl([
        'wait',
        '--for=condition=Ready',
        'convcred/listed',
        '-n',
        'shop',
        '--timeout=180s',
      ]);
      await sleep(5_000);
      const secrets = await lab.cluster.kubectl([
        'get',
        'secrets',
        '-n',
        'elsewhere',
        '-o',
        'name',
      ]);
      const conditions = await lab.cluster.kubectl([
        'get',
        'convcred',
        'unlisted',
        '-n',
        'elsewhere',
        '-o',
        'jsonpath={.status.conditions}',
      ]);
      expect(secrets.trim()).toBe('secret/unlisted');
      expect(conditions).toBe('');
      expect(lab.issued(/^unlisted/)).toEqual([]);
    },
    LONG,
  );

  it('may read Secrets there only', async () => {
    const verbs = ['get', 'list', 'watch', 'create', 'update', 'patch', 'delete'];
    const allowed = async (namespace: string): Promise<string[]> => {
      const responses = await Promise.all(verbs.map((verb) => can(namespace, verb)));
      return verbs.filter((_, index) => responses[index]);
    };
    expect(await allowed('shop')).toEqual(verbs);
    expect(await allowed('elsewhere')).toEqual([]);
    for (const namespace of ['shop', 'elsewhere', OPERATOR_NAMESPACE]) {
      const list = ['auth', 'can-i', '--list', '-n', namespace, `--as=${account}`];
      process.stderr.write(`\nIn ${namespace}:\n${await lab.cluster.kubectl(list)}`);
    }
  });
});

describe('installed from deploy/', () => {
  it(
    'serves a credential',
    async () => {
      await lab.helm('uninstall', {}, '--wait');
      await lab.customer('shop', 'kustomized', 60);
      await lab.credential('shop', 'kustomized');
      const started = Date.now();
      await lab.applyOverlay('cluster', operatorImage('second').name);
      const ready = ['wait', '--for=condition=Ready', 'convcred/kustomized', '-n', 'shop'];
      await lab.cluster.kubectl([...ready, '--timeout=180s']);
      report.seconds('kubectl apply -k to a ready credential', Date.now() - started);
    },
    LONG,
  );
});
