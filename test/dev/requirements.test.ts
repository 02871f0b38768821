import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterEach, describe, expect, it } from '@jest/globals';
import { missingForCluster } from '../../dev/envtest/cluster/requirements.ts';

const ROOT = join(import.meta.dirname, '../..');
const cache = process.env['XDG_CACHE_HOME'];

(process.platform === 'linux' ? describe : describe.skip)('what a cluster needs', () => {
  afterEach(() => {
    if (cache === undefined) delete process.env['XDG_CACHE_HOME'];
    else process.env['XDG_CACHE_HOME'] = cache;
  });

  it('is not in folders that the cluster covers', async () => {
    const covered = async () =>
      (await missingForCluster()).filter((problem) => problem.includes('covers'));
    expect(await covered()).toEqual([]);
    process.env['XDG_CACHE_HOME'] = '/var/lib/somewhere';
    expect(await covered()).toEqual([expect.stringContaining('/var/lib/somewhere')]);
  });
});

describe('a machine without Go, Java and Maven', () => {
  const run = promisify(execFile);
  const environment = { PATH: '/nowhere', XDG_CACHE_HOME: '/nowhere', HOME: '/nowhere' };

  /** What a command says before it fails. */
  async function complaint(...args: string[]): Promise<string[]> {
    const ended = await run(process.execPath, args, { cwd: ROOT, env: environment }).then(
      () => {
        throw new Error('it did not fail');
      },
      ({ stderr, code }: { stderr: string; code: number }) => ({ stderr, code }),
    );
    expect(ended.code).toBe(1);
    return ended.stderr.trim().split('\n');
  }

  const GO =
    /^Go \d\S+ or newer builds .+, and there is none: install it from https:\/\/go\.dev\/dl/;

  it('is told before npm test starts anything', async () => {
    const said = await complaint('dev/test.ts');
    expect(said).toEqual([expect.stringMatching(GO), expect.stringMatching(GO)]);
  });

  it('is told before npm run e2e starts anything', async () => {
    const said = await complaint('dev/e2e.ts', '--no-cluster');
    expect(said).toEqual([
      expect.stringMatching(GO),
      expect.stringMatching(GO),
      expect.stringContaining('install a JDK'),
      expect.stringContaining('install Apache Maven'),
    ]);
  });

  it('is told before the demo starts anything', async () => {
    expect((await complaint('dev/demo/main.ts')).join('\n')).toMatch(
      / {2}- Go \d\S+ or newer builds/,
    );
  });
});

it('tells a Node that is too old in one sentence', async () => {
  const script = `Object.defineProperty(process, 'versions', { value: { node: '18.20.1' } });
    await import(${JSON.stringify(join(ROOT, 'dev/node-version.js'))})`;
  const ended = promisify(execFile)(process.execPath, ['--input-type=module', '-e', script]);
  await expect(ended).rejects.toMatchObject({
    code: 1,
    stderr: expect.stringMatching(
      /^Node [\d.]+ or newer is needed, and this one is 18\.20\.1: .+\n$/,
    ),
  });
});
