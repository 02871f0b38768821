import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { type ControlPlane, startControlPlane } from '../../dev/envtest/control-plane.ts';
import { manifest } from '../../dev/testbed/objects.ts';
import { credentialObject } from '../../dev/testbed/tenant.ts';
import { BUILD_TIME, ROOT } from '../packaging/render.ts';
import { installChart, untilDenied } from './installed-chart.ts';

/**
 * What the owner of a namespace can do about a cluster credential that selects it: docs/cluster-credentials.md says so, too.
 */

const RELEASE = {
  name: 'convercus-operator',
  namespace: 'convercus-operator',
  values: { clusterCredentials: { enabled: true } },
};

/** What the cluster role `admin` consists of; no controller is here that would gather them. */
const ADMIN = [
  'system:aggregate-to-admin',
  'system:aggregate-to-edit',
  'system:aggregate-to-view',
  'convercus-operator-edit',
  'convercus-operator-view',
];

const LABEL = 'example.com/convercus-abc';

let controlPlane: ControlPlane;

beforeAll(async () => {
  const users = [{ name: 'owner' }, { name: 'labeller' }];
  controlPlane = await startControlPlane({ users, log: console.log });
  for (const name of ['shop', 'elsewhere', RELEASE.namespace]) {
    await controlPlane.kubectl(['create', 'namespace', name]);
  }
  await installChart(controlPlane, RELEASE);
  for (const role of ADMIN) {
    const args = ['create', 'rolebinding', role.replaceAll(':', '-'), `--clusterrole=${role}`];
    await controlPlane.kubectl([...args, '--user=owner', '-n', 'shop']);
  }
  const labeller = ['create', 'clusterrole', 'labeller', '--verb=get,list,create,update,patch'];
  await controlPlane.kubectl([...labeller, '--resource=namespaces,namespaces/status']);
  const binding = ['create', 'clusterrolebinding', 'labeller', '--clusterrole=labeller'];
  await controlPlane.kubectl([...binding, '--user=labeller']);
  await controlPlane.kubectl(['apply', '-f', '-'], { input: manifest(OBJECTS) });
}, BUILD_TIME);

afterAll(() => controlPlane?.stop());

const clusterCredential = (name: string) => ({
  apiVersion: 'convercus.io/v1alpha1',
  kind: 'ClusterConvercusCredential',
  metadata: { name },
  spec: {
    program: 'ABC',
    environment: 'staging',
    credentialsSecretRef: { name: 'convercus-abc' },
    namespaceSelector: { matchLabels: { [LABEL]: 'true' } },
    target: { name: 'loyalty-token' },
  },
});

function secret(namespace: string, name: string, type: string): object {
  const metadata = { name, namespace };
  return { apiVersion: 'v1', kind: 'Secret', metadata, type, stringData: { key: 'value' } };
}

const OBJECTS = [
  clusterCredential('loyalty'),
  secret(RELEASE.namespace, 'convercus-abc', 'Opaque'),
  secret(RELEASE.namespace, 'loyalty-cluster-session', 'convercus.io/session'),
  secret('shop', 'loyalty-token', 'convercus.io/token'),
  secret('elsewhere', 'loyalty-token', 'convercus.io/token'),
];

type Attempt = readonly [words: string, args: readonly string[], input?: object];

const DRY = '--dry-run=server';
const change = JSON.stringify({ stringData: { token: 'another' } });

const ATTEMPTS: readonly Attempt[] = [
  [
    'read the access token in its namespace',
    ['get', 'secret', 'loyalty-token', '-n', 'shop', '-o', 'yaml'],
  ],
  [
    'read the access token in another namespace',
    ['get', 'secret', 'loyalty-token', '-n', 'elsewhere', '-o', 'yaml'],
  ],
  ['read the client secret', ['get', 'secret', 'convercus-abc', '-n', RELEASE.namespace]],
  [
    'read the session of the user',
    ['get', 'secret', 'loyalty-cluster-session', '-n', RELEASE.namespace],
  ],
  [
    'read ClusterConvercusCredentials, and which namespaces they select',
    ['get', 'clusterconvercuscredentials'],
  ],
  [
    'create or change a ClusterConvercusCredential',
    ['create', DRY, '-f', '-'],
    clusterCredential('mine'),
  ],
  [
    'have its token renewed',
    ['annotate', DRY, 'cconvcred', 'loyalty', 'convercus.io/renew-requested-at=1'],
  ],
  ['select its namespace by a label', ['label', DRY, 'namespace', 'shop', `${LABEL}=true`]],
  ['create a namespace that is selected', ['create', DRY, 'namespace', 'listed']],
  [
    'name the client secret in a ConvercusCredential of its own',
    ['create', DRY, '-n', RELEASE.namespace, '-f', '-'],
    credentialObject('mine', { credentialsSecretRef: { name: 'convercus-abc' } }),
  ],
  [
    'change the target in its namespace: it is written again',
    ['patch', DRY, 'secret', 'loyalty-token', '-n', 'shop', '--type=merge', `-p=${change}`],
  ],
  [
    'delete the target in its namespace: it is created again',
    ['delete', DRY, 'secret', 'loyalty-token', '-n', 'shop'],
  ],
  [
    'have a Secret of its own where the target should be: its namespace gets no token',
    ['create', DRY, '-n', 'shop', '-f', '-'],
    secret('shop', 'another-token', 'Opaque'),
  ],
];

/** `yes`, or what says no. */
async function answer(user: string, [, args, input]: Attempt): Promise<string> {
  const kubeconfig = controlPlane.userKubeconfig(user);
  const options = input === undefined ? {} : { input: JSON.stringify(input) };
  try {
    await controlPlane.kubectl([...args], { ...options, kubeconfig });
    return 'yes';
  } catch (error) {
    const text = String(error);
    if (text.includes('denied request')) return 'no: policy';
    if (text.includes('is forbidden: User')) return 'no: RBAC';
    throw error;
  }
}

describe('the owner of a namespace', () => {
  it('can do what the page says, and nothing else', async () => {
    const rows: string[] = [];
    for (const attempt of ATTEMPTS) {
      rows.push(`| ${attempt[0]} | ${await answer('owner', attempt)} |`);
    }
    const page = await readFile(join(ROOT, 'docs/cluster-credentials.md'), 'utf8');
    const table = page.split('\n').filter((line) => /^\|.*\| (yes|no: \w+) \|$/.test(line));
    expect(table).toEqual(rows);
  });
});

describe('who may set labels of namespaces', () => {
  const label: Attempt = ['', ['label', DRY, 'namespace', 'shop', `${LABEL}=true`]];
  const labels = JSON.stringify({ metadata: { labels: { [LABEL]: 'true' } } });
  const patch = ['patch', DRY, 'namespace', 'shop', '--type=merge', `-p=${labels}`];
  const byStatus: Attempt = ['', [...patch, '--subresource=status']];
  const labelled = (name: string, labels: object): object => ({
    apiVersion: 'v1',
    kind: 'Namespace',
    metadata: { name, labels },
  });
  const create = (labels: object): Attempt => [
    '',
    ['create', DRY, '-f', '-'],
    labelled('new', labels),
  ];

  it('can select them', async () => {
    expect(await answer('labeller', label)).toBe('yes');
    expect(await answer('labeller', byStatus)).toBe('yes');
  });

  it('can not set the name of a namespace as its label', async () => {
    const text = ['label', '--overwrite', 'namespace', 'elsewhere'];
    await controlPlane.kubectl([...text, 'kubernetes.io/metadata.name=shop']).catch(() => {});
    const path = 'jsonpath={.metadata.labels.kubernetes\\.io/metadata\\.name}';
    const read = ['get', 'namespace', 'elsewhere', '-o', path];
    expect(await controlPlane.kubectl(read)).toBe('elsewhere');
  });

  describe('with the policy of docs/security/namespace-labels.yaml', () => {
    const kubeconfig = () => controlPlane.userKubeconfig('labeller');

    beforeAll(async () => {
      const file = join(ROOT, 'docs/security/namespace-labels.yaml');
      await controlPlane.kubectl(['apply', '-f', file]);
      await untilDenied(() => controlPlane.kubectl([...label[1]], { kubeconfig: kubeconfig() }));
    });

    it.each<[string, Attempt, string]>([
      ['set it', label, 'no: policy'],
      ['set it by way of the status', byStatus, 'no: policy'],
      ['create a namespace with it', create({ [LABEL]: 'true' }), 'no: policy'],
      ['create a namespace with the label empty', create({ [LABEL]: '' }), 'no: policy'],
      ['create a namespace without it', create({ team: 'shop' }), 'yes'],
      ['set others', ['', ['label', DRY, 'namespace', 'shop', 'team=shop']], 'yes'],
    ])('%s', async (_, attempt, expected) => {
      expect(await answer('labeller', attempt)).toBe(expected);
    });

    it('not remove it either, while the administrator can', async () => {
      await controlPlane.kubectl(['label', 'namespace', 'shop', `${LABEL}=true`]);
      const remove: Attempt = ['', ['label', DRY, 'namespace', 'shop', `${LABEL}-`]];
      expect(await answer('labeller', remove)).toBe('no: policy');
      await controlPlane.kubectl(['label', 'namespace', 'shop', `${LABEL}-`]);
    });
  });
});
