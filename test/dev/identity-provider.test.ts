import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { type Convercus, startConvercus } from '../../dev/convercus/convercus.ts';
import type { LegacyShape } from '../../dev/convercus/legacy-login.ts';
import { type Fault, type FaultEffect, proxies } from '../../dev/keycloak/dialect/faults.ts';
import { sha256 } from '../../dev/keycloak/dialect/request-log.ts';

const SECRET = 'hidden-client-secret';
const FORM = {
  grant_type: 'client_credentials',
  client_id: 'machine-2-machine',
  client_secret: SECRET,
  scope: 'openid',
};
const LOGIN = { org: 'shop', userName: 'api', password: 'hidden-password' };
const JWT = /^[\w-]+\.[\w-]+\.[\w-]+$/;

let provider: Convercus;
let now: number;

beforeEach(async () => {
  now = Date.UTC(2026, 0, 1);
  provider = await startConvercus({ clock: () => now, admin: true });
  provider.realms.add({
    realm: 'abc',
    accessTokenLifespan: 1800,
    clients: [
      {
        clientId: 'machine-2-machine',
        secret: SECRET,
        serviceAccountsEnabled: true,
        directAccessGrantsEnabled: true,
      },
    ],
    users: [
      {
        username: 'api-user',
        email: 'api-user@example.test',
        firstName: 'Api',
        lastName: 'User',
        credentials: [{ type: 'password', value: 'right' }],
      },
    ],
  });
  provider.legacy.accounts.push(LOGIN);
});
afterEach(() => provider.close());

const requestToken = (more: Record<string, string> = {}): Promise<Response> =>
  fetch(provider.tokenUrl('abc'), {
    method: 'POST',
    redirect: 'manual',
    body: new URLSearchParams({ ...FORM, ...more }),
  });
const login = (account: Record<string, string> = LOGIN): Promise<Response> =>
  fetch(provider.loginUrl, { method: 'POST', body: JSON.stringify(account) });
const fieldsOf = async (response: Response): Promise<Record<string, unknown>> =>
  JSON.parse(await response.text());
const claimsOf = (token: unknown): Record<string, unknown> =>
  JSON.parse(Buffer.from(String(token).split('.')[1] ?? '', 'base64url').toString());

describe('faults', () => {
  const requestWith = (fault: Fault): Promise<Response> => {
    provider.faults.add(fault);
    return requestToken();
  };

  it('responds as a proxy would, without carrying out the request', async () => {
    const statuses: FaultEffect[] = [
      proxies.badGateway,
      proxies.forbidden,
      proxies.unavailable('120'),
      proxies.tooManyRequests(new Date(now).toUTCString()),
      proxies.redirect('https://login.example.test/'),
    ];
    const seen = [];
    for (const effect of statuses) {
      const response = await requestWith({ times: 1, ...effect });
      seen.push([
        response.status,
        response.headers.get('retry-after') ?? response.headers.get('location'),
      ]);
    }
    expect(seen).toEqual([
      [502, null],
      [403, null],
      [503, '120'],
      [429, 'Thu, 01 Jan 2026 00:00:00 GMT'],
      [302, 'https://login.example.test/'],
    ]);
    expect((await requestToken()).status).toBe(200);
  });

  it('applies until cleared when no number is given', async () => {
    provider.faults.add(proxies.badGateway);
    expect([(await requestToken()).status, (await requestToken()).status]).toEqual([502, 502]);
    provider.faults.clear();
    expect((await requestToken()).status).toBe(200);
  });

  it('applies only to the realm, endpoint and grant that it names', async () => {
    provider.faults.add({ realm: 'other', ...proxies.badGateway });
    provider.faults.add({ endpoint: 'login', ...proxies.forbidden });
    provider.faults.add({ grantType: 'refresh_token', ...proxies.badGateway });
    expect([(await requestToken()).status, (await login()).status]).toEqual([200, 403]);
    expect((await requestToken({ grant_type: 'refresh_token' })).status).toBe(502);
  });

  it.each<[string, FaultEffect]>([
    ['reset', { kind: 'reset' }],
    ['reset after the work', { kind: 'reset', afterWork: true }],
  ])('%s: the connection fails', async (_, effect) => {
    await expect(requestWith(effect)).rejects.toThrow('fetch failed');
  });

  it('loses the response to a refresh that was carried out', async () => {
    provider.realms.get('abc').update({ revokeRefreshToken: true });
    const user = { grant_type: 'password', username: 'api-user', password: 'right' };
    const { refresh_token: token } = await fieldsOf(await requestToken(user));
    const refresh = { grant_type: 'refresh_token', refresh_token: String(token) };
    provider.faults.add({ kind: 'reset', afterWork: true, times: 1 });
    await expect(requestToken(refresh)).rejects.toThrow('fetch failed');
    expect(await fieldsOf(await requestToken(refresh))).toMatchObject({
      error_description: 'Maximum allowed refresh token reuse exceeded',
    });
  });

  it('hangs until the client gives up', async () => {
    provider.faults.add({ kind: 'hang', times: 1 });
    const signal = AbortSignal.timeout(1_000);
    await expect(fetch(provider.tokenUrl('abc'), { method: 'POST', signal })).rejects.toThrow();
    expect(provider.log.entries.at(-1)?.status).toBe(0);
  });

  it('delays the response', async () => {
    expect((await requestWith({ kind: 'delay', milliseconds: 20 })).status).toBe(200);
  });

  it('sends half of the announced body', async () => {
    const response = await requestWith({ kind: 'cut-body' });
    expect(response.status).toBe(200);
    await expect(response.text()).rejects.toThrow();
  });

  it('streams a body of any size', async () => {
    const response = await requestWith({ kind: 'huge-body', bytes: 3 << 20 });
    expect((await response.text()).length).toBeGreaterThan(3 << 20);
  });

  it.each<[FaultEffect, RegExp]>([
    [{ kind: 'empty-body' }, /^$/],
    [{ kind: 'not-json' }, /^access_token=/],
    [{ kind: 'fields', set: { expires_in: -1 } }, /"expires_in":-1\b/],
    [{ kind: 'fields', set: { expires_in: 1e12, token_type: 'DPoP' } }, /"DPoP"/],
    [{ kind: 'fields', remove: ['access_token'] }, /^\{"expires_in"/],
    [{ kind: 'proto-keys' }, /^\{"__proto__":\{.*"access_token"/],
  ])('changes the body: %j', async (effect, expected) => {
    expect(await (await requestWith(effect)).text()).toMatch(expected);
  });

  it('changes the content type', async () => {
    const response = await requestWith({ kind: 'content-type', contentType: 'text/html' });
    expect(response.headers.get('content-type')).toBe('text/html');
  });

  it('shrinks expires_in from response to response', async () => {
    provider.faults.add({ kind: 'shrinking-expires-in', from: 100, factor: 0.5 });
    const seen = [];
    for (let round = 0; round < 3; round += 1)
      seen.push((await fieldsOf(await requestToken()))['expires_in']);
    expect(seen).toEqual([100, 50, 25]);
  });

  it('repeats the presented secret in an error text', async () => {
    expect(await fieldsOf(await requestWith({ kind: 'echo-secrets' }))).toEqual({
      error: 'unauthorized_client',
      error_description: `Invalid client secret: ${SECRET}`,
    });
  });

  it('shifts the Date header and the times in the token', async () => {
    const response = await requestWith({ kind: 'clock-skew', seconds: -3600 });
    expect(response.headers.get('date')).toBe('Wed, 31 Dec 2025 23:00:00 GMT');
    const { access_token: token, expires_in: expiresIn } = await fieldsOf(response);
    expect(claimsOf(token)).toMatchObject({ iat: now / 1000 - 3600, exp: now / 1000 - 1800 });
    expect(expiresIn).toBe(1800);
  });
});

describe('the legacy login', () => {
  it.each<[LegacyShape, RegExp]>([
    ['text', JWT],
    ['quoted', /^"[^"]+"$/],
    ['object', /^\{"token":"/],
    ['bearer', /^Bearer [\w.-]+$/],
    ['opaque', /^[0-9a-f]{64}$/],
    ['without-exp', JWT],
    ['empty', /^$/],
    ['html', /^</],
    ['header', /^$/],
  ])('returns the token as %s', async (shape, expected) => {
    provider.legacy.shape = shape;
    const response = await login();
    expect(response.status).toBe(200);
    expect(await response.text()).toMatch(expected);
  });

  it('dates the token for 24 hours, or not at all', async () => {
    const dated = claimsOf(await (await login()).text());
    provider.legacy.shape = 'without-exp';
    const undated = claimsOf(await (await login()).text());
    expect([dated['exp'], undated['exp']]).toEqual([now / 1000 + 86_400, undefined]);
  });

  it('refuses a wrong password and an incomplete request', async () => {
    expect((await login({ ...LOGIN, password: 'wrong' })).status).toBe(401);
    expect((await login({ org: 'shop' })).status).toBe(400);
  });
});

describe('the log', () => {
  it('has an entry for each request with its outcome', async () => {
    await requestToken();
    await requestToken({ client_secret: 'wrong' });
    await login();
    expect(provider.log.entries).toEqual([
      {
        time: now,
        endpoint: 'token',
        realm: 'abc',
        grantType: 'client_credentials',
        clientId: 'machine-2-machine',
        username: '',
        status: 200,
        error: '',
        credential: sha256(SECRET),
        session: '',
        lost: false,
      },
      expect.objectContaining({ status: 401, error: 'unauthorized_client' }),
      expect.objectContaining({ endpoint: 'login', realm: 'shop', username: 'api', status: 200 }),
    ]);
    expect(provider.log.counts()).toEqual({
      'abc client_credentials 200': 1,
      'abc client_credentials 401 unauthorized_client': 1,
      'shop login 200': 1,
    });
  });

  it('holds no secret', async () => {
    await requestToken();
    await requestToken({
      grant_type: 'password',
      username: 'api-user',
      password: 'right-password',
    });
    await login();
    expect(JSON.stringify(provider.log.entries)).not.toMatch(/hidden|right-password/);
  });

  it('drops old entries and keeps the counts', async () => {
    const small = await startConvercus({ logLimit: 4 });
    for (let count = 0; count < 9; count += 1) await fetch(small.tokenUrl('x'), { method: 'POST' });
    expect(small.log.entries.length).toBeLessThanOrEqual(4);
    expect(small.log.counts()).toEqual({ 'x token 404 Realm does not exist': 9 });
    await small.close();
  });
});

describe('time and administration', () => {
  it('ages sessions by its own clock', async () => {
    const user = { grant_type: 'password', username: 'api-user', password: 'right' };
    const { refresh_token: token } = await fieldsOf(await requestToken(user));
    now += 1801 * 1000;
    const response = await requestToken({
      grant_type: 'refresh_token',
      refresh_token: String(token),
    });
    expect(await fieldsOf(response)).toMatchObject({ error_description: 'Token is not active' });
  });

  it('unlocks a user when the wait is over', async () => {
    provider.realms.get('abc').update({ bruteForceProtected: true, failureFactor: 2 });
    const user = { grant_type: 'password', username: 'api-user', password: 'wrong' };
    await requestToken(user);
    now += 5000;
    await requestToken(user);
    now += 59_000;
    expect((await requestToken({ ...user, password: 'right' })).status).toBe(400);
    now += 1000;
    expect((await requestToken({ ...user, password: 'right' })).status).toBe(200);
  });

  it('is controlled over HTTP with the option admin', async () => {
    const admin = (method: string, path: string, body?: unknown): Promise<Response> =>
      fetch(`${provider.url}/admin/${path}`, { method, body: JSON.stringify(body) ?? null });
    await admin('POST', 'faults', { kind: 'response', status: 500 });
    expect((await requestToken()).status).toBe(500);
    await admin('DELETE', 'faults');
    await admin('PUT', 'realms/abc/clients/machine-2-machine/secret', { secret: 'newer' });
    expect((await requestToken()).status).toBe(401);
    expect((await requestToken({ client_secret: 'newer' })).status).toBe(200);
    expect(await (await admin('GET', 'counts')).json()).toEqual({
      'abc client_credentials 500': 1,
      'abc client_credentials 401 unauthorized_client': 1,
      'abc client_credentials 200': 1,
    });
  });

  it('is not controlled over HTTP by default', async () => {
    const closed = await startConvercus();
    expect((await fetch(`${closed.url}/admin/counts`)).status).toBe(404);
    await closed.close();
  });
});
