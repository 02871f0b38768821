import { execFile, spawnSync } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { bundleOperator, imageSettings } from '../../dev/bundled-operator.ts';
import { freePorts } from '../../dev/envtest/server-process.ts';

describe('the bundle of kubectl convercus', () => {
  let dir: string;

  beforeAll(async () => {
    dir = await mkdtemp(join(tmpdir(), 'cli-bundle-'));
    await bundleOperator(dir);
  });

  afterAll(() => rm(dir, { recursive: true }));

  const run = (args: readonly string[], nodeArguments: readonly string[] = []) =>
    spawnSync(process.execPath, [...nodeArguments, join(dir, 'kubectl-convercus.js'), ...args], {
      env: { PATH: process.env['PATH'], HOME: dir },
      encoding: 'utf8',
    });

  it('is one file that tells its version and its commands', () => {
    expect(run(['--version']).stdout).toMatch(/^\d+\.\d+\.\d+\n$/);
    const { status, stdout } = run(['--help']);
    expect([status, stdout]).toEqual([0, expect.stringContaining('status [options] [name]')]);
  });

  it('runs in the image of the operator', async () => {
    const { nodeArguments } = await imageSettings();
    const { status, stdout, stderr } = run(['--version'], nodeArguments);
    expect([status, stdout, stderr]).toEqual([0, expect.stringMatching(/^\d/), '']);
  });

  it('tells in one sentence that there is no cluster', () => {
    const { status, stderr } = run(['list']);
    expect([status, stderr]).toEqual([
      3,
      expect.stringMatching(/^There is no kubeconfig[^\n]*\n$/),
    ]);
  });

  it('tells in one sentence that Node is too old', () => {
    const old =
      "Object.defineProperty(process,'versions',{value:{...process.versions,node:'22.18.0'}})";
    const { status, stderr } = run(['list'], ['--import', `data:text/javascript,${old}`]);
    const needed = 'kubectl convercus needs Node 22.19 or newer, and this one is 22.18.0';
    expect([status, stderr]).toEqual([5, `${needed}: install it from https://nodejs.org.\n`]);
  });

  it('imports nothing by name that Node 20 lacks', async () => {
    const cli = await readFile(join(dir, 'kubectl-convercus.js'), 'utf8');
    expect(cli).toContain('.getCACertificates(');
    expect(cli).not.toMatch(/import[^;"]*getCACertificates/);
  });

  it('goes through the HTTP proxy of a kubeconfig', async () => {
    const asked: (string | undefined)[] = [];
    const proxy = createServer().on('connect', ({ url }, socket) => {
      asked.push(url);
      socket.end('HTTP/1.1 502 Bad Gateway\r\n\r\n');
    });
    const [port] = await freePorts(1);
    await new Promise<void>((resolve) => void proxy.listen(port, '127.0.0.1', resolve));
    const kubeconfig = join(dir, 'kubeconfig');
    await writeFile(kubeconfig, kubeconfigWith({ 'proxy-url': `http://127.0.0.1:${port}` }));
    const args = [join(dir, 'kubectl-convercus.js'), 'status', 'a', '-n', 'shop'];
    const env = { PATH: process.env['PATH'], HOME: dir, KUBECONFIG: kubeconfig };
    const ended = promisify(execFile)(process.execPath, args, { env });
    await expect(ended).rejects.toThrow("https://api.invalid can't be reached");
    await new Promise((resolve) => proxy.close(resolve));
    expect(new Set(asked)).toEqual(new Set(['api.invalid:443']));
  });

  it('adds nothing to that of the operator', async () => {
    const operator = await readFile(join(dir, 'main.js'), 'utf8');
    const cli = await readFile(join(dir, 'kubectl-convercus.js'), 'utf8');
    for (const word of ['kubectl convercus', 'kubectl-convercus', 'runCli']) {
      expect([word, cli.includes(word), operator.includes(word)]).toEqual([word, true, false]);
    }
  });
});

const kubeconfigWith = (cluster: Readonly<Record<string, string>>): string =>
  JSON.stringify({
    apiVersion: 'v1',
    kind: 'Config',
    clusters: [{ name: 'c', cluster: { server: 'https://api.invalid', ...cluster } }],
    users: [{ name: 'u', user: { token: 't' } }],
    contexts: [{ name: 'c', context: { cluster: 'c', user: 'u' } }],
    'current-context': 'c',
  });
