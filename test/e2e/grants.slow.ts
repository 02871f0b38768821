import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import type { LegacyShape } from '../../dev/convercus/legacy-login.ts';
import { eventually, expiryOf } from '../../dev/testbed/objects.ts';
import { EARLY, type Tenant } from '../../dev/testbed/tenant.ts';
import { Testbed } from '../../dev/testbed/testbed.ts';
import { expectNoLeaks } from './leaks.ts';

const password = {
  grantType: 'password' as const,
  credentialsSecretRef: { name: 'login' },
};
const legacy = {
  grantType: 'legacy_login' as const,
  credentialsSecretRef: { name: 'legacy' },
};

/** Against a real API server, as a user with exactly the permissions of `deploy/base/rbac.yaml`. */
describe('the grants of users', () => {
  let testbed: Testbed;
  const tokens: string[] = [];

  beforeAll(async () => {
    testbed = await Testbed.start();
  }, 600_000);

  afterAll(() => testbed?.stop());

  const tenant = async (settings: Record<string, unknown> = {}): Promise<Tenant> => {
    const shop = await testbed.tenant(settings);
    await shop.secret('login', loginOf(shop));
    return shop;
  };

  const loginOf = ({ clientSecret, password }: Tenant): Record<string, string> => ({
    client_secret: clientSecret,
    username: 'api-user',
    password,
  });

  const refreshes = (shop: Tenant): number =>
    shop.requests().filter((line) => line === 'refresh_token 200').length;

  const valuesOf = async (shop: Tenant, secret: string): Promise<string[]> =>
    Object.values((await shop.target(secret))?.data ?? {}).map((value) =>
      Buffer.from(value, 'base64').toString(),
    );

  const remember = async (shop: Tenant, name: string): Promise<void> => {
    tokens.push(...(await valuesOf(shop, `${name}-token`)));
    const session = await valuesOf(shop, `${name}-session`);
    tokens.push(...session.filter((value) => value.split('.').length === 3));
  };

  it('logs a user in once and refreshes from then on', async () => {
    const shop = await tenant({ accessTokenLifespan: 10 });
    await shop.credential('loyalty', { ...password, ...EARLY });
    await shop.ready('loyalty');
    const seen = new Set<string>();
    await eventually(
      async () => {
        const readAt = Date.now();
        const text = (await shop.file('loyalty-token')) ?? '';
        if (!(expiryOf(text) >= readAt)) throw new Error('an expired token was readable');
        seen.add(text);
        await remember(shop, 'loyalty');
      },
      () => seen.size >= 4,
    );
    expect(shop.requests().slice(0, 4)).toEqual([
      'password 200',
      ...Array(3).fill('refresh_token 200'),
    ]);
    expect(await shop.conditions('loyalty')).toMatchObject({ Ready: 'True/TokenValid' });
  });

  it('keeps the session in a Secret of its own, which nothing owns, and away from the target', async () => {
    const shop = await tenant();
    await shop.credential('loyalty', password);
    await shop.ready('loyalty');
    const session = await shop.target('loyalty-session');
    expect(session?.type).toBe('convercus.io/session');
    expect(session?.metadata.labels).toMatchObject({
      'app.kubernetes.io/managed-by': 'convercus-operator',
      'convercus.io/credential': 'loyalty',
    });
    expect(session?.metadata.ownerReferences).toBeUndefined();
    await remember(shop, 'loyalty');
    const published = await valuesOf(shop, 'loyalty-token');
    expect(published).toHaveLength(1);
    const kept = await valuesOf(shop, 'loyalty-session');
    expect(kept.some((value) => value.split('.').length === 3)).toBe(true);
    for (const value of kept) expect(published).not.toContain(value);
  });

  it('logs the session out when the credential is deleted, and removes its Secret', async () => {
    const shop = await tenant();
    await shop.credential('loyalty', password);
    await shop.ready('loyalty');
    expect(testbed.provider.realms.get(shop.realm).sessions.size).toBe(1);
    await remember(shop, 'loyalty');
    await shop.kubectl('delete', 'convcred', 'loyalty');
    await eventually(
      () => shop.target('loyalty-session'),
      (secret) => secret === undefined,
    );
    expect(await shop.target('loyalty-session')).toBeUndefined();
    expect(testbed.provider.realms.get(shop.realm).sessions.size).toBe(0);
    expect(shop.requests()).toEqual(['password 200', 'logout 204']);
  });

  it('logs out also what was deleted while it was away', async () => {
    const shop = await tenant();
    await shop.credential('loyalty', password);
    await shop.ready('loyalty');
    await testbed.operator.kill();
    await shop.kubectl('delete', 'convcred', 'loyalty');
    await testbed.operator.run();
    await eventually(
      () => shop.target('loyalty-session'),
      (secret) => secret === undefined,
    );
    expect(await shop.target('loyalty-session')).toBeUndefined();
    expect(testbed.provider.realms.get(shop.realm).sessions.size).toBe(0);
  });

  it('goes on with the session after a crash', async () => {
    const shop = await tenant({ accessTokenLifespan: 6 });
    await shop.credential('loyalty', password);
    await shop.ready('loyalty');
    await remember(shop, 'loyalty');
    await testbed.crash();
    await testbed.operator.run();
    const before = refreshes(shop);
    await eventually(
      async () => refreshes(shop),
      (count) => count > before + 1,
      60,
    );
    expect(refreshes(shop)).toBeGreaterThan(before + 1);
    expect(shop.requests().filter((line) => line.startsWith('password'))).toEqual(['password 200']);
    expect(shop.requests()).not.toContain('refresh_token 400');
  });

  it('logs in again when the session is lost, before the token expires', async () => {
    const shop = await tenant({ accessTokenLifespan: 12 });
    await shop.credential('loyalty', { ...password, ...EARLY });
    await shop.ready('loyalty');
    const text = (await shop.file('loyalty-token')) ?? '';
    testbed.provider.realms.get(shop.realm).sessions.clear();
    const renewed = await eventually(
      () => shop.file('loyalty-token'),
      (file) => file !== text,
    );
    expect(renewed).not.toBe(text);
    const logins = testbed.provider.log.entries.filter(
      ({ realm, grantType }) => realm === shop.realm && grantType === 'password',
    );
    expect(logins.at(-1)?.time).toBeLessThan(expiryOf(text));
    expect(shop.requests()).toEqual(['password 200', 'refresh_token 400', 'password 200']);
    await remember(shop, 'loyalty');
  });

  it('tries a wrong password once, a restart included, and the right one at once', async () => {
    const shop = await tenant();
    const wrong = `canary-${randomUUID()}`;
    testbed.secrets.push(wrong);
    await shop.secret('login', { ...loginOf(shop), password: wrong });
    await shop.credential('loyalty', password);
    const conditions = await eventually(
      () => shop.conditions('loyalty'),
      ({ Ready }) => Ready !== undefined,
    );
    expect(conditions).toMatchObject({
      Ready: 'False/CredentialsRejected',
      Stalled: 'True/CredentialsRejected',
    });
    await shop.kubectl('label', 'secret', 'login', 'touched=yes');
    await shop.kubectl('annotate', 'convcred', 'loyalty', 'example.com/touched=yes');
    await testbed.operator.kill();
    await testbed.operator.run();
    await shop.credential('other'); // its token shows that the first reconciles are over
    await shop.ready('other');
    expect(shop.requests().filter((line) => line.startsWith('password'))).toEqual(['password 400']);
    await shop.secret('login', loginOf(shop));
    await shop.ready('loyalty');
    const logins = shop.requests().filter((line) => line.startsWith('password'));
    expect(logins).toEqual(['password 400', 'password 200']);
    await remember(shop, 'loyalty');
  });

  it.each([
    ['username', 'the user name'],
    ['password', 'the password'],
    ['client_secret', 'the client secret'],
  ])('names the key "%s" that the Secret lacks, and sends no request', async (key, what) => {
    const shop = await tenant();
    const { [key]: _, ...rest } = loginOf(shop);
    await shop.secret('partial', rest);
    await shop.credential('loyalty', {
      ...password,
      credentialsSecretRef: { name: 'partial' },
    });
    const conditions = await eventually(
      () => shop.conditions('loyalty'),
      ({ Ready }) => Ready !== undefined,
    );
    expect(conditions).toMatchObject({ Ready: 'False/InputMissing', Stalled: 'True/InputMissing' });
    expect(await shop.message('loyalty', 'Renewed')).toContain(`"${key}"`);
    expect(await shop.message('loyalty', 'Renewed')).toContain(what);
    expect(shop.requests()).toEqual([]);
    await shop.secret('partial', loginOf(shop));
    await shop.ready('loyalty');
    await remember(shop, 'loyalty');
  });

  it('changes the user: logs in as the new one, then the old one out', async () => {
    const shop = await tenant();
    await shop.credential('loyalty', password);
    await shop.ready('loyalty');
    const before = await shop.file('loyalty-token');
    const second = {
      username: 'second-user',
      email: 'second@example.test',
      firstName: 'Second',
      lastName: 'User',
      credentials: [{ type: 'password', value: shop.password }],
    };
    testbed.provider.realms.get(shop.realm).putUser(second);
    await shop.secret('login', { ...loginOf(shop), username: 'second-user' });
    await eventually(
      () => shop.file('loyalty-token'),
      (file) => file !== before,
    );
    const sessions = await eventually(
      async () => [...testbed.provider.realms.get(shop.realm).sessions.values()],
      ({ length }) => length === 1,
    );
    expect(sessions.map(({ user }) => user.username)).toEqual(['second-user']);
    expect(shop.requests()).toEqual(['password 200', 'password 200', 'logout 204']);
    await remember(shop, 'loyalty');
  });

  it('gives each credential of one user a session of its own, logged in two seconds apart', async () => {
    const shop = await tenant();
    for (const name of ['loyalty', 'checkout', 'stock']) await shop.credential(name, password);
    await shop.kubectl('wait', '--for=condition=Ready', 'convcred', '--all', '--timeout=90s');
    expect(testbed.provider.realms.get(shop.realm).sessions.size).toBe(3);
    const logins = testbed.provider.log.entries
      .filter(({ realm, grantType }) => realm === shop.realm && grantType === 'password')
      .map(({ time }) => time);
    expect(logins).toHaveLength(3);
    // Sent two seconds apart; one may take longer to arrive
    for (const [index, time] of logins.slice(1).entries())
      expect(time - (logins[index] ?? 0)).toBeGreaterThanOrEqual(1_500);
    for (const name of ['loyalty', 'checkout', 'stock']) await remember(shop, name);
  });

  it('renews all tokens of a realm as soon as one response reports a revocation', async () => {
    const shop = await tenant();
    await shop.credential('loyalty');
    await shop.credential('checkout', password);
    await shop.kubectl('wait', '--for=condition=Ready', 'convcred', '--all', '--timeout=90s');
    const before = await shop.file('checkout-token');
    await new Promise((resolve) => setTimeout(resolve, 1_100));
    const realm = testbed.provider.realms.get(shop.realm);
    realm.update({ notBefore: realm.seconds });
    await shop.kubectl('annotate', 'convcred', 'loyalty', 'convercus.io/renew-requested-at=now');
    const after = await eventually(
      () => shop.file('checkout-token'),
      (file) => file !== before,
    );
    expect(after).not.toBe(before);
    expect(await shop.conditions('checkout')).toMatchObject({ Ready: 'True/TokenValid' });
    expect(shop.requests().filter((line) => line === 'password 200').length).toBe(2);
    await remember(shop, 'checkout');
  });

  describe('legacy_login', () => {
    const account = (shop: Tenant): Record<string, string> => ({
      org: `org-${shop.namespace}`,
      username: `canary-${randomUUID()}`,
      password: shop.password,
    });

    const legacyTenant = async (shape: LegacyShape): Promise<Tenant> => {
      const shop = await testbed.tenant();
      const { org = '', username = '', password = '' } = account(shop);
      testbed.secrets.push(username);
      testbed.provider.legacy.accounts.push({ org, userName: username, password });
      testbed.provider.legacy.shape = shape;
      await shop.secret('legacy', { org, username, password });
      await shop.credential('loyalty', legacy);
      return shop;
    };

    it.each(['text', 'quoted', 'object', 'bearer', 'header', 'without-exp'] as const)(
      'publishes a token that comes as "%s"',
      async (shape) => {
        const shop = await legacyTenant(shape);
        await shop.ready('loyalty');
        const text = (await shop.file('loyalty-token')) ?? '';
        expect(text).toMatch(/^[\w-]+\.[\w-]+\.[\w-]+$/);
        const { status } = await shop.get('loyalty');
        const hours = (Date.parse(status?.expiresAt ?? '') - Date.now()) / 3_600_000;
        expect(hours).toBeCloseTo(24, 1);
        expect(await shop.target('loyalty-session')).toBeUndefined();
        await remember(shop, 'loyalty');
      },
    );

    it.each(['opaque', 'empty', 'html'] as const)(
      'says of "%s" that it is no token, and publishes nothing',
      async (shape) => {
        const shop = await legacyTenant(shape);
        // A busy machine may first meet a time-out
        await eventually(
          () => shop.conditions('loyalty'),
          ({ Ready }) => Ready === 'False/UnexpectedResponse',
        );
        expect(await shop.target('loyalty-token')).toBeUndefined();
      },
    );

    it('names a missing organization code before any request', async () => {
      const shop = await testbed.tenant();
      await shop.secret('legacy', { username: 'x', password: shop.password });
      const logins = () => testbed.provider.log.entries.filter(({ username }) => username === 'x');
      await shop.credential('loyalty', legacy);
      await eventually(
        () => shop.conditions('loyalty'),
        ({ Ready }) => Ready !== undefined,
      );
      expect(await shop.conditions('loyalty')).toMatchObject({ Ready: 'False/InputMissing' });
      expect(await shop.message('loyalty', 'Renewed')).toContain('"org"');
      expect(logins()).toEqual([]);
    });
  });

  it('has let no secret, no user and no token out of Secrets', async () => {
    expect(tokens.length).toBeGreaterThan(10);
    await expectNoLeaks(testbed, [...tokens, 'api-user', 'second-user']);
  });
});
