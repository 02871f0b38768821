import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { parse, stringify } from 'yaml';
import { freePorts, ServerProcess } from '../../dev/envtest/server-process.ts';
import { ensureTool } from '../../dev/packaging/tools.ts';
import type { ConvercusCredential } from '../../src/credential/api.ts';
import { systemClock as clock } from '../../src/lib/system-clock.ts';
import { rfc3339 } from '../../src/lib/time.ts';
import { createMetrics, type Metrics } from '../../src/telemetry/metrics.ts';
import {
  type OperationsServer,
  startOperationsServer,
} from '../../src/telemetry/operations-server.ts';
import { aCredential } from '../support/builders.ts';
import { BUILD_TIME, CHART, promtool, renderChart, the } from './render.ts';

interface Panel {
  readonly title: string;
  readonly type: string;
  readonly description?: string;
  readonly fieldConfig?: { readonly defaults: { readonly unit?: string } };
  readonly targets?: readonly { readonly expr: string }[];
}

interface Dashboard {
  readonly panels: readonly Panel[];
  readonly templating: { readonly list: readonly { readonly name: string }[] };
}

const { panels, templating }: Dashboard = JSON.parse(
  await readFile(join(CHART, 'files/dashboard.json'), 'utf8'),
);

/** Replaces the variables as Grafana does. */
const filledIn = (expr: string): string =>
  expr
    .replaceAll(/\$(?:cluster|release|namespace)/g, '.*')
    .replaceAll('$__rate_interval', '10s')
    .replaceAll('$__range', '1m');

const queries = panels.flatMap(({ title, targets = [] }) =>
  targets.map(({ expr }): [string, string] => [title, filledIn(expr)]),
);

const rules: [string, string][] = parse(
  await readFile(join(CHART, 'files/alerts.yaml'), 'utf8'),
).groups.flatMap(({ rules }: { rules: { alert: string; expr: string }[] }) =>
  rules.map(({ alert, expr }) => [alert, expr]),
);

/** A real Prometheus that scrapes the operator's metrics, which are filled with examples. */
let prometheus: ServerProcess;
let operations: OperationsServer;
let dir: string;
let url: string;

beforeAll(async () => {
  const binary = await ensureTool('prometheus', console.log);
  operations = await startOperationsServer({
    host: '127.0.0.1',
    port: 0,
    readiness: () => [],
    metrics: busyMetrics(),
  });
  dir = await mkdtemp(join(tmpdir(), 'prometheus-'));
  const [port = 0] = await freePorts(1);
  url = `http://127.0.0.1:${port}`;
  await writeFile(join(dir, 'prometheus.yaml'), stringify(scraping(operations.port)));
  prometheus = new ServerProcess({
    name: 'prometheus',
    command: binary,
    args: [
      `--config.file=${join(dir, 'prometheus.yaml')}`,
      `--storage.tsdb.path=${join(dir, 'data')}`,
      `--web.listen-address=127.0.0.1:${port}`,
    ],
    logFile: join(dir, 'log'),
  });
  // A rate needs two samples
  await prometheus.untilReady(async () => {
    const seen = await queryPrometheus(
      'query',
      'count_over_time(convercus_operator_build_info[1m]) >= 3',
    );
    if (seen.result.length === 0) await sleep(200).then(() => Promise.reject(new Error('too few')));
  }, 60);
}, BUILD_TIME);

afterAll(async () => {
  await prometheus?.stop(10);
  await operations?.close();
  if (dir !== undefined) await rm(dir, { recursive: true, force: true });
});

const scraping = (port: number) => ({
  global: { scrape_interval: '1s', scrape_timeout: '1s' },
  scrape_configs: [
    {
      job_name: 'operator',
      honor_labels: true,
      // As a ServiceMonitor labels the pods of the operator
      static_configs: [{ targets: [`127.0.0.1:${port}`], labels: { namespace: OPERATOR } }],
    },
  ],
});

function busyMetrics(): Metrics {
  const metrics = createMetrics({ version: '1.2.3', workers: 16, leaseName: 'lease', clock });
  const now = clock.now();
  metrics.leading(true);
  metrics.observe({
    credentials: () => [
      aCredential({ metadata: { name: 'fine' }, status: status('True', now + 600_000) }),
      aCredential({
        metadata: { namespace: '', name: 'shared' },
        status: status('True', now + 600_000),
      }),
      aCredential({ metadata: { name: 'broken' }, status: status('False', now - 600_000) }),
    ],
    clusterCredentials: { reported: () => [clusterCredential] },
    queue: { snapshot: () => ({ ready: 1, unfinishedWork: 1, longestWork: 1 }) },
    limiter: {
      snapshot: () => [{ host: 'id.test', queued: 1, running: 1, pausedUntil: undefined }],
    },
  });
  metrics.tokenRequest({
    host: 'id.test',
    grantType: 'password',
    outcome: 'success',
    seconds: 0.2,
  });
  metrics.renewal('RenewalDue', 'success');
  metrics.apiRequest('PATCH', 'api:443', '200');
  metrics.queueMetrics.done(5);
  metrics.watch('secrets', '', true);
  metrics.renewedOnSchedule({ lateness: 1_000, remaining: 300_000 });
  return metrics;
}

const OPERATOR = 'convercus-operator';

const clusterCredential = {
  metadata: { name: 'shared', uid: 'u', generation: 1 },
  status: { namespaces: { selected: 3, ready: 2, failing: 1 } },
};

const status = (ready: 'True' | 'False', expiresAt: number): ConvercusCredential['status'] => ({
  conditions: [
    { type: 'Ready', status: ready, reason: 'r', message: 'm', lastTransitionTime: 't' },
  ],
  expiresAt: rfc3339(expiresAt),
  renewAt: rfc3339(expiresAt - 60_000),
});

async function queryPrometheus(path: string, query: string) {
  const response = await fetch(`${url}/api/v1/${path}?query=${encodeURIComponent(query)}`);
  const { data, error } = JSON.parse(await response.text());
  if (error !== undefined) throw new Error(`${query}: ${error}`);
  return data;
}

/** The names of all metrics in a query, as parsed by Prometheus. */
const metricsIn = async (query: string): Promise<string[]> =>
  selectedIn(await queryPrometheus('parse_query', query));

function selectedIn(node: unknown): string[] {
  if (typeof node !== 'object' || node === null) return [];
  const isSelector = 'type' in node && /^(vector|matrix)Selector$/.test(String(node.type));
  const own = isSelector && 'name' in node ? [String(node.name)] : [];
  return [...own, ...Object.values(node).flatMap(selectedIn)];
}

/** The names of the labels that each selector asks for. */
function selectorsIn(node: unknown): string[][] {
  if (typeof node !== 'object' || node === null) return [];
  const isSelector = 'type' in node && /^(vector|matrix)Selector$/.test(String(node.type));
  const matchers: unknown = Reflect.get(node, 'matchers');
  const own = isSelector && Array.isArray(matchers) ? [matchers.map(({ name }) => name)] : [];
  return [...own, ...Object.values(node).flatMap(selectorsIn)];
}

/** The names of all series that the operator can show. */
async function exported(): Promise<Set<string>> {
  const text = await (await fetch(`${operations.url}/metrics`)).text();
  const described = [...text.matchAll(/^# TYPE (\S+) (\S+)/gm)];
  return new Set(
    described.flatMap(([, name = '', type]) =>
      type === 'histogram' ? ['_bucket', '_count', '_sum'].map((end) => name + end) : [name],
    ),
  );
}

describe('the dashboard', () => {
  it.each(queries)('shows something in "%s": %s', async (_, query) => {
    const { result } = await queryPrometheus('query', query);
    expect(result).not.toEqual([]);
  });

  it('tells a cluster credential by its empty namespace, which honor_labels keeps', async () => {
    const named = (labels: string) =>
      queryPrometheus('query', `convercus_credential_ready{${labels}}`);
    expect((await named('name="shared",namespace=""')).result).toHaveLength(1);
    expect((await named(`namespace="${OPERATOR}"`)).result).toEqual([]);
  });

  it('asks in every query for the cluster and the release that were chosen', async () => {
    expect(templating.list.map(({ name }) => name)).toEqual([
      'datasource',
      'cluster',
      'release',
      'namespace',
    ]);
    const exprs = panels.flatMap(({ targets = [] }) => targets.map(({ expr }) => expr));
    const selectors = exprs.flatMap((expr) => expr.match(/\b[a-z_]+\{[^}]*\}/g) ?? []);
    expect(
      selectors.filter((each) => !each.includes('{cluster=~"$cluster",job=~"$release"')),
    ).toEqual([]);
    const bare = await Promise.all(
      queries.map(([, query]) => queryPrometheus('parse_query', query)),
    );
    expect(bare.flatMap(selectorsIn).filter((names) => !names.includes('job'))).toEqual([]);
  });

  it('has a unit and a description in every panel', () => {
    const bare = panels.filter(
      ({ type, description = '', fieldConfig }) =>
        type !== 'row' && (description === '' || fieldConfig?.defaults.unit === undefined),
    );
    expect(bare.map(({ title }) => title)).toEqual([]);
  });

  it.each([
    ['no leader', [0, 0], 1],
    ['one leader', [1, 0], 0],
    ['two leaders', [1, 1], 1],
  ])('counts a release with %s', async (_, leaders, expected) => {
    const { expr = '' } =
      panels.find(({ title }) => title === 'Releases without one leader')?.targets?.[0] ?? {};
    const target = (instance: number) => `job="r",instance="${instance}"`;
    const shown = leaders.flatMap((value, instance) => [
      { series: `leader_election_master_status{${target(instance)}}`, values: `${value}` },
      { series: `convercus_operator_build_info{${target(instance)}}`, values: '1' },
    ]);
    const question = {
      expr: filledIn(expr),
      eval_time: '0s',
      exp_samples: [{ labels: '{}', value: expected }],
    };
    const file = join(dir, 'leaders.yaml');
    const test = { interval: '30s', input_series: shown, promql_expr_test: [question] };
    await writeFile(file, stringify({ tests: [test] }));
    expect(await promtool('test', 'rules', file)).toContain('SUCCESS');
  });

  it('links to the runbooks when it is known where they are', async () => {
    const values = {
      grafanaDashboard: { enabled: true },
      prometheusRule: { runbookBaseUrl: 'https://books.test/x' },
    };
    const { data } = the(
      'ConfigMap',
      (await renderChart(values)).filter(({ metadata }) => metadata.name.endsWith('-dashboard')),
    );
    expect(JSON.parse(data['convercus-operator.json']).links).toEqual([
      { type: 'link', title: 'Runbooks', url: 'https://books.test/x', targetBlank: true },
    ]);
  });

  it('has a query, a title and a place for every panel', () => {
    const places = panels.map((panel) => JSON.stringify(Reflect.get(panel, 'gridPos')));
    expect(new Set(places).size).toBe(panels.length);
    expect(queries.length).toBeGreaterThan(20);
  });
});

describe('every metric exists that is used by', () => {
  it.each([...queries, ...rules])('%s', async (_, query) => {
    const names = await metricsIn(query);
    expect(names).not.toEqual([]);
    const known = await exported();
    expect(names.filter((name) => !known.has(name))).toEqual([]);
  });
});
