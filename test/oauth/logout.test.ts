import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { type FaultEffect, proxies } from '../../dev/keycloak/dialect/faults.ts';
import {
  type IdentityProvider,
  startIdentityProvider,
} from '../../dev/keycloak/dialect/identity-provider.ts';
import { isFailure } from '../../src/lib/failure.ts';
import { Sensitive } from '../../src/lib/sensitive.ts';
import type { PasswordRequest, RefreshRequest } from '../../src/oauth/grants.ts';
import { createLogOut } from '../../src/oauth/logout.ts';
import type { Token } from '../../src/oauth/token.ts';
import { createTokenSource } from '../../src/oauth/token-endpoint.ts';
import { anEnvironment, freeEverything, later, someHosts } from './lab.ts';

const never = new AbortController().signal;

let server: IdentityProvider;

beforeEach(async () => {
  server = await startIdentityProvider();
  later(() => server.close());
  server.realms.add({
    realm: 'abc-staging',
    accessTokenLifespan: 1800,
    revokeRefreshToken: true,
    clients: [
      {
        clientId: 'machine-2-machine',
        secret: 'canary %+& secret',
        serviceAccountsEnabled: true,
        directAccessGrantsEnabled: true,
      },
    ],
    users: [
      {
        username: 'canary-user',
        email: 'a@example.test',
        emailVerified: true,
        firstName: 'A',
        lastName: 'B',
        credentials: [{ type: 'password', value: 'canary "p%ss" +wörd' }],
      },
    ],
  });
});

afterEach(freeEverything);

function lab(path = '/realms/{realm}/protocol/openid-connect/token', insecureHttp = true) {
  const tokenUrl = `${server.url}${path}`;
  const environment = anEnvironment({ tokenUrl, insecureHttp });
  const { hosts, reports } = someHosts(environment);
  const source = createTokenSource(hosts);
  const logOut = createLogOut(hosts, new Map([['staging', environment]]));
  return { source, logOut, reports };
}

const client = () => ({
  environment: 'staging',
  realm: 'abc-staging',
  tokenUrl: server.tokenUrl('abc-staging'),
  clientId: 'machine-2-machine',
  scope: 'openid',
  clientSecret: new Sensitive('canary %+& secret'),
});

const login = (changes: Partial<PasswordRequest> = {}): PasswordRequest => ({
  ...client(),
  grantType: 'password',
  username: new Sensitive('canary-user'),
  password: new Sensitive('canary "p%ss" +wörd'),
  ...changes,
});

const refresh = ({ refreshToken }: Token): RefreshRequest => ({
  ...client(),
  grantType: 'refresh_token',
  refreshToken: refreshToken?.value ?? new Sensitive(''),
});

async function tokenOf(response: ReturnType<ReturnType<typeof lab>['source']>): Promise<Token> {
  const token = await response;
  if (isFailure(token)) throw new Error(token.message);
  return token;
}

async function kindOf(response: ReturnType<ReturnType<typeof lab>['source']>): Promise<string> {
  const failure = await response;
  if (!isFailure(failure)) return 'a token';
  expect(failure.message).not.toMatch(/canary/i);
  return failure.kind;
}

describe('a password', () => {
  it('brings a token and a refresh token, whatever characters it has', async () => {
    const { refreshToken, issuedAt } = await tokenOf(lab().source(login(), never));
    expect(refreshToken?.expiresAt).toBeGreaterThan(issuedAt);
  });

  it.each<[string, Partial<PasswordRequest>, string]>([
    ['is wrong', { password: new Sensitive('canary') }, 'CredentialsRejected'],
    ['has an unknown user', { username: new Sensitive('canary') }, 'CredentialsRejected'],
    [
      'comes with a wrong client secret',
      { clientSecret: new Sensitive('canary') },
      'ClientSecretRejected',
    ],
  ])('is refused when it %s', async (_, changes, kind) => {
    expect(await kindOf(lab().source(login(changes), never))).toBe(kind);
  });

  it('is sent once, even when the response is lost', async () => {
    server.faults.add({ kind: 'reset', afterWork: true });
    expect(await kindOf(lab().source(login(), never))).toBe('NetworkError');
    expect(server.log.entries).toHaveLength(1);
  });
});

describe('a refresh token', () => {
  it('may be sent once; the next one comes with the response', async () => {
    const { source } = lab();
    const first = await tokenOf(source(login(), never));
    const second = await tokenOf(source(refresh(first), never));
    expect(second.refreshToken?.value.reveal()).not.toBe(first.refreshToken?.value.reveal());
    expect(await kindOf(source(refresh(first), never))).toBe('RefreshTokenReused');
    expect(await kindOf(source(refresh(second), never))).toBe('SessionEnded');
  });

  it('is not sent again when the response is lost', async () => {
    const { source } = lab();
    const first = await tokenOf(source(login(), never));
    server.faults.add({ kind: 'reset', afterWork: true, times: 1 });
    expect(await kindOf(source(refresh(first), never))).toBe('NetworkError');
    expect(server.log.entries).toHaveLength(2);
  });
});

describe('a log-out', () => {
  const request = ({ refreshToken }: Token) => {
    const { environment, realm, clientId, clientSecret } = client();
    const value = refreshToken?.value ?? new Sensitive('');
    return { environment, realm, clientId, clientSecret, refreshToken: value };
  };

  it('ends the session, and again does no harm', async () => {
    const { source, logOut } = lab();
    const token = await tokenOf(source(login(), never));
    expect(await logOut(request(token), never)).toBeUndefined();
    expect(await kindOf(source(refresh(token), never))).toBe('SessionEnded');
    expect(await logOut(request(token), never)).toBeUndefined();
  });

  it.each([404, 405])('revokes where the endpoint responds with %i', async (status) => {
    const { source, logOut } = lab();
    const token = await tokenOf(source(login(), never));
    server.faults.add({ kind: 'response', status, endpoint: 'logout' });
    expect(await logOut(request(token), never)).toBeUndefined();
    expect(server.log.entries.map(({ endpoint }) => endpoint)).toEqual([
      'token',
      'logout',
      'revoke',
    ]);
    expect(await kindOf(source(refresh(token), never))).not.toBe('a token');
  });

  it('fails where neither endpoint is known, for the session lives on', async () => {
    const { source, logOut, reports } = lab();
    const token = await tokenOf(source(login(), never));
    server.faults.add({ kind: 'response', status: 404, endpoint: 'logout' });
    server.faults.add({ kind: 'response', status: 405, endpoint: 'revoke' });
    const failure = await logOut(request(token), never);
    expect(failure).toMatchObject({ kind: 'EndpointNotFound' });
    expect(failure?.message).toContain('tokenUrl of environment "staging"');
    expect(reports.at(-1)).toMatchObject({ grantType: 'revoke', outcome: 'EndpointNotFound' });
    expect(await kindOf(source(refresh(token), never))).toBe('a token');
  });

  it.each<[string, FaultEffect]>([
    ['a proxy that fails', proxies.badGateway],
    ['a redirect', proxies.redirect('https://elsewhere.test/')],
  ])('fails with %s, and shows no secret', async (_, fault) => {
    const { source, logOut } = lab();
    const token = await tokenOf(source(login(), never));
    server.faults.add(fault);
    const failure = await logOut(request(token), never);
    expect(isFailure(failure)).toBe(true);
    expect(JSON.stringify(failure)).not.toMatch(/canary/i);
  });

  it('is sent nowhere when the address of the token endpoint does not tell its own', async () => {
    const token = await tokenOf(lab().source(login(), never));
    const asked = server.log.entries.length;
    const { logOut } = lab('/realms/{realm}/protocol/openid-connect/token-exchange');
    const failure = await logOut(request(token), never);
    expect(failure).toMatchObject({ kind: 'EndpointNotFound' });
    expect(failure?.message).toContain('tokenUrl of environment "staging"');
    expect(server.log.entries).toHaveLength(asked);
  });

  it('never goes out over plain HTTP unless the environment allows it', async () => {
    const token = await tokenOf(lab().source(login(), never));
    const asked = server.log.entries.length;
    const { logOut } = lab(undefined, false);
    const failure = await logOut(request(token), never);
    expect(failure).toMatchObject({ kind: 'InsecureEndpoint' });
    expect(failure?.message).toContain('Use an https:// tokenUrl');
    expect(server.log.entries).toHaveLength(asked);
  });

  it('finds its address beside one that ends with a slash or has a query', async () => {
    const token = await tokenOf(lab().source(login(), never));
    const { logOut } = lab('/realms/{realm}/protocol/openid-connect/token/?via=gateway');
    expect(await logOut(request(token), never)).toBeUndefined();
    expect(server.log.entries.at(-1)?.endpoint).toBe('logout');
  });

  it('with a client secret that has changed fails', async () => {
    const { source, logOut } = lab();
    const token = await tokenOf(source(login(), never));
    const wrong = { ...request(token), clientSecret: new Sensitive('canary') };
    expect(await logOut(wrong, never)).toMatchObject({ kind: 'ClientSecretRejected' });
  });

  it.each([
    ['an environment that is not configured any more', { environment: 'moon' }],
    ['a realm that is gone', { realm: 'gone' }],
  ])('has nothing left to do for %s', async (_, changes) => {
    const { source, logOut } = lab();
    const token = await tokenOf(source(login(), never));
    expect(await logOut({ ...request(token), ...changes }, never)).toBeUndefined();
  });
});
