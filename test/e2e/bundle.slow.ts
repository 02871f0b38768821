import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { copyFile, mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createServer, type Server } from 'node:tls';
import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import { stringify } from 'yaml';
import { bundleOperator, imageSettings } from '../../dev/bundled-operator.ts';
import { abcRealm } from '../../dev/convercus/realm.ts';
import {
  type IdentityProvider,
  startIdentityProvider,
} from '../../dev/keycloak/dialect/identity-provider.ts';
import { decoded, encoded } from '../../dev/simulation/objects.ts';
import { eventually } from '../../dev/testbed/objects.ts';
import { LoopbackApiServer } from '../../dev/walk/loopback-api-server.ts';
import { selfSigned } from '../oauth/self-signed.ts';
import { aCredential } from '../support/builders.ts';

const ROOT = join(import.meta.dirname, '../..');
const TOKEN = 'CaNaRy-service-account-token';
const SECRET = 'CaNaRy-client-secret';

/** What Node does with exactly the flags of the image. Servers speak TLS with certificates of an authority of ours. */
describe('the bundle, started as in the image', () => {
  let dir: string;
  let node: Awaited<ReturnType<typeof imageSettings>>;
  let operator: ChildProcess | undefined;

  beforeAll(async () => {
    dir = await mkdtemp(join(tmpdir(), 'bundle-'));
    await bundleOperator(join(dir, 'bundle'));
    await copyFile(join(ROOT, 'package.json'), join(dir, 'package.json'));
    node = await imageSettings();
  });

  afterEach(async () => {
    if (operator?.exitCode === null && operator.signalCode === null) {
      operator.kill('SIGKILL');
      await once(operator, 'exit');
    }
    operator = undefined;
  });

  afterAll(() => rm(dir, { recursive: true }));

  /** As kubelet projects a volume: each file is a link into a folder, to which another link leads. */
  async function projected(name: string, files: Readonly<Record<string, string>>): Promise<string> {
    const volume = join(dir, name);
    await mkdir(join(volume, '..2026_11_26'), { recursive: true });
    await symlink('..2026_11_26', join(volume, '..data'));
    for (const [file, content] of Object.entries(files)) {
      await writeFile(join(volume, '..data', file), content);
      await symlink(join('..data', file), join(volume, file));
    }
    return volume;
  }

  const environment = () => ({ PATH: process.env['PATH'], HOME: dir, ...node.env });

  function run(args: readonly string[]): { printed: () => string } {
    const printed: Buffer[] = [];
    const command = [...node.nodeArguments, join(dir, 'bundle/main.js'), ...args];
    operator = spawn(process.execPath, command, { env: environment() });
    for (const stream of [operator.stdout, operator.stderr])
      stream?.on('data', (piece: Buffer) => printed.push(piece));
    return { printed: () => Buffer.concat(printed).toString() };
  }

  const runToEnd = (args: readonly string[]) =>
    spawnSync(process.execPath, [...node.nodeArguments, ...args], {
      env: environment(),
      encoding: 'utf8',
    });

  describe('against servers', () => {
    const authority = selfSigned();
    const api = new LoopbackApiServer();
    let provider: IdentityProvider;
    let front: Server;
    const authorized = new Set<string>();

    beforeAll(async () => {
      provider = await startIdentityProvider({ tls: authority });
      provider.realms.add({ ...(await abcRealm(SECRET, 'unused')), realm: 'abc-staging' });
      api.state.namespaces.set('shop', 'active').set('operator', 'active');
      api.state.put(
        'secrets',
        {
          type: 'Opaque',
          metadata: { namespace: 'shop', name: 'convercus-abc' },
          data: encoded({ client_secret: SECRET }),
        },
        'kubectl',
      );
      const { metadata, spec } = aCredential();
      const { namespace, name } = metadata;
      api.state.put(
        'convercuscredentials',
        { metadata: { namespace, name }, spec: { ...spec } },
        'kubectl',
      );
      front = await tlsInFrontOf(await api.listen());
    });

    afterAll(async () => {
      await provider.close();
      await api.close();
      front.close();
    });

    /** Notes who has asked. */
    async function tlsInFrontOf(url: string): Promise<Server> {
      const server = createServer({ key: authority.key, cert: authority.cert }, (socket) => {
        socket.on('data', (data) => {
          const [, bearer] = /authorization: Bearer (\S+)/i.exec(data.toString()) ?? [];
          if (bearer !== undefined) authorized.add(bearer);
        });
        const behind = connect(Number(new URL(url).port), '127.0.0.1');
        socket.pipe(behind).pipe(socket);
        for (const end of [socket, behind]) end.on('error', () => undefined);
      });
      server.listen(0, '127.0.0.1');
      await once(server, 'listening');
      return server;
    }

    it('publishes a token, with certificates and a service account from projected volumes', async () => {
      const address = front.address();
      const port = typeof address === 'object' ? address?.port : 0;
      const account = await projected('account', { 'ca.crt': authority.cert, token: TOKEN });
      const trust = await projected('trust', { 'ca.pem': authority.cert });
      const login = { name: 'tokenFile', config: { tokenFile: join(account, 'token') } };
      const cluster = {
        server: `https://127.0.0.1:${port}`,
        'certificate-authority': join(account, 'ca.crt'),
      };
      const kubeconfig = {
        clusters: [{ name: 'c', cluster }],
        users: [{ name: 'u', user: { 'auth-provider': login } }],
        contexts: [{ name: 'x', context: { cluster: 'c', user: 'u' } }],
        'current-context': 'x',
      };
      const config = {
        environments: {
          staging: {
            tokenUrl: `${provider.url}/realms/{realm}/protocol/openid-connect/token`,
            caFile: join(trust, 'ca.pem'),
          },
        },
        leaderElection: { namespace: 'operator' },
        operations: { host: '127.0.0.1', port: 0, probePort: 0 },
      };
      const files = await projected('config', {
        'config.yaml': stringify(config),
        kubeconfig: stringify(kubeconfig),
      });
      const { printed } = run([
        `--config=${join(files, 'config.yaml')}`,
        `--kubeconfig=${join(files, 'kubeconfig')}`,
      ]);
      const target = await eventually(
        async () => api.state.get('secrets', 'shop/loyalty-token'),
        (found) => found !== undefined || operator?.exitCode !== null,
        30,
      );
      expect([printed(), decoded(target?.data)['token']]).toEqual([
        expect.any(String),
        expect.stringMatching(/^ey/),
      ]);
      expect([...authorized]).toEqual([TOKEN]);
      await signals(printed);
      expect(printed()).not.toMatch(/CaNaRy|Debugger|warning/i);
    });

    /** The debugger does not start; SIGTERM ends the process with 0. */
    async function signals(printed: () => string): Promise<void> {
      operator?.kill('SIGUSR1');
      const metrics = /"port":(\d+)/.exec(printed())?.[1];
      const text = await (await fetch(`http://127.0.0.1:${metrics}/metrics`)).text();
      expect(text).toContain('nodejs_version_info');
      operator?.kill('SIGTERM');
      if (operator !== undefined) expect(await once(operator, 'close')).toEqual([0, null]);
    }
  });

  it('says that it can not start the command of a kubeconfig', async () => {
    const exec = { apiVersion: 'client.authentication.k8s.io/v1', command: 'login' };
    const kubeconfig = join(dir, 'exec.kubeconfig');
    const content = {
      clusters: [{ name: 'c', cluster: { server: 'https://127.0.0.1:1' } }],
      users: [{ name: 'u', user: { exec } }],
      contexts: [{ name: 'x', context: { cluster: 'c', user: 'u' } }],
      'current-context': 'x',
    };
    await writeFile(kubeconfig, stringify(content));
    const { status, stderr } = runToEnd([
      join(dir, 'bundle/main.js'),
      `--kubeconfig=${kubeconfig}`,
    ]);
    expect({ status, stderr }).toEqual({
      status: 2,
      stderr: `The kubeconfig ${kubeconfig} logs in by a command, which Node may not start with --permission, as in the image; use a token or a client certificate, or run Node without --permission\n`,
    });
  });

  it.each([
    [
      'write a file',
      `fs.writeFileSync(${JSON.stringify(join(tmpdir(), 'x'))}, '')`,
      'ERR_ACCESS_DENIED',
    ],
    ['start a process', `child_process.spawnSync('true')`, 'ERR_ACCESS_DENIED'],
    ['start a thread', `new worker_threads.Worker('1', {eval: true})`, 'ERR_ACCESS_DENIED'],
    ['load a native library', `process.dlopen({exports: {}}, '/x.node')`, 'ERR_DLOPEN_DISABLED'],
    ['open the debugger', `inspector.open(0)`, 'ERR_ACCESS_DENIED'],
    ['run code from a text', `eval('1')`, 'EvalError'],
    ['make a function from a text', `new Function('1')`, 'EvalError'],
    ['change prototypes', `({}).__proto__.x = 1`, 'TypeError'],
  ])('can not %s', async (_, code, refusal) => {
    const script = join(dir, 'try.mjs');
    const modules = ['fs', 'child_process', 'worker_threads', 'inspector'];
    const imports = modules.map((name) => `import ${name} from 'node:${name}';`).join('\n');
    const told = 'console.log(error.code ?? error.name)';
    await writeFile(script, `${imports}\ntry { ${code} } catch (error) { ${told} }`);
    const { stdout } = runToEnd([script]);
    expect(stdout.trim()).toBe(refusal);
  });
});
