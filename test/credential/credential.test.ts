import { describe, expect, it } from '@jest/globals';
import * as fc from 'fast-check';
import { digest, parseCredential, targetNameOf } from '../../src/credential/credential.ts';
import { type Failure, isFailure } from '../../src/lib/failure.ts';
import { BUILT_IN_ENVIRONMENTS, tokenUrlOf } from '../../src/oauth/environment.ts';
import {
  aCredential,
  aParsedCredential,
  type CredentialOverrides,
  SETTINGS,
} from '../support/builders.ts';

const failureIn = (overrides: CredentialOverrides): Failure => {
  const parsed = parseCredential(aCredential(overrides), SETTINGS);
  if (!isFailure(parsed)) throw new Error('it parsed');
  return parsed;
};

describe('a credential', () => {
  it('is complete once it is parsed', () => {
    expect(aParsedCredential()).toMatchObject({
      namespace: 'shop',
      name: 'loyalty',
      realm: 'abc-staging',
      tokenUrl:
        'https://auth-staging.convercus.io/realms/abc-staging/protocol/openid-connect/token',
      source: { name: 'convercus-abc', keys: { clientSecret: 'client_secret' } },
      target: { name: 'loyalty-token', labels: {}, annotations: {} },
      renewal: SETTINGS.renewal,
      suspended: false,
      renewRequest: undefined,
    });
  });

  it.each<[string, CredentialOverrides, object]>([
    ['production', { spec: { environment: 'production' } }, { realm: 'abc' }],
    ['its own realm, as it is written', { spec: { realm: 'AbC' } }, { realm: 'AbC' }],
    [
      'a target name',
      { target: { name: 'x' } },
      { target: expect.objectContaining({ name: 'x' }) },
    ],
    [
      'a renewal of its own',
      { spec: { renewal: { percent: 50 } } },
      {
        renewal: { ...SETTINGS.renewal, percent: 50 },
      },
    ],
    [
      'a renew request',
      {
        metadata: { annotations: { 'convercus.io/renew-requested-at': 'now' } },
      },
      { renewRequest: 'now' },
    ],
    ['a suspension', { spec: { suspend: true } }, { suspended: true }],
  ])('may have %s', (_, overrides, expected) => {
    expect(aParsedCredential(overrides)).toMatchObject(expected);
  });

  it('cannot put more than a path segment into the token URL', () => {
    const [staging] = BUILT_IN_ENVIRONMENTS;
    const tokenUrl = tokenUrlOf(staging!, '../../x?y#z');
    expect(new URL(tokenUrl).pathname).toBe(
      '/realms/..%2F..%2Fx%3Fy%23z/protocol/openid-connect/token',
    );
    expect(new URL(tokenUrl).host).toBe('auth-staging.convercus.io');
  });

  it.each<[string, CredentialOverrides, string, RegExp]>([
    [
      'an unknown environment',
      { spec: { environment: 'moon' } },
      'InvalidSpec',
      /"moon".*staging, production/,
    ],
    [
      'an environment named like a prototype',
      { spec: { environment: 'constructor' } },
      'InvalidSpec',
      /"constructor"/,
    ],
    [
      'an unknown placeholder',
      { target: { data: { ok: '{{realm}}', bad: '{{ password }}' } } },
      'InvalidSpec',
      /spec\.target\.data\.bad.*\{\{password\}\}.*access_token/,
    ],
    [
      'a placeholder of control characters',
      { target: { data: { token: '{{\u001b[31m\u202e\n}}' } } },
      'InvalidSpec',
      /\{\{\[31m\}\}/,
    ],
    [
      'a very long placeholder',
      { target: { data: { token: `{{${'x'.repeat(4_000)}}}` } } },
      'InvalidSpec',
      /\{\{x{199}…\}\}/,
    ],
    [
      'its source as its target',
      { target: { name: 'convercus-abc' } },
      'InvalidSpec',
      /both "convercus-abc"/,
    ],
    [
      'its source as its default target',
      {
        metadata: { name: 'x' },
        spec: {
          credentialsSecretRef: { ...aCredential().spec.credentialsSecretRef, name: 'x-token' },
        },
      },
      'InvalidSpec',
      /both "x-token"/,
    ],
  ])('fails with %s', (_, overrides, kind, message) => {
    const failure = failureIn(overrides);
    expect(failure.kind).toBe(kind);
    expect(failure.message).toMatch(message);
    expect(failure.isTerminal).toBe(true);
  });

  it.each(['client_credentials', 'password', 'legacy_login'] as const)(
    'with the grant %s has the Secret of a session neither as target nor as source',
    (grantType) => {
      const target = failureIn({ spec: { grantType }, target: { name: 'loyalty-session' } });
      expect(target.kind).toBe('InvalidSpec');
      expect(target.message).toMatch(/"loyalty-session".*spec\.target\.name/);
      const { keys } = aCredential().spec.credentialsSecretRef;
      const credentialsSecretRef = { name: 'loyalty-session', keys };
      const source = failureIn({ spec: { grantType, credentialsSecretRef } });
      expect(source.kind).toBe('InvalidSpec');
      expect(source.message).toMatch(/"loyalty-session".*spec\.credentialsSecretRef\.name/);
    },
  );

  it('keeps a digest of a renew request of more than 64 characters', () => {
    const requestOf = (value: string) => {
      const annotations = { 'convercus.io/renew-requested-at': value };
      return aParsedCredential({ metadata: { annotations } }).renewRequest;
    };
    expect(requestOf('')).toBe('');
    expect(requestOf('x'.repeat(64))).toBe('x'.repeat(64));
    const ofMany = requestOf('x'.repeat(1 << 18));
    expect(ofMany).toMatch(/^[\w-]{22}$/);
    expect(ofMany).not.toBe(requestOf('x'.repeat(65)));
    expect(requestOf(ofMany ?? '')).toBe(ofMany);
  });

  it('has a default target name, also before it is parsed', () => {
    expect(targetNameOf(aCredential())).toBe('loyalty-token');
    expect(targetNameOf(aCredential({ target: { name: 'x' } }))).toBe('x');
  });
});

describe('the digest of the spec', () => {
  const { keys } = aCredential().spec.credentialsSecretRef;
  const withClientId = { name: 'convercus-abc', keys: { ...keys, clientId: 'client_id' } };
  const hashOf = (overrides: CredentialOverrides = {}) => aParsedCredential(overrides).specHash;
  const template = (text: string) => ({ target: { data: { token: text } } });

  it.each<[string, CredentialOverrides]>([
    ['the program', { spec: { program: 'XYZ' } }],
    ['the environment', { spec: { environment: 'production' } }],
    ['the realm', { spec: { realm: 'other' } }],
    ['the client', { spec: { clientId: 'other' } }],
    ['the scope', { spec: { scope: 'openid profile' } }],
    [
      'the key of the client secret',
      {
        spec: {
          credentialsSecretRef: {
            name: 'convercus-abc',
            keys: { ...aCredential().spec.credentialsSecretRef.keys, clientSecret: 'other' },
          },
        },
      },
    ],
    ['the organization code', { spec: { org: 'abc' } }],
    ['a client id in the Secret', { spec: { credentialsSecretRef: withClientId } }],
    ['the renewal', { spec: { renewal: { percent: 50 } } }],
    ['the target', { target: { name: 'other' } }],
    ['the deletion policy', { target: { deletionPolicy: 'Retain' } }],
    ['labels', { target: { labels: { constructor: 'x' } } }],
    ['annotations', { target: { annotations: { a: 'b' } } }],
    ['data', { target: { data: { other: '{{access_token}}' } } }],
    [
      'a key like a prototype',
      {
        target: { data: JSON.parse('{"token": "{{access_token}}", "__proto__": "x"}') },
      },
    ],
  ])('changes with %s', (_, overrides) => {
    expect(hashOf(overrides)).not.toBe(hashOf());
  });

  it.each<[string, CredentialOverrides]>([
    [
      'the name of the credentials Secret',
      {
        spec: {
          credentialsSecretRef: { ...aCredential().spec.credentialsSecretRef, name: 'other' },
        },
      },
    ],
    ['a suspension', { spec: { suspend: true } }],
    ['the generation', { metadata: { generation: 9 } }],
    ['annotations of the resource', { metadata: { annotations: { a: 'b' } } }],
    ['the default target name written out', { target: { name: 'loyalty-token' } }],
    ['the default realm written out', { spec: { realm: 'abc-staging' } }],
    ['empty labels', { target: { labels: {}, annotations: {} } }],
  ])('does not change with %s', (_, overrides) => {
    expect(hashOf(overrides)).toBe(hashOf());
  });

  it('does not change with the default renewal of the operator', () => {
    const settings = { ...SETTINGS, renewal: { percent: 50, jitterPercent: 1, minimum: 1 } };
    expect(parseCredential(aCredential(), settings)).toMatchObject({ specHash: hashOf() });
  });

  it('changes with a value that the target shows, even if the token stays the same', () => {
    const realm = { realm: 'fixed' };
    const one = { ...template('{{program}}'), spec: { ...realm, program: 'ONE' } };
    const two = { ...template('{{program}}'), spec: { ...realm, program: 'TWO' } };
    expect(hashOf(one)).not.toBe(hashOf(two));
    expect(hashOf({ spec: one.spec })).toBe(hashOf({ spec: two.spec }));
  });

  it('changes with the address of the API where the target shows it, and only there', () => {
    const moved = BUILT_IN_ENVIRONMENTS.map((each) => ({
      ...each,
      apiUrl: 'https://moved.example',
    }));
    const settings = { ...SETTINGS, environments: new Map(moved.map((each) => [each.name, each])) };
    expect(parseCredential(aCredential(), settings)).toMatchObject({ specHash: hashOf() });
    const shown = template('{{api_url}}');
    expect(parseCredential(aCredential(shown), settings)).not.toMatchObject({
      specHash: hashOf(shown),
    });
  });

  /** What targets of version 0.1.0 carry: another digest would renew all of them at an upgrade. */
  it('is what it was in 0.1.0', () => {
    expect(hashOf()).toBe('ufDS9lkwpLyF1NwuSkAp7K');
  });

  it('does not depend on the order of keys', () => {
    const keys = fc.uniqueArray(fc.stringMatching(/^[-._a-zA-Z0-9]{1,20}$/), { minLength: 1 });
    fc.assert(
      fc.property(keys, fc.func(fc.string()), (names, valueOf) => {
        const data = (order: string[]) =>
          Object.fromEntries(order.map((name) => [name, `x${valueOf(name)}`.replaceAll('{', '')]));
        const target = (order: string[]) => ({ target: { data: data(order) } });
        expect(hashOf(target(names))).toBe(hashOf(target(names.toReversed())));
      }),
    );
  });
});

describe('a digest', () => {
  it('tells apart what is not the same', () => {
    const values = fc.jsonValue({ maxDepth: 2 });
    fc.assert(
      fc.property(values, values, (one, other) => {
        fc.pre(JSON.stringify(one) !== JSON.stringify(other));
        fc.pre(!JSON.stringify([one, other]).includes('{'));
        expect(digest(one)).not.toBe(digest(other));
      }),
    );
  });

  it('heeds the order of lists but not of keys, at any depth', () => {
    expect(digest([1, 2])).not.toBe(digest([2, 1]));
    expect(digest({ a: { x: 1, y: 2 }, b: 3 })).toBe(digest({ b: 3, a: { y: 2, x: 1 } }));
  });

  it('is short and fit for an annotation', () => {
    expect(digest('x')).toMatch(/^[\w-]{22}$/);
  });
});
