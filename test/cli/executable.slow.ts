import { spawnSync } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { buildCliExecutable } from '../../dev/cli-executable.ts';

/** 150 MB, and the bundle of the operator is built for it. */
describe('kubectl convercus as one executable', () => {
  let dir: string;
  let file: string;

  beforeAll(async () => {
    dir = await mkdtemp(join(tmpdir(), 'cli-executable-'));
    file = await buildCliExecutable(dir);
  });

  afterAll(() => rm(dir, { recursive: true }));

  /** Without Node in PATH. */
  const run = (...args: string[]) =>
    spawnSync(file, args, { env: { PATH: dir, HOME: dir }, encoding: 'utf8' });

  it('runs without Node', () => {
    const { status, stdout, stderr } = run('--version');
    expect([status, stdout, stderr]).toEqual([0, expect.stringMatching(/^\d+\.\d+\.\d+\n$/), '']);
  });

  it('tells in one sentence that there is no cluster', () => {
    const { status, stderr } = run('list');
    expect([status, stderr]).toEqual([
      3,
      expect.stringMatching(/^There is no kubeconfig[^\n]*\n$/),
    ]);
  });
});
