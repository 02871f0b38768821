import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from '@jest/globals';
import { parse } from 'yaml';
import { parseConfig } from '../../src/config.ts';
import {
  BUILD_TIME,
  CHART,
  fromInput,
  helm,
  ROOT,
  renderChart,
  run,
  the,
  type Values,
} from './render.ts';
import { VALUE_SETS } from './value-sets.ts';

beforeAll(async () => void (await helm(['version'])), BUILD_TIME);

const OPERATIONS = { port: 8080, probePort: 8081 };

const readFileOf = (): string => {
  throw new Error('no such file');
};

/** The configuration as the operator parses it. */
async function configOf(values: Values): Promise<unknown> {
  const { data } = the('ConfigMap', await renderChart(values));
  return parseConfig(data['config.yaml'], { readFile: readFileOf });
}

async function read(...path: string[]): Promise<string> {
  return readFile(join(...path), 'utf8');
}

describe('the chart', () => {
  it.each(Object.entries(VALUE_SETS))('passes helm lint with %s', async (_, values) => {
    const report = await helm(['lint', '--strict', CHART, ...fromInput], values);
    expect(report).toContain('0 chart(s) failed');
  });

  it('has the version of the package', async () => {
    const { version } = JSON.parse(await read(ROOT, 'package.json'));
    expect(parse(await read(CHART, 'Chart.yaml'))).toMatchObject({ version, appVersion: version });
  });

  it('configures nothing that the operator would not do by itself, but a port for probes', async () => {
    const file = JSON.stringify({ operations: OPERATIONS });
    expect(await configOf({})).toEqual(parseConfig(file, { readFile: readFileOf }));
  });

  it('hands every setting on to the operator', async () => {
    const values = {
      environments: { staging: { realm: 'x-{program}' } },
      watch: { namespaces: ['shop'], selector: 'team=shop' },
      workers: 3,
      leaderElection: { leaseSeconds: 30, renewSeconds: 20, retrySeconds: 4 },
      tokenHosts: {
        requestsPerSecond: 1,
        burst: 2,
        concurrency: 3,
        passwordLoginsPerSecond: 4,
        connectTimeoutSeconds: 5,
        timeoutSeconds: 6,
      },
      renewal: { percent: 50, jitterPercent: 10, minimumSeconds: 60 },
      log: { level: 'error', format: 'text' },
    };
    const leaderElection = { ...values.leaderElection, name: 'convercus-operator' };
    const file = JSON.stringify({ ...values, leaderElection, operations: OPERATIONS });
    expect(await configOf(values)).toEqual(parseConfig(file, { readFile: readFileOf }));
  });

  it('hands cluster credentials on, in the namespace of the release unless told otherwise', async () => {
    const configured = async (clusterCredentials: object): Promise<unknown> => {
      const { data } = the('ConfigMap', await renderChart({ clusterCredentials }));
      return parse(data['config.yaml']).clusterCredentials;
    };
    expect(await configured({ enabled: true })).toEqual({
      enabled: true,
      namespace: 'convercus-operator',
    });
    const elsewhere = { enabled: true, namespace: 'platform' };
    expect(await configured(elsewhere)).toEqual(elsewhere);
  });

  it('has nothing of cluster credentials by default', async () => {
    const rules = (await renderChart()).filter(({ kind }) => /Role|Definition|Config/.test(kind));
    expect(rules.length).toBeGreaterThan(5);
    expect(JSON.stringify(rules)).not.toMatch(/cluster-?c(?:onvercusc)?redential/i);
  });

  it('gives rights on cluster credentials to the operator alone', async () => {
    const objects = await renderChart({ clusterCredentials: { enabled: true } });
    const roles = objects.filter(({ rules }) =>
      JSON.stringify(rules ?? []).includes('clusterconvercuscredentials'),
    );
    expect(roles.map(({ metadata }) => metadata.name)).toEqual([
      'convercus-operator-cluster-credentials',
    ]);
    expect(JSON.stringify(roles)).not.toContain('aggregate-to-');
  });

  it('replaces the pods when the configuration changes', async () => {
    const checksum = async (values: Values): Promise<string> =>
      the('Deployment', await renderChart(values))['spec'].template.metadata.annotations[
        'checksum/config'
      ];
    expect(await checksum({})).toBe(await checksum({ replicaCount: 3 }));
    expect(await checksum({})).not.toBe(await checksum({ workers: 17 }));
  });

  it.each<[budget: number, values: Values]>([
    [1, {}],
    [0, { replicaCount: 1 }],
    [0, { podDisruptionBudget: { enabled: false } }],
    [1, { replicaCount: 3, podDisruptionBudget: { enabled: true } }],
  ])('has %d disruption budget with %j', async (count, values) => {
    const objects = await renderChart(values);
    expect(objects.filter(({ kind }) => kind === 'PodDisruptionBudget')).toHaveLength(count);
  });

  it('moves pods from a lost node after 30 s, whatever else they tolerate', async () => {
    const mine = { key: 'control', operator: 'Exists' };
    const objects = await renderChart({ tolerations: [mine] });
    const { tolerations } = the('Deployment', objects)['spec'].template.spec;
    expect(tolerations).toHaveLength(3);
    expect(tolerations).toContainEqual(mine);
    expect(tolerations[0]).toMatchObject({ tolerationSeconds: 30 });
  });

  it('has probes on a port that the NetworkPolicy closes to other pods', async () => {
    const objects = await renderChart();
    const [{ ports, livenessProbe, readinessProbe }] = the('Deployment', objects)['spec'].template
      .spec.containers;
    const byName = Object.fromEntries(
      ports.map(({ name, containerPort }: { name: string; containerPort: number }) => [
        name,
        containerPort,
      ]),
    );
    expect(byName).toEqual({
      'http-metrics': OPERATIONS.port,
      'http-probes': OPERATIONS.probePort,
    });
    expect([livenessProbe, readinessProbe].map(({ httpGet }) => httpGet)).toEqual([
      { path: '/livez', port: 'http-probes' },
      { path: '/readyz', port: 'http-probes' },
    ]);
  });

  it('lets pods answer for metrics only', async () => {
    const { spec } = the('NetworkPolicy', await renderChart());
    expect(spec.policyTypes).toEqual(['Ingress']);
    expect(spec.ingress).toEqual([{ ports: [{ port: 'http-metrics' }] }]);
    expect(spec).not.toHaveProperty('egress');
  });

  it('lets its own test in, besides those that fetch metrics', async () => {
    const metricsFrom = [{ namespaceSelector: { matchLabels: { name: 'monitoring' } } }];
    const objects = await renderChart({ networkPolicy: { metricsFrom } });
    const { from } = the('NetworkPolicy', objects)['spec'].ingress[0];
    expect(from).toHaveLength(2);
    expect(from[0]).toEqual(metricsFrom[0]);
    const { labels } = the('Pod', objects).metadata;
    expect(labels).toMatchObject(from[1].podSelector.matchLabels);
    const selected = the('NetworkPolicy', objects)['spec'].podSelector.matchLabels;
    expect(labels).not.toMatchObject(selected);
  });

  it.each([
    [
      'passes for an operator',
      200,
      '# HELP x y\nconvercus_operator_build_info{version="1"} 1\n',
      true,
    ],
    ['fails for anything else', 200, 'hello\n', false],
    ['fails for an error', 503, 'convercus_operator_build_info 1\n', false],
  ])('has a test that %s', async (_, status, body, passes) => {
    const [{ command }] = the('Pod', await renderChart())['spec'].containers;
    await using server = createServer((_request, response) => {
      response.writeHead(status).end(body);
    });
    await once(server.listen(0, '127.0.0.1'), 'listening');
    const address = server.address();
    const port = typeof address === 'object' ? address?.port : undefined;
    const test = run(process.execPath, [
      ...command.slice(1, -1),
      `http://127.0.0.1:${port}/metrics`,
    ]);
    expect(
      await test.then(
        () => true,
        () => false,
      ),
    ).toBe(passes);
  });

  it('lets pods reach DNS, the API server and the ports of the token hosts, if egress is limited', async () => {
    const { networkPolicy, environments } = VALUE_SETS['custom environments'] ?? {};
    const { spec } = the('NetworkPolicy', await renderChart({ networkPolicy, environments }));
    expect(spec.policyTypes).toEqual(['Ingress', 'Egress']);
    const ports = (rules: { ports: { port: unknown }[] }[]): unknown[] =>
      rules.map((rule) => rule.ports.map(({ port }) => port));
    expect(ports(spec.egress)).toEqual([
      [53, 53],
      [443, 6443],
      [443, 80, 8443],
    ]);
  });

  it('has no object of the cluster for an installer who may write to namespaces only', async () => {
    const objects = await renderChart({
      watch: { namespaces: ['shop'] },
      crds: { enabled: false },
      admissionPolicies: { enabled: false },
    });
    expect(objects.filter(({ metadata }) => metadata.namespace === undefined)).toEqual([]);
  });

  it('keeps the CRD on uninstall unless told otherwise', async () => {
    const annotations = async (values: Values): Promise<unknown> =>
      the('CustomResourceDefinition', await renderChart(values)).metadata.annotations;
    expect(await annotations({})).toEqual({ 'helm.sh/resource-policy': 'keep' });
    expect(await annotations({ crds: { keep: false } })).toBeUndefined();
  });
});
