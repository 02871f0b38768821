import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer, type RequestListener, type ServerResponse } from 'node:http';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from '@jest/globals';
import { minutes, seconds } from '../../src/lib/time.ts';
import { createTokenSource } from '../../src/oauth/token-endpoint.ts';
import { startSilentServer } from '../support/silent-server.ts';
import { undiciSockets } from '../support/undici-sockets.ts';
import { until } from '../support/world.ts';
import {
  aRequest,
  aSource,
  freeEverything,
  GOOD,
  later,
  listening,
  respondWith,
  serve,
  someHosts,
} from './lab.ts';
import { selfSigned } from './self-signed.ts';

afterEach(freeEverything);

const A_TOKEN = expect.objectContaining({ tokenType: 'Bearer' });

async function aFile(content: string) {
  const folder = await mkdtemp(join(tmpdir(), 'trust-'));
  later(() => rm(folder, { recursive: true }));
  const path = join(folder, 'ca.pem');
  const write = (content: string) => writeFile(path, content);
  await write(content);
  return { path, write };
}

it('are as many to a host as may be asked of it at once', async () => {
  const waiting: ServerResponse[] = [];
  const { tokenUrl, seen } = await serve((request, response) => {
    waiting.push(response);
    if (waiting.length < 6) return;
    for (const each of waiting) respondWith(200, GOOD)(request, each);
  });
  const source = aSource({}, { perHost: 6, timeouts: { connect: 20_000, total: 20_000 } });
  const results = await Promise.all(
    Array.from({ length: 6 }, () => source.obtain(aRequest(tokenUrl))),
  );

  expect(results).toEqual(results.map(() => A_TOKEN));
  expect(seen.connections).toBe(6);
});

it('leave nothing in memory once they are closed', async () => {
  const { tokenUrl } = await serve(respondWith(200, GOOD, { connection: 'close' }));
  const { obtain } = aSource();
  using sockets = undiciSockets();
  for (let i = 0; i < 20; i += 1) await obtain(aRequest(tokenUrl));
  expect(sockets.connected()).toBe(20);
  expect(await sockets.inMemory()).toBeLessThan(5);
});

describe('connections in the middle of a TLS handshake', () => {
  it.each([
    ['the server', false],
    ['a proxy', true],
  ])(
    'with %s are closed, long before their time-out',
    async (_, isProxy) => {
      await using server = await startSilentServer();
      const origin = `https://localhost:${server.port}`;
      const { hosts, client } = someHosts(
        {},
        {
          timeouts: { connect: minutes(10), total: minutes(10) },
          proxy: { https: isProxy ? origin : '', except: '' },
        },
      );
      const { signal } = new AbortController();
      const request = createTokenSource(hosts)(aRequest(`${origin}/token`), signal);
      await until(() => server.connections() === 1);
      await client.close();
      expect(await request).toMatchObject({ kind: 'NetworkError' });
      await until(() => server.connections() === 0);
    },
    20_000,
  );
});

describe('a server with a certificate of an unknown authority', () => {
  it('gets no request', async () => {
    const { tokenUrl, seen } = await serve(respondWith(200, GOOD), selfSigned());
    const result = await aSource().obtain(aRequest(tokenUrl));
    expect(result).toMatchObject({
      kind: 'TLSError',
      code: 'DEPTH_ZERO_SELF_SIGNED_CERT',
      message: expect.stringContaining('127.0.0.1'),
    });
    expect(seen).toEqual({ requests: 0, connections: 1 });
  });

  it('is trusted when caFile holds it, beside other certificates', async () => {
    const certificate = selfSigned();
    const { path } = await aFile(selfSigned().cert + certificate.cert);
    const { tokenUrl } = await serve(respondWith(200, GOOD), certificate);
    expect(await aSource({ caFile: path }).obtain(aRequest(tokenUrl))).toEqual(A_TOKEN);
  });

  it('is not trusted when caFile holds another', async () => {
    const { path } = await aFile(selfSigned().cert);
    const { tokenUrl, seen } = await serve(respondWith(200, GOOD), selfSigned());
    const result = await aSource({ caFile: path }).obtain(aRequest(tokenUrl));
    expect(result).toMatchObject({ kind: 'TLSError' });
    expect(seen.requests).toBe(0);
  });

  it('is not trusted once the certificate has expired', async () => {
    const certificate = selfSigned({ until: '2021-01-01T00:00:00Z' });
    const { path } = await aFile(certificate.cert);
    const { tokenUrl } = await serve(respondWith(200, GOOD), certificate);
    const result = await aSource({ caFile: path }).obtain(aRequest(tokenUrl));
    expect(result).toMatchObject({ kind: 'TLSError', code: 'CERT_HAS_EXPIRED' });
  });

  it('is not trusted under a name that is not in the certificate', async () => {
    const certificate = selfSigned({ names: ['elsewhere.test'] });
    const { path } = await aFile(certificate.cert);
    const { tokenUrl } = await serve(respondWith(200, GOOD), certificate);
    const result = await aSource({ caFile: path }).obtain(aRequest(tokenUrl));
    expect(result).toMatchObject({ kind: 'TLSError', code: 'ERR_TLS_CERT_ALTNAME_INVALID' });
  });
});

describe('caFile', () => {
  it('is read again a minute after it was read', async () => {
    const certificate = selfSigned();
    const file = await aFile(selfSigned().cert);
    const { tokenUrl } = await serve(respondWith(200, GOOD), certificate);
    const { obtain, passTime } = aSource({ caFile: file.path });
    const now = () => obtain(aRequest(tokenUrl));
    expect(await now()).toMatchObject({ kind: 'TLSError' });
    await file.write(certificate.cert);
    passTime(seconds(59));
    expect(await now()).toMatchObject({ kind: 'TLSError' });
    passTime(seconds(1));
    expect(await Promise.all([now(), now(), now()])).toContainEqual(A_TOKEN);
    expect(await now()).toEqual(A_TOKEN);
  });

  it('keeps its last good content in force while it cannot be used', async () => {
    const certificate = selfSigned();
    const file = await aFile(certificate.cert);
    const { tokenUrl } = await serve(respondWith(200, GOOD), certificate);
    const { obtain, passTime } = aSource({ caFile: file.path });
    for (const content of [certificate.cert, '', 'not a certificate', certificate.cert]) {
      await file.write(content);
      passTime(minutes(1));
      expect(await obtain(aRequest(tokenUrl))).toEqual(A_TOKEN);
    }
  });

  it('that never could be used is named', async () => {
    const result = await aSource({ caFile: '/no/such/ca.pem' }).obtain(
      aRequest('https://auth.test/'),
    );
    expect(result).toMatchObject({
      kind: 'TLSError',
      message:
        'caFile of the environment "staging" is no readable PEM certificate. Ask the administrator of the operator.',
    });
  });
});

describe('a proxy', () => {
  /** Joins CONNECT requests through to where they want to go. */
  async function aProxy(refuse?: RequestListener) {
    const tunnels: string[] = [];
    const server = createServer();
    server.on('connect', (request, socket) => {
      tunnels.push(request.url ?? '');
      if (refuse) return socket.end('HTTP/1.1 407 Proxy Authentication Required\r\n\r\n');
      const [host = '', port] = (request.url ?? '').split(':');
      const upstream = connect(Number(port), host, () => {
        socket.write('HTTP/1.1 200 OK\r\n\r\n');
        upstream.pipe(socket).pipe(upstream);
      });
      for (const end of [socket, upstream]) end.on('error', () => upstream.destroy());
      later(async () => [socket, upstream].forEach((end) => void end.destroy()));
      return undefined;
    });
    return { https: `http://127.0.0.1:${await listening(server)}`, tunnels };
  }

  async function aServer() {
    const certificate = selfSigned();
    const { path } = await aFile(certificate.cert);
    return { caFile: path, ...(await serve(respondWith(200, GOOD), certificate)) };
  }

  it('is used for https', async () => {
    const { caFile, tokenUrl, port } = await aServer();
    const { https, tunnels } = await aProxy();
    const source = aSource({ caFile }, { proxy: { https, except: 'example.test' } });
    expect(await source.obtain(aRequest(tokenUrl))).toEqual(A_TOKEN);
    expect(tunnels).toEqual([`127.0.0.1:${port}`]);
  });

  it('does not weaken the check of certificates', async () => {
    const { tokenUrl, seen } = await aServer();
    const { https } = await aProxy();
    const source = aSource({}, { proxy: { https, except: '' } });
    expect(await source.obtain(aRequest(tokenUrl))).toMatchObject({ kind: 'TLSError' });
    expect(seen.requests).toBe(0);
  });

  it('is left out for the hosts of NO_PROXY', async () => {
    const { caFile, tokenUrl } = await aServer();
    const { https, tunnels } = await aProxy();
    const source = aSource({ caFile }, { proxy: { https, except: 'localhost,127.0.0.1' } });
    expect(await source.obtain(aRequest(tokenUrl))).toEqual(A_TOKEN);
    expect(tunnels).toEqual([]);
  });

  it.each([
    ['10.0.0.0/8,127.0.0.0/8', 0],
    ['10.0.0.0/8', 1],
  ])('is left out for an address in a range of NO_PROXY: %s', async (except, expected) => {
    const { caFile, tokenUrl } = await aServer();
    const { https, tunnels } = await aProxy();
    const source = aSource({ caFile, tokenUrl }, { proxy: { https, except } });
    expect(await source.obtain(aRequest(tokenUrl))).toEqual(A_TOKEN);
    expect(tunnels).toHaveLength(expected);
  });

  it('leaves nothing in memory of a connection that is closed', async () => {
    const certificate = selfSigned();
    const { path: caFile } = await aFile(certificate.cert);
    const closing = respondWith(200, GOOD, { connection: 'close' });
    const { tokenUrl } = await serve(closing, certificate);
    const { https } = await aProxy();
    const source = aSource({ caFile }, { proxy: { https, except: '' } });
    using sockets = undiciSockets();
    for (let i = 0; i < 20; i += 1)
      expect(await source.obtain(aRequest(tokenUrl))).toEqual(A_TOKEN);
    expect(sockets.connected()).toBe(40); // to the proxy and through it
    expect(await sockets.inMemory()).toBeLessThan(10);
  });

  it('is left at once in the middle of a TLS handshake with the server behind it', async () => {
    await using silent = await startSilentServer();
    const { https, tunnels } = await aProxy();
    const { hosts, client } = someHosts(
      {},
      {
        timeouts: { connect: minutes(10), total: minutes(10) },
        proxy: { https, except: '' },
      },
    );
    const { signal } = new AbortController();
    const url = `https://localhost:${silent.port}/token`;
    const request = createTokenSource(hosts)(aRequest(url), signal);
    await until(() => silent.connections() === 1);
    await client.close();
    expect(await request).toMatchObject({ kind: 'NetworkError' });
    await until(() => silent.connections() === 0);
    expect(tunnels).toHaveLength(1);
  }, 20_000);

  it('that refuses is a network error', async () => {
    const { caFile, tokenUrl } = await aServer();
    const { https, tunnels } = await aProxy(() => {});
    const source = aSource({ caFile }, { proxy: { https, except: '' } });
    expect(await source.obtain(aRequest(tokenUrl))).toMatchObject({
      kind: 'NetworkError',
      code: 'UND_ERR_ABORTED',
    });
    expect(tunnels).toHaveLength(1);
  });
});
