import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from '@jest/globals';
import { parse } from 'yaml';
import { BUILD_TIME, CHART, fromInput, helm, renderChart, type Values } from './render.ts';

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
      'an account of others without a name',
      { serviceAccount: { create: false } },
      'serviceAccount.name: write the name of the account that you have made',
    ],
    [
      'a disruption budget for all replicas',
      { podDisruptionBudget: { minAvailable: 2 } },
      'podDisruptionBudget.minAvailable: write less than replicaCount, or no node could be drained',
    ],
    [
      'a timeout longer than the interval',
      { podMonitor: { enabled: true, interval: '15s' } },
      'podMonitor.scrapeTimeout: write at most 15s, the interval',
    ],
    [
      'egress without a policy',
      { networkPolicy: { enabled: false, egress: { enabled: true } } },
      'networkPolicy.enabled: write true, since networkPolicy.egress.enabled is',
    ],
    [
      'actions that exclude each other',
      { admissionPolicies: { authors: { validationActions: ['Deny', 'Warn'] } } },
      'admissionPolicies.authors.validationActions: write Deny or Warn, not both',
    ],
    [
      'cluster credentials in listed namespaces',
      { clusterCredentials: { enabled: true }, watch: { namespaces: ['shop'] } },
      'clusterCredentials.enabled: write false, or leave watch.namespaces empty',
    ],
    [
      'a namespace of cluster credentials in upper case',
      { clusterCredentials: { enabled: true, namespace: 'Platform' } },
      'clusterCredentials.namespace: Platform is not the name of a namespace',
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
    [
      'a registry with a scheme',
      { image: { registry: 'https://registry.example.com', repository: 'operator' } },
      'image.registry or global.imageRegistry: write a host, such as registry.example.com',
    ],
    [
      'two registries',
      { global: { imageRegistry: 'mirror.example.com' } },
      'image.repository: write it without a host, such as platform/convercus-operator',
    ],
    [
      'the network of the node with user namespaces',
      { hostNetwork: true, hostUsers: false },
      'hostNetwork: write false, or leave hostUsers at null',
    ],
    [
      'no name server at all',
      { dnsPolicy: 'None' },
      'dnsConfig.nameservers: write at least one, since dnsPolicy is None',
    ],
    [
      'a second container called operator',
      { extraContainers: [{ name: 'operator' }] },
      'initContainers, extraContainers: there are two containers operator; write another name',
    ],
    [
      'a second volume called config',
      { volumes: [{ name: 'config', emptyDir: {} }] },
      'volumes: there are two volumes config; write another name',
    ],
    [
      'a variable of the chart',
      { extraEnv: [{ name: 'POD_NAME', value: 'x' }] },
      'extraEnv: leave POD_NAME out; the chart sets it',
    ],
    [
      'two files of certificates',
      {
        caBundle: { configMapName: 'ca' },
        extraEnv: [{ name: 'NODE_EXTRA_CA_CERTS', value: '/ca.crt' }],
      },
      'caBundle.configMapName: write it, or NODE_EXTRA_CA_CERTS in extraEnv, not both',
    ],
    [
      'a path for the key of a ConfigMap',
      { caBundle: { configMapName: 'ca', key: '/etc/ca.crt' } },
      'caBundle.key: write the key of the ConfigMap, such as ca.crt',
    ],
    [
      'an object without a kind',
      { extraObjects: [{ apiVersion: 'v1', metadata: { name: 'x' } }] },
      'extraObjects: number 0 (from 0) has no apiVersion, kind or metadata.name; write them',
    ],
    [
      'a namespace that is none',
      { namespaceOverride: 'My Team' },
      'namespaceOverride: My Team is not the name of a namespace',
    ],
    [
      'two families in one',
      { metrics: { service: { ipFamilyPolicy: 'SingleStack', ipFamilies: ['IPv6', 'IPv4'] } } },
      'metrics.service.ipFamilies: write one, or ipFamilyPolicy PreferDualStack or RequireDualStack',
    ],
  ];

  it.each(refusals)('%s is refused', async (_, values, sentence) => {
    await expect(renderChart(values)).rejects.toThrow(sentence);
  });

  it('are all told at once', async () => {
    const values = { watch: { namespaces: ['A'] }, image: { digest: 'x' } };
    await expect(renderChart(values)).rejects.toThrow(/A is not the name[^]*image\.digest: write/);
  });

  it('are refused where the cluster does not know the kind of a monitor', async () => {
    const values = {
      serviceMonitor: { enabled: true },
      prometheusRule: { enabled: true },
    };
    const render = (...kinds: string[]): Promise<string> => {
      const versions = kinds.flatMap((kind) => ['--api-versions', kind]);
      return helm(['template', 'x', CHART, ...versions, ...fromInput], values);
    };
    await expect(render('apps/v1/Deployment')).rejects.toThrow(
      /prometheusRule\.enabled: this cluster does not know the kind PrometheusRule[^]*serviceMonitor\.enabled: this/,
    );
    const known = ['ServiceMonitor', 'PrometheusRule'].map(
      (it) => `monitoring.coreos.com/v1/${it}`,
    );
    expect(await render('apps/v1/Deployment', ...known)).toContain('kind: PrometheusRule');
    expect(await render()).toContain('kind: PrometheusRule');
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
  return Object.fromEntries(
    Object.entries(properties).map(([key, schema]) => {
      const value = values[key];
      if (schema.properties !== undefined)
        return [key, shapeOfSchema(schema.properties, isSection(value) ? value : {})];
      return [key, isSection(value) ? shapeOf(value) : {}];
    }),
  );
}

const isSection = (value: unknown): value is Values =>
  typeof value === 'object' && value !== null && !Array.isArray(value);
