import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import { proxies } from '../../dev/keycloak/dialect/faults.ts';
import { eventually } from '../../dev/objects.ts';
import type { Operator, OperatorOptions } from '../../dev/operator.ts';
import type { Tenant } from '../../dev/testbed/tenant.ts';
import { Testbed } from '../../dev/testbed/testbed.ts';

/** Seconds for an idle operator. 1 s is promised; the machine may be busy. */
const AT_ONCE = 2;
/** Seconds when servers are slow or away. Kubernetes kills after 30 s. */
const IN_TIME = 25;

const NO_TLS = { 'insecure-skip-tls-verify': true };
const STOPPED = { level: 'info', message: 'Stopped', timestamp: expect.any(String) };

/** The operator as its own process, and how it ends. */
describe('a stop', () => {
  let testbed: Testbed;
  let dir: string;
  const measured: string[] = [];
  const cleanUp: (() => unknown)[] = [];

  beforeAll(async () => {
    dir = await mkdtemp(join(tmpdir(), 'shutdown-'));
    testbed = await Testbed.start();
    await testbed.operator.kill();
  }, 600_000);

  afterEach(async () => {
    for (const undo of cleanUp.splice(0)) await undo();
    testbed.provider.faults.clear();
  });

  afterAll(async () => {
    await testbed?.stop();
    await rm(dir, { recursive: true, force: true });
    process.stdout.write(`${measured.join('\n')}\n`);
  });

  /** The servers and the configuration of the last start. */
  async function started(): Promise<Operator> {
    await testbed.operator.run();
    cleanUp.push(() => testbed.crash());
    await eventually(
      async () => [await testbed.leader(), await identityOf(testbed.operator)],
      ([holder, identity]) => holder === identity,
    );
    return testbed.operator;
  }

  async function another(options: Partial<OperatorOptions>): Promise<Operator> {
    const operator = await testbed.startOperator({ startedWhen: '/livez', ...options });
    cleanUp.push(() => operator.stop());
    return operator;
  }

  /** Of the last start. */
  async function identityOf(operator: Operator): Promise<string | undefined> {
    const starts = (await operator.log()).split('\n').filter((line) => line.includes('"Starting"'));
    return JSON.parse(starts.at(-1) ?? '{}').identity;
  }

  /** Expects exit code 0 in time. @returns the last line of the log */
  async function ends(
    operator: Operator,
    withTimeout: number,
    signal: 'SIGTERM' | 'SIGINT' = 'SIGTERM',
  ): Promise<Record<string, unknown>> {
    const began = performance.now();
    if (operator.pid !== undefined) process.kill(operator.pid, signal);
    const ending = await operator.ended;
    const seconds = (performance.now() - began) / 1_000;
    const { currentTestName = '' } = expect.getState();
    measured.push(`${seconds.toFixed(2)} s, exit code ${ending?.code}: ${currentTestName}`);
    expect(ending).toEqual({ code: 0, signal: null });
    expect(seconds).toBeLessThan(withTimeout);
    return JSON.parse((await operator.log()).trimEnd().split('\n').at(-1) ?? '{}');
  }

  /** Nothing is open at the end: else there would be another line, and the process would not end by itself. */
  async function stops(operator: Operator, withTimeout: number, signal?: 'SIGTERM' | 'SIGINT') {
    expect(await ends(operator, withTimeout, signal)).toEqual(STOPPED);
  }

  async function metWith(tenant: Tenant, name: string): Promise<void> {
    await tenant.credential(name);
    await eventually(
      async () => tenant.requests().length,
      (count) => count > 0,
    );
  }

  /** SIGSTOP: the kernel accepts connections, and no response is sent. */
  function freezeApiServer(): void {
    const [, pid = 0] = testbed.controlPlane.pids;
    process.kill(pid, 'SIGSTOP');
    cleanUp.unshift(() => process.kill(pid, 'SIGCONT'));
  }

  it.each(['SIGTERM', 'SIGINT'] as const)('of an idle leader by %s', async (signal) => {
    const operator = await started();
    await stops(operator, AT_ONCE, signal);
    expect(await testbed.leader()).toBe('');
  });

  it('of a leader that holds a token, with an idle connection of a scraper open', async () => {
    const operator = await started();
    const shop = await testbed.tenant();
    await shop.credential('loyalty');
    await shop.ready('loyalty');
    await open(operator, '');
    await open(operator, 'GET /livez HTTP/1.1\r\nHost: x\r\n\r\n');
    await stops(operator, AT_ONCE);
  });

  it('while a client sends a request for metrics slowly', async () => {
    const operator = await started();
    await open(operator, 'GET /metrics HTTP/1.1\r\nHost:');
    await stops(operator, IN_TIME);
  });

  it('of a standby', async () => {
    await started();
    const standby = await another({ startedWhen: '/readyz' });
    await stops(standby, AT_ONCE);
    expect(await testbed.leader()).not.toBe('');
  });

  it('after a 429', async () => {
    const operator = await started();
    const shop = await testbed.tenant();
    testbed.provider.faults.add({ ...proxies.tooManyRequests('300'), realm: shop.realm });
    await metWith(shop, 'loyalty');
    await sleep(1_000);
    await stops(operator, AT_ONCE);
  });

  it('while a token request hangs and another waits for a pause to end', async () => {
    const operator = await started();
    const [slow, paused] = [await testbed.tenant(), await testbed.tenant()];
    testbed.provider.faults.add({ kind: 'hang', realm: slow.realm });
    await metWith(slow, 'loyalty');
    testbed.provider.faults.add({ ...proxies.tooManyRequests('300'), realm: paused.realm });
    await metWith(paused, 'loyalty');
    await paused.secret('other', { client_secret: 'other' });
    await paused.credential('waits', { credentialsSecretRef: { name: 'other' } });
    await sleep(1_000);
    await stops(operator, IN_TIME);
    expect(await testbed.leader()).toBe('');
  });

  it('while a token is on its way, which is stored', async () => {
    const operator = await started();
    const shop = await testbed.tenant();
    testbed.provider.faults.add({ kind: 'delay', milliseconds: 5_000, realm: shop.realm });
    await shop.credential('loyalty');
    await sleep(2_000);
    await stops(operator, IN_TIME);
    expect(await shop.conditions('loyalty')).toMatchObject({ Ready: 'True/TokenValid' });
    expect(await shop.events('loyalty')).toEqual(['Normal TokenIssued']);
  });

  it('by two signals, of which the second changes nothing', async () => {
    const operator = await started();
    const shop = await testbed.tenant();
    testbed.provider.faults.add({ kind: 'delay', milliseconds: 5_000, realm: shop.realm });
    await shop.credential('loyalty');
    await sleep(2_000);
    operator.signal('SIGTERM');
    await sleep(500);
    await stops(operator, IN_TIME);
    expect(await shop.conditions('loyalty')).toMatchObject({ Ready: 'True/TokenValid' });
    expect(await testbed.leader()).toBe('');
  });

  it('of a leader while the API server is frozen', async () => {
    const operator = await started();
    freezeApiServer();
    await stops(operator, IN_TIME);
  });

  /** A connection that is being opened can only be ended by the end of the process. */
  it('of a leader that has been without its API server for a minute', async () => {
    const operator = await started();
    freezeApiServer();
    await sleep(60_000);
    await ends(operator, AT_ONCE);
  });

  it('in the middle of a pass, with the API server frozen', async () => {
    const operator = await started();
    const shop = await testbed.tenant();
    testbed.provider.faults.add({ kind: 'delay', milliseconds: 3_000, realm: shop.realm });
    await shop.credential('loyalty');
    await sleep(1_500);
    freezeApiServer();
    await ends(operator, IN_TIME);
  });

  it('of a standby while the API server is frozen', async () => {
    await started();
    const standby = await another({ startedWhen: '/readyz' });
    freezeApiServer();
    await sleep(3_000);
    await stops(standby, AT_ONCE);
  });

  it('before the first list and the Lease were reached', async () => {
    const silent = await silence();
    cleanUp.push(() => silent.close());
    const operator = await another({ kubeconfig: await kubeconfigFor(portOf(silent), {}) });
    await sleep(1_000);
    await stops(operator, AT_ONCE);
  });

  it('while the credential plugin of the kubeconfig hangs', async () => {
    const silent = await silence();
    cleanUp.push(() => silent.close());
    const exec = {
      apiVersion: 'client.authentication.k8s.io/v1',
      command: 'sleep',
      args: ['600'],
    };
    const kubeconfig = await kubeconfigFor(portOf(silent), { exec });
    const operator = await another({ kubeconfig });
    await sleep(1_000);
    const last = await ends(operator, AT_ONCE);
    // The plugin is a process that only ends by itself
    expect(last).toMatchObject({ message: 'Still open at the end' });
    expect(last['open']).toContain('ProcessWrap');
  });

  /** A client of the operations server that has sent this text and waits. */
  async function open(operator: Operator, text: string): Promise<void> {
    const socket = connect(Number(new URL(operator.url).port), '127.0.0.1');
    socket.on('error', () => undefined).resume();
    cleanUp.push(() => socket.destroy());
    await new Promise<void>((resolve) => socket.write(text === '' ? '' : text, () => resolve()));
    await sleep(300);
  }

  async function kubeconfigFor(port: number, user: object): Promise<string> {
    const path = join(dir, `kubeconfig-${port}`);
    const config = {
      clusters: [{ name: 'c', cluster: { server: `http://127.0.0.1:${port}`, ...NO_TLS } }],
      users: [{ name: 'u', user }],
      contexts: [{ name: 'x', context: { cluster: 'c', user: 'u' } }],
      'current-context': 'x',
    };
    await writeFile(path, JSON.stringify(config));
    return path;
  }
});

/** Accepts connections and sends nothing. */
async function silence(): Promise<{ readonly server: Server; readonly close: () => void }> {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket.on('error', () => undefined));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const close = (): void => {
    server.close();
    for (const socket of sockets) socket.destroy();
  };
  return { server, close };
}

function portOf({ server }: { readonly server: Server }): number {
  const address = server.address();
  return typeof address === 'object' ? (address?.port ?? 0) : 0;
}
