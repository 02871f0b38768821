import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from '@jest/globals';
import { parse } from 'yaml';
import { BUILD_TIME, CHART, helm, renderChart, type Values } from './render.ts';

beforeAll(async () => void (await helm(['version'])), BUILD_TIME);

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
      'a runbook address that leads nowhere',
      { prometheusRule: { runbookBaseUrl: 'docs/runbooks' } },
      'prometheusRule.runbookBaseUrl: write an absolute URL, such as https://git.example.com/convercus-operator, or nothing',
    ],
    [
      'an alert that does not exist',
      { prometheusRule: { disabled: ['ConvercusProviderFailing'] } },
      'prometheusRule.disabled: there is no alert ConvercusProviderFailing; there are ConvercusTokenExpired, ',
    ],
    [
      'changes to an alert that does not exist',
      { prometheusRule: { rules: { Expired: { for: '1m' } } } },
      'prometheusRule.rules: there is no alert Expired; there are ConvercusTokenExpired, ',
    ],
    [
      'a time that is none',
      { prometheusRule: { operatorDownWindow: '3 days' } },
      'prometheusRule.operatorDownWindow: write a duration such as 3d',
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
      'an image from nowhere',
      { image: {} },
      'image.repository: write where you have pushed the image, such as registry.example.com/convercus-operator',
    ],
    [
      'a short digest',
      { image: { digest: 'sha256:1' } },
      'image.digest: write sha256: and 64 hexadecimal digits',
    ],
    [
      'a disruption budget for one replica',
      { replicaCount: 1, podDisruptionBudget: { enabled: true } },
      'podDisruptionBudget.enabled: write auto, or replicaCount 2 or more, or no node could be',
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
    const values = parse(await readFile(join(CHART, 'values.yaml'), 'utf8'));
    const { properties } = JSON.parse(await readFile(join(CHART, 'values.schema.json'), 'utf8'));
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
