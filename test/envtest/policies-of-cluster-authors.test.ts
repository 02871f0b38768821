import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import { eventually } from '../../dev/testbed/objects.ts';
import { BUILD_TIME } from '../packaging/render.ts';
import { Authors, type Right } from './authors.ts';
import { type Account, errorOf, installChart, type Named, untilDenied } from './installed-chart.ts';

/** The policy that asks what the author of a ClusterConvercusCredential may do. */

const RELEASE = {
  name: 'convercus-operator',
  namespace: 'convercus-operator',
  values: { clusterCredentials: { enabled: true, namespace: 'platform' } },
};

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

let authors: Authors<Author>;
let admin: Account;
const as = (name: Author): Account => authors.as(name);

beforeAll(async () => {
  authors = await Authors.start({
    release: RELEASE,
    namespaces: ['shop', 'platform'],
    resource: 'clusterconvercuscredentials',
    authors: AUTHORS,
  });
  admin = authors.admin;
  await untilDenied(() => as('credentials-only').create(loyalty(), { dryRun: true }));
}, BUILD_TIME);

afterAll(() => authors?.stop());

afterEach(async () => void (await errorOf(admin.remove(loyalty()))));

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
  const admissionPolicies = { authors: { validationActions: ['Warn'] } };
  const values = { ...RELEASE.values, admissionPolicies };
  await installChart(authors.controlPlane, { ...RELEASE, values });
  const create = () => errorOf(as('credentials-only').create(loyalty(), { dryRun: true }));
  expect(await eventually(create, (error) => error === '')).toBe('');
});
