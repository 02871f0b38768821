import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import { type ControlPlane, startControlPlane } from '../../dev/envtest/control-plane.ts';
import { eventually, manifest } from '../../dev/testbed/objects.ts';
import { BUILD_TIME } from '../packaging/render.ts';
import { Account, errorOf, installChart, type Named, untilDenied } from './installed-chart.ts';

/** The policy that asks what the author of a ClusterConvercusCredential may do. */

const RELEASE = {
  name: 'convercus-operator',
  namespace: 'convercus-operator',
  values: { clusterCredentials: { enabled: true, namespace: 'platform' } },
};

interface Right {
  readonly verbs: readonly string[];
  readonly resourceNames?: readonly string[];
  /** In all namespaces when absent. */
  readonly namespace?: string;
}

const READS: Right = { verbs: ['get'], resourceNames: ['source'], namespace: 'platform' };

/** Besides writing cluster credentials: rights on Secrets. */
const AUTHORS = {
  'credentials-only': [],
  reader: [READS],
  creator: [{ verbs: ['create'] }],
  'creator-in-shop': [READS, { verbs: ['create'], namespace: 'shop' }],
  'reader-in-shop': [{ ...READS, namespace: 'shop' }, { verbs: ['create'] }],
  owner: [READS, { verbs: ['create'] }],
} satisfies Record<string, readonly Right[]>;

type Author = keyof typeof AUTHORS;

let controlPlane: ControlPlane;
let admin: Account;
const accounts = new Map<string, Account>();

beforeAll(async () => {
  const users = Object.keys(AUTHORS).map((name) => ({ name }));
  controlPlane = await startControlPlane({ users, log: console.log });
  for (const name of ['shop', 'platform', RELEASE.namespace]) {
    await controlPlane.kubectl(['create', 'namespace', name]);
  }
  await installChart(controlPlane, RELEASE);
  admin = await Account.of(controlPlane.adminKubeconfig);
  for (const [name, rights] of Object.entries<readonly Right[]>(AUTHORS)) {
    accounts.set(name, await Account.of(controlPlane.userKubeconfig(name)));
    const input = manifest(grantsOf(name, rights));
    await controlPlane.kubectl(['apply', '-f', '-'], { input });
  }
  await untilDenied(() => as('credentials-only').create(loyalty(), { dryRun: true }));
}, BUILD_TIME);

afterAll(async () => {
  for (const account of accounts.values()) await account.close();
  await admin?.close();
  await controlPlane?.stop();
});

afterEach(async () => void (await errorOf(admin.remove(loyalty()))));

function as(name: Author): Account {
  const account = accounts.get(name);
  if (account === undefined) throw new Error(`no account ${name}`);
  return account;
}

const RBAC = { apiVersion: 'rbac.authorization.k8s.io/v1' };
const GROUP = { apiGroup: 'rbac.authorization.k8s.io' };

function grantsOf(user: string, rights: readonly Right[]): object[] {
  const verbs = ['get', 'create', 'update', 'patch', 'delete'];
  const credentials = { apiGroups: ['convercus.io'], resources: ['clusterconvercuscredentials'] };
  return [
    ...grantOf(user, user, { ...credentials, verbs }),
    ...rights.flatMap(({ namespace, ...right }, at) =>
      grantOf(
        user,
        `${user}-${at}`,
        { apiGroups: [''], resources: ['secrets'], ...right },
        namespace,
      ),
    ),
  ];
}

/** @param namespace absent: in the whole cluster */
function grantOf(user: string, name: string, rule: object, namespace?: string): object[] {
  const kind = namespace === undefined ? 'ClusterRoleBinding' : 'RoleBinding';
  const roleRef = { ...GROUP, kind: 'ClusterRole', name };
  const subjects = [{ ...GROUP, kind: 'User', name: user }];
  return [
    { ...RBAC, kind: 'ClusterRole', metadata: { name }, rules: [rule] },
    { ...RBAC, kind, metadata: { name, namespace }, roleRef, subjects },
  ];
}

const loyalty = (spec: object = {}): Named =>
  ({
    apiVersion: 'convercus.io/v1alpha1',
    kind: 'ClusterConvercusCredential',
    metadata: { name: 'loyalty' },
    spec: {
      program: 'ABC',
      environment: 'staging',
      credentialsSecretRef: { name: 'source' },
      namespaces: ['shop'],
      target: { name: 'loyalty-token' },
      ...spec,
    },
  }) as Named;

const NO_SOURCE =
  /spec.credentialsSecretRef: you may not read Secret "source" in namespace "platform" yourself/;
const NO_TARGETS = /you may not create Secrets in all namespaces yourself/;
const NO_ERROR = /^$/;

describe('who creates a cluster credential', () => {
  it.each<[Author, RegExp]>([
    ['credentials-only', NO_SOURCE],
    ['reader', NO_TARGETS],
    ['creator', NO_SOURCE],
    ['creator-in-shop', NO_TARGETS],
    ['reader-in-shop', NO_SOURCE],
    ['owner', NO_ERROR],
  ])('as %s', async (name, error) => {
    expect(await errorOf(as(name).apply(loyalty()))).toMatch(error);
  });
});

describe('who changes one of others, without rights on Secrets', () => {
  const patch = (change: object): Promise<string> =>
    errorOf(as('credentials-only').patch(loyalty(), change));

  it.each<[string, object]>([
    ['labels', { metadata: { labels: { team: 'shop' } } }],
    ['spec.suspend', { spec: { suspend: true } }],
    ['spec.renewal', { spec: { renewal: { percent: 70 } } }],
  ])('%s: is not asked', async (_, change) => {
    await admin.apply(loyalty());
    expect(await patch(change)).toBe('');
  });

  it.each<[string, object]>([
    ['program', { program: 'XYZ' }],
    ['credentialsSecretRef', { credentialsSecretRef: { name: 'another' } }],
    ['namespaces', { namespaces: ['shop', 'kube-system'] }],
    ['namespaceSelector', { namespaceSelector: {} }],
    ['target', { target: { labels: { a: 'b' } } }],
  ])('%s: is asked', async (_, spec) => {
    await admin.apply(loyalty());
    expect(await patch({ spec })).toMatch(/denied request: spec.credentialsSecretRef: you may not/);
  });
});

it('is a warning, if the values say so', async () => {
  const authors = { validationActions: ['Warn'] };
  const values = { ...RELEASE.values, admissionPolicies: { authors } };
  await installChart(controlPlane, { ...RELEASE, values });
  const create = () => errorOf(as('credentials-only').create(loyalty(), { dryRun: true }));
  expect(await eventually(create, (error) => error === '')).toBe('');
});
