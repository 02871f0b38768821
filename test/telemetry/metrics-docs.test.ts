import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from '@jest/globals';
import { rfc3339 } from '../../src/lib/time.ts';
import { createMetrics } from '../../src/telemetry/metrics.ts';
import { aCredential, START } from '../support/builders.ts';
import { FakeClock } from '../support/fake-clock.ts';

interface Metric {
  readonly type: string;
  readonly labels: readonly string[];
}

const DOCS = readFileSync(join(import.meta.dirname, '../../docs/metrics.md'), 'utf8');

/** `| `name` | type | labels | what it says | `query` |` */
const ROW = /^\| `(\w+)` \| (\w+) \| ([\w, ]*?) ?\| [^|]*\| `([^`]+)` \|$/gm;

const documented = [...DOCS.matchAll(ROW)].map(([, name = '', type = '', labels = '', query]) => ({
  name,
  type,
  labels: labels === '' ? [] : labels.split(', ').sort(),
  query,
}));

/** A registry in which every metric has a sample. */
async function shown(perCredential: boolean): Promise<Map<string, Metric>> {
  const options = { version: '1', workers: 1, leaseName: 'lease', perCredential };
  const metrics = createMetrics({ ...options, clock: new FakeClock() });
  const at = rfc3339(START + 1_000);
  const renewed = { type: 'Renewed', reason: 'NetworkError', message: '', lastTransitionTime: at };
  const status = {
    expiresAt: at,
    renewAt: at,
    conditions: [{ ...renewed, status: 'False' as const }],
  };
  const host = { host: 'id.test', queued: 0, running: 0, pausedUntil: undefined };
  metrics.leading(true);
  metrics.observe({
    credentials: () => [aCredential({ spec: { suspend: true }, status })],
    clusterCredentials: { reported: () => [{ metadata: aCredential().metadata }] },
    limiter: { snapshot: () => [host] },
  });
  metrics.apiRequest('GET', 'api:443', '200');
  metrics.tokenRequest({ ...host, grantType: 'password', outcome: 'success', seconds: 1 });
  metrics.watch('secrets', '', true);
  metrics.queueMetrics.get(1);
  metrics.queueMetrics.done(1);
  metrics.reconciled('success', 1);
  let text = '';
  for await (const chunk of metrics.chunks()) text += chunk;
  const types = [...text.matchAll(/^# TYPE (\w+) (\w+)$/gm)];
  return new Map(
    types.map(([, name = '', type = '']) => [name, { type, labels: labelsIn(text, name) }]),
  );
}

function labelsIn(text: string, name: string): string[] {
  const samples = text.matchAll(new RegExp(`^${name}(?:_bucket|_count|_sum)?{(.*)} `, 'gm'));
  const names = [...samples].flatMap(([, labels = '']) => [...labels.matchAll(/(\w+)="/g)]);
  return [...new Set(names.map(([, label = '']) => label))].filter((it) => it !== 'le').sort();
}

describe('docs/metrics.md', () => {
  const all = new Map<string, Metric>();

  beforeAll(async () => {
    for (const perCredential of [true, false]) {
      for (const [name, metric] of await shown(perCredential)) all.set(name, metric);
    }
  });

  it('has every metric once, and no other', () => {
    expect(documented.map(({ name }) => name).sort()).toEqual([...all.keys()].sort());
  });

  it('tells types and labels as they are', () => {
    // Of those of Node some have no sample now
    const isOurs = (name: string): boolean => !/^(nodejs|process)_/.test(name);
    for (const { name, type, labels } of documented) {
      const metric = all.get(name);
      expect([name, type]).toEqual([name, metric?.type]);
      if (isOurs(name)) expect([name, labels]).toEqual([name, metric?.labels]);
      else expect(labels).toEqual(expect.arrayContaining([...(metric?.labels ?? [])]));
    }
  });

  it('has a query for each, with its name', () => {
    for (const { name, query } of documented) expect(query).toContain(name);
  });
});
