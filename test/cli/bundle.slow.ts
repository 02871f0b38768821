import { spawnSync } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { bundleOperator, imageSettings } from '../../dev/bundled-operator.ts';

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

  it('adds nothing to that of the operator', async () => {
    const operator = await readFile(join(dir, 'main.js'), 'utf8');
    const cli = await readFile(join(dir, 'kubectl-convercus.js'), 'utf8');
    for (const word of ['kubectl convercus', 'kubectl-convercus', 'runCli']) {
      expect([word, cli.includes(word), operator.includes(word)]).toEqual([word, true, false]);
    }
  });
});
