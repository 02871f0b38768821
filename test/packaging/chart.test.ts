import { readFile } from 'node:fs/promises';
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
  the,
  type Values,
} from './render.ts';
import { VALUE_SETS } from './value-sets.ts';

beforeAll(async () => void (await helm(['version'])), BUILD_TIME);

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
    const { networkPolicy, environments } = VALUE_SETS['custom environments'] ?? {};
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
