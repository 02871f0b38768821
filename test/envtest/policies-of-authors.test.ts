import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import { eventually } from '../../dev/testbed/objects.ts';
import { credentialObject } from '../../dev/testbed/tenant.ts';
import { BUILD_TIME, ROOT } from '../packaging/render.ts';
import { Authors, type Right } from './authors.ts';
import { type Account, errorOf, installChart, type Named, untilDenied } from './installed-chart.ts';

/** The policy that asks what the author of a credential may do, and the example for production. */

const RELEASE = { name: 'convercus-operator', namespace: 'convercus-operator' };

/** Besides writing credentials: rights on Secrets, and on which. */
const AUTHORS = {
  'credentials-only': [],
  reader: [{ verbs: ['get'], resourceNames: ['source'] }],
  creator: [{ verbs: ['create'] }],
  owner: [{ verbs: ['get'], resourceNames: ['source'] }, { verbs: ['create'] }],
  merger: [{ verbs: ['get', 'patch'], resourceNames: ['source', 'app'] }],
} satisfies Record<string, readonly Right[]>;

type Author = keyof typeof AUTHORS;

let authors: Authors<Author>;
let admin: Account;
const as = (name: Author): Account => authors.as(name);

beforeAll(async () => {
  authors = await Authors.start({
    release: RELEASE,
    namespaces: ['shop', 'lab'],
    resource: 'convercuscredentials',
    authors: AUTHORS,
  });
  admin = authors.admin;
  await untilDenied(() => as('credentials-only').create(loyalty(), { dryRun: true }));
}, BUILD_TIME);

afterAll(() => authors?.stop());

afterEach(async () => void (await errorOf(admin.remove(loyalty()))));

const loyalty = (spec: object = {}, target: object = {}): Named =>
  credentialObject('loyalty', { program: 'ABC', ...spec }, target);

const inLab = (object: Named): Named => ({
  ...object,
  metadata: { ...object.metadata, namespace: 'lab' },
});

const MERGE = { name: 'app', creationPolicy: 'Merge', data: { token: '{{access_token}}' } };

const NO_SOURCE =
  /spec.credentialsSecretRef: you may not read Secret "source" in namespace "shop" yourself/;
const NO_TARGET = /spec.target: you may not create Secrets in namespace "shop" yourself/;
const NO_MERGE = /spec.target: you may not patch Secret "app" in namespace "shop" yourself/;
const NO_ERROR = /^$/;

describe('who creates a credential', () => {
  it.each<[Author, string, object, RegExp]>([
    ['credentials-only', 'a Secret of its own', {}, NO_SOURCE],
    ['reader', 'a Secret of its own', {}, NO_TARGET],
    ['creator', 'a Secret of its own', {}, NO_SOURCE],
    ['owner', 'a Secret of its own', {}, NO_ERROR],
    ['owner', 'merging', MERGE, NO_MERGE],
    ['merger', 'a Secret of its own', {}, NO_TARGET],
    ['merger', 'merging', MERGE, NO_ERROR],
    ['merger', 'merging into another', { ...MERGE, name: 'database' }, /patch Secret "database"/],
  ])('as %s, with %s', async (name, _, target, error) => {
    expect(await errorOf(as(name).apply(loyalty({}, target)))).toMatch(error);
  });

  it('is told about the target by the name that it has by default', async () => {
    const object = loyalty({}, { creationPolicy: 'Merge', data: { token: 'x' } });
    expect(await errorOf(as('reader').apply(object))).toContain('patch Secret "loyalty-token"');
  });

  it('may have its name generated', async () => {
    const object = { ...loyalty(), metadata: { generateName: 'loyalty-' } };
    const created = await as('owner').create(object);
    await admin.remove(JSON.parse(created));
  });
});

describe('who changes a credential of others, without rights on Secrets', () => {
  const patch = (change: object): Promise<string> =>
    as('credentials-only').patch(loyalty(), change);
  const create = (): Promise<string> => admin.apply(loyalty({ renewal: { percent: 50 } }));

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
    await patch(change);
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
    const denied = /denied request: spec.credentialsSecretRef: you may not/;
    expect(await errorOf(patch({ spec }))).toMatch(denied);
  });

  it('org: is asked', async () => {
    await admin.apply(loyalty({ grantType: 'legacy_login' }));
    expect(await errorOf(patch({ spec: { org: 'abc' } }))).toContain('denied request');
  });

  it('what goes: is asked', async () => {
    await admin.apply(loyalty({ realm: 'xyz' }));
    expect(await errorOf(patch({ spec: { realm: null } }))).toContain('denied request');
  });

  it('may delete it', async () => {
    await create();
    await as('credentials-only').remove(loyalty());
  });
});

describe('the values', () => {
  const install = (values: object): Promise<void> =>
    installChart(authors.controlPlane, {
      ...RELEASE,
      values: { admissionPolicies: { authors: values } },
    });
  const create = (object: Named): Promise<string> =>
    errorOf(as('credentials-only').create(object, { dryRun: true }));
  const untilAllowed = async (): Promise<void> => {
    const isAllowed = (error: string): boolean => error === '';
    expect(await eventually(() => create(loyalty()), isAllowed)).toBe('');
  };

  afterEach(() => installChart(authors.controlPlane, RELEASE));

  it('limit the question to some namespaces', async () => {
    await authors.controlPlane.kubectl(['label', 'namespace', 'lab', 'tenants=yes']);
    await install({ namespaceSelector: { matchLabels: { tenants: 'yes' } } });
    await untilAllowed();
    expect(await create(inLab(loyalty()))).toContain('denied request');
  });

  it('make a refusal a warning', async () => {
    await install({ validationActions: ['Warn'] });
    await untilAllowed();
  });
});

describe('production from listed namespaces only', () => {
  const file = join(ROOT, 'docs/security/production-namespaces.yaml');
  const production = loyalty({ environment: 'production' });

  beforeAll(async () => {
    await authors.controlPlane.kubectl(['apply', '-f', file]);
    await untilDenied(() => admin.create(inLab(production), { dryRun: true }));
  });

  afterAll(async () => void (await authors.controlPlane.kubectl(['delete', '-f', file])));

  it('lets those in', async () => {
    await admin.create(production, { dryRun: true });
  });

  it('leaves other environments alone', async () => {
    await admin.create(inLab(loyalty()), { dryRun: true });
  });

  it('does not let a credential become one of production', async () => {
    await admin.apply(inLab(loyalty()));
    const change = admin.patch(inLab(loyalty()), { spec: { environment: 'production' } });
    const denied = 'denied request: environment production is not for namespace "lab"';
    expect(await errorOf(change)).toContain(denied);
    await admin.remove(inLab(loyalty()));
  });
});
