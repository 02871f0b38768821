import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { eventually, expiryOf, manifest } from '../../dev/testbed/objects.ts';
import { OPERATOR_NAMESPACE } from '../../dev/testbed/operator.ts';
import type { Tenant } from '../../dev/testbed/tenant.ts';
import { Testbed } from '../../dev/testbed/testbed.ts';
import { expectNoLeaks } from './leaks.ts';

/** What the owner of a namespace sees of a cluster credential, and what comes of what it does to the target. */

const TARGET = 'convercus-access';
const SOURCE = 'convercus-abc';

interface ClusterStatus {
  readonly conditions?: readonly { readonly type: string; readonly status: string }[];
  readonly namespaces?: { readonly selected: number; readonly ready: number };
  readonly failures?: readonly { readonly namespace: string; readonly reason: string }[];
}

let testbed: Testbed;
let secrets: { readonly clientSecret: string; readonly password: string };

beforeAll(async () => {
  testbed = await Testbed.start({
    clusterCredentials: true,
    operators: [{ clusterCredentials: { enabled: true, namespace: OPERATOR_NAMESPACE } }],
  });
  secrets = await testbed.addRealm('abc-staging');
  const stringData = {
    client_secret: secrets.clientSecret,
    username: 'api-user',
    password: secrets.password,
  };
  const metadata = { name: SOURCE, namespace: OPERATOR_NAMESPACE };
  await apply({ apiVersion: 'v1', kind: 'Secret', metadata, stringData });
}, 600_000);

afterAll(() => testbed?.stop());

const apply = (object: object): Promise<string> =>
  testbed.controlPlane.kubectl(['apply', '-f', '-'], { input: manifest([object]) });

const clusterCredential = (name: string, tenants: readonly Tenant[], spec: object = {}) =>
  apply({
    apiVersion: 'convercus.io/v1alpha1',
    kind: 'ClusterConvercusCredential',
    metadata: { name },
    spec: {
      program: 'ABC',
      environment: 'staging',
      credentialsSecretRef: { name: SOURCE },
      namespaces: tenants.map(({ namespace }) => namespace),
      target: { name: TARGET },
      ...spec,
    },
  });

async function statusOf(name: string): Promise<ClusterStatus> {
  const args = ['get', 'clusterconvercuscredential', name, '-o', 'json'];
  return JSON.parse(await testbed.controlPlane.kubectl(args)).status ?? {};
}

const token = (tenant: Tenant): Promise<string> =>
  eventually(
    () => tenant.token(TARGET),
    (text) => text !== '',
  );

const requests = (): number =>
  testbed.provider.log.entries.filter(({ realm }) => realm === 'abc-staging').length;

describe('the owner of a namespace', () => {
  const tenants: Tenant[] = [];
  let issued = '';

  beforeAll(async () => {
    tenants.push(await testbed.tenant(), await testbed.tenant());
    await clusterCredential('users', tenants, { grantType: 'password' });
    for (const tenant of tenants) issued = await token(tenant);
  }, 120_000);

  afterAll(async () => {
    await testbed.controlPlane.kubectl(['delete', 'clusterconvercuscredential', 'users']);
  });

  it('gets the token that all get', async () => {
    expect(expiryOf(issued)).toBeGreaterThan(Date.now());
    for (const tenant of tenants) expect(await token(tenant)).toBe(issued);
  });

  it('sees neither client secret nor password nor session in its namespace', async () => {
    const session = ['get', 'secret', 'users-cluster-session', '-n', OPERATOR_NAMESPACE];
    const stored = JSON.parse(await testbed.controlPlane.kubectl([...session, '-o', 'json']));
    const refreshToken = atob(stored.data.refresh_token);
    for (const tenant of tenants) {
      const kinds = 'secrets,events.v1.events.k8s.io,configmaps';
      const { items } = JSON.parse(await tenant.kubectl('get', kinds, '-o', 'json'));
      const seen = items.map((object: { data?: Record<string, string> }) => ({
        ...object,
        data: Object.values(object.data ?? {}).map(atob),
      }));
      const text = JSON.stringify(seen);
      expect(text).toContain(issued);
      const others = tenants.filter((each) => each !== tenant);
      for (const { namespace } of others) expect(text).not.toContain(`"${namespace}`);
      for (const hidden of [secrets.clientSecret, secrets.password, refreshToken]) {
        expect(text).not.toContain(hidden);
      }
    }
  });

  it('can not change what is in the target for long', async () => {
    const [tenant] = tenants;
    const change = JSON.stringify({ stringData: { token: 'another' } });
    await tenant?.kubectl('patch', 'secret', TARGET, '--type=merge', `-p=${change}`);
    const read = async () => (await tenant?.file(TARGET)) ?? '';
    expect(await eventually(read, (text) => text === issued)).toBe(issued);
  });

  it('has the target created again when it deletes it', async () => {
    const [tenant] = tenants;
    await tenant?.kubectl('delete', 'secret', TARGET);
    const read = async () => (await tenant?.file(TARGET)) ?? '';
    expect(await eventually(read, (text) => text === issued)).toBe(issued);
  });

  it('can keep its own namespace from getting a token, and no other', async () => {
    const first = await testbed.tenant();
    await first.secret(TARGET, { token: 'of the owner' });
    await clusterCredential('users', [...tenants, first], { grantType: 'password' });
    const { failures, namespaces } = await eventually(
      () => statusOf('users'),
      (status) => (status.failures ?? []).length > 0,
    );
    expect(failures).toMatchObject([{ namespace: first.namespace, reason: 'TargetNotOurs' }]);
    expect(namespaces).toMatchObject({ selected: 3, ready: 2 });
    expect(await first.file(TARGET)).toBe('of the owner');
    for (const tenant of tenants) expect(await token(tenant)).toBe(issued);
  });

  it('can not have a session of its own taken for that of a cluster credential', async () => {
    const [tenant] = tenants;
    const metadata = {
      name: 'users-cluster-session',
      labels: {
        'app.kubernetes.io/managed-by': 'convercus-operator',
        'app.kubernetes.io/component': 'session',
        'convercus.io/cluster-credential': 'users',
      },
    };
    const forged = { apiVersion: 'v1', kind: 'Secret', metadata, type: 'convercus.io/session' };
    const before = requests();
    await tenant?.apply({ ...forged, stringData: { refresh_token: 'forged', username: 'x' } });
    await clusterCredential('users', tenants, { grantType: 'password', renewal: { percent: 60 } });
    await eventually(
      () => statusOf('users'),
      ({ namespaces }) => namespaces?.selected === 2,
    );
    expect(requests()).toBe(before);
    expect(await tenant?.file('users-cluster-session', 'refresh_token')).toBe('forged');
  });
});

/** The steps of docs/cluster-credentials.md. */
describe('a migration from copies', () => {
  const tenants: Tenant[] = [];

  it('asks for no second token, and leaves no moment without one', async () => {
    for (let count = 0; count < 3; count += 1) {
      const tenant = await testbed.tenant();
      await tenant.secret(SOURCE, { client_secret: secrets.clientSecret });
      await tenant.credential('loyalty', {
        program: 'ABC',
        credentialsSecretRef: { name: SOURCE },
      });
      await tenant.ready('loyalty');
      tenants.push(tenant);
    }
    const before = requests();
    await clusterCredential('migrated', tenants);
    for (const tenant of tenants) {
      const old = await tenant.token('loyalty-token');
      expect(await token(tenant)).toBe(old);
      await tenant.kubectl('delete', 'convercuscredential', 'loyalty');
      await tenant.kubectl('delete', 'secret', SOURCE);
      expect(await tenant.token(TARGET)).toBe(old);
    }
    const isReady = ({ conditions = [] }: ClusterStatus): boolean =>
      conditions.some(({ type, status }) => type === 'Ready' && status === 'True');
    expect(isReady(await eventually(() => statusOf('migrated'), isReady))).toBe(true);
    expect(requests()).toBe(before);
  });

  it('can keep the name of the target, which is then missing for a moment', async () => {
    const tenant = await testbed.tenant();
    await tenant.secret(SOURCE, { client_secret: secrets.clientSecret });
    await tenant.credential('loyalty', { program: 'ABC', credentialsSecretRef: { name: SOURCE } });
    await tenant.ready('loyalty');
    const before = requests();
    const old = await tenant.token('loyalty-token');
    await clusterCredential('same-name', [tenant], { target: { name: 'loyalty-token' } });
    const { failures } = await eventually(
      () => statusOf('same-name'),
      (status) => (status.failures ?? []).length > 0,
    );
    expect(failures).toMatchObject([{ namespace: tenant.namespace, reason: 'TargetNotOurs' }]);
    expect(await tenant.token('loyalty-token')).toBe(old);

    await tenant.kubectl('delete', 'convercuscredential', 'loyalty');
    await tenant.kubectl('delete', 'secret', 'loyalty-token'); // as garbage collection does
    const began = Date.now();
    const read = () => tenant.token('loyalty-token');
    expect(await eventually(read, (text) => text === old)).toBe(old);
    console.log(`The target was back after ${Date.now() - began} ms.`);
    expect(requests()).toBe(before);
  });
});

it('no secret has left the Secrets', () => expectNoLeaks(testbed));
