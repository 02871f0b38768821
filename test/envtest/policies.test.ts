import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { type ControlPlane, startControlPlane } from '../../dev/envtest/control-plane.ts';
import { credentialObject } from '../../dev/testbed/tenant.ts';
import { BUILD_TIME } from '../packaging/render.ts';
import {
  Account,
  errorOf,
  installChart,
  type Named,
  serviceAccount,
  untilDenied,
} from './installed-chart.ts';

/** The policy of the operator's account; of two releases at once. */

const CREATES = /denied request: the operator creates Secrets of the types/;
const DELETES = /denied request: the operator deletes Secrets of the types/;
const WRITES = /denied request: the operator writes into a Secret of another type only if/;

const OPERATOR = serviceAccount('convercus-operator', 'convercus-operator');
/** Another name of release, namespace and service account, with rights in `shop` alone. */
const RENAMED = serviceAccount('team', 'token-writer');

let controlPlane: ControlPlane;
let admin: Account;
let operator: Account;
let renamed: Account;

beforeAll(async () => {
  controlPlane = await startControlPlane({ users: [OPERATOR, RENAMED], log: console.log });
  for (const name of ['shop', 'convercus-operator', 'team']) {
    await controlPlane.kubectl(['create', 'namespace', name]);
  }
  await installChart(controlPlane, { name: 'convercus-operator', namespace: 'convercus-operator' });
  const values = {
    serviceAccount: { name: 'token-writer' },
    watch: { namespaces: ['shop'] },
    crds: { enabled: false },
  };
  await installChart(controlPlane, { name: 'tokens', namespace: 'team', values });
  admin = await Account.of(controlPlane.adminKubeconfig);
  operator = await Account.of(controlPlane.userKubeconfig(OPERATOR.name));
  renamed = await Account.of(controlPlane.userKubeconfig(RENAMED.name));
  for (const account of [operator, renamed]) {
    await untilDenied(() => account.create(secret('probe', {}), { dryRun: true }));
  }
}, BUILD_TIME);

afterAll(async () => {
  for (const account of [admin, operator, renamed]) await account?.close();
  await controlPlane?.stop();
});

interface Content {
  readonly type?: string;
  readonly metadata?: object;
  readonly data?: Readonly<Record<string, string>>;
}

/** With `data` as text. */
function secret(name: string, { metadata, data = {}, ...type }: Content): Named {
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
const newName = (): string => {
  count += 1;
  return `secret-${count}`;
};

/** Created by the administrator. */
async function existing(content: Content): Promise<Named> {
  const object = secret(newName(), content);
  await admin.create(object);
  return object;
}

const TOKEN = {
  metadata: { annotations: { 'convercus.io/expires-at': '2026-11-26T12:00:00Z' } },
  data: { token: 'first' },
};

/** As the operator merges for the credential `loyalty`; without content when that is gone. */
const merge = (
  account: Account,
  { metadata: { name = '' } }: Named,
  content: Content,
): Promise<string> =>
  account.apply(secret(name, content), { fieldManager: 'convercus-operator.loyalty' });

describe.each([
  ['the operator', () => operator],
  ['an operator of other names, for one namespace', () => renamed],
])('%s', (_, account) => {
  it.each(['convercus.io/token', 'convercus.io/session'])(
    'creates and changes Secrets of the type %s',
    async (type) => {
      const object = secret(newName(), { type });
      await account().create(object);
      const metadata = { labels: { app: 'shop' }, annotations: { team: 'shop' } };
      await account().patch(object, { metadata, stringData: { token: 'second' } });
      await merge(account(), object, { type, data: { other: 'x' } });
    },
  );

  it.each(['Opaque', 'helm.sh/release.v1', 'kubernetes.io/service-account-token', 'a/b'])(
    'creates none of the type %s',
    async (type) => {
      const annotations = { 'kubernetes.io/service-account.name': 'default' };
      const object = secret('foreign', { type, metadata: { annotations } });
      expect(await errorOf(account().create(object))).toMatch(CREATES);
      expect(await errorOf(account().apply(object))).toMatch(CREATES);
    },
  );

  it('changes no foreign Secret', async () => {
    const object = await existing(THEIRS);
    expect(await errorOf(merge(account(), object, TOKEN))).toMatch(WRITES);
  });

  it('merges into a Secret that opts in, renews there, and leaves', async () => {
    const object = await existing(optingIn('loyalty'));
    for (const token of ['first', 'second']) {
      await merge(account(), object, { ...TOKEN, data: { token } });
      expect((await admin.read(object)).data.token).toBe(btoa(token));
    }
    await merge(account(), object, {});
    expect(await admin.read(object)).toMatchObject(object);
    expect(await admin.read(object)).not.toHaveProperty('data.token');
  });

  it('deletes targets and sessions, and nothing else', async () => {
    await account().remove(await existing({ type: 'convercus.io/token' }));
    await account().remove(await existing({ type: 'convercus.io/session' }));
    const theirs = await existing({ type: 'Opaque' });
    expect(await errorOf(account().remove(theirs))).toMatch(DELETES);
  });

  it('writes statuses, and no specs', async () => {
    const credential = credentialObject('loyalty', { program: 'ABC' });
    await admin.apply(credential);
    const status = { observedGeneration: 1 };
    await account().patch(credential, { status }, { subresource: 'status' });
    const refusal = 'cannot patch resource "convercuscredentials"';
    expect(await errorOf(account().patch(credential, { spec: {} }))).toContain(refusal);
    await admin.remove(credential);
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
    const object = await existing(THEIRS);
    expect(await errorOf(operator.patch(object, change))).toMatch(WRITES);
  });

  it('is not made to opt in', async () => {
    const object = await existing(THEIRS);
    const metadata = { annotations: { 'convercus.io/merge': 'loyalty' } };
    expect(await errorOf(operator.patch(object, { metadata }))).toMatch(WRITES);
    expect(await errorOf(merge(operator, object, { ...TOKEN, metadata }))).toMatch(WRITES);
  });

  it.each(['', 'Not a name', '*'])('does not by the annotation "%s"', async (value) => {
    const object = await existing(optingIn(value));
    expect(await errorOf(merge(operator, object, TOKEN))).toMatch(WRITES);
  });

  it('does not become a Secret of the operator field by field', async () => {
    const object = await existing(THEIRS);
    const equal = { data: { DB_PASSWORD: '4711' } };
    expect(await errorOf(merge(operator, object, equal))).toMatch(WRITES);
    const manager = 'convercus-operator.loyalty';
    const kind = { apiVersion: 'v1', fieldsType: 'FieldsV1' };
    const fieldsV1 = { 'f:data': { 'f:DB_PASSWORD': {} } };
    const managedFields = [{ manager, operation: 'Apply', ...kind, fieldsV1 }];
    const forged = operator.patch(object, { metadata: { managedFields } });
    expect(await errorOf(forged)).toMatch(WRITES);
  });
});

describe('a Secret that opts in', () => {
  it.each(Object.entries(OF_THE_REST))('does not get %s', async (_, change) => {
    const object = await existing(optingIn('loyalty'));
    expect(await errorOf(operator.patch(object, change))).toMatch(WRITES);
  });

  it.each([null, 'another'])('goes on doing so: not %s', async (value) => {
    const object = await existing(optingIn('loyalty'));
    const metadata = { annotations: { 'convercus.io/merge': value } };
    expect(await errorOf(operator.patch(object, { metadata }))).toMatch(WRITES);
  });
});

/** By 0.1.0, which asked for no consent and merged labels and annotations, too. */
describe('a Secret that was merged into without consent', () => {
  const OLD = {
    metadata: { labels: { tier: 'x' }, annotations: { ...TOKEN.metadata.annotations, note: 'y' } },
    data: { token: 'old' },
  };

  async function mergedInto(): Promise<Named> {
    const object = await existing(THEIRS);
    await merge(admin, object, OLD);
    return object;
  }

  it('loses what the operator has set', async () => {
    const object = await mergedInto();
    await merge(operator, object, {});
    const { data, metadata } = await admin.read(object);
    expect(Object.keys(data)).toEqual(Object.keys(THEIRS.data));
    expect(metadata).toMatchObject(THEIRS.metadata);
    expect(Object.keys({ ...metadata.labels, ...metadata.annotations })).toEqual(['app', 'team']);
  });

  it('has fields that the operator has updated counted as applied', async () => {
    const object = await mergedInto();
    const fieldManager = 'convercus-operator.loyalty';
    const { managedFields, resourceVersion } = (await admin.read(object)).metadata;
    const entries = managedFields.map((entry: { manager: string }) =>
      entry.manager === fieldManager ? { ...entry, operation: 'Update' } : entry,
    );
    expect(entries).not.toEqual(managedFields);
    const change = { metadata: { resourceVersion, managedFields: entries } };
    await operator.patch(object, change, { fieldManager });
  });

  it('gets no new token, and loses nothing of others', async () => {
    const object = await mergedInto();
    expect(await errorOf(merge(operator, object, TOKEN))).toMatch(WRITES);
    const both = { data: { token: null, DB_PASSWORD: null } };
    expect(await errorOf(operator.patch(object, both))).toMatch(WRITES);
  });
});

describe('what belongs to a ClusterConvercusCredential', () => {
  const SESSION = /denied request: the operator writes the session of a ClusterConvercusCredential/;
  const OWNED = /denied request: what a ClusterConvercusCredential owns is of the type/;

  interface Owned {
    readonly type: string;
    readonly owner?: string;
    readonly label?: string;
    readonly kind?: string;
  }

  function owned({ type, owner, label, kind = 'ClusterConvercusCredential' }: Owned): Content {
    const reference = {
      apiVersion: 'convercus.io/v1alpha1',
      kind,
      name: owner,
      uid: '11111111-2222-3333-4444-555555555555',
      controller: true,
    };
    const labels = label === undefined ? {} : { 'convercus.io/cluster-credential': label };
    const ownerReferences = owner === undefined ? [] : [reference];
    return { type: `convercus.io/${type}`, metadata: { labels, ownerReferences } };
  }

  const errorIn = (namespace: string, name: string, content: Content): Promise<string> => {
    const object = secret(name, content);
    const metadata = { ...object.metadata, namespace };
    return errorOf(operator.create({ ...object, metadata }, { dryRun: true }));
  };

  it.each<[string, Owned, RegExp]>([
    ['a target', { type: 'token', owner: 'abc', label: 'abc' }, /^$/],
    ['a target that outlives it', { type: 'token', label: 'abc' }, /^$/],
    ['a target with the label of another', { type: 'token', owner: 'abc', label: 'xyz' }, OWNED],
    ['a target without the label', { type: 'token', owner: 'abc' }, OWNED],
    ['a session', { type: 'session', owner: 'abc', label: 'abc' }, OWNED],
    ['what another kind owns', { type: 'token', owner: 'abc', kind: 'ConvercusCredential' }, /^$/],
  ])('is %s', async (_, content, error) => {
    expect(await errorIn('convercus-operator', 'abc-cluster-session', owned(content))).toMatch(
      error,
    );
  });

  it.each([
    ['convercus-operator', 'abc-cluster-session', /^$/],
    ['convercus-operator', 'xyz-cluster-session', SESSION],
    ['convercus-operator', 'abc-session', SESSION],
    ['shop', 'abc-cluster-session', SESSION],
  ])('is its session: %s/%s', async (namespace, name, error) => {
    expect(await errorIn(namespace, name, owned({ type: 'session', label: 'abc' }))).toMatch(error);
  });

  it('does not become so later', async () => {
    const object = await existing({ type: 'convercus.io/session' });
    const metadata = { labels: { 'convercus.io/cluster-credential': 'abc' } };
    expect(await errorOf(operator.patch(object, { metadata }))).toMatch(SESSION);
  });

  it('can be deleted, whatever others have made of it', async () => {
    await operator.remove(await existing(owned({ type: 'token', owner: 'abc', label: 'xyz' })));
    await operator.remove(await existing(owned({ type: 'session', label: 'abc' })));
  });
});

describe('releases', () => {
  async function policies(): Promise<string[]> {
    const kind = 'validatingadmissionpolicies';
    const names = await controlPlane.kubectl(['get', kind, '-o', 'name']);
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
    const ofOne = ['-l', 'app.kubernetes.io/instance=tokens'];
    await controlPlane.kubectl(['delete', kinds, ...ofOne]);
    expect(await errorOf(operator.create(secret('foreign', {})))).toMatch(CREATES);
    expect(await policies()).toContain('authors.convercus.io');
  });
});
