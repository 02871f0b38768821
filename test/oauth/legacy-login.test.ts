import { setTimeout } from 'node:timers/promises';
import { inspect } from 'node:util';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { type Convercus, startConvercus } from '../../dev/convercus/convercus.ts';
import type { LegacyShape } from '../../dev/convercus/legacy-login.ts';
import { type FaultEffect, proxies } from '../../dev/keycloak/dialect/faults.ts';
import { isFailure } from '../../src/lib/failure.ts';
import { Sensitive } from '../../src/lib/sensitive.ts';
import { hours, minutes, seconds } from '../../src/lib/time.ts';
import type { Environment } from '../../src/oauth/environment.ts';
import type { LoginRequest } from '../../src/oauth/grants.ts';
import { createLoginSource } from '../../src/oauth/legacy-login.ts';
import {
  freeEverything,
  type HostOptions,
  later,
  respondWith,
  serve,
  someHosts,
  UNKNOWN_NAME,
} from './lab.ts';

afterEach(freeEverything);

/** For which a busy machine may stand still within a request. */
const A_PAUSE = seconds(30);
const ACCOUNT = { org: 'canary-org', userName: 'canary-user', password: 'canary "päss"\\word' };

function aSource(environment: Partial<Environment> = {}, options: Partial<HostOptions> = {}) {
  const clock = { now: Date.now, monotonic: () => performance.now(), after: () => () => {} };
  const { hosts, reports } = someHosts(environment, { clock, ...options });
  const source = createLoginSource(hosts);
  const never = new AbortController().signal;
  return {
    obtain: (request: LoginRequest, signal = never) => source(request, signal),
    reports,
  };
}

const aLogin = (loginUrl: string, changes: Partial<LoginRequest> = {}): LoginRequest => ({
  grantType: 'legacy_login',
  environment: 'staging',
  loginUrl,
  org: new Sensitive(ACCOUNT.org),
  username: new Sensitive(ACCOUNT.userName),
  password: new Sensitive(ACCOUNT.password),
  ...changes,
});

const kindOf = (result: object) => (isFailure(result) ? result.kind : 'a token');

describe('against a server with the old login', () => {
  let server: Convercus;

  beforeEach(async () => {
    server = await startConvercus();
    later(() => server.close());
    server.legacy.accounts.push(ACCOUNT);
  });

  const obtain = (changes: Partial<LoginRequest> = {}) =>
    aSource().obtain(aLogin(server.loginUrl, changes));

  it.each<[LegacyShape, string]>([
    ['text', 'a token'],
    ['quoted', 'a token'],
    ['object', 'a token'],
    ['bearer', 'a token'],
    ['header', 'a token'],
    ['without-exp', 'a token'],
    ['opaque', 'UnexpectedResponse'],
    ['empty', 'UnexpectedResponse'],
    ['html', 'UnexpectedResponse'],
  ])('a response of the shape "%s" comes out as %s', async (shape, expected) => {
    server.legacy.shape = shape;
    const result = await obtain();
    expect(kindOf(result)).toBe(expected);
    if (isFailure(result)) return;
    expect(result.accessToken.reveal()).toMatch(/^eyJ[\w-]+\.[\w-]+\.[\w-]+$/);
    const validity = result.expiresAt - result.issuedAt;
    expect(Math.abs(validity - hours(24))).toBeLessThan(A_PAUSE);
    expect(server.log.counts()).toEqual({ 'canary-org login 200': 1 });
  });

  it('the lifetime is that of the token', async () => {
    server.legacy.lifespan = 1_800;
    const token = await obtain();
    if (isFailure(token)) throw new Error(token.message);
    expect(Math.abs(token.expiresAt - token.issuedAt - minutes(30))).toBeLessThan(A_PAUSE);
  });

  it.each([30, 0, -100])('a token that lives for %d s is too short', async (lifespan) => {
    server.legacy.lifespan = lifespan;
    expect(kindOf(await obtain())).toBe('ShortLivedToken');
  });

  it.each<[Partial<LoginRequest>, string]>([
    [{ password: new Sensitive('canary-wrong') }, 'CredentialsRejected'],
    [{ org: new Sensitive('canary-other') }, 'CredentialsRejected'],
    [{ username: new Sensitive('') }, 'InvalidRequest'],
  ])('%j is refused as %s after one request', async (changes, kind) => {
    const failure = await obtain(changes);
    expect(failure).toMatchObject({ kind });
    expect(inspect(failure)).not.toContain('canary');
    expect(server.log.entries).toHaveLength(1);
  });

  it('a wrong path is named', async () => {
    const failure = await obtain({ loginUrl: `${server.url}/auth/logon` });
    expect(failure).toMatchObject({ kind: 'EndpointNotFound' });
  });

  it.each<[string, FaultEffect, string]>([
    ['a bad gateway', proxies.badGateway, 'ServerUnavailable'],
    ['an overload', proxies.unavailable('5'), 'ServerUnavailable'],
    ['a firewall', proxies.forbidden, 'AccessBlocked'],
    ['a throttle', proxies.tooManyRequests('5'), 'RateLimited'],
    ['a redirect', proxies.redirect('https://elsewhere.test/'), 'UnexpectedRedirect'],
    ['a body that is cut', { kind: 'cut-body' }, 'ServerUnavailable'],
    ['an empty body', { kind: 'empty-body' }, 'UnexpectedResponse'],
    ['a huge body', { kind: 'huge-body' }, 'UnexpectedResponse'],
    ['a form', { kind: 'not-json' }, 'UnexpectedResponse'],
    ['a reset before the work', { kind: 'reset' }, 'NetworkError'],
    ['a reset after the work', { kind: 'reset', afterWork: true }, 'NetworkError'],
    ['echoed secrets', { kind: 'echo-secrets' }, 'CredentialsRejected'],
  ])(
    '%s comes out as a failure that shows no secret, after one request',
    async (_, fault, kind) => {
      server.faults.add(fault);
      const failure = await obtain();
      expect(failure).toMatchObject({ kind });
      expect(inspect(failure)).not.toContain('canary');
      expect(server.log.entries).toHaveLength(1);
    },
  );

  it.each([7_200, -7_200])('a clock that is %d s off does no harm to a token', async (skew) => {
    server.faults.add({ kind: 'clock-skew', seconds: skew });
    const { obtain, reports } = aSource();
    const token = await obtain(aLogin(server.loginUrl));
    if (isFailure(token)) throw new Error(token.message);
    expect(Math.abs(token.expiresAt - token.issuedAt - hours(24))).toBeLessThan(A_PAUSE);
    const [report] = reports;
    expect(Math.abs((report?.skew ?? 0) - seconds(skew))).toBeLessThan(A_PAUSE);
  });

  it.each([{ kind: 'hang' }, { kind: 'hang', afterWork: true }] as const)(
    'a server that hangs is given up after the whole time allowed: %j',
    async (fault) => {
      server.faults.add(fault);
      const { obtain } = aSource({}, { timeouts: { connect: 2_000, total: 1_000 } });
      expect(await obtain(aLogin(server.loginUrl))).toMatchObject({
        kind: 'NetworkError',
        code: 'TIMEOUT',
      });
      expect(server.log.entries).toHaveLength(1);
    },
  );
});

describe('a login', () => {
  it('presents the account as JSON and is reported', async () => {
    const asked = Promise.withResolvers<unknown>();
    const { port } = await serve(async (request, response) => {
      const chunks: Buffer[] = [];
      for await (const chunk of request) chunks.push(chunk);
      const { method, url, headers } = request;
      const { accept, authorization, 'user-agent': agent, 'content-type': type } = headers;
      const body: unknown = JSON.parse(Buffer.concat(chunks).toString());
      asked.resolve({ method, url, accept, authorization, agent, type, body });
      respondWith(401, '{}')(request, response);
    });
    const { obtain, reports } = aSource();
    await obtain(aLogin(`http://127.0.0.1:${port}/auth/login`));
    expect(await asked.promise).toEqual({
      method: 'POST',
      url: '/auth/login',
      accept: 'application/json, text/plain, */*',
      authorization: undefined,
      agent: 'convercus-operator/test',
      type: 'application/json',
      body: ACCOUNT,
    });
    expect(reports).toEqual([
      {
        host: `127.0.0.1:${port}`,
        grantType: 'legacy_login',
        outcome: 'CredentialsRejected',
        seconds: expect.any(Number),
      },
    ]);
  });

  it('never goes out over plain HTTP unless the environment allows it', async () => {
    const { port, seen } = await serve(respondWith(200, ''));
    for (const scheme of ['http', 'HTTP']) {
      const request = aLogin(`${scheme}://127.0.0.1:${port}/auth/login`);
      const result = await aSource({ insecureHttp: false }).obtain(request);
      expect(result).toMatchObject({
        kind: 'InsecureEndpoint',
        message:
          `127.0.0.1:${port} is not asked over plain HTTP. ` +
          'Use an https:// loginUrl, or set insecureHttp for the environment.',
      });
    }
    expect(seen.connections).toBe(0);
  });

  it.each([301, 307, 308])('is not sent on by a redirect (%d)', async (status) => {
    const target = await serve(respondWith(200, ''));
    const { port } = await serve(respondWith(status, '', { Location: target.tokenUrl }));
    const result = await aSource().obtain(aLogin(`http://127.0.0.1:${port}/`));
    expect([kindOf(result), target.seen.connections]).toEqual(['UnexpectedRedirect', 0]);
  });

  it('for an environment that is not configured is an InvalidSpec', async () => {
    const request = aLogin('https://api.test/auth/login', { environment: 'moon' });
    expect(kindOf(await aSource().obtain(request))).toBe('InvalidSpec');
  });

  it('that finds no name or no listener is a NetworkError', async () => {
    const { port } = await serve(respondWith(200, ''));
    await freeEverything();
    for (const host of [`127.0.0.1:${port}`, UNKNOWN_NAME]) {
      expect(await aSource().obtain(aLogin(`http://${host}/auth/login`))).toMatchObject({
        kind: 'NetworkError',
        message: expect.stringContaining(`${host} cannot be reached`),
      });
    }
  });

  it('is tried again as long as no server has listened', async () => {
    const { port } = await serve(respondWith(200, ''));
    await freeEverything();
    const result = aSource().obtain(aLogin(`http://127.0.0.1:${port}/auth/login`));
    await setTimeout(100);
    const server = await startConvercus({ port });
    later(() => server.close());
    server.legacy.accounts.push(ACCOUNT);
    expect(kindOf(await result)).toBe('a token');
  });

  it('that is aborted rejects with the reason of its signal and reports nothing', async () => {
    const arrived = Promise.withResolvers<void>();
    const { port } = await serve(() => arrived.resolve());
    const { obtain, reports } = aSource();
    const stop = new AbortController();
    const reason = new Error('the operator stops');
    const result = obtain(aLogin(`http://127.0.0.1:${port}/`), stop.signal);
    await arrived.promise;
    stop.abort(reason);
    await expect(result).rejects.toBe(reason);
    await expect(obtain(aLogin(`http://127.0.0.1:${port}/`), stop.signal)).rejects.toBe(reason);
    expect(reports).toEqual([]);
  });
});
