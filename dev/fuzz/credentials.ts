import * as fc from 'fast-check';
import { ENVIRONMENTS, secretName } from './names.ts';

/** Specs of ConvercusCredentials: what the CRD allows, what it may allow, and what it does not. */

const often = <T>(usual: T, arbitrary: fc.Arbitrary<T>, weight = 4): fc.Arbitrary<T> =>
  fc.oneof({ weight, arbitrary: fc.constant(usual) }, { weight: 1, arbitrary });

const key = fc.constantFrom('client_secret', 'username', 'password', 'org', 'token', 'tls.key');

const keys = fc.record(
  { clientSecret: key, username: key, password: key, org: key, clientId: key },
  { requiredKeys: [] },
);

const template = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.constantFrom(
      '{{access_token}}',
      'Bearer {{access_token}}',
      '{{ access_token }}{{access_token}}',
      '{{id_token}}',
      '{{scope}} {{expires_at}} {{expires_at_unix}} {{issued_at}}',
      '{{program}}-{{environment}}-{{realm}} {{api_url}}',
      '$(access_token) $$(access_token) $(x)',
      '{{unknown}}',
      '{{\u202eaccess_token\u001b[31m}}',
    ),
  },
  { weight: 2, arbitrary: fc.string({ maxLength: 60, unit: 'binary' }) },
  { weight: 1, arbitrary: fc.integer({ min: 1, max: 4_096 }).map((n) => '{'.repeat(n)) },
  { weight: 1, arbitrary: fc.constant('{{access_token}}'.repeat(256)) },
  { weight: 1, arbitrary: fc.constant('\u{1f600}'.repeat(4_096)) },
);

const word = fc.oneof(
  fc.constantFrom('a', 'app.kubernetes.io/name', 'example.com/x', 'convercus.io/merge'),
  fc.constantFrom('app.kubernetes.io/component', 'app.kubernetes.io/managed-by'),
  fc.string({ maxLength: 20 }),
);

const templates = fc.dictionary(fc.oneof(key, fc.string({ maxLength: 10 })), template, {
  maxKeys: 32,
});
const labels = fc.dictionary(word, fc.oneof(fc.constant('session'), fc.string({ maxLength: 63 })), {
  maxKeys: 4,
});
const annotations = fc.dictionary(
  word,
  fc.oneof(
    fc.string({ maxLength: 40, unit: 'binary' }),
    fc.integer({ min: 1, max: 4_096 }).map((n) => '\u{1f600}'.repeat(n)),
  ),
  { maxKeys: 8 },
);

const target = fc.record(
  {
    name: secretName,
    creationPolicy: often('Owner', fc.constant('Merge'), 3),
    deletionPolicy: fc.constantFrom('Delete', 'Retain'),
    labels: often({}, labels),
    annotations: often({}, annotations),
    data: often({ token: '{{access_token}}' }, templates, 2),
  },
  { requiredKeys: [] },
);

const spec = fc.record(
  {
    program: often('ABC', fc.constantFrom('x', 'X-y_z', '__proto__', 'constructor')),
    environment: often('staging', fc.constantFrom(...ENVIRONMENTS, 'production', 'none')),
    grantType: fc.constantFrom('client_credentials', 'password', 'legacy_login'),
    clientId: often('machine-2-machine', fc.string({ maxLength: 30 })),
    scope: often('openid', fc.constantFrom('openid profile', 'a"b', 'openid 1111 2222')),
    realm: fc.constantFrom('r1', 'r2', 'R1', '..', 'a%2fb', 'r1/../../x'),
    org: fc.string({ maxLength: 30 }),
    credentialsSecretRef: fc.record(
      { name: secretName, keys: often({}, keys) },
      { requiredKeys: ['name'] },
    ),
    target,
    renewal: fc.record(
      {
        percent: fc.integer({ min: 0, max: 100 }),
        jitterPercent: fc.integer({ min: 0, max: 25 }),
      },
      { requiredKeys: [] },
    ),
    suspend: often(false, fc.boolean()),
  },
  { requiredKeys: ['program', 'environment', 'credentialsSecretRef'] },
);

/** What the operator is made for, so that a run gets beyond the first check. */
const usualSpec = fc.record(
  {
    program: fc.constant('ABC'),
    environment: fc.constant('staging'),
    grantType: fc.constantFrom('client_credentials', 'password', 'legacy_login'),
    realm: fc.constantFrom('r1', 'r2'),
    credentialsSecretRef: fc.constantFrom({ name: 's1' }, { name: 's2' }),
    renewal: fc.constant({ percent: 30, jitterPercent: 5 }),
  },
  { requiredKeys: ['program', 'environment', 'grantType', 'credentialsSecretRef'] },
);

/** One member somewhere in a spec is replaced by any JSON value. */
const brokenSpec = fc
  .tuple(spec, fc.nat(), fc.jsonValue({ maxDepth: 3 }))
  .map(([whole, at, value]): object => replaced(whole, at, value));

export const anySpec: fc.Arbitrary<object> = fc.oneof(
  { weight: 10, arbitrary: usualSpec },
  { weight: 6, arbitrary: spec },
  { weight: 3, arbitrary: brokenSpec },
  { weight: 1, arbitrary: fc.dictionary(fc.string(), fc.jsonValue()) },
);

/** @param at counted over all members of the object and of the objects in it */
function replaced(whole: object, at: number, value: unknown): object {
  const places = placesIn(whole, []);
  const place = places[at % places.length] ?? [];
  const copy: unknown = structuredClone(whole);
  set(copy, place, value);
  return isRecord(copy) ? copy : whole;
}

function placesIn(value: unknown, path: readonly string[]): string[][] {
  if (!isRecord(value)) return [];
  return Object.entries(value).flatMap(([name, inner]) => [
    [...path, name],
    ...placesIn(inner, [...path, name]),
  ]);
}

function set(whole: unknown, [name, ...rest]: readonly string[], value: unknown): void {
  if (!isRecord(whole) || name === undefined) return;
  if (rest.length > 0) set(whole[name], rest, value);
  else Object.defineProperty(whole, name, { value, enumerable: true });
}

const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);
