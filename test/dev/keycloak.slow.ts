import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { abcRealm } from '../../dev/convercus/realm.ts';
import { type Keycloak, startKeycloak } from '../../dev/keycloak/server/keycloak.ts';

const clientSecret = 'a "quoted" secret & 100%';

describe('a real Keycloak', () => {
  let keycloak: Keycloak;

  beforeAll(async () => {
    const realms = [await abcRealm(clientSecret, 'a password')];
    keycloak = await startKeycloak({ realms, log: console.log });
  }, 10 * 60_000);

  afterAll(() => keycloak.stop(), 60_000);

  it('issues a token for 1800 seconds on client credentials', async () => {
    expectLifetime(await requestToken('abc'), 1800);
  });

  it('lets the administrator change a realm', async () => {
    await keycloak.admin.put('/realms/abc', { accessTokenLifespan: 90 });
    expectLifetime(await requestToken('abc'), 90);
  });

  it('takes another realm while it runs', async () => {
    const realm = { ...(await abcRealm(clientSecret, 'a password')), realm: 'abc-staging' };
    await keycloak.importRealm(realm);
    expectLifetime(await requestToken('abc-staging'), 1800);
  });

  it('comes back on the same port with the realms as they were imported', async () => {
    await keycloak.stopServer();
    await expect(requestToken('abc')).rejects.toThrow('fetch failed');
    await keycloak.startServer();
    expectLifetime(await requestToken('abc'), 1800);
    expectLifetime(await requestToken('abc-staging'), 1800);
  }, 180_000);

  async function requestToken(realm: string): Promise<{ status: number; body: unknown }> {
    const form = {
      grant_type: 'client_credentials',
      client_id: 'machine-2-machine',
      client_secret: clientSecret,
      scope: 'openid',
    };
    const body = new URLSearchParams(form);
    const response = await fetch(keycloak.tokenUrl(realm), { method: 'POST', body });
    return { status: response.status, body: await response.json() };
  }
});

/** Keycloak counts `expires_in` from a whole second, so some seconds less are accepted on a slow machine. */
function expectLifetime(response: { status: number; body: unknown }, seconds: number): void {
  expect(response.status).toBe(200);
  expect(response.body).toMatchObject({ access_token: expect.any(String) });
  const { expires_in: left } = Object(response.body);
  expect(left).toBeLessThanOrEqual(seconds);
  expect(left).toBeGreaterThan(seconds - 10);
}
