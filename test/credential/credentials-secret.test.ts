import { describe, expect, it } from '@jest/globals';
import * as fc from 'fast-check';
import {
  credentialsIn,
  credentialsSecretMissing,
  requestFrom,
} from '../../src/credential/credentials-secret.ts';
import type { SecretContents } from '../../src/credential/secret.ts';
import { ApiError } from '../../src/kubernetes/api-error.ts';
import { contentsFrom } from '../../src/kubernetes/secrets.ts';
import { Failure, isFailure } from '../../src/lib/failure.ts';
import { Sensitive } from '../../src/lib/sensitive.ts';
import { type GrantType, secretsOf } from '../../src/oauth/grants.ts';
import { aParsedCredential, CANARY } from '../support/builders.ts';

const META = { uid: 'source-uid', resourceVersion: '1' };

const GOOD = `${CANARY}-good`;

describe('the client secret', () => {
  const credential = aParsedCredential();
  const parse = (data: Record<string, string>, keys?: { clientSecret: string }) => {
    const entries = Object.entries(data).map(
      ([key, value]) => [key, new Sensitive(value)] as const,
    );
    const contents = {
      meta: META,
      type: 'Opaque',
      labels: {},
      annotations: {},
      data: new Map(entries),
    };
    const source = { ...credential.source, keys: { ...credential.source.keys, ...keys } };
    const values = credentialsIn(contents, { ...credential, source });
    return isFailure(values) ? values : values.clientSecret;
  };

  it.each([GOOD, ` ${GOOD} `, `${GOOD}\nmiddle`, '漢字'.repeat(4), '"\\'.repeat(4)])(
    'may be %j',
    (value) => {
      const secret = parse({ client_secret: value });
      expect(secret instanceof Sensitive && secret.reveal()).toBe(value);
    },
  );

  it('may have another key', () => {
    const secret = parse({ other: GOOD }, { clientSecret: 'other' });
    expect(secret instanceof Sensitive && secret.reveal()).toBe(GOOD);
  });

  it.each<[string, Record<string, string>, string, RegExp]>([
    ['is not there', { other: CANARY }, 'InputMissing', /no key "client_secret"/],
    ['is empty', { client_secret: '' }, 'InputMissing', /empty key "client_secret"/],
    ['is blank', { client_secret: ' \n' }, 'InputMissing', /empty key/],
    ['ends with a line break', { client_secret: `${CANARY}\n` }, 'InputInvalid', /line break/],
    ['ends as on Windows', { client_secret: `${CANARY}\r\n` }, 'InputInvalid', /line break/],
    ['ends with a carriage return', { client_secret: `${CANARY}\r` }, 'InputInvalid', /line break/],
    [
      'is too long',
      { client_secret: CANARY.repeat(3_000) },
      'InputInvalid',
      /more than 16384 characters/,
    ],
    ['is too short', { client_secret: `${CANARY}7` }, 'InputInvalid', /shorter than 8 characters/],
    [
      'is too short among blanks',
      { client_secret: `  ${CANARY}7  ` },
      'InputInvalid',
      /shorter than 8 characters/,
    ],
    ['is no text', { client_secret: `${GOOD}\ufffd` }, 'InputInvalid', /not UTF-8 text/],
  ])('is refused when it %s, and the message names Secret and key only', (_, data, kind, text) => {
    const failure = parse(data);
    if (!isFailure(failure)) throw new Error('it parsed');
    expect(failure.kind).toBe(kind);
    expect(failure.message).toMatch(text);
    expect(failure.message).toContain('"convercus-abc"');
    expect(failure.message).not.toContain(CANARY);
  });

  it.each(['__proto__', 'constructor', 'toString'])('is not found under %j by accident', (key) => {
    expect(parse({}, { clientSecret: key })).toBeInstanceOf(Failure);
  });

  it('has no Secret to come from when that is missing', () => {
    const { kind, message } = credentialsSecretMissing(credential);
    expect(kind).toBe('InputMissing');
    expect(message).toMatch(/"convercus-abc" does not exist.*"client_secret"/);
  });
});

/** As the API server sends it. */
const decoded = (bytes: Uint8Array): SecretContents => {
  const data = { client_secret: Buffer.from(bytes).toString('base64') };
  const body = { metadata: { uid: 'uid', resourceVersion: '7' }, type: 'Opaque', data };
  const contents = contentsFrom({ status: 200, body });
  if (contents instanceof ApiError) throw contents;
  return contents;
};

describe('the bytes of a client secret', () => {
  it('are presented as they are, or refused', () => {
    const bytes = fc.oneof(
      fc.uint8Array({ minLength: 8, maxLength: 40 }),
      fc.string({ unit: 'grapheme', minLength: 8 }).map((text) => Buffer.from(text)),
    );
    fc.assert(
      fc.property(bytes, (sent) => {
        const values = credentialsIn(decoded(sent), aParsedCredential());
        if (isFailure(values)) return;
        expect(Buffer.from(values.clientSecret.reveal())).toEqual(Buffer.from(sent));
      }),
    );
  });
});

const ALL = {
  client_secret: `${CANARY}-client-secret`,
  username: `${CANARY}-user`,
  password: `${CANARY}-password`,
  org: `${CANARY}-org`,
};

const read = (grantType: GrantType, data: Record<string, string>) => {
  const credential = aParsedCredential({ spec: { grantType } });
  const entries = Object.entries(data).map(([key, value]) => [key, new Sensitive(value)] as const);
  const values = credentialsIn(
    { meta: META, type: 'Opaque', labels: {}, annotations: {}, data: new Map(entries) },
    credential,
  );
  return isFailure(values) ? values : requestFrom(credential, values);
};

describe('what a credential presents', () => {
  it.each<[GrantType, (keyof typeof ALL)[]]>([
    ['client_credentials', ['client_secret']],
    ['password', ['client_secret', 'username', 'password']],
    ['legacy_login', ['org', 'username', 'password']],
  ])('%s: what the grant needs and nothing else', (grantType, needed) => {
    const request = read(grantType, ALL);
    if (isFailure(request)) throw new Error(request.message);
    expect(request.grantType).toBe(grantType);
    expect(secretsOf(request).map((secret) => secret.reveal())).toEqual(
      needed.map((key) => ALL[key]),
    );
  });

  it.each<[GrantType, keyof typeof ALL, RegExp]>([
    ['password', 'client_secret', /no key "client_secret"; put the client secret there/],
    [
      'password',
      'username',
      /no key "username"; put the user name there, which grantType password/,
    ],
    ['password', 'password', /no key "password"; put the password there/],
    ['legacy_login', 'org', /no key "org"; put the organization code there/],
    ['legacy_login', 'username', /no key "username"/],
    ['legacy_login', 'password', /no key "password".*which grantType legacy_login needs/],
  ])('%s without %s: says which key is missing', (grantType, key, words) => {
    const { [key]: _, ...rest } = ALL;
    const failure = read(grantType, rest);
    if (!isFailure(failure)) throw new Error('it was read');
    expect(failure.kind).toBe('InputMissing');
    expect(failure.message).toMatch(words);
    expect(failure.message).not.toContain(CANARY);
  });

  it('goes to the login endpoint of the environment with legacy_login', () => {
    expect(read('legacy_login', ALL)).toMatchObject({
      loginUrl: 'https://staging.convercus.io/auth/login',
    });
  });

  it.each<[GrantType, RegExp]>([
    ['password', /the keys "client_secret", "username", "password"/],
    ['legacy_login', /the keys "org", "username", "password"/],
  ])('%s names all keys when the Secret is missing', (grantType, words) => {
    expect(credentialsSecretMissing(aParsedCredential({ spec: { grantType } })).message).toMatch(
      words,
    );
  });
});
