import { describe, expect, it } from '@jest/globals';
import type { Context } from '../../src/cli/context.ts';
import { tokenOf } from '../../src/cli/token-in-target.ts';
import { fill } from '../../src/credential/template.ts';
import { aCredential, CANARY } from '../support/builders.ts';

const ACCESS = `${CANARY}-access.payload-of-it.signature`;
const ID = `${CANARY}-id-token.payload-of-it.signature`;

const VALUES: Readonly<Record<string, string>> = {
  access_token: ACCESS,
  id_token: ID,
  token_type: 'Bearer',
  scope: 'openid email profile',
  api_url: 'https://staging.convercus.io',
};

const OURS = {
  ownerReferences: [{ uid: 'uid-of-loyalty', controller: true }],
  labels: {
    'app.kubernetes.io/managed-by': 'convercus-operator',
    'convercus.io/credential': 'loyalty',
  },
};

/** What the operator writes beside a token. */
const publishedBy = (name: string) => ({
  'convercus.io/issued-at': '2026-09-21T12:00:00Z',
  'convercus.io/expires-at': '2026-09-21T12:05:00Z',
  'convercus.io/renew-at': '2026-09-21T12:04:00Z',
  'convercus.io/spec-hash': 'spec',
  'convercus.io/source-version': 'source/1',
  'convercus.io/content-hash': 'content',
  'convercus.io/credential': name,
});

/** A person who may get this Secret. */
const contextWith = (secret: object): Context =>
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the rest of a context is not used here
  ({ namespace: 'shop', cluster: { get: async () => secret } }) as unknown as Context;

const secretWith = (data: Readonly<Record<string, string>>, metadata: object = OURS): object => ({
  metadata: { uid: 'target-uid', resourceVersion: '7', ...metadata },
  data: Object.fromEntries(
    Object.entries(data).map(([key, text]) => [key, Buffer.from(text).toString('base64')]),
  ),
});

async function tokenFrom(data: Readonly<Record<string, string>>): Promise<string> {
  const rendered = Object.entries(data).map(([key, template]) => [
    key,
    fill(template, (name) => VALUES[name] ?? ''),
  ]);
  const context = contextWith(secretWith(Object.fromEntries(rendered)));
  const { token } = await tokenOf(context, aCredential({ target: { data } }));
  return token.reveal();
}

describe('the access token in a target', () => {
  it.each([
    ['alone', '{{access_token}}'],
    ['behind a word', 'Bearer {{ access_token }}'],
    ['as Helm charts write it', '$(token_type) $(access_token)'],
    ['behind an ID token', '{"id":"{{id_token}}","access":"{{access_token}}"}'],
    ['before an ID token', '{"access":"{{access_token}}","id":"{{id_token}}"}'],
    ['behind a host', '{"url":"{{api_url}}","token":"{{access_token}}"}'],
    ['behind several words', '{{scope}} {{access_token}}'],
    ['twice', 'a={{access_token}}&b={{access_token}}'],
    ['beside what a shell reads', 'echo $$(access_token) $(date) $(access_token)'],
    ['in several lines', 'header: x\ntoken: {{access_token}}\nscope: {{scope}}\n'],
  ])('is found %s', async (_, template) => {
    expect(await tokenFrom({ key: template })).toBe(ACCESS);
  });

  it('is taken from the shortest of several keys', async () => {
    const data = { all: '{{id_token}} {{access_token}}', header: 'Bearer {{access_token}}' };
    expect(await tokenFrom(data)).toBe(ACCESS);
  });

  it.each([
    ['a text that its template does not make', { token: 'Bearer {{access_token}}' }, ID],
    ['tokens that nothing divides', { token: '{{id_token}}{{access_token}}' }, `${ID}${ACCESS}`],
  ])('is not looked for in %s', async (_, data, token) => {
    const context = contextWith(secretWith({ token }));
    await expect(tokenOf(context, aCredential({ target: { data } }))).rejects.toThrow(
      /^Secret "loyalty-token" holds no access token of this credential; see why: kubectl convercus status loyalty -n shop$/,
    );
  });
});

describe('a Secret with the name of the target', () => {
  const merge = aCredential({ target: { creationPolicy: 'Merge' } });

  it('holds the token when the credential merges into it', async () => {
    const metadata = { annotations: publishedBy('loyalty') };
    const { token } = await tokenOf(contextWith(secretWith({ token: ACCESS }, metadata)), merge);
    expect(token.reveal()).toBe(ACCESS);
  });

  it.each([
    ['nothing tells whose it is', aCredential(), {}],
    ['it is that of another credential', aCredential({ metadata: { name: 'other' } }), OURS],
    ['nothing was merged into it', merge, {}],
    ['another has merged into it', merge, { annotations: publishedBy('other') }],
  ])('is not read as one when %s', async (_, credential, metadata) => {
    const context = contextWith(secretWith({ token: ACCESS }, metadata));
    const { name } = credential.metadata;
    await expect(tokenOf(context, credential)).rejects.toThrow(
      new RegExp(
        `^Secret "${name}-token" is not the target of this credential, so it is not read; see why: kubectl convercus status ${name} -n shop$`,
      ),
    );
  });
});
