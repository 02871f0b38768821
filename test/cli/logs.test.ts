import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { Person } from './person.ts';

const LINES = [
  { timestamp: '2026-11-26T01:00:00.000Z', level: 'info', message: 'Starting', version: '0.1.0' },
  {
    timestamp: '2026-11-26T01:00:01.000Z',
    level: 'info',
    message: 'Token renewed',
    namespace: 'shop',
    name: 'loyalty',
    reason: 'RenewalDue',
  },
  {
    timestamp: '2026-11-26T01:00:02.000Z',
    level: 'warn',
    message: 'Renewal failed',
    namespace: 'shop',
    name: 'other',
  },
  {
    timestamp: '2026-11-26T01:00:03.000Z',
    level: 'debug',
    message: 'Reconciled',
    key: 'shop/loyalty',
  },
  {
    timestamp: '2026-11-26T01:00:04.000Z',
    level: 'info',
    message: 'Token renewed',
    namespace: 'warehouse',
    name: 'ClusterConvercusCredential/loyalty',
  },
];

/** Without kubelet no API server has logs. This one answers as it would. */
describe('kubectl convercus logs', () => {
  let server: Server;
  let dir: string;
  let person: Person;
  let log: string;
  let asked: string[];
  let lease: string;

  beforeAll(async () => {
    server = createServer((request, response) => {
      const url = request.url ?? '';
      asked.push(url);
      response.setHeader('content-type', 'application/json');
      response.end(url.includes('/log?') ? log : JSON.stringify({ items: itemsOf(url) }));
    }).listen(0, '127.0.0.1');
    await once(server, 'listening');
    dir = await mkdtemp(join(tmpdir(), 'cli-logs-'));
    person = new Person({ kubeconfig: await kubeconfig(), namespace: 'shop' });
  });

  beforeEach(() => {
    log = LINES.map((line) => `${JSON.stringify(line)}\n`).join('');
    asked = [];
    lease = 'convercus-operator';
  });

  afterAll(async () => {
    server.close();
    await rm(dir, { recursive: true });
  });

  async function kubeconfig(): Promise<string> {
    const address = server.address();
    const port = typeof address === 'object' ? address?.port : 0;
    const cluster = { server: `http://127.0.0.1:${port}`, 'insecure-skip-tls-verify': true };
    const file = join(dir, 'kubeconfig');
    const config = {
      clusters: [{ name: 'c', cluster }],
      users: [{ name: 'u', user: {} }],
      contexts: [{ name: 'x', context: { cluster: 'c', user: 'u' } }],
      'current-context': 'x',
    };
    await writeFile(file, JSON.stringify(config));
    return file;
  }

  function itemsOf(url: string): object[] {
    if (url.includes('/deployments')) return [{ metadata: { namespace: 'operators' } }];
    if (url.includes('/pods'))
      return ['replica-1', 'replica-2'].map((name) => ({ metadata: { name } }));
    const spec = {
      holderIdentity: 'replica-2',
      renewTime: new Date().toISOString(),
      leaseDurationSeconds: 15,
    };
    return [{ metadata: { name: lease }, spec }];
  }

  it('shows those of the leader about one credential', async () => {
    const { code, out } = await person.cli('logs', 'loyalty');
    expect(out).toBe(
      '2026-11-26T01:00:01.000Z INFO  Token renewed namespace="shop" name="loyalty" reason="RenewalDue"\n' +
        '2026-11-26T01:00:03.000Z DEBUG Reconciled key="shop/loyalty"\n',
    );
    expect(asked.at(-1)).toBe(
      '/api/v1/namespaces/operators/pods/replica-2/log?container=operator&tailLines=1000',
    );
    expect(code).toBe(0);
  });

  it('shows those of the leader of a release with a name of its own', async () => {
    lease = 'tokens';
    await person.cli('logs');
    expect(asked.at(-1)).toContain('/pods/replica-2/log?');
  });

  it('shows those about a credential of the cluster, in all its namespaces', async () => {
    const { out } = await person.cli('logs', 'cconvcred/loyalty');
    expect(out).toBe(
      '2026-11-26T01:00:04.000Z INFO  Token renewed namespace="warehouse" name="ClusterConvercusCredential/loyalty"\n',
    );
  });

  it('shows all, as they were written', async () => {
    const { out } = await person.cli('logs', '-f', '--tail', '9', '-o', 'json');
    expect(out).toBe(log);
    expect(asked.at(-1)).toContain('tailLines=9&follow=true');
  });

  it('tells how to read a log in text', async () => {
    log = '2026-11-26T01:00:00.000Z INFO  Starting\n';
    const { code, err } = await person.cli('logs');
    expect([code, err]).toEqual([
      3,
      'The log of pod "replica-2" is not in JSON (log.format of the operator); read it with: kubectl logs -n operators replica-2\n',
    ]);
  });
});
