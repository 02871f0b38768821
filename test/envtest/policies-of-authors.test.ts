import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import { type ControlPlane, startControlPlane } from '../../dev/envtest/control-plane.ts';
import { eventually } from '../../dev/testbed/objects.ts';
import { credentialObject } from '../../dev/testbed/tenant.ts';
import { BUILD_TIME, ROOT } from '../packaging/render.ts';
import { Account, installChart } from './installed-chart.ts';

/** The policy that asks what the author of a credential may do, and the example for production. */

const RELEASE = { name: 'convercus-operator', namespace: 'convercus-operator' };
const APPLY = ['apply', '--server-side', '-n', 'shop', '-f', '-'];

/** Besides writing credentials: rights on Secrets, and on which. */
const AUTHORS: Readonly<Record<string, object[]>> = {
  'credentials-only': [],
  reader: [{ verbs: ['get'], resourceNames: ['source'] }],
  creator: [{ verbs: ['create'] }],
  owner: [{ verbs: ['get'], resourceNames: ['source'] }, { verbs: ['create'] }],
  merger: [{ verbs: ['get', 'patch'], resourceNames: ['source', 'app'] }],
};

let controlPlane: ControlPlane;
let admin: Account;

const as = (user: string): Account => new Account(controlPlane, user);

beforeAll(async () => {
  controlPlane = await startControlPlane({ log: console.log });
  admin = new Account(controlPlane, 'system:admin', ['system:masters']);
  for (const name of ['shop', 'lab', RELEASE.namespace]) {
    await admin.succeed(['create', 'namespace', name]);
  }
  await installChart(controlPlane, RELEASE);
  for (const [user, rights] of Object.entries(AUTHORS)) await grant(user, rights);
  await as('credentials-only').untilDenied(
    ['create', '--dry-run=server', '-n', 'shop', '-f', '-'],
    loyalty(),
  );
}, BUILD_TIME);

afterAll(() => controlPlane?.stop());

afterEach(async () => {
  await admin.succeed(['delete', 'convercuscredentials', '--all', '-n', 'shop']);
});

async function grant(user: string, rights: readonly object[]): Promise<void> {
  const apiVersion = 'rbac.authorization.k8s.io/v1';
  const secrets = rights.map((right) => ({ apiGroups: [''], resources: ['secrets'], ...right }));
  const verbs = ['get', 'list', 'create', 'update', 'patch', 'delete'];
  const credentials = { apiGroups: ['convercus.io'], resources: ['convercuscredentials'], verbs };
  const role = { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name: user };
  const subjects = [{ apiGroup: 'rbac.authorization.k8s.io', kind: 'User', name: user }];
  for (const object of [
    { apiVersion, kind: 'ClusterRole', metadata: { name: user }, rules: [credentials, ...secrets] },
    { apiVersion, kind: 'ClusterRoleBinding', metadata: { name: user }, roleRef: role, subjects },
  ]) {
    await admin.succeed(['apply', '-f', '-'], object);
  }
}

const loyalty = (spec: object = {}, target: object = {}): object =>
  credentialObject('loyalty', { program: 'ABC', ...spec }, target);

const MERGE = { name: 'app', creationPolicy: 'Merge', data: { token: '{{access_token}}' } };

const NO_SOURCE =
  /spec.credentialsSecretRef: you may not read Secret "source" in namespace "shop" yourself/;
const NO_TARGET = /spec.target: you may not create Secrets in namespace "shop" yourself/;
const NO_MERGE = /spec.target: you may not patch Secret "app" in namespace "shop" yourself/;

describe('who creates a credential', () => {
  const created = /serverside-applied/;

  it.each<[string, string, object, RegExp]>([
    ['credentials-only', 'a Secret of its own', {}, NO_SOURCE],
    ['reader', 'a Secret of its own', {}, NO_TARGET],
    ['creator', 'a Secret of its own', {}, NO_SOURCE],
    ['owner', 'a Secret of its own', {}, created],
    ['owner', 'merging', MERGE, NO_MERGE],
    ['merger', 'a Secret of its own', {}, NO_TARGET],
    ['merger', 'merging', MERGE, created],
    ['merger', 'merging into another', { ...MERGE, name: 'database' }, /patch Secret "database"/],
  ])('as %s, with %s', async (user, _, target, response) => {
    expect(await as(user).kubectl(APPLY, loyalty({}, target))).toMatch(response);
  });

  it('is told about the target by the name that it has by default', async () => {
    const object = loyalty({}, { creationPolicy: 'Merge', data: { token: 'x' } });
    expect(await as('reader').kubectl(APPLY, object)).toContain('patch Secret "loyalty-token"');
  });

  it('is not asked again when a name is generated', async () => {
    const { metadata: _, ...rest } = Object(loyalty());
    const object = { ...rest, metadata: { generateName: 'loyalty-' } };
    const create = ['create', '-n', 'shop', '-f', '-'];
    expect(await as('owner').kubectl(create, object)).toContain('created');
  });
});

describe('who changes a credential of others, without rights on Secrets', () => {
  const author = (): Account => as('credentials-only');
  const patch = (change: object): Promise<string> =>
    author().kubectl([
      ...'patch convercuscredential loyalty -n shop --type=merge'.split(' '),
      `-p=${JSON.stringify(change)}`,
    ]);
  const create = (): Promise<string> => admin.succeed(APPLY, loyalty({ renewal: { percent: 50 } }));

  it.each<[string, object]>([
    [
      'a renewal is requested',
      { metadata: { annotations: { 'convercus.io/renew-requested-at': 'now' } } },
    ],
    ['labels', { metadata: { labels: { team: 'shop' } } }],
    ['spec.suspend', { spec: { suspend: true } }],
    ['spec.renewal', { spec: { renewal: { percent: 70 } } }],
    ['spec.renewal, which goes', { spec: { renewal: null } }],
    ['nothing', { spec: { program: 'ABC' } }],
  ])('%s: is not asked', async (_, change) => {
    await create();
    expect(await patch(change)).toMatch(/patched/);
  });

  it.each<[string, object]>([
    ['program', { program: 'XYZ' }],
    ['environment', { environment: 'production' }],
    ['realm', { realm: 'xyz' }],
    ['clientId', { clientId: 'another' }],
    ['scope', { scope: 'openid profile' }],
    ['grantType', { grantType: 'password' }],
    ['credentialsSecretRef', { credentialsSecretRef: { name: 'another' } }],
    ['a key of credentialsSecretRef', { credentialsSecretRef: { keys: { clientSecret: 'x' } } }],
    ['target', { target: { labels: { a: 'b' } } }],
    ['target beside suspend', { target: { data: { other: 'x' } }, suspend: true }],
  ])('%s: is asked', async (_, spec) => {
    await create();
    expect(await patch({ spec })).toMatch(/denied request: spec.credentialsSecretRef: you may not/);
  });

  it('may delete it', async () => {
    await create();
    const remove = ['delete', 'convercuscredential', 'loyalty', '-n', 'shop'];
    expect(await author().kubectl(remove)).toContain('deleted');
  });
});

describe('the values', () => {
  const install = (authors: object): Promise<void> =>
    installChart(controlPlane, { ...RELEASE, values: { admissionPolicies: { authors } } });
  const apply = (namespace: string): Promise<string> =>
    as('credentials-only').kubectl(
      ['create', '--dry-run=server', '-n', namespace, '-f', '-'],
      loyalty(),
    );

  afterEach(() => installChart(controlPlane, RELEASE));

  it('limit the question to some namespaces', async () => {
    await admin.succeed(['label', 'namespace', 'lab', 'tenants=yes']);
    await install({ namespaceSelector: { matchLabels: { tenants: 'yes' } } });
    const response = await eventually(
      () => apply('shop'),
      (text) => text.includes('created'),
    );
    expect(response).toContain('created');
    expect(await apply('lab')).toContain('denied request');
  });

  it('make a refusal a warning', async () => {
    await install({ validationActions: ['Warn'] });
    const response = await eventually(
      () => apply('shop'),
      (text) => text.includes('created'),
    );
    expect(response).toContain('created');
  });
});

describe('production from listed namespaces only', () => {
  const file = join(ROOT, 'docs/security/production-namespaces.yaml');
  const production = (namespace: string): Promise<string> =>
    admin.kubectl(
      ['create', '--dry-run=server', '-n', namespace, '-f', '-'],
      loyalty({ environment: 'production' }),
    );

  beforeAll(async () => {
    await admin.succeed(['apply', '-f', file]);
    const response = await eventually(
      () => production('lab'),
      (text) => text.includes('denied'),
    );
    expect(response).toMatch(/denied request: environment production is not for namespace "lab"/);
  });

  afterAll(async () => void (await admin.succeed(['delete', '-f', file])));

  it('lets those in', async () => {
    expect(await production('shop')).toContain('created');
  });

  it('leaves other environments alone', async () => {
    const create = ['create', '--dry-run=server', '-n', 'lab', '-f', '-'];
    expect(await admin.kubectl(create, loyalty())).toContain('created');
  });

  it('does not let a credential become one of production', async () => {
    await admin.succeed(['apply', '-n', 'lab', '-f', '-'], loyalty());
    const change = JSON.stringify({ spec: { environment: 'production' } });
    const flags = ['-n', 'lab', '--type=merge', `-p=${change}`];
    const response = await admin.kubectl(['patch', 'convercuscredential', 'loyalty', ...flags]);
    expect(response).toContain('denied request');
  });
});
