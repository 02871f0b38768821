import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { type ControlPlane, startControlPlane } from '../../dev/envtest/control-plane.ts';
import { credentialObject } from '../../dev/testbed/tenant.ts';
import { BUILD_TIME, ROOT } from '../packaging/render.ts';
import { installChart, untilDenied } from './installed-chart.ts';

/** What a token of the operator's service account is good for: docs/security/permissions.md says so, too. */

const RELEASES = {
  cluster: {
    name: 'convercus-operator',
    namespace: 'convercus-operator',
    values: { clusterCredentials: { enabled: true } },
  },
  namespaces: {
    name: 'convercus-operator',
    namespace: 'team',
    values: { watch: { namespaces: ['shop'] }, crds: { enabled: false } },
  },
};

let controlPlane: ControlPlane;
const kubeconfigs: string[] = [];

beforeAll(async () => {
  controlPlane = await startControlPlane({ log: console.log });
  for (const name of ['shop', 'elsewhere', 'team', 'convercus-operator']) {
    await controlPlane.kubectl(['create', 'namespace', name]);
  }
  await controlPlane.kubectl(['create', 'serviceaccount', 'default', '-n', 'kube-system']);
  for (const { name, namespace, values } of Object.values(RELEASES)) {
    await installChart(controlPlane, { name, namespace, values });
    const kubeconfig = await controlPlane.serviceAccountKubeconfig(namespace, name);
    const input = JSON.stringify(secret('Opaque', 'new'));
    const create = inShop(['create', '-f', '-']);
    await untilDenied(() => controlPlane.kubectl(create, { input, kubeconfig }));
    kubeconfigs.push(kubeconfig);
  }
  const input = JSON.stringify(clusterCredential);
  await controlPlane.kubectl(['apply', '-f', '-'], { input });
  for (const namespace of ['shop', 'elsewhere']) {
    for (const object of [
      secret('Opaque', 'database'),
      secret('Opaque', 'opted-in', { 'convercus.io/merge': 'loyalty' }),
      secret('convercus.io/token', 'loyalty-token'),
      secret('convercus.io/session', 'loyalty-session'),
      credentialObject('loyalty', { program: 'ABC' }),
    ]) {
      const input = JSON.stringify(object);
      await controlPlane.kubectl(['apply', '-n', namespace, '-f', '-'], { input });
    }
  }
}, BUILD_TIME);

afterAll(() => controlPlane?.stop());

const inShop = (args: readonly string[]): string[] => [...args, '-n', 'shop', '--dry-run=server'];

const DRY_RUN = '--dry-run=server';

const clusterCredential = {
  apiVersion: 'convercus.io/v1alpha1',
  kind: 'ClusterConvercusCredential',
  metadata: { name: 'loyalty' },
  spec: {
    program: 'ABC',
    environment: 'staging',
    credentialsSecretRef: { name: 'convercus-abc' },
    namespaces: ['shop'],
    target: { name: 'convercus-access' },
  },
};

function secret(type: string, name: string, annotations: Record<string, string> = {}): object {
  const metadata = { name, annotations };
  return { apiVersion: 'v1', kind: 'Secret', metadata, type, stringData: { key: 'value' } };
}

const tokenOf = (account: string): object =>
  secret('kubernetes.io/service-account-token', 'new', {
    'kubernetes.io/service-account.name': account,
  });

const clusterSession = {
  ...secret('convercus.io/session', 'loyalty-cluster-session'),
  metadata: {
    name: 'loyalty-cluster-session',
    labels: { 'convercus.io/cluster-credential': 'loyalty' },
  },
};

const patch = (resource: string, change: object): string[] => [
  'patch',
  ...resource.split(' '),
  '--type=merge',
  `-p=${JSON.stringify(change)}`,
];

const { spec: _, ...identity } = credentialObject('loyalty', { program: 'ABC' });
const { spec: __, ...clusterIdentity } = clusterCredential;
const replicated = { metadata: { annotations: { 'example.com/replicate-to': 'elsewhere' } } };
const data = { stringData: { key: 'another' } };

type Attempt = readonly [words: string, args: readonly string[], input?: object];

const ATTEMPTS: readonly Attempt[] = [
  [
    'read all Secrets of a namespace that is served, with their data',
    ['get', 'secrets', '-n', 'shop', '-o', 'yaml'],
  ],
  ['read Secrets of any other namespace', ['get', 'secrets', '-n', 'elsewhere', '-o', 'yaml']],
  [
    'make itself a token of another service account, by a Secret',
    ['create', '-f', '-', '-n', 'kube-system', '--dry-run=server'],
    tokenOf('default'),
  ],
  ['the same in a namespace that is served', inShop(['create', '-f', '-']), tokenOf('default')],
  [
    'ask for a token of another service account',
    ['create', 'token', 'default', '-n', 'kube-system'],
  ],
  ['create an ordinary Secret', inShop(['create', '-f', '-']), secret('Opaque', 'new')],
  ['change an ordinary Secret', inShop(patch('secret database', data))],
  [
    'have an ordinary Secret copied by a controller, by an annotation',
    inShop(patch('secret database', replicated)),
  ],
  ['delete an ordinary Secret', inShop(['delete', 'secret', 'database'])],
  ['change keys of a Secret that opts in', inShop(patch('secret opted-in', data))],
  [
    'have a Secret that opts in copied by a controller',
    inShop(patch('secret opted-in', replicated)),
  ],
  [
    'create a Secret of the type convercus.io/token, with any content',
    inShop(['create', '-f', '-']),
    secret('convercus.io/token', 'new'),
  ],
  [
    'change a target, so that pods read something else',
    inShop(patch('secret loyalty-token', data)),
  ],
  ['delete a target', inShop(['delete', 'secret', 'loyalty-token'])],
  [
    'delete a session, so that a user logs in again',
    inShop(['delete', 'secret', 'loyalty-session']),
  ],
  ['change a ConvercusCredential', inShop(patch('convcred loyalty', { spec: { program: 'XYZ' } }))],
  [
    'change the status of a ConvercusCredential',
    inShop(['apply', '--server-side', '--subresource=status', '-f', '-']),
    { ...identity, status: { observedGeneration: 1 } },
  ],
  ['create Events', ['auth', 'can-i', 'create', 'events.events.k8s.io', '-n', 'shop']],
  [
    'change a ClusterConvercusCredential',
    [...patch('cconvcred loyalty', { spec: { program: 'XYZ' } }), DRY_RUN],
  ],
  [
    'change the status of a ClusterConvercusCredential',
    ['apply', '--server-side', '--subresource=status', DRY_RUN, '-f', '-'],
    { ...clusterIdentity, status: { observedGeneration: 1 } },
  ],
  [
    'store the session of a ClusterConvercusCredential where tenants read it',
    inShop(['create', '-f', '-']),
    clusterSession,
  ],
  ['list namespaces, with their labels', ['get', 'namespaces', '-o', 'yaml']],
  [
    'change the labels of a namespace',
    [...patch('namespace shop', { metadata: { labels: { a: 'b' } } }), DRY_RUN],
  ],
  [
    'read ConfigMaps, pods and everything else',
    ['auth', 'can-i', 'get', 'configmaps', '-n', 'shop'],
  ],
  ['start a pod, or get into one', ['auth', 'can-i', 'create', 'pods', '-n', 'shop']],
  ['change roles, or these policies', ['auth', 'can-i', 'patch', 'validatingadmissionpolicies']],
  ['act as another user', ['auth', 'can-i', 'impersonate', 'users']],
];

describe('a token of the operator', () => {
  /** `yes`, or what says no. */
  async function answer(kubeconfig: string, [, args, input]: Attempt): Promise<string> {
    const options = input === undefined ? {} : { input: JSON.stringify(input) };
    try {
      await controlPlane.kubectl([...args], { ...options, kubeconfig });
      return 'yes';
    } catch (error) {
      const text = String(error);
      if (text.includes('denied request')) return 'no: policy';
      if (args[0] === 'auth' || text.includes('is forbidden: User')) return 'no: RBAC';
      throw error;
    }
  }

  it('can do what the page says, and nothing else', async () => {
    const rows: string[] = [];
    for (const attempt of ATTEMPTS) {
      const answers: string[] = [];
      for (const kubeconfig of kubeconfigs) answers.push(await answer(kubeconfig, attempt));
      rows.push(`| ${[attempt[0], ...answers].join(' | ')} |`);
    }
    const page = await readFile(join(ROOT, 'docs/security/permissions.md'), 'utf8');
    const table = page.split('\n').filter((line) => /^\|.*\| (yes|no: \w+) \|$/.test(line));
    expect(table).toEqual(rows);
  });

  it('has the rights that the page lists', async () => {
    const [kubeconfig] = kubeconfigs;
    const flags = ['-n', 'shop', '--list', '--no-headers'];
    const listed = await controlPlane.kubectl(['auth', 'can-i', ...flags], {
      kubeconfig: kubeconfig ?? '',
    });
    const page = await readFile(join(ROOT, 'docs/security/permissions.md'), 'utf8');
    const rights = [...listed.matchAll(/^(\S+) +\[\] +\[(.*?)\] +\[(.*?)\]$/gm)]
      .filter(([, resource = '']) => !/^self|^clustertrustbundles/.test(resource))
      .map(([, resource, , verbs]) => ({ resource, verbs: verbs?.split(' ').sort() }));
    const said = [...page.matchAll(/^\| `([a-z./0-9]+)` \| ((?:[a-z]+,? ?)+) \|/gm)];
    const byResource = new Map<string, string[]>();
    for (const [, resource = '', verbs = ''] of said) {
      const all = [...(byResource.get(resource) ?? []), ...verbs.trim().split(', ')];
      byResource.set(resource, all.sort());
    }
    for (const { resource = '', verbs } of rights)
      expect([resource, byResource.get(resource)]).toEqual([resource, verbs]);
    expect(rights.length).toBeGreaterThan(3);
  });
});
