import { describe, expect, it } from '@jest/globals';
import * as fc from 'fast-check';
import { readRejection } from '../../src/credential/status.ts';
import { formatTokenAnnotations } from '../../src/credential/token-annotations.ts';
import {
  cachedCredentialFrom,
  credentialFrom,
  secretFrom,
  secretMetaFrom,
  secretsOf,
} from '../../src/kubernetes/objects.ts';
import { credentialGauges } from '../../src/telemetry/credential-gauges.ts';
import { runs } from '../support/runs.ts';

const tokenAnnotations = {
  issuedAt: 0,
  expiresAt: 300_000,
  renewAt: 240_000,
  specHash: 's',
  sourceVersion: 'u/1',
  contentHash: 'c',
};

describe('the metadata of a Secret', () => {
  it('keeps what is ours and drops the rest', () => {
    const meta = secretMetaFrom({
      name: 'loyalty-token',
      uid: 'u',
      resourceVersion: '7',
      labels: {
        'app.kubernetes.io/managed-by': 'convercus-operator',
        'convercus.io/credential': 'loyalty',
      },
      annotations: {
        ...formatTokenAnnotations(tokenAnnotations),
        'kubectl.kubernetes.io/last-applied-configuration': '{"data":{"token":"c2VjcmV0"}}',
      },
      ownerReferences: [{ uid: 'other' }, { uid: 'owner', controller: true }],
    });
    expect(meta).toEqual({
      uid: 'u',
      resourceVersion: '7',
      controllerUid: 'owner',
      credentialName: 'loyalty',
      tokenAnnotations,
    });
  });

  it('names no credential when another manager has the Secret', () => {
    const labels = {
      'app.kubernetes.io/managed-by': 'Helm',
      'convercus.io/credential': 'loyalty',
    };
    expect(secretMetaFrom({ uid: 'u', resourceVersion: '7', labels })).toEqual({
      uid: 'u',
      resourceVersion: '7',
    });
  });

  const annotations = formatTokenAnnotations(tokenAnnotations);
  const setting = (manager: string, ...names: string[]) => ({
    manager,
    operation: 'Apply',
    fieldsV1: {
      'f:metadata': { 'f:annotations': Object.fromEntries(names.map((name) => [`f:${name}`, {}])) },
    },
  });
  const hash = 'convercus.io/content-hash';
  const labels = {
    'app.kubernetes.io/managed-by': 'convercus-operator',
    'convercus.io/credential': 'loyalty',
  };

  it.each<[string, object, string | undefined]>([
    ['as they say', { annotations: { ...annotations, 'convercus.io/credential': 'said' } }, 'said'],
    ['as their manager', { managedFields: [setting('convercus-operator.old', hash)] }, 'old'],
    ['unless its manager is none of ours', { managedFields: [setting('helm', hash)] }, undefined],
    [
      'unless two have set them',
      { managedFields: [setting('convercus-operator.a', hash), setting('kubectl', hash)] },
      undefined,
    ],
    [
      'unless that manager has set others',
      { managedFields: [setting('convercus-operator.old', 'note')] },
      undefined,
    ],
    [
      'as a label says, of which nothing more is kept',
      { labels, managedFields: [setting('convercus-operator.loyalty', hash)] },
      undefined,
    ],
  ])('tells whose credential the annotations of a token are of: %s', (_, more, credential) => {
    const meta = secretMetaFrom({ uid: 'u', resourceVersion: '7', annotations, ...more });
    expect(meta?.tokenAnnotations?.credential).toBe(credential);
  });

  const owned = (manager: string, operation: string) => ({ manager, operation, fieldsV1: {} });
  const update = owned('convercus-operator.loyalty', 'Update');
  const apply = owned('convercus-operator.loyalty', 'Apply');
  const kubectl = owned('kubectl-edit', 'Update');

  it.each<[string, object, string | undefined]>([
    ['one', { labels, managedFields: [update] }, 'sole'],
    ['two', { labels, managedFields: [update, kubectl] }, 'shared'],
    ['two, but ours has applied', { labels, managedFields: [apply, kubectl] }, undefined],
    ['one, and our labels are gone', { managedFields: [update] }, 'sole'],
    ['two, and our labels are gone', { managedFields: [update, kubectl] }, 'shared'],
    [
      'two, and our label is changed',
      {
        labels: { ...labels, 'convercus.io/credential': 'changed' },
        managedFields: [update, kubectl],
      },
      'shared',
    ],
    ['one, but none of ours', { managedFields: [kubectl] }, undefined],
    [
      'two, both of ours, and the label names none',
      { managedFields: [update, owned('convercus-operator.other', 'Update')] },
      undefined,
    ],
  ])('tells how many managers have set its fields: %s', (_, more, ownership) => {
    const meta = secretMetaFrom({ uid: 'u', resourceVersion: '7', ...more });
    expect(meta?.fieldOwnership).toBe(ownership);
  });

  it.each<[string, object, string | undefined]>([
    ['none', {}, undefined],
    ['the one that its owner names', { 'convercus.io/merge': 'loyalty' }, 'loyalty'],
    ['none by what is no name', { 'convercus.io/merge': 'a'.repeat(254) }, undefined],
    ['none that another annotation names', { 'convercus.io/credential': 'loyalty' }, undefined],
  ])('tells which credential may merge: %s', (_, annotations, name) => {
    const meta = secretMetaFrom({ uid: 'u', resourceVersion: '7', annotations });
    expect(meta?.allowsMergeBy).toBe(name);
  });

  const policy = 'convercus.io/deletion-policy';
  const one = setting('convercus-operator.loyalty', policy);

  it.each<[string, object[], string[] | undefined]>([
    ['nothing', [kubectl], undefined],
    ['what one has applied', [kubectl, one], ['loyalty']],
    [
      'what each of two has applied',
      [one, setting('convercus-operator.other', policy)],
      ['loyalty', 'other'],
    ],
    [
      'nothing that is kept, or of version 0.1.0',
      [setting('convercus-operator.loyalty', hash)],
      undefined,
    ],
    ['nothing that people have copied', [setting('kubectl', policy)], undefined],
    ['nothing that we own', [{ ...one, operation: 'Update' }], undefined],
  ])('tells what goes with a credential: %s', (_, managedFields, names) => {
    const meta = secretMetaFrom({ uid: 'u', resourceVersion: '7', managedFields });
    expect(meta?.mergedBy).toEqual(names);
  });

  it('is that of a session only without the annotations of a token, which a target has', () => {
    const session = { ...labels, 'app.kubernetes.io/component': 'session' };
    const isSession = (more: object) =>
      secretMetaFrom({ uid: 'u', resourceVersion: '7', labels: session, ...more })?.isSession;
    expect(isSession({})).toBe(true);
    expect(isSession({ annotations })).toBeUndefined();
  });

  it('is nothing without uid and version', () => {
    expect(secretMetaFrom({ uid: 'u' })).toBeUndefined();
    expect(secretMetaFrom({ uid: 'u', resourceVersion: 7 })).toBeUndefined();
  });
});

describe('a ConvercusCredential of the API server', () => {
  const object = {
    apiVersion: 'convercus.io/v1alpha1',
    metadata: {
      name: 'loyalty',
      namespace: 'shop',
      uid: 'u',
      generation: 3,
      resourceVersion: '9',
      creationTimestamp: '2026-11-24T00:00:00Z',
      deletionTimestamp: '2026-11-24T01:00:00Z',
      annotations: { 'convercus.io/renew-requested-at': 'now', other: 'x' },
      managedFields: [{ manager: 'kubectl' }],
    },
    spec: {
      program: 'ABC',
      environment: 'staging',
      grantType: 'password',
      credentialsSecretRef: { name: 'convercus-abc', keys: { clientSecret: 'client_secret' } },
      target: { name: 't', data: { token: '{{access_token}}' } },
    },
    status: { observedGeneration: 2 },
  };

  it('keeps spec, status and what of the metadata matters', () => {
    expect(credentialFrom(object)).toEqual({
      metadata: {
        name: 'loyalty',
        namespace: 'shop',
        uid: 'u',
        resourceVersion: '9',
        generation: 3,
        creationTimestamp: '2026-11-24T00:00:00Z',
        deletionTimestamp: '2026-11-24T01:00:00Z',
        annotations: { 'convercus.io/renew-requested-at': 'now' },
      },
      spec: object.spec,
      status: object.status,
    });
  });

  it('has empty names where an older schema let them be missing', () => {
    const { metadata } = object;
    expect(credentialFrom({ metadata, spec: {} })?.spec).toMatchObject({
      program: '',
      environment: '',
      grantType: '',
      credentialsSecretRef: { name: '' },
      target: {},
    });
  });
});

describe('what the cache keeps', () => {
  const metadata = { name: 'loyalty', namespace: 'shop', uid: 'u', resourceVersion: '9' };
  const REQUEST = 'convercus.io/renew-requested-at';
  const texts = fc.dictionary(
    fc.string({ maxLength: 253 }),
    fc.oneof(
      fc.string({ maxLength: 60 }),
      fc.constantFrom(1_000, 4_096).map((n) => '😀'.repeat(n)),
    ),
    { maxKeys: 32 },
  );
  const words = fc.oneof(
    fc.string(),
    fc.constantFrom(64, 65, 262_144).map((n) => 'x'.repeat(n)),
  );

  it('of a credential is at most 20 kB, and of a small one all of its spec', () => {
    fc.assert(
      fc.property(texts, texts, texts, words, (labels, annotations, data, request) => {
        const target = { name: 't', creationPolicy: 'Owner', labels, annotations, data };
        const object = {
          metadata: { ...metadata, annotations: { [REQUEST]: request } },
          spec: { target, credentialsSecretRef: { name: 'source' } },
          status: { lastHandledRenewRequest: request },
        };
        const cached = cachedCredentialFrom(object);
        expect(JSON.stringify(cached).length).toBeLessThan(20_000);
        expect(cached?.spec.target).toMatchObject({ name: 't', creationPolicy: 'Owner' });
        if (cached?.isTargetOmitted === true) {
          expect(JSON.stringify(target).length).toBeGreaterThan(4 * 1024);
          expect(Object.keys(cached.spec.target)).toEqual(['name', 'creationPolicy']);
        } else expect(cached).toEqual(credentialFrom(object));
      }),
      { numRuns: runs(300) },
    );
  });

  it('of a renew request tells whether it was handled, however long it is', () => {
    fc.assert(
      fc.property(words, words, (asked, handled) => {
        const credential = credentialFrom({
          metadata: { ...metadata, annotations: { [REQUEST]: asked } },
          spec: {},
          status: { lastHandledRenewRequest: handled },
        });
        const annotations = {
          ...formatTokenAnnotations({ ...tokenAnnotations, renewRequest: handled }),
        };
        const target = secretMetaFrom({ ...metadata, annotations });
        const request = credential?.metadata.annotations?.[REQUEST];
        expect(request === credential?.status?.lastHandledRenewRequest).toBe(asked === handled);
        expect(request === target?.tokenAnnotations?.renewRequest).toBe(asked === handled);
        if (asked.length <= 64) expect(request).toBe(asked);
      }),
      { numRuns: runs(300) },
    );
  });

  const known = fc.constantFrom(
    ...Object.keys(
      formatTokenAnnotations({ ...tokenAnnotations, renewRequest: 'r', credential: 'c' }),
    ),
    'app.kubernetes.io/managed-by',
    'convercus.io/credential',
    'resourceVersion',
    'uid',
    'metadata',
    '"resourceVersion":"666"',
  );
  const foreign = fc.dictionary(fc.oneof(known, fc.string()), words, { maxKeys: 12 });

  it('of a Secret is at most 4 kB, and its version whatever else the line holds', () => {
    const managers = fc.array(
      fc.record({ manager: words, operation: words, fieldsV1: fc.object() }),
    );
    const owners = fc.array(fc.record({ uid: words, controller: fc.boolean() }));
    fc.assert(
      fc.property(foreign, foreign, managers, owners, (annotations, labels, managers, owners) => {
        const more = { annotations, labels, managedFields: managers, ownerReferences: owners };
        const line = JSON.stringify({ metadata: { ...more, ...metadata, ...more } });
        const secret = secretFrom(JSON.parse(line));
        expect(secret).toMatchObject({
          namespace: 'shop',
          name: 'loyalty',
          meta: { uid: 'u', resourceVersion: '9' },
        });
        expect(JSON.stringify(secret).length).toBeLessThan(4_000);
      }),
      { numRuns: runs(300) },
    );
  });

  it('of the annotations of a token is nothing when one is longer than the operator writes', () => {
    for (const field of ['specHash', 'sourceVersion', 'contentHash']) {
      const annotations = formatTokenAnnotations({ ...tokenAnnotations, [field]: 'x'.repeat(513) });
      expect(secretMetaFrom({ ...metadata, annotations })?.tokenAnnotations).toBeUndefined();
    }
  });
});

describe('foreign JSON', () => {
  it('is read without an error, whatever its shape', () => {
    fc.assert(
      fc.property(fc.jsonValue(), fc.jsonValue(), (metadata, rest) => {
        secretMetaFrom(metadata);
        credentialFrom({ metadata, spec: rest, status: rest });
        credentialFrom({ ...Object(rest), metadata: { name: 'a', namespace: 'b', uid: 'c' } });
      }),
    );
  });

  it('cannot pollute or be read by way of prototypes', () => {
    const hostile: unknown = JSON.parse(
      '{"__proto__":{"uid":"u","resourceVersion":"1"},"metadata":{"name":"n","namespace":"s","uid":"u"},"spec":{"__proto__":{"polluted":true},"target":{"__proto__":{"name":"x"}}}}',
    );
    expect(secretMetaFrom(hostile)).toBeUndefined();
    expect(credentialFrom(hostile)?.spec.target.name).toBeUndefined();
    expect('polluted' in {}).toBe(false);
  });
});

describe('a credential that was stored under another schema', () => {
  const text = fc.oneof(fc.string(), fc.jsonValue({ maxDepth: 2 }));
  const texts = fc.oneof(fc.dictionary(fc.string(), text), fc.jsonValue());
  const spec = fc.record(
    {
      program: text,
      environment: text,
      grantType: text,
      credentialsSecretRef: fc.oneof(fc.record({ name: text, keys: texts }), fc.jsonValue()),
      target: fc.oneof(fc.record({ name: text, labels: texts, data: texts }), fc.jsonValue()),
    },
    { requiredKeys: [] },
  );
  const condition = fc.oneof(
    fc.record(
      { type: fc.constantFrom('Ready', 'Renewed'), status: fc.constant('False'), reason: text },
      { requiredKeys: ['type', 'status'] },
    ),
    fc.jsonValue(),
  );
  const time = fc.oneof(text, fc.constant({ toString: 1 }));
  const status = fc.record(
    {
      conditions: fc.oneof(fc.array(condition), fc.jsonValue()),
      expiresAt: time,
      renewAt: time,
      rejectedLogin: fc.oneof(fc.record({ presented: text, at: time }), fc.jsonValue()),
      target: fc.jsonValue(),
    },
    { requiredKeys: [] },
  );

  it('keeps no other from the cache and from the metrics', () => {
    const metadata = { name: 'a', namespace: 'n', uid: 'u' };
    fc.assert(
      fc.property(
        fc.oneof(spec, fc.jsonValue()),
        fc.oneof(status, fc.jsonValue()),
        (spec, status) => {
          const credential = cachedCredentialFrom({ metadata, spec, status });
          if (credential === undefined) throw new Error('it has a name, a namespace and a uid');
          for (const { name } of secretsOf(credential)) expect(name).toEqual(expect.any(String));
          const lines = [...credentialGauges(() => [credential], 0)].join('');
          expect(lines).toContain('name="a"');
          expect(readRejection(credential.status)?.at ?? 0).toEqual(expect.any(Number));
        },
      ),
      { numRuns: runs(1_000) },
    );
  });
});
