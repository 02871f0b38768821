import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { parse } from 'yaml';

const MAIN = join(import.meta.dirname, '../src/main.ts');
const SECRET = 'CaNaRy-secret';
const NO_TLS = { 'insecure-skip-tls-verify': true };
const NO_KUBECONFIG =
  'There is no kubeconfig and no service account; write the path of a kubeconfig to --kubeconfig or KUBECONFIG, or run in a pod that mounts the token of its service account';

interface Ended {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
  readonly seconds: number;
}

/** The whole process, as it is started in an image. */
describe('the process', () => {
  let dir: string;
  let server: Server;

  beforeAll(async () => {
    dir = await mkdtemp(join(tmpdir(), 'main-'));
    // Accepts what comes and says nothing
    server = createServer((socket) => socket.on('error', () => undefined));
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  });

  afterAll(async () => {
    server.close();
    await rm(dir, { recursive: true });
  });

  async function file(name: string, content: string): Promise<string> {
    const path = join(dir, name);
    await writeFile(path, content);
    return path;
  }

  const kubeconfig = (cluster: object = {}, current = 'x'): string => {
    const address = server.address();
    const port = typeof address === 'object' ? address?.port : 0;
    return JSON.stringify({
      clusters: [
        { name: 'c', cluster: { server: `http://127.0.0.1:${port}`, ...NO_TLS, ...cluster } },
      ],
      users: [{ name: 'u', user: { token: SECRET } }],
      contexts: [{ name: 'x', context: { cluster: 'c', user: 'u' } }],
      'current-context': current,
    });
  };

  async function run(
    args: readonly string[],
    { node = [], env = {} }: { node?: readonly string[]; env?: Record<string, string> } = {},
  ): Promise<Ended> {
    const began = performance.now();
    const child = spawn(process.execPath, [...node, MAIN, ...args], {
      env: { PATH: process.env['PATH'], HOME: dir, ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    const limit = setTimeout(() => child.kill('SIGKILL'), 30_000);
    const ended = new Promise<number | null>((resolve) => child.once('exit', resolve));
    const [stdout, stderr, code] = await Promise.all([
      text(child.stdout),
      text(child.stderr),
      ended,
    ]);
    clearTimeout(limit);
    return { code, stdout, stderr, seconds: (performance.now() - began) / 1_000 };
  }

  describe('ends with 2 and says what to do', () => {
    const isRefused = async (args: readonly string[], lines: string[], env = {}): Promise<void> => {
      const { code, stdout, stderr } = await run(args, { env });
      expect({ code, stdout, stderr }).toEqual({
        code: 2,
        stdout: '',
        stderr: lines.map((line) => `${line}\n`).join(''),
      });
    };

    it('without any kubeconfig', () => isRefused([], [NO_KUBECONFIG]));

    it('when the kubeconfig does not exist', async () => {
      const problem = `The kubeconfig ${dir}/missing can't be read (ENOENT); write the path of another to --kubeconfig or KUBECONFIG`;
      await isRefused(['--kubeconfig', join(dir, 'missing')], [problem]);
      await isRefused([], [problem], { KUBECONFIG: join(dir, 'missing') });
    });

    it('of all that is wrong with the configuration and the kubeconfig at once', async () => {
      const config = await file(
        'config.yaml',
        `leaderElection: {retrySeconds: 1.5, renewSeconds: 1.8}
watch: {namespaces: [a, b, a], selector: "team in (shop"}
renewal: {minimumSeconds: 86400}`,
      );
      await isRefused(
        ['--config', config],
        [
          `The configuration ${config} can't be used:`,
          '  - watch.namespaces: write "a" only once',
          '  - watch.selector: write a label selector, such as team=shop: ) is expected at the end',
          '  - leaderElection.retrySeconds: write less than renewSeconds / 1.2',
          '  - renewal.minimumSeconds: write a number from 1 to 600',
          NO_KUBECONFIG,
        ],
      );
    });

    it('of a proxy that is none, without its password', () =>
      isRefused(
        [],
        [
          'HTTPS_PROXY is no http:// or https:// URL',
          'NO_PROXY holds "10.0.0.0/33", which is no host, domain or address range',
          NO_KUBECONFIG,
        ],
        { HTTPS_PROXY: `user:${SECRET}@proxy:3128`, NO_PROXY: 'localhost,10.0.0.0/33' },
      ));

    it('when servers are not to be verified, along with the rest', () =>
      isRefused(
        [],
        [
          'NODE_TLS_REJECT_UNAUTHORIZED=0 would send secrets to any server in between; remove it, and write the certificate of the authority to caFile of the environment or to NODE_EXTRA_CA_CERTS',
          NO_KUBECONFIG,
        ],
        { NODE_TLS_REJECT_UNAUTHORIZED: '0' },
      ));
  });

  it('prints the effective configuration without a kubeconfig', async () => {
    const config = await file('few.yaml', 'workers: 3\nlog:\n  level: debug\n');
    const { code, stdout, stderr } = await run(['--check-config', '--config', config]);
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(parse(stdout)).toMatchObject({
      workers: 3,
      log: { level: 'debug', format: 'json' },
      operations: { host: '::', port: 8080 },
      tokenHosts: { timeoutSeconds: 10 },
    });
    const wrong = await file('wrong.yaml', 'workers: 0');
    expect(await run(['--check-config', '--config', wrong])).toMatchObject({
      code: 2,
      stdout: '',
      stderr: `The configuration ${wrong} can't be used:\n  - workers: write a number from 1 to 1000\n`,
    });
  });

  it('says at the start what it serves, and where', async () => {
    const path = await file('kubeconfig', kubeconfig());
    const watch = '{namespaces: [a, b], selector: team=shop}';
    const config = await file(
      'quiet.yaml',
      `operations: {host: 127.0.0.1, port: 0, probePort: 0}\nwatch: ${watch}`,
    );
    const child = spawn(process.execPath, [MAIN, '--kubeconfig', path, '--config', config], {
      env: { PATH: process.env['PATH'], POD_NAME: 'pod-1' },
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    const [line] = await once(child.stdout, 'data');
    child.kill('SIGKILL');
    const { timestamp, port, probePort, ...fields } = JSON.parse(String(line).split('\n')[0] ?? '');
    expect(fields).toEqual({
      level: 'info',
      message: 'Starting',
      version: expect.stringMatching(/^\d+\.\d+\.\d+/),
      identity: 'pod-1',
      apiServer: JSON.parse(kubeconfig()).clusters[0].cluster.server,
      scope: 'a, b; team=shop',
      environments: 'staging, production',
    });
    expect([timestamp, port, probePort]).toEqual([
      expect.any(String),
      expect.any(Number),
      expect.any(Number),
    ]);
    expect(port).not.toBe(probePort);
  });

  describe('ends with 1', () => {
    /** Within 15 s, and with no word but the kind and place of the bug. */
    async function endsBy(script: string, kind: string): Promise<void> {
      const path = await file('kubeconfig', kubeconfig());
      const config = await file('quiet.yaml', 'operations: {host: 127.0.0.1, port: 0}');
      const { code, stdout, stderr, seconds } = await run(
        ['--kubeconfig', path, '--config', config],
        { node: ['--import', await file('bug.mjs', script)] },
      );
      const last = JSON.parse(stdout.trimEnd().split('\n').at(-1) ?? '{}');
      expect({ code, last }).toMatchObject({
        code: 1,
        last: { level: 'error', message: 'The operator ends because of an unforeseen error', kind },
      });
      expect(stdout + stderr).not.toContain(SECRET);
      expect(seconds).toBeLessThan(15);
    }

    /** Runs a statement once the log has told that the operator starts, however long it takes to load. */
    const onceStarted = (statement: string): string => `
      const { write } = process.stdout;
      process.stdout.write = function (chunk, ...rest) {
        if (String(chunk).includes('"Starting"')) setImmediate(() => { ${statement} });
        return write.call(this, chunk, ...rest);
      };`;

    it('after an error that the election did not foresee', () =>
      endsBy(`Math.random = () => { throw new TypeError('${SECRET}'); }`, 'TypeError'));

    it('after an exception that nothing caught', () =>
      endsBy(onceStarted(`throw new RangeError('${SECRET}');`), 'RangeError'));

    it('after an exception before it has a log', async () => {
      const bug = `const { parse } = JSON;
        JSON.parse = (text) => {
          if (text.includes('convercus')) throw new TypeError('${SECRET}');
          return parse(text);
        }`;
      const node = ['--import', await file('early.mjs', bug)];
      const { code, stdout, stderr } = await run(['--version'], { node });
      expect({ code, stderr }).toEqual({ code: 1, stderr: '' });
      expect(JSON.parse(stdout)).toMatchObject({
        message: 'The operator ends because of an unforeseen error',
        kind: 'TypeError',
        at: expect.stringMatching(/command-line\.ts:\d+:\d+/),
      });
      expect(stdout).not.toContain(SECRET);
    });

    it('after a rejection that nothing handled', () =>
      endsBy(onceStarted(`Promise.reject('${SECRET}');`), 'string'));

    it('when its port is taken', async () => {
      const address = server.address();
      const port = typeof address === 'object' ? address?.port : 0;
      const config = await file('taken.yaml', `operations: {host: 127.0.0.1, port: ${port}}`);
      const path = await file('kubeconfig', kubeconfig());
      const { code, stdout } = await run(['--kubeconfig', path, '--config', config]);
      expect({ code, last: JSON.parse(stdout) }).toMatchObject({
        code: 1,
        last: { level: 'error', host: '127.0.0.1', port, code: 'EADDRINUSE' },
      });
    });
  });

  it('warns when the certificate of the API server is not verified', async () => {
    const path = await file('kubeconfig', kubeconfig());
    const config = await file('quiet.yaml', 'operations: {host: 127.0.0.1, port: 0}');
    const end = await file(
      'end.mjs',
      `const { write } = process.stdout;
      process.stdout.write = function (chunk, ...rest) {
        if (String(chunk).includes('insecure-skip-tls-verify')) setImmediate(() => { throw 1; });
        return write.call(this, chunk, ...rest);
      };`,
    );
    const args = ['--kubeconfig', path, '--config', config];
    const { stdout } = await run(args, { node: ['--import', end] });
    expect(stdout).toContain('remove insecure-skip-tls-verify from the kubeconfig');
  });

  it('cuts off no log, however slowly it is read', async () => {
    const path = await file('kubeconfig', kubeconfig());
    const config = await file('quiet.yaml', 'operations: {host: 127.0.0.1, port: 0}');
    const fill = `const { write } = process.stdout;
      process.stdout.write("x".repeat(1e6) + "\\n");
      process.stdout.write = function (chunk, ...rest) {
        if (String(chunk).includes('"Starting"')) setTimeout(() => { throw 1; }, 500);
        return write.call(this, chunk, ...rest);
      };`;
    const child = spawn(
      process.execPath,
      ['--import', await file('fill.mjs', fill), MAIN, '--kubeconfig', path, '--config', config],
      { stdio: ['ignore', 'pipe', 'ignore'] },
    );
    const exited = new Promise<number | null>((resolve) => child.once('exit', resolve));
    await new Promise((resolve) => setTimeout(resolve, 3_000));
    const stdout = await text(child.stdout);
    expect(await exited).toBe(1);
    expect(stdout.trimEnd().split('\n').at(-1)).toContain('an unforeseen error');
  });
});
