import * as fc from 'fast-check';
import { credentialName } from './names.ts';

/** Secrets with any bytes, types and sizes, and with labels and annotations that look like the operator's. */

const TYPES = [
  'Opaque',
  'convercus.io/token',
  'convercus.io/session',
  'kubernetes.io/service-account-token',
  'kubernetes.io/basic-auth',
  'helm.sh/release.v1',
  'x',
];

const time = fc.oneof(
  fc.constantFrom('2099-01-01T00:00:00Z', '1970-01-01T00:00:00Z', '2026-13-45T99:99:99Z', '', 'x'),
  fc
    .integer({ min: -7_200_000, max: 7_200_000 })
    .map((away) => new Date(Date.now() + away).toISOString()),
);

const version = fc.tuple(fc.uuid(), fc.nat()).map(([uid, number]) => `${uid}/${number}`);

/** Names and values as the operator writes them. */
const ourAnnotations = fc.record(
  {
    'convercus.io/issued-at': time,
    'convercus.io/expires-at': time,
    'convercus.io/renew-at': time,
    'convercus.io/spec-hash': fc.string({ maxLength: 22 }),
    'convercus.io/source-version': version,
    'convercus.io/content-hash': fc.string({ maxLength: 22 }),
    'convercus.io/credential': credentialName,
    'convercus.io/merge': fc.oneof(credentialName, fc.string()),
    'convercus.io/renew-request': fc.string({ maxLength: 300 }),
  },
  { requiredKeys: [] },
);

const ourLabels = fc.record(
  {
    'app.kubernetes.io/managed-by': fc.constantFrom('convercus-operator', 'Helm'),
    'app.kubernetes.io/component': fc.constantFrom('session', 'x'),
    'convercus.io/credential': credentialName,
  },
  { requiredKeys: [] },
);

const annotations = fc.oneof(
  { weight: 3, arbitrary: fc.constant({}) },
  { weight: 3, arbitrary: ourAnnotations },
  {
    weight: 1,
    arbitrary: fc.dictionary(
      fc.string({ maxLength: 20 }),
      fc.string({ maxLength: 200, unit: 'binary' }),
    ),
  },
  { weight: 1, arbitrary: fc.nat({ max: 250_000 }).map((n) => ({ big: 'x'.repeat(n) })) },
);

/** Where `<canary>` is put into a value, or nothing of it. */
const value = fc.oneof(
  { weight: 6, arbitrary: fc.constantFrom('<canary>', 'u-<canary>', '<canary>-%&=+"\\ä€') },
  {
    weight: 1,
    arbitrary: fc.constantFrom(
      '',
      ' ',
      '<canary>\n',
      '\n',
      '\u0000<canary>',
      '<canary>\u202e',
      'x',
    ),
  },
  {
    weight: 1,
    arbitrary: fc.string({ maxLength: 100, unit: 'binary' }).map((text) => `<canary>${text}`),
  },
  { weight: 1, arbitrary: fc.integer({ min: 1, max: 300_000 }).map((n) => 'z'.repeat(n)) },
);

/** Bytes that are no UTF-8 are sent as they are. */
const bytes = fc.uint8Array({ maxLength: 200 }).map((each) => Buffer.from(each));

/** What a session looks like, with every value from outside. */
const session = fc
  .record(
    {
      credentialUid: fc.uuid(),
      environment: fc.constantFrom('staging', 'none'),
      realm: fc.constantFrom('r1', '..', 'r1/../x'),
      tokenUrl: fc.webUrl(),
      clientId: fc.string(),
      scope: fc.string(),
      source: fc.oneof(
        fc.record({ name: fc.constant('s1'), key: fc.constant('password') }),
        fc.jsonValue(),
      ),
      startedAt: fc.oneof(fc.maxSafeInteger(), fc.string()),
      refreshExpiresAt: fc.oneof(fc.maxSafeInteger(), fc.double()),
      longest: fc.maxSafeInteger(),
    },
    { requiredKeys: [] },
  )
  .map((each) => JSON.stringify(each));

const FIELDS = ['client_secret', 'username', 'password', 'org', 'token', 'refresh_token'];

const RIGHT_DATA = {
  client_secret: '<canary>-secret',
  username: 'user-<canary>',
  password: '<canary>-password',
  org: 'org-<canary>',
};

const data = fc.oneof(
  { weight: 6, arbitrary: fc.constant(RIGHT_DATA) },
  {
    weight: 4,
    arbitrary: fc.dictionary(fc.constantFrom(...FIELDS), fc.oneof(value, bytes), { maxKeys: 6 }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ refresh_token: value, username: value, 'session.json': session }),
  },
);

export interface SecretDraft {
  readonly type: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
  readonly data: Readonly<Record<string, string | Buffer>>;
}

/** What every grant finds its values in. */
export const RIGHT_SECRET: SecretDraft = {
  type: 'Opaque',
  labels: {},
  annotations: {},
  data: RIGHT_DATA,
};

export const anySecret: fc.Arbitrary<SecretDraft> = fc.record({
  type: fc.oneof(
    { weight: 6, arbitrary: fc.constant('Opaque') },
    { weight: 2, arbitrary: fc.constantFrom(...TYPES) },
  ),
  labels: fc.oneof(fc.constant({}), ourLabels),
  annotations,
  data,
});

const managedFields = fc.oneof(
  fc.constant([{}]),
  fc.array(
    fc.record({
      manager: credentialName.map((name) => `convercus-operator.${name}`),
      operation: fc.constantFrom('Apply', 'Update'),
      apiVersion: fc.constant('v1'),
      fieldsType: fc.constant('FieldsV1'),
      fieldsV1: fc.constantFrom({ 'f:data': { '.': {}, 'f:token': {} } }, { 'f:metadata': {} }, {}),
    }),
    { maxLength: 3 },
  ),
);

/** A merge patch of a Secret's metadata. */
export const metadataPatch: fc.Arbitrary<object> = fc
  .record(
    {
      labels: ourLabels,
      annotations: ourAnnotations,
      managedFields,
      ownerReferences: fc.constantFrom(null, []),
    },
    { requiredKeys: [] },
  )
  .map((metadata) => ({ metadata }));

/** @param canary what stands for `<canary>` */
export const encoded = (
  values: SecretDraft['data'],
  canary: string,
): Readonly<Record<string, string>> =>
  Object.fromEntries(
    Object.entries(values).map(([key, value]) => [
      key,
      Buffer.from(
        typeof value === 'string' ? value.replaceAll('<canary>', canary) : value,
      ).toString('base64'),
    ]),
  );
