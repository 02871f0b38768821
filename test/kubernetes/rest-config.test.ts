import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { KubeConfig } from '@kubernetes/client-node';
import { ProxyAgent } from 'undici';
import { loadKubeConfig } from '../../src/kubernetes/kubeconfig.ts';
import { RestConfig } from '../../src/kubernetes/rest-config.ts';
import { startSilentServer } from '../support/silent-server.ts';
import { until } from '../support/world.ts';

describe('access to the API server', () => {
  let dir: string;
  let now: number;

  const file = (name: string): string => join(dir, name);
  const writeKubeconfig = (user: object, cluster: object = {}): Promise<void> =>
    writeFile(
      file('kubeconfig'),
      JSON.stringify({
        clusters: [
          {
            name: 'c',
            cluster: {
              server: 'https://localhost:1/base/',
              'certificate-authority': 'ca.crt',
              ...cluster,
            },
          },
        ],
        users: [{ name: 'u', user }],
        contexts: [{ name: 'x', context: { cluster: 'c', user: 'u' } }],
        'current-context': 'x',
      }),
    );
  const open = (): RestConfig =>
    new RestConfig(
      () => loadKubeConfig(file('kubeconfig')),
      () => now,
    );

  beforeEach(async () => {
    now = 1_000_000;
    dir = await mkdtemp(join(tmpdir(), 'access-'));
    await writeFile(file('ca.crt'), 'first');
  });
  afterEach(() => rm(dir, { recursive: true }));

  it('goes to the server and path of the current context', async () => {
    await writeKubeconfig({ token: 't' });
    expect(open()).toMatchObject({ origin: 'https://localhost:1', basePath: '/base' });
  });

  it('does not open without a server', () => {
    expect(() => new RestConfig(() => new KubeConfig())).toThrow('no current cluster');
    expect(() => loadKubeConfig(file('missing'))).toThrow('ENOENT');
  });

  it.each([
    [{ token: 't' }, { authorization: 'Bearer t' }],
    [{ username: 'a', password: 'b' }, { authorization: 'Basic YTpi' }],
    [
      { token: 't', as: 'someone' },
      { authorization: 'Bearer t', 'impersonate-user': 'someone' },
    ],
    [
      { exec: { apiVersion: 'v1', command: 'echo', args: ['{"status":{"token":"plugin"}}'] } },
      { authorization: 'Bearer plugin' },
    ],
  ])('says who we are: %j', async (user, headers) => {
    await writeKubeconfig(user);
    expect((await open().get()).headers).toEqual(headers);
  });

  it('keeps its connections as long as nothing has rotated', async () => {
    await writeKubeconfig({ token: 't' });
    const access = open();
    const { dispatcher } = await access.get();
    now += 61_000;
    expect((await access.get()).dispatcher).toBe(dispatcher);
  });

  it('opens new connections within a minute of a rotation', async () => {
    await writeKubeconfig({ token: 't' });
    const access = open();
    const { dispatcher } = await access.get();
    await writeFile(file('ca.crt'), 'second');
    now += 30_000;
    expect((await access.get()).dispatcher).toBe(dispatcher);
    now += 31_000;
    expect((await access.get()).dispatcher).not.toBe(dispatcher);
  });

  it('reads everything again on demand, at most once in a while', async () => {
    await writeKubeconfig({ token: 'old' });
    const access = open();
    await access.get();
    await writeKubeconfig({ token: 'new' });
    expect(access.reload()).toBe(true);
    expect((await access.get()).headers).toEqual({ authorization: 'Bearer new' });
    expect(access.reload()).toBe(false);
    now += 10_000;
    expect(access.reload()).toBe(true);
  });

  it('keeps connections that are newer than a read that ends late', async () => {
    const { promise: isReleased, resolve: release } = Promise.withResolvers<void>();
    const [late, newer] = [aKubeConfig('first', isReleased), aKubeConfig('second')];
    const loads = [late, newer];
    const access = new RestConfig(() => loads.shift() ?? newer);
    const before = access.get();
    expect(access.reload()).toBe(true);
    const connection = await access.get();
    release();
    await before;

    expect(access.current).toBe(connection);
    const request = connection.dispatcher.request({ origin: ORIGIN, path: '/', method: 'GET' });
    await expect(request).rejects.toMatchObject({ code: 'ECONNREFUSED' });
    await access.close();
  });

  it('stays with what it has while the kubeconfig is unreadable', async () => {
    await writeKubeconfig({ token: 't' });
    const access = open();
    await access.get();
    await writeFile(file('kubeconfig'), '{');
    expect(access.reload()).toBe(false);
    expect((await access.get()).headers).toEqual({ authorization: 'Bearer t' });
  });

  it('recovers from a missing file', async () => {
    await writeKubeconfig({ token: 't' });
    await rm(file('ca.crt'));
    const access = open();
    await expect(access.get()).rejects.toThrow('ENOENT');
    await writeFile(file('ca.crt'), 'second');
    expect((await access.get()).headers).toEqual({ authorization: 'Bearer t' });
  });

  it.each([
    ['the server', 'https', false],
    ['a proxy', 'https', true],
    ['a proxy for http', 'http', true],
  ])(
    'closes also a connection whose TLS handshake with %s hangs',
    async (_, protocol, isProxy) => {
      await using silent = await startSilentServer();
      const origin = `${protocol}://localhost:${silent.port}`;
      const proxy = isProxy ? { 'proxy-url': `https://localhost:${silent.port}` } : {};
      await writeKubeconfig({ token: 't' }, { server: origin, ...proxy });
      const config = open();
      const { dispatcher } = await config.get();
      const request = dispatcher.request({ origin, path: '/', method: 'GET' });
      await until(() => silent.connections() === 1);
      await Promise.all([config.close(), expect(request).rejects.toThrow()]);
      await until(() => silent.connections() === 0);
      // Before the time-out of a connection, 10 s
    },
    8_000,
  );

  it('takes the proxy of the kubeconfig, if it speaks HTTP', async () => {
    await writeKubeconfig({ token: 't' }, { 'proxy-url': 'http://localhost:2' });
    expect((await open().get()).dispatcher).toBeInstanceOf(ProxyAgent);
    await writeKubeconfig({ token: 't' }, { 'proxy-url': 'socks5://localhost:2' });
    await expect(open().get()).rejects.toThrow('proxy-url');
  });
});

const ORIGIN = 'https://127.0.0.1:1';

/** Its certificates are read when the promise says so. */
function aKubeConfig(ca: string, isReleased = Promise.resolve()): KubeConfig {
  const config = new KubeConfig();
  config.loadFromClusterAndUser({ name: 'c', server: ORIGIN, skipTLSVerify: false }, { name: 'u' });
  config.applyToHTTPSOptions = async (options) => {
    await isReleased;
    options.ca = ca;
  };
  return config;
}
