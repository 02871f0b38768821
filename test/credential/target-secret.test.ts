import { describe, expect, it } from '@jest/globals';
import * as fc from 'fast-check';
import type { Credential } from '../../src/credential/credential.ts';
import type {
  DesiredSecret,
  SecretContents,
  SecretMeta,
  TokenAnnotations,
} from '../../src/credential/secret.ts';
import { asSeenBy, isIntact, renderTarget } from '../../src/credential/target-secret.ts';
import { PLACEHOLDERS } from '../../src/credential/template.ts';
import { parseTokenAnnotations } from '../../src/credential/token-annotations.ts';
import { isFailure } from '../../src/lib/failure.ts';
import { Sensitive } from '../../src/lib/sensitive.ts';
import { minutes } from '../../src/lib/time.ts';
import type { Token } from '../../src/oauth/token.ts';
import { anyCharacter } from '../support/arbitraries.ts';
import {
  aMark,
  aParsedCredential,
  aSecretMeta,
  aToken,
  CANARY,
  type CredentialOverrides,
  START,
} from '../support/builders.ts';

const PROVENANCE = { sourceVersion: 'source-uid/1', renewRequest: undefined };

function render(
  overrides: CredentialOverrides = {},
  {
    token = aToken(),
    existing = 'absent',
  }: { token?: Token; existing?: SecretMeta | 'absent' } = {},
) {
  const rendered = renderTarget(aParsedCredential(overrides), token, PROVENANCE, existing);
  if (isFailure(rendered)) throw new Error(rendered.message);
  return rendered;
}

const valuesOf = ({ data }: DesiredSecret) =>
  Object.fromEntries(Object.entries(data).map(([key, value]) => [key, value.reveal()]));

/** The Secret as a client reads it after it was applied. */
function asRead({ labels, annotations, data }: DesiredSecret): SecretContents {
  const tokenAnnotations = parseTokenAnnotations(annotations);
  const { tokenAnnotations: _, ...bare } = aSecretMeta();
  return {
    meta: tokenAnnotations === undefined ? bare : { ...bare, tokenAnnotations },
    type: 'convercus.io/token',
    labels,
    annotations,
    data: new Map(Object.entries(data)),
  };
}

const FULL: CredentialOverrides = {
  target: {
    labels: { team: 'shop' },
    annotations: { note: 'hands off' },
    data: { token: '{{access_token}}', header: 'Bearer {{access_token}}' },
  },
};

describe('the target', () => {
  it('belongs to its credential, type, labels, owner and all', () => {
    const { secret } = render(FULL);

    expect(secret).toMatchObject({
      namespace: 'shop',
      name: 'loyalty-token',
      type: 'convercus.io/token',
      labels: {
        team: 'shop',
        'app.kubernetes.io/managed-by': 'convercus-operator',
        'convercus.io/credential': 'loyalty',
      },
      owner: {
        apiVersion: 'convercus.io/v1alpha1',
        kind: 'ConvercusCredential',
        name: 'loyalty',
        uid: 'uid-of-loyalty',
      },
      force: true,
      fieldManager: 'convercus-operator.loyalty',
    });
    expect(secret.annotations['note']).toBe('hands off');
    expect(secret.uid).toBeUndefined();
  });

  it('starts no pods again for each token, unless the spec says so', () => {
    const name = 'reloader.stakater.com/ignore';
    expect(render().secret.annotations[name]).toBe('true');
    const asked = render({ target: { annotations: { [name]: 'false' } } });
    expect(asked.secret.annotations[name]).toBe('false');
    const merged = { target: { creationPolicy: 'Merge' } } as const;
    const { secret } = render(merged, { existing: aSecretMeta() });
    expect(secret.annotations).not.toHaveProperty(name);
  });

  it('of version 0.1.0 is intact without what newer versions add to its metadata', () => {
    const { secret } = render();
    const {
      'reloader.stakater.com/ignore': _,
      'convercus.io/data-hash': __,
      ...annotations
    } = secret.annotations;
    expect(isIntact(asRead({ ...secret, annotations }), aParsedCredential())).toBe(true);
  });

  it('is intact although its token expires at a fraction of a millisecond', () => {
    const { secret } = render({}, { token: { ...aToken(), expiresAt: aToken().expiresAt + 0.25 } });
    expect(isIntact(asRead(secret), aParsedCredential())).toBe(true);
  });

  it('has no owner when it is to be kept', () => {
    const { secret } = render({ target: { deletionPolicy: 'Retain' } });
    expect(secret.owner).toBeUndefined();
    expect(secret.labels['convercus.io/credential']).toBe('loyalty');
  });

  it('takes nothing over when it is merged into', () => {
    const { secret } = render(
      { target: { ...FULL.target, creationPolicy: 'Merge' } },
      { existing: aSecretMeta() },
    );

    expect(secret.type).toBeUndefined();
    expect(secret.owner).toBeUndefined();
    expect(secret.force).toBe(false);
    expect(secret.fieldManager).toBe('convercus-operator.loyalty');
    expect(secret.uid).toBe('target-uid');
  });

  it('is merged into the version that was seen, without labels and annotations of the spec', () => {
    const overrides = { target: { ...FULL.target, creationPolicy: 'Merge' } } as const;
    const { secret } = render(overrides, { existing: aSecretMeta({ resourceVersion: '9' }) });
    expect(secret.resourceVersion).toBe('9');
    expect(secret.labels).toEqual({});
    expect(secret.annotations).not.toHaveProperty('note');
    expect(isIntact(asRead(secret), aParsedCredential(overrides))).toBe(true);
  });

  it.each([
    ['Delete', 'Delete'],
    ['Retain', undefined],
  ] as const)(
    'that is merged into says whether that goes with its credential: %s',
    (deletionPolicy, said) => {
      const overrides = { target: { creationPolicy: 'Merge', deletionPolicy } } as const;
      const { secret } = render(overrides, { existing: aSecretMeta() });
      expect(secret.annotations['convercus.io/deletion-policy']).toBe(said);
    },
  );

  it('that is owned says it by its owner', () => {
    expect(render().secret.annotations).not.toHaveProperty('convercus.io/deletion-policy');
  });

  it('is written only onto the Secret that was seen', () => {
    expect(render({}, { existing: aSecretMeta({ uid: 'seen' }) }).secret.uid).toBe('seen');
  });

  it('does not look like a session because of the labels of the spec', () => {
    const overrides = {
      target: { labels: { team: 'shop', 'app.kubernetes.io/component': 'session' } },
    };
    const { secret } = render(overrides);
    expect(secret.labels).toMatchObject({ team: 'shop' });
    expect(secret.labels['app.kubernetes.io/component']).not.toBe('session');
    expect(isIntact(asRead(secret), aParsedCredential(overrides))).toBe(true);
  });

  it('of version 0.1.0 is intact although the spec names a label that is ours by now', () => {
    const labels = { 'app.kubernetes.io/component': 'backend' };
    const { secret } = render();
    const found = asRead({ ...secret, labels: { ...secret.labels, ...labels } });
    expect(isIntact(found, aParsedCredential({ target: { labels } }))).toBe(true);
  });

  it('can not have our labels or annotations overridden by the spec', () => {
    const { secret } = render({
      target: {
        labels: { 'convercus.io/credential': 'other' },
        annotations: { 'convercus.io/renew-at': '2099-01-01T00:00:00Z' },
      },
    });
    expect(secret.labels['convercus.io/credential']).toBe('loyalty');
    expect(parseTokenAnnotations(secret.annotations)?.renewAt).toBe(START + minutes(4));
  });

  it('carries a mark that reads back and holds no token', () => {
    const { secret, tokenAnnotations } = render(FULL);
    expect(parseTokenAnnotations(secret.annotations)).toEqual(tokenAnnotations);
    expect(tokenAnnotations).toMatchObject({ issuedAt: START, sourceVersion: 'source-uid/1' });
    expect(tokenAnnotations.renewRequest).toBeUndefined();
    expect(JSON.stringify([secret, tokenAnnotations])).not.toContain(CANARY);
  });

  it('remembers the request that led to it', () => {
    const provenance = { sourceVersion: 'v', renewRequest: 'a' };
    const rendered = renderTarget(aParsedCredential(), aToken(), provenance, 'absent');
    expect(isFailure(rendered) ? undefined : rendered.tokenAnnotations.renewRequest).toBe('a');
  });

  it('shows every placeholder', () => {
    const data = Object.fromEntries(PLACEHOLDERS.map((name) => [name, `{{${name}}}`]));
    const token = aToken({ idToken: new Sensitive('the-id'), expiresAt: START + 1_999 });

    expect(valuesOf(render({ target: { data } }, { token }).secret)).toEqual({
      access_token: `${CANARY}-access-token`,
      id_token: 'the-id',
      token_type: 'Bearer',
      scope: 'openid',
      issued_at: '2026-09-21T12:00:00Z',
      expires_at: '2026-09-21T12:00:01Z',
      expires_at_unix: String(START / 1_000 + 1),
      program: 'ABC',
      environment: 'staging',
      realm: 'abc-staging',
      api_url: 'https://staging.convercus.io',
    });
  });

  it('has a key that is named like a prototype', () => {
    const data = JSON.parse('{"__proto__": "{{access_token}}", "constructor": "{{realm}}"}');
    const { secret } = render({ target: { data } });
    expect(Object.entries(valuesOf(secret))).toEqual([
      ['__proto__', `${CANARY}-access-token`],
      ['constructor', 'abc-staging'],
    ]);
    expect(isIntact(asRead(secret), aParsedCredential({ target: { data } }))).toBe(true);
  });

  describe('of many placeholders', () => {
    const text = '{{access_token}}'.repeat(31);
    const data = Object.fromEntries(Array.from({ length: 32 }, (_, at) => [`k${at}`, text]));
    const credential = aParsedCredential({ target: { data } });
    const renderWith = (accessToken: string) => {
      const token = aToken({ accessToken: new Sensitive(accessToken) });
      return renderTarget(credential, token, PROVENANCE, 'absent');
    };

    it('is as large as a Secret may be, and no larger', () => {
      const most = Math.floor((1 << 20) / (32 * 31));
      expect(isFailure(renderWith('t'.repeat(most)))).toBe(false);
      for (const failed of [renderWith('t'.repeat(most + 1)), renderWith('ü'.repeat(most))]) {
        expect(failed).toMatchObject({ kind: 'InvalidSpec', retryAfter: undefined });
        expect(isFailure(failed) && failed.message).toContain('more than 1 MiB');
      }
    });
  });

  it('can not be made when the server sent no id_token', () => {
    const credential = aParsedCredential({ target: { data: { ok: 'x', id: '{{id_token}}' } } });
    const failure = renderTarget(credential, aToken(), PROVENANCE, 'absent');
    if (!isFailure(failure)) throw new Error('it rendered');
    expect(failure.kind).toBe('InvalidSpec');
    expect(failure.message).toMatch(/spec\.target\.data\.id .*"openid"/);
  });
});

describe('a target found', () => {
  const credential: Credential = aParsedCredential(FULL);
  const found = asRead(render(FULL).secret);

  it('is intact as it was rendered, whatever is in it', () => {
    const aKey = fc.stringMatching(/^[-._a-zA-Z0-9]{1,20}$/);
    const someText = fc.string({ unit: anyCharacter }).map((text) => text.replaceAll('{', ''));
    const someData = fc.dictionary(aKey, someText, { minKeys: 1 });
    fc.assert(
      fc.property(someData, (data) => {
        const overrides = { target: { ...FULL.target, data } };
        const contents = asRead(render(overrides).secret);
        expect(isIntact(contents, aParsedCredential(overrides))).toBe(true);
      }),
    );
  });

  it('is intact beside what others have added', () => {
    const added: SecretContents = {
      ...found,
      labels: { ...found.labels, theirs: 'x' },
      annotations: { ...found.annotations, theirs: 'x' },
      data: new Map([...found.data, ['theirs', new Sensitive('x')]]),
    };
    expect(isIntact(added, credential)).toBe(true);
  });

  it('is not intact once any of its values was edited', () => {
    const anEdit = fc.tuple(fc.constantFrom('token', 'header'), fc.string());
    fc.assert(
      fc.property(anEdit, ([key, value]) => {
        fc.pre(found.data.get(key)?.reveal() !== value);
        const data = new Map([...found.data, [key, new Sensitive(value)] as const]);
        expect(isIntact({ ...found, data }, credential)).toBe(false);
      }),
    );
  });

  const { tokenAnnotations: _, ...unmarked } = found.meta;
  it.each<[string, Partial<SecretContents>]>([
    ['a key is gone', { data: new Map([...found.data].slice(1)) }],
    [
      'two values are exchanged',
      {
        data: new Map([
          ['token', found.data.get('header') ?? new Sensitive('')],
          ['header', found.data.get('token') ?? new Sensitive('')],
        ]),
      },
    ],
    ['a label is another', { labels: { ...found.labels, team: 'theirs' } }],
    ['a label is gone', { labels: {} }],
    ['an annotation is another', { annotations: { ...found.annotations, note: 'theirs' } }],
    ['an annotation is gone', { annotations: {} }],
    ['its mark is gone', { meta: unmarked }],
  ])('is not intact when %s', (_, change) => {
    expect(isIntact({ ...found, ...change }, credential)).toBe(false);
  });
});

describe('the token annotations of a target', () => {
  const NOW = START + minutes(2);
  const found = (annotations: Partial<TokenAnnotations>) =>
    asSeenBy({ name: 'loyalty' }, aSecretMeta({ tokenAnnotations: aMark(annotations) }), NOW);

  it.each<[string, Partial<TokenAnnotations>, boolean]>([
    ['of another credential', { credential: 'other' }, false],
    ['of this one', { credential: 'loyalty' }, true],
    ['of version 0.1.0, which names none', {}, true],
    ['of a token from the future', { issuedAt: NOW + minutes(1) + 1 }, false],
    ['by a clock that is a little ahead', { issuedAt: NOW + minutes(1) }, true],
  ])('%s count: %#', (_, annotations, counts) => {
    const target = found(annotations);
    expect(target !== 'absent' && target.tokenAnnotations !== undefined).toBe(counts);
    expect(target).toMatchObject({ uid: 'target-uid', credentialName: 'loyalty' });
  });

  it('may be missing, as the target may', () => {
    const { tokenAnnotations: _, ...bare } = aSecretMeta();
    expect(asSeenBy({ name: 'loyalty' }, bare, NOW)).toEqual(bare);
    expect(asSeenBy({ name: 'loyalty' }, 'absent', NOW)).toBe('absent');
  });
});
