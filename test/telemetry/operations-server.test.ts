import { connect } from 'node:net';
import { text } from 'node:stream/consumers';
import { afterEach, describe, expect, it } from '@jest/globals';
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

  it('rejects when it cannot listen', async () => {
    const { port } = await start();
    const options = { host: '127.0.0.1', port, readiness: () => [] };
    const metrics = { contentType: '', chunks: async function* () {} };
    await expect(startOperationsServer({ ...options, metrics })).rejects.toThrow('EADDRINUSE');
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
