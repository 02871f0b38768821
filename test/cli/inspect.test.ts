import { describe, expect, it } from '@jest/globals';
import type { Context } from '../../src/cli/context.ts';
import { inspect } from '../../src/cli/inspect.ts';
import { painter } from '../../src/cli/output.ts';
import { aCredential, START } from '../support/builders.ts';

const CLIENT = 'CaNaRy-client';

const CLAIMS = {
  iss: 'https://auth.convercus.io/realms/abc',
  aud: ['account', CLIENT],
  sub: `service-account-${CLIENT.toLowerCase()}`,
  scope: `openid ${CLIENT}`,
  realm_access: { roles: ['offline_access', `${CLIENT}-role`] },
  resource_access: { account: { roles: ['view'] }, [CLIENT]: { roles: ['uma_protection'] } },
  exp: START / 1_000 + 300,
  [`https://${CLIENT}/claim`]: true,
};

const encoded = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url');

/** What is printed of a token, as text and as data. */
async function inspected(claims: object, isHidden = true): Promise<string> {
  const { keys, ...ref } = aCredential().spec.credentialsSecretRef;
  const withKey = { ...ref, keys: isHidden ? { ...keys, clientId: 'client_id' } : keys };
  const credential = aCredential({ spec: { credentialsSecretRef: withKey } });
  const token = `${encoded({ alg: 'RS256', kid: 'key' })}.${encoded(claims)}.signature`;
  const secret = {
    metadata: {
      uid: 'target-uid',
      resourceVersion: '7',
      ownerReferences: [{ uid: credential.metadata.uid, controller: true }],
    },
    data: { token: Buffer.from(token).toString('base64') },
  };
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the rest of a context is not used here
  const context = {
    namespace: 'shop',
    paint: painter(false),
    host: { now: () => START },
    cluster: {
      get: async ({ plural }: { plural: string }) => (plural === 'secrets' ? secret : credential),
    },
  } as unknown as Context;
  const { data, text } = await inspect(context, 'loyalty');
  return `${text}\n${JSON.stringify(data)}`;
}

describe('a client id that comes from a Secret', () => {
  it.each([
    ['azp', { ...CLAIMS, azp: CLIENT }],
    ['client_id', { ...CLAIMS, client_id: CLIENT }],
    ['neither', CLAIMS],
  ])('is shown nowhere, with the claim %s', async (_, claims) => {
    const shown = await inspected(claims);
    expect(shown.toLowerCase()).not.toContain(CLIENT.toLowerCase());
    expect(shown).toContain('https://auth.convercus.io/realms/abc');
  });

  it('leaves the rest of the claims', async () => {
    const shown = await inspected({ ...CLAIMS, azp: CLIENT });
    expect(shown).toMatch(/^Audience {4}account$/m);
    expect(shown).toMatch(/^Roles {7}offline_access, account:view$/m);
  });

  it('is shown when the spec has it', async () => {
    const shown = await inspected({ ...CLAIMS, azp: CLIENT }, false);
    expect(shown).toMatch(new RegExp(`^Client {6}${CLIENT}$`, 'm'));
    expect(shown).toMatch(new RegExp(`^Audience {4}account, ${CLIENT}$`, 'm'));
  });
});
