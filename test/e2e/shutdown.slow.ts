import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import { proxies } from '../../dev/keycloak/dialect/faults.ts';
import { eventually } from '../../dev/testbed/objects.ts';
import type { Operator } from '../../dev/testbed/operator.ts';
import type { Tenant } from '../../dev/testbed/tenant.ts';
import type { Testbed } from '../../dev/testbed/testbed.ts';
import { startSilentServer } from '../support/silent-server.ts';
import { AT_ONCE, IN_TIME, Stops } from './stops.ts';

const NO_TLS = { 'insecure-skip-tls-verify': true };

/** The operator as its own process, and how it ends. */
describe('a stop', () => {
  let stops: Stops;
  let testbed: Testbed;
  let dir: string;

  beforeAll(async () => {
    dir = await mkdtemp(join(tmpdir(), 'shutdown-'));
    stops = await Stops.prepare();
    testbed = stops.testbed;
  }, 600_000);

  afterEach(() => stops.reset());

  afterAll(async () => {
    await stops?.end();
    await rm(dir, { recursive: true, force: true });
  });

  async function requestIsLogged(tenant: Tenant, name: string): Promise<void> {
    await tenant.credential(name);
    await eventually(
      async () => tenant.requests().length,
      (count) => count > 0,
    );
  }

  /** The provider has received a token request and delays its response. */
  async function requestArrives(tenant: Tenant, milliseconds: number): Promise<void> {
    testbed.provider.faults.add({ kind: 'delay', milliseconds, realm: tenant.realm });
    await tenant.credential('loyalty');
    await eventually(
      async () => testbed.provider.inFlight,
      (count) => count > 0,
    );
  }

  it.each(['SIGTERM', 'SIGINT'] as const)('of an idle leader by %s', async (signal) => {
    const operator = await stops.startLeader();
    await stops.stops(operator, AT_ONCE, signal);
    expect(await testbed.leader()).toBe('');
  });

  it('of a leader that holds a token, with an idle connection of a scraper open', async () => {
    const operator = await stops.startLeader();
    const shop = await testbed.tenant();
    await shop.credential('loyalty');
    await shop.ready('loyalty');
    await open(operator, '');
    await open(operator, 'GET /livez HTTP/1.1\r\nHost: x\r\n\r\n');
    await stops.stops(operator, AT_ONCE);
  });

  it('while a client sends a request for metrics slowly', async () => {
    const operator = await stops.startLeader();
    await open(operator, 'GET /metrics HTTP/1.1\r\nHost:');
    await stops.stops(operator, IN_TIME);
  });

  it('of a standby', async () => {
    await stops.startLeader();
    const standby = await stops.startAnother({ startedWhen: '/readyz' });
    await stops.stops(standby, AT_ONCE);
    expect(await testbed.leader()).not.toBe('');
  });

  it('after a 429', async () => {
    const operator = await stops.startLeader();
    const shop = await testbed.tenant();
    testbed.provider.faults.add({ ...proxies.tooManyRequests('300'), realm: shop.realm });
    await shop.credential('loyalty');
    await eventually(
      () => shop.conditions('loyalty'),
      ({ Ready }) => Ready !== undefined,
    );
    await stops.stops(operator, AT_ONCE);
  });

  it('while a token request hangs and another waits for a pause to end', async () => {
    const operator = await stops.startLeader();
    const [slow, paused] = [await testbed.tenant(), await testbed.tenant()];
    testbed.provider.faults.add({ kind: 'hang', realm: slow.realm });
    await requestIsLogged(slow, 'loyalty');
    testbed.provider.faults.add({ ...proxies.tooManyRequests('300'), realm: paused.realm });
    await requestIsLogged(paused, 'loyalty');
    await paused.secret('other', { client_secret: 'canary-other' });
    await paused.credential('waits', { credentialsSecretRef: { name: 'other' } });
    await sleep(1_000);
    await stops.stops(operator, IN_TIME);
    expect(await testbed.leader()).toBe('');
  });

  it('while a token is on its way, which is stored', async () => {
    const operator = await stops.startLeader();
    const shop = await testbed.tenant();
    await requestArrives(shop, 3_000);
    await stops.stops(operator, IN_TIME);
    expect(await shop.conditions('loyalty')).toMatchObject({ Ready: 'True/TokenValid' });
    expect(await shop.events('loyalty')).toEqual(['Normal TokenIssued']);
  });

  it('by two signals, of which the second changes nothing', async () => {
    const operator = await stops.startLeader();
    const shop = await testbed.tenant();
    await requestArrives(shop, 3_000);
    operator.signal('SIGTERM');
    await sleep(500);
    await stops.stops(operator, IN_TIME);
    expect(await shop.conditions('loyalty')).toMatchObject({ Ready: 'True/TokenValid' });
    expect(await testbed.leader()).toBe('');
  });

  it('of a leader while the API server is frozen', async () => {
    const operator = await stops.startLeader();
    stops.freezeApiServer();
    await stops.stops(operator, IN_TIME);
  });

  it('in the middle of a reconcile, with the API server frozen', async () => {
    const operator = await stops.startLeader();
    const shop = await testbed.tenant();
    await requestArrives(shop, 3_000);
    stops.freezeApiServer();
    await stops.ends(operator, IN_TIME);
  });

  /** A connection that is being opened can only be ended by the end of the process. */
  it('of a leader that has been without its API server for a minute', async () => {
    const operator = await stops.startLeader();
    stops.freezeApiServer();
    await sleep(60_000);
    await stops.ends(operator, AT_ONCE);
  });

  it('of a standby while the API server is frozen', async () => {
    await stops.startLeader();
    const standby = await stops.startAnother({ startedWhen: '/readyz' });
    stops.freezeApiServer();
    await sleep(3_000);
    await stops.stops(standby, AT_ONCE);
  });

  it.each(['http', 'https'])(
    'before the first list and the Lease were reached, by %s',
    async (protocol) => {
      await using silent = await startSilentServer();
      const kubeconfig = await kubeconfigFor(`${protocol}://127.0.0.1:${silent.port}`, {});
      const operator = await stops.startAnother({ kubeconfig });
      await sleep(1_000);
      await stops.stops(operator, AT_ONCE);
    },
  );

  it('while the credential plugin of the kubeconfig hangs', async () => {
    await using silent = await startSilentServer();
    const exec = {
      apiVersion: 'client.authentication.k8s.io/v1',
      command: 'sleep',
      args: ['600'],
    };
    const kubeconfig = await kubeconfigFor(`http://127.0.0.1:${silent.port}`, { exec });
    const operator = await stops.startAnother({ kubeconfig });
    await sleep(1_000);
    const last = await stops.ends(operator, AT_ONCE);
    // The plugin is a process that only ends by itself
    expect(last).toMatchObject({ message: 'Still open at the end' });
    expect(last['open']).toContain('ProcessWrap');
  });

  /** A client of the operations server that has sent this text and waits. */
  async function open(operator: Operator, text: string): Promise<void> {
    const socket = connect(Number(new URL(operator.url).port), '127.0.0.1');
    await once(socket, 'connect');
    socket.on('error', () => undefined).resume();
    stops.later(() => socket.destroy());
    await new Promise<void>((resolve) => socket.write(text === '' ? '' : text, () => resolve()));
    await sleep(300);
  }

  async function kubeconfigFor(server: string, user: object): Promise<string> {
    const path = join(dir, 'kubeconfig');
    const config = {
      clusters: [{ name: 'c', cluster: { server, ...NO_TLS } }],
      users: [{ name: 'u', user }],
      contexts: [{ name: 'x', context: { cluster: 'c', user: 'u' } }],
      'current-context': 'x',
    };
    await writeFile(path, JSON.stringify(config));
    return path;
  }
});
