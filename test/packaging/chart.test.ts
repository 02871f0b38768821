import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeAll, describe, expect, it, jest } from '@jest/globals';
import { parse } from 'yaml';
import { parseConfig } from '../../src/config.ts';
import {
  BUILD_TIME,
  CHART,
  fromInput,
  helm,
  ROOT,
  renderChart,
  the,
  type Values,
} from './render.ts';
import { VALUE_SETS } from './value-sets.ts';

jest.setTimeout(60_000);

beforeAll(async () => void (await helm(['version'])), BUILD_TIME);

const readFileOf = (): string => {
  throw new Error('no such file');
};

/** The configuration as the operator understands it. */
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

  it('configures nothing that the operator would not do by itself', async () => {
    expect(await configOf({})).toEqual(parseConfig(undefined, { readFile: readFileOf }));
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
    const file = JSON.stringify({ ...values, leaderElection });
    expect(await configOf(values)).toEqual(parseConfig(file, { readFile: readFileOf }));
  });

  it('replaces the pods when the configuration changes', async () => {
    const checksum = async (values: Values): Promise<string> =>
      the('Deployment', await renderChart(values))['spec'].template.metadata.annotations[
        'checksum/config'
      ];
    expect(await checksum({})).toBe(await checksum({ replicaCount: 2 }));
    expect(await checksum({})).not.toBe(await checksum({ workers: 17 }));
  });

  it('lets pods reach DNS, the API server and the ports of the token hosts, and answer for metrics only', async () => {
    const { networkPolicy, environments } = VALUE_SETS['environments of our own'] ?? {};
    const { spec } = the('NetworkPolicy', await renderChart({ networkPolicy, environments }));
    const ports = (rules: { ports: { port: unknown }[] }[]): unknown[] =>
      rules.map((rule) => rule.ports.map(({ port }) => port));
    expect(ports(spec.egress)).toEqual([
      [53, 53],
      [443, 6443],
      [443, 80, 8443],
    ]);
    expect(ports(spec.ingress)).toEqual([['http-metrics']]);
  });

  it('keeps the CRD on uninstall unless told otherwise', async () => {
    const annotations = async (values: Values): Promise<unknown> =>
      the('CustomResourceDefinition', await renderChart(values)).metadata.annotations;
    expect(await annotations({})).toEqual({ 'helm.sh/resource-policy': 'keep' });
    expect(await annotations({ crds: { keep: false } })).toBeUndefined();
  });
});

describe('values that can not be right', () => {
  const refusals: [fault: string, values: Values, sentence: string][] = [
    ['a key that is not known', { replicas: 2 }, "additional properties 'replicas' not allowed"],
    ['words for a number', { replicaCount: 'two' }, "at '/replicaCount': got string, want integer"],
    ['a number out of range', { workers: 0 }, "at '/workers': minimum: got 0, want 1"],
    [
      'an unknown log level',
      { log: { level: 'loud' } },
      "at '/log/level': value must be one of 'error', 'warn', 'info', 'debug'",
    ],
    [
      'one namespace instead of a list',
      { watch: { namespaces: 'shop' } },
      "at '/watch/namespaces': got string, want array",
    ],
    [
      'a mistyped key of an environment',
      { environments: { local: { tokenURL: 'x' } } },
      "at '/environments/local': additional properties 'tokenURL' not allowed",
    ],
    [
      'a namespace in upper case',
      { watch: { namespaces: ['Shop'] } },
      'Shop is not the name of a namespace',
    ],
    [
      'a new environment without addresses',
      { environments: { local: { realm: '{program}' } } },
      'environments.local.tokenUrl: write it; only staging and production have one built in',
    ],
    [
      'a realm for all programs',
      { environments: { staging: { realm: 'abc' } } },
      'environments.staging.realm: write a name with {program} in it, such as {program}-staging',
    ],
    [
      'a token URL for all realms',
      { environments: { staging: { tokenUrl: 'https://id.test/token' } } },
      'environments.staging.tokenUrl: write an absolute URL with {realm} in its path',
    ],
    [
      'an address with a password',
      { environments: { staging: { apiUrl: 'https://me:pw@api.test' } } },
      'environments.staging.apiUrl: write an absolute URL without credentials, query or fragment',
    ],
    [
      'plain http by accident',
      { environments: { staging: { apiUrl: 'http://api.test' } } },
      'environments.staging.apiUrl: make it https://, or write insecureHttp: true beside it',
    ],
    [
      'a Lease that can not be kept',
      { leaderElection: { renewSeconds: 15 } },
      'leaderElection.renewSeconds: write less than leaseSeconds',
    ],
    [
      'a Lease that is renewed too seldom',
      { leaderElection: { retrySeconds: 9 } },
      'leaderElection.retrySeconds: write less than renewSeconds / 1.2',
    ],
    [
      'a renewal after the expiry',
      { renewal: { percent: 90, jitterPercent: 10 } },
      'renewal.jitterPercent: write at most 99 - percent',
    ],
    [
      'a short digest',
      { image: { digest: 'sha256:1' } },
      'image.digest: write sha256: and 64 hexadecimal digits',
    ],
    [
      'a disruption budget for one replica',
      { podDisruptionBudget: { enabled: true } },
      'podDisruptionBudget.enabled: write replicaCount 2 or more, or no node could be drained',
    ],
    [
      'two disruption budgets',
      { podDisruptionBudget: { minAvailable: 1, maxUnavailable: 1 } },
      'podDisruptionBudget: write minAvailable or maxUnavailable, not both',
    ],
    [
      'a disruption budget in words',
      { podDisruptionBudget: { minAvailable: 'all' } },
      'podDisruptionBudget.minAvailable: write a number or a percentage, such as 1 or 50%',
    ],
    [
      'an interval without a unit',
      { serviceMonitor: { interval: '30' } },
      'serviceMonitor.interval: write a duration such as 30s',
    ],
    [
      'two monitors',
      { serviceMonitor: { enabled: true }, podMonitor: { enabled: true } },
      'podMonitor.enabled: write true for serviceMonitor or for podMonitor, not both',
    ],
  ];

  it.each(refusals)('%s is refused', async (_, values, sentence) => {
    await expect(renderChart(values)).rejects.toThrow(sentence);
  });

  it('are all told at once', async () => {
    const values = { watch: { namespaces: ['A'] }, image: { digest: 'x' } };
    await expect(renderChart(values)).rejects.toThrow(/A is not the name[^]*image\.digest: write/);
  });

  it('can not hide: the schema knows every value, and no other', async () => {
    const values = parse(await read(CHART, 'values.yaml'));
    const { properties } = JSON.parse(await read(CHART, 'values.schema.json'));
    expect(shapeOfSchema(properties, values)).toEqual(shapeOf(values));
  });
});

/** Keys within keys, as far as the chart knows them; what Kubernetes reads is opaque. */
const shapeOf = (values: Values): unknown =>
  Object.fromEntries(
    Object.entries(values).map(([key, value]) => [key, isSection(value) ? shapeOf(value) : {}]),
  );

interface Schema {
  readonly properties?: Readonly<Record<string, Schema>>;
}

function shapeOfSchema(properties: Readonly<Record<string, Schema>>, values: Values): unknown {
  const known = Object.entries(properties).filter(([key]) => key !== 'global');
  return Object.fromEntries(
    known.map(([key, schema]) => {
      const value = values[key];
      if (schema.properties !== undefined)
        return [key, shapeOfSchema(schema.properties, isSection(value) ? value : {})];
      return [key, isSection(value) ? shapeOf(value) : {}];
    }),
  );
}

const isSection = (value: unknown): value is Values =>
  typeof value === 'object' && value !== null && !Array.isArray(value);
