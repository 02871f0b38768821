import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { networkInterfaces } from 'node:os';
import { text } from 'node:stream/consumers';
import { setImmediate as nextTurn, setTimeout as sleep } from 'node:timers/promises';
import { afterEach, describe, expect, it } from '@jest/globals';
import { freePorts } from '../../dev/envtest/server-process.ts';
import {
  type CheckResult,
  type OperationsOptions,
  type OperationsServer,
  startOperationsServer,
} from '../../src/telemetry/operations-server.ts';

let server: OperationsServer | undefined;

afterEach(async () => {
  await server?.close();
  server = undefined;
});

async function start(options: Partial<OperationsOptions> = {}): Promise<OperationsServer> {
  server = await startOperationsServer({
    host: '127.0.0.1',
    port: 0,
    readiness: () => [],
    metrics: {
      contentType: 'text/plain; version=0.0.4',
      chunks: async function* () {
        yield 'up 1\n';
        yield 'down 0\n';
      },
    },
    ...options,
  });
  return server;
}

async function get(path: string, init?: RequestInit) {
  const response = await fetch(`${server?.url}${path}`, init);
  return { status: response.status, body: await response.text(), headers: response.headers };
}

describe('the operations server', () => {
  it('is ready when every check holds, and names those that do not', async () => {
    const checks = new Map<string, true | string>([
      ['credentials', true],
      ['secrets', 'the first list is not complete yet'],
    ]);
    await start({ readiness: () => checks });
    expect(await get('/readyz')).toMatchObject({
      status: 503,
      body: '[-] secrets: the first list is not complete yet\nfailed\n',
    });
    checks.set('secrets', true);
    expect(await get('/readyz')).toMatchObject({ status: 200, body: 'ok\n' });
    expect((await get('/readyz?verbose')).body).toBe('[+] credentials\n[+] secrets\nok\n');
  });

  it('is ready although a part does not work, and names it', async () => {
    const readiness: CheckResult[] = [
      ['secrets in a', true],
      ['secrets in b', { degraded: 'may not list' }],
    ];
    await start({ readiness: () => readiness });
    const body = '[!] secrets in b: may not list\nok\n';
    expect(await get('/readyz')).toMatchObject({ status: 200, body });
  });

  it('is alive although it is not ready', async () => {
    await start({ readiness: () => [['watch', 'no']] });
    expect(await get('/livez')).toMatchObject({ status: 200, body: 'ok\n' });
  });

  it('shows the metrics', async () => {
    await start();
    const { status, body, headers } = await get('/metrics');
    expect({ status, body }).toEqual({ status: 200, body: 'up 1\ndown 0\n' });
    expect(headers.get('content-type')).toBe('text/plain; version=0.0.4');
  });

  it('answers nothing else', async () => {
    await start();
    expect((await get('/')).status).toBe(404);
    expect((await get('//')).status).toBe(404);
    expect((await get('/metrics/x')).status).toBe(404);
    const posted = await get('/metrics', { method: 'POST', body: 'x' });
    expect(posted.status).toBe(405);
    expect(posted.headers.get('allow')).toBe('GET');
  });

  it('survives a check and metrics that throw', async () => {
    const broken = () => {
      throw new Error('a bug');
    };
    await start({ readiness: broken, metrics: { contentType: 'text/plain', chunks: broken } });
    expect((await get('/readyz')).status).toBe(500);
    expect((await get('/metrics')).status).toBe(500);
    expect((await get('/livez')).status).toBe(200);
  });

  it('rejects when it cannot listen on one of its ports, and then listens on none', async () => {
    const { port } = await start();
    const options = { host: '127.0.0.1', readiness: () => [] };
    const metrics = { contentType: '', chunks: async function* () {} };
    const starting = (ports: { port: number; probePort?: number }) =>
      startOperationsServer({ ...options, ...ports, metrics });
    await expect(starting({ port })).rejects.toThrow('EADDRINUSE');
    const [free = 0] = await freePorts(1);
    await expect(starting({ port: free, probePort: port })).rejects.toThrow('EADDRINUSE');
    await (await starting({ port: free })).close();
  });

  it('listens on every address by default, of IPv4 and of IPv6', async () => {
    const { port, url } = await start({ host: '::' });
    const isThere = Object.values(networkInterfaces()).some((all) =>
      all?.some(({ family }) => family === 'IPv6'),
    );
    expect(url).toBe(`http://${isThere ? '[::]' : '0.0.0.0'}:${port}`);
    for (const host of isThere ? ['127.0.0.1', '[::1]'] : ['127.0.0.1']) {
      expect((await fetch(`http://${host}:${port}/livez`)).status).toBe(200);
    }
  });

  it('responds to probes on a port of their own', async () => {
    const { url, port, probeUrl, probePort } = await start({ probePort: 0 });
    expect(probePort).not.toBe(port);
    const statusOf = async (base: string, path: string) => (await fetch(base + path)).status;
    for (const path of ['/livez', '/readyz']) {
      expect([path, await statusOf(probeUrl, path), await statusOf(url, path)]).toEqual([
        path,
        200,
        404,
      ]);
    }
    expect([await statusOf(probeUrl, '/metrics'), await statusOf(url, '/metrics')]).toEqual([
      404, 200,
    ]);
  });

  it('has one port when both are the same', async () => {
    const [free = 0] = await freePorts(1);
    const { probePort, probeUrl, url } = await start({ port: free, probePort: free });
    expect([probePort, probeUrl]).toEqual([free, url]);
    expect((await get('/livez')).status).toBe(200);
    expect((await get('/metrics')).status).toBe(200);
  });

  it('keeps no connection of a probe', async () => {
    await start();
    expect((await get('/livez')).headers.get('connection')).toBe('close');
    expect((await get('/readyz')).headers.get('connection')).toBe('close');
    expect((await get('/metrics')).headers.get('connection')).toBe('keep-alive');
  });

  it('serves two scrapes at once and asks others to come again', async () => {
    const release = Promise.withResolvers<void>();
    const chunks = async function* () {
      yield 'up 1\n';
      await release.promise;
    };
    await start({ metrics: { contentType: 'text/plain', chunks } });
    const [one, two] = [1, 2].map(() => fetch(`${server?.url}/metrics`));
    expect([(await one)?.status, (await two)?.status]).toEqual([200, 200]);
    const { status, headers } = await get('/metrics');
    expect([status, headers.get('retry-after')]).toEqual([503, '1']);
    release.resolve();
    await Promise.all([(await one)?.text(), (await two)?.text()]);
    await expect(get('/metrics')).resolves.toMatchObject({ status: 200 });
  });

  /** A scrape works in pieces; the delay of everything else is that of two pieces. */
  it('works on two scrapes at once, by however many scrapers', async () => {
    let running = 0;
    let most = 0;
    const chunks = async function* () {
      running += 1;
      most = Math.max(most, running);
      for (let n = 0; n < 10; n += 1) yield await nextTurn('x 1\n');
      running -= 1;
    };
    await start({ metrics: { contentType: 'text/plain', chunks } });
    const scrape = async () => (await get('/metrics')).status;
    const statuses = await Promise.all(Array.from({ length: 100 }, scrape));
    expect([most, running]).toEqual([2, 0]);
    expect(new Set(statuses)).toEqual(new Set([200, 503]));
  });

  it('drops the connection that has been idle for longest when 256 are open', async () => {
    const { port } = await start();
    const idle: Socket[] = [];
    const ended: number[] = [];
    for (let n = 0; n < 256; n += 1) {
      const socket = connect(port, '127.0.0.1').once('close', () => ended.push(n));
      await once(socket, 'connect');
      idle.push(socket);
    }
    const [first] = idle;
    first?.write('GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n');
    if (first !== undefined) await once(first, 'data');
    expect((await get('/livez')).status).toBe(200);
    const another = connect(port, '127.0.0.1');
    await once(another, 'connect');
    for (let tries = 0; ended.length === 0 && tries < 100; tries += 1) await sleep(100);
    expect(ended).toEqual([1]);
    another.destroy();
    for (const socket of idle) socket.destroy();
  });

  it('closes although a client keeps a connection on which it says nothing', async () => {
    const { port, close } = await start();
    const silent = connect(port, '127.0.0.1');
    await new Promise((resolve) => silent.once('connect', resolve));
    await close();
    server = undefined;
    expect(await text(silent)).toBe('');
    await expect(fetch(`http://127.0.0.1:${port}/livez`)).rejects.toThrow();
  });
});
