import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { type ControlPlane, startControlPlane } from '../../dev/envtest/control-plane.ts';
import { credentialObject } from '../../dev/testbed/tenant.ts';
import { BUILD_TIME } from '../packaging/render.ts';
import { Account, installChart, serviceAccount } from './installed-chart.ts';

/** The policy of the operator's account; of two releases at once. */

const APPLY = ['apply', '--server-side', '-n', 'shop', '-f', '-'];
const CREATE = ['create', '-n', 'shop', '-f', '-'];
const CREATES = /denied request: the operator creates Secrets of the types/;
const DELETES = /denied request: the operator deletes Secrets of the type/;
const WRITES = /denied request: the operator writes into a Secret of another type only if/;

let controlPlane: ControlPlane;
let admin: Account;
let operator: Account;
/** Another name of release, namespace and service account, with rights in `shop` alone. */
let renamed: Account;

beforeAll(async () => {
  controlPlane = await startControlPlane({ log: console.log });
  admin = new Account(controlPlane, 'system:admin', ['system:masters']);
  for (const name of ['shop', 'convercus-operator', 'team']) {
    await admin.succeed(['create', 'namespace', name]);
  }
  await installChart(controlPlane, { name: 'convercus-operator', namespace: 'convercus-operator' });
  const values = {
    serviceAccount: { name: 'token-writer' },
    watch: { namespaces: ['shop'] },
    crds: { enabled: false },
  };
  await installChart(controlPlane, { name: 'tokens', namespace: 'team', values });
  operator = new Account(controlPlane, serviceAccount('convercus-operator', 'convercus-operator'));
  renamed = new Account(controlPlane, serviceAccount('team', 'token-writer'));
  for (const account of [operator, renamed]) {
    await account.untilDenied([...CREATE, '--dry-run=server'], secret('probe', {}));
  }
}, BUILD_TIME);

afterAll(() => controlPlane?.stop());

interface Content {
  readonly type?: string;
  readonly metadata?: object;
  readonly data?: Readonly<Record<string, string>>;
}

/** With `data` as text. */
function secret(name: string, { metadata, data = {}, ...type }: Content): object {
  const encoded = Object.entries(data).map(([key, value]) => [key, btoa(value)]);
  const rest = { metadata: { ...metadata, name }, data: Object.fromEntries(encoded) };
  return { apiVersion: 'v1', kind: 'Secret', ...type, ...rest };
}

const THEIRS = {
  metadata: { labels: { app: 'shop' }, annotations: { team: 'shop' } },
  data: { DB_PASSWORD: '4711', DB_USER: 'shop' },
};

const optingIn = (credential: string): Content => ({
  ...THEIRS,
  metadata: {
    labels: { app: 'shop' },
    annotations: { team: 'shop', 'convercus.io/merge': credential },
  },
});

let count = 0;

/** Created by the administrator. @returns its name */
async function existing(content: Content): Promise<string> {
  count += 1;
  await admin.succeed(CREATE, secret(`secret-${count}`, content));
  return `secret-${count}`;
}

async function read(name: string) {
  const flags = ['-n', 'shop', '-o', 'json', '--show-managed-fields'];
  return JSON.parse(await admin.succeed(['get', 'secret', name, ...flags]));
}

const patch = (name: string, change: object): string[] => {
  const how = ['-n', 'shop', '--type=merge', `-p=${JSON.stringify(change)}`];
  return ['patch', 'secret', name, ...how];
};

/** As the operator merges for this credential; without content when the credential is gone. */
const merging = (credential: string): string[] => [
  ...APPLY,
  `--field-manager=convercus-operator.${credential}`,
];

const TOKEN = {
  metadata: { annotations: { 'convercus.io/expires-at': '2026-11-26T12:00:00Z' } },
  data: { token: 'first' },
};

describe.each([
  ['the operator', () => operator],
  ['an operator of other names, for one namespace', () => renamed],
])('%s', (_, account) => {
  it.each(['convercus.io/token', 'convercus.io/session'])(
    'creates and changes Secrets of the type %s',
    async (type) => {
      count += 1;
      const name = `secret-${count}`;
      await account().succeed(CREATE, secret(name, { type }));
      const metadata = { labels: { app: 'shop' }, annotations: { team: 'shop' } };
      await account().succeed(patch(name, { metadata, stringData: { token: 'second' } }));
      await account().succeed(merging('loyalty'), secret(name, { type }));
    },
  );

  it.each(['Opaque', 'helm.sh/release.v1', 'kubernetes.io/service-account-token', 'a/b'])(
    'creates none of the type %s',
    async (type) => {
      const annotations = { 'kubernetes.io/service-account.name': 'default' };
      const object = secret('foreign', { type, metadata: { annotations } });
      expect(await account().kubectl(CREATE, object)).toMatch(CREATES);
      expect(await account().kubectl(merging('foreign'), object)).toMatch(CREATES);
    },
  );

  it('changes no foreign Secret', async () => {
    const name = await existing(THEIRS);
    expect(await account().kubectl(merging('loyalty'), secret(name, TOKEN))).toMatch(WRITES);
  });

  it('merges into a Secret that opts in, renews there, and leaves', async () => {
    const name = await existing(optingIn('loyalty'));
    for (const token of ['first', 'second']) {
      await account().succeed(merging('loyalty'), secret(name, { ...TOKEN, data: { token } }));
      expect((await read(name)).data.token).toBe(btoa(token));
    }
    await account().succeed(merging('loyalty'), secret(name, {}));
    expect(await read(name)).toMatchObject(secret(name, optingIn('loyalty')));
    expect(await read(name)).not.toHaveProperty('data.token');
  });

  it('deletes sessions, and nothing else', async () => {
    const remove = (name: string): string[] => ['delete', 'secret', name, '-n', 'shop'];
    await account().succeed(remove(await existing({ type: 'convercus.io/session' })));
    for (const type of ['convercus.io/token', 'Opaque']) {
      expect(await account().kubectl(remove(await existing({ type })))).toMatch(DELETES);
    }
  });

  it('writes statuses, and no specs', async () => {
    const credential = credentialObject('loyalty', { program: 'ABC' });
    await admin.succeed(APPLY, credential);
    const { spec: _spec, ...rest } = credential;
    const status = { ...rest, status: { observedGeneration: 1 } };
    await account().succeed([...APPLY, '--subresource=status'], status);
    const refusal = 'cannot patch resource "convercuscredentials"';
    expect(await account().kubectl(APPLY, credential)).toContain(refusal);
    await admin.succeed(['delete', 'convercuscredential', 'loyalty', '-n', 'shop']);
  });
});

const owner = {
  apiVersion: 'v1',
  kind: 'ConfigMap',
  name: 'none',
  uid: '11111111-2222-3333-4444-555555555555',
};

const OF_DATA: Readonly<Record<string, object>> = {
  'a new key': { stringData: { LD_PRELOAD: '/tmp/x.so' } },
  'another value': { stringData: { DB_PASSWORD: 'mine' } },
  'a key less': { data: { DB_PASSWORD: null } },
};

const OF_THE_REST: Readonly<Record<string, object>> = {
  'a label': { metadata: { labels: { 'argocd.argoproj.io/secret-type': 'repository' } } },
  'another label': { metadata: { labels: { app: 'other' } } },
  'a label less': { metadata: { labels: { app: null } } },
  'an annotation': { metadata: { annotations: { 'example.com/replicate-to': 'evil' } } },
  'another annotation': { metadata: { annotations: { team: 'other' } } },
  'an annotation less': { metadata: { annotations: { team: null } } },
  'an owner that does not exist': { metadata: { ownerReferences: [owner] } },
  'a finalizer': { metadata: { finalizers: ['example.com/stay'] } },
  'the end of all changes': { immutable: true },
};

describe('a Secret that does not opt in', () => {
  it.each(Object.entries({ ...OF_DATA, ...OF_THE_REST }))('does not get %s', async (_, change) => {
    const name = await existing(THEIRS);
    expect(await operator.kubectl(patch(name, change))).toMatch(WRITES);
  });

  it('is not made to opt in', async () => {
    const name = await existing(THEIRS);
    const metadata = { annotations: { 'convercus.io/merge': 'loyalty' } };
    expect(await operator.kubectl(patch(name, { metadata }))).toMatch(WRITES);
    const object = secret(name, { ...TOKEN, metadata });
    expect(await operator.kubectl(merging('loyalty'), object)).toMatch(WRITES);
  });

  it.each(['', 'Not a name', '*'])('does not by the annotation "%s"', async (value) => {
    const name = await existing(optingIn(value));
    expect(await operator.kubectl(merging('loyalty'), secret(name, TOKEN))).toMatch(WRITES);
  });

  it('does not become a Secret of the operator field by field', async () => {
    const name = await existing(THEIRS);
    const equal = secret(name, { data: { DB_PASSWORD: '4711' } });
    expect(await operator.kubectl(merging('loyalty'), equal)).toMatch(WRITES);
    const fieldsV1 = { 'f:data': { 'f:DB_PASSWORD': {} } };
    const manager = 'convercus-operator.loyalty';
    const kind = { apiVersion: 'v1', fieldsType: 'FieldsV1' };
    const forged = { manager, operation: 'Apply', ...kind, fieldsV1 };
    const metadata = { managedFields: [forged] };
    expect(await operator.kubectl(patch(name, { metadata }))).toMatch(WRITES);
  });
});

describe('a Secret that opts in', () => {
  it.each(Object.entries(OF_THE_REST))('does not get %s', async (_, change) => {
    const name = await existing(optingIn('loyalty'));
    expect(await operator.kubectl(patch(name, change))).toMatch(WRITES);
  });

  it.each([null, 'another'])('goes on doing so: not %s', async (value) => {
    const name = await existing(optingIn('loyalty'));
    const metadata = { annotations: { 'convercus.io/merge': value } };
    expect(await operator.kubectl(patch(name, { metadata }))).toMatch(WRITES);
  });
});

/** By 0.1.0, which asked for no consent and merged labels and annotations, too. */
describe('a Secret that was merged into without consent', () => {
  const OLD = {
    metadata: { labels: { tier: 'x' }, annotations: { ...TOKEN.metadata.annotations, note: 'y' } },
    data: { token: 'old' },
  };

  async function mergedInto(): Promise<string> {
    const name = await existing(THEIRS);
    await admin.succeed(merging('loyalty'), secret(name, OLD));
    return name;
  }

  it('loses what the operator has set', async () => {
    const name = await mergedInto();
    await operator.succeed(merging('loyalty'), secret(name, {}));
    const { data, metadata } = await read(name);
    expect(Object.keys(data)).toEqual(Object.keys(THEIRS.data));
    expect(metadata).toMatchObject(THEIRS.metadata);
    expect(Object.keys({ ...metadata.labels, ...metadata.annotations })).toEqual(['app', 'team']);
  });

  it('has fields that the operator has updated counted as applied', async () => {
    const name = await mergedInto();
    const { managedFields, resourceVersion } = (await read(name)).metadata;
    const entries = managedFields.map((entry: { manager: string }) =>
      entry.manager === 'convercus-operator.loyalty' ? { ...entry, operation: 'Update' } : entry,
    );
    expect(entries).not.toEqual(managedFields);
    const change = { metadata: { resourceVersion, managedFields: entries } };
    await operator.succeed([...patch(name, change), merging('loyalty').at(-1) ?? '']);
  });

  it('gets no new token, and loses nothing of others', async () => {
    const name = await mergedInto();
    expect(await operator.kubectl(merging('loyalty'), secret(name, TOKEN))).toMatch(WRITES);
    const both = { data: { token: null, DB_PASSWORD: null } };
    expect(await operator.kubectl(patch(name, both))).toMatch(WRITES);
  });
});

describe('releases', () => {
  async function policies(): Promise<string[]> {
    const names = await admin.succeed(['get', 'validatingadmissionpolicies', '-o', 'name']);
    return names
      .trim()
      .split('\n')
      .map((line) => line.split('/')[1] ?? '');
  }

  it('have a policy each, and the CRD has one', async () => {
    expect(await policies()).toEqual([
      'authors.convercus.io',
      'convercus-operator.convercus-operator.secrets',
      'tokens-convercus-operator.team.secrets',
    ]);
  });

  it('leave the others their policies', async () => {
    const kinds = 'validatingadmissionpolicy,validatingadmissionpolicybinding';
    await admin.succeed(['delete', kinds, '-l', 'app.kubernetes.io/instance=tokens']);
    expect(await operator.kubectl(CREATE, secret('foreign', {}))).toMatch(CREATES);
    expect(await policies()).toContain('authors.convercus.io');
  });
});
