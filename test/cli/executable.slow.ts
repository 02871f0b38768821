import { spawn } from 'node:child_process';
import { statSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { bundleOperator } from '../../dev/bundled-operator.ts';
import { buildCliExecutable } from '../../dev/cli-executable.ts';
import type { Tenant } from '../../dev/testbed/tenant.ts';
import type { Testbed } from '../../dev/testbed/testbed.ts';
import { quantile } from '../cluster/report.ts';
import { type Role, testbedWithPeople } from './person.ts';

const LONG = 600_000;

/** 150 MB, and the bundle of the operator is built for it. */
describe('kubectl convercus as one executable', () => {
  let dir: string;
  let file: string;

  beforeAll(async () => {
    dir = await mkdtemp(join(tmpdir(), 'cli-executable-'));
    file = await buildCliExecutable(dir);
  });

  afterAll(() => rm(dir, { recursive: true }));

  interface Ran {
    readonly code: number | null;
    readonly out: string;
    readonly err: string;
  }

  /** Without Node in PATH. The identity provider runs in this process, which must not be held up by it. */
  async function run(
    args: readonly string[],
    env: NodeJS.ProcessEnv = {},
    command = file,
  ): Promise<Ran> {
    const child = spawn(command, args, {
      env: { PATH: dir, HOME: dir, ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    const closed = new Promise<number | null>((resolve) => child.once('close', resolve));
    const [out, err, code] = await Promise.all([text(child.stdout), text(child.stderr), closed]);
    return { code, out, err };
  }

  it('runs without Node', async () => {
    expect(await run(['--version'])).toEqual({
      code: 0,
      out: expect.stringMatching(/^\d+\.\d+\.\d+\n$/),
      err: '',
    });
  });

  it('tells in one sentence that there is no cluster', async () => {
    expect(await run(['list'])).toEqual({
      code: 3,
      out: '',
      err: expect.stringMatching(/^There is no kubeconfig[^\n]*\n$/),
    });
  });

  it('starts as fast as Node with the bundle, or half as fast at worst', async () => {
    const bundle = join(dir, 'bundle');
    await bundleOperator(bundle);
    const timeOf = async (command: string, ...args: string[]): Promise<number> => {
      const started = performance.now();
      await run([...args, '--version'], {}, command);
      return performance.now() - started;
    };
    const times = { executable: [] as number[], node: [] as number[] };
    // In turn: a busy machine slows both
    for (let start = 0; start < 9; start += 1) {
      times.executable.push(await timeOf(file));
      times.node.push(await timeOf(process.execPath, join(bundle, 'kubectl-convercus.js')));
    }
    const [ours, its] = [quantile(times.executable, 0.5), quantile(times.node, 0.5)];
    const size = (statSync(file).size / 1e6).toFixed(1);
    console.log(`${size} MB; starts in ${ours.toFixed(0)} ms, Node in ${its.toFixed(0)} ms`);
    expect(ours).toBeLessThan(2 * its);
  });

  describe('with the rights of its user', () => {
    let testbed: Testbed;
    let tenant: Tenant;

    beforeAll(async () => {
      testbed = await testbedWithPeople();
      tenant = await testbed.tenant();
      await tenant.credential('loyalty');
      await tenant.ready('loyalty');
    }, LONG);

    afterAll(() => testbed?.stop());

    const runAs = (role: Role, ...args: string[]): Promise<Ran> =>
      run([...args, '-n', tenant.namespace], {
        KUBECONFIG: testbed.controlPlane.userKubeconfig(role),
      });

    it('view: looks, and changes nothing', async () => {
      expect(await runAs('viewer', 'list')).toEqual({
        code: 0,
        out: expect.stringMatching(/^loyalty +T1 staging +yes +ok /m),
        err: '',
      });
      expect((await runAs('viewer', 'status', 'loyalty')).code).toBe(0);
      expect((await runAs('viewer', 'doctor', 'loyalty', '--no-login')).code).toBe(0);
      for (const args of [['renew'], ['suspend'], ['inspect'], ['token']]) {
        expect(await runAs('viewer', ...args, 'loyalty')).toEqual({
          code: 3,
          out: '',
          err: expect.stringMatching(/^You may not (patch|get) [^\n]*\n$/),
        });
      }
    });

    it('edit: renews, suspends, and reads the token', async () => {
      expect(await runAs('editor', 'renew', 'loyalty', '--wait')).toEqual({
        code: 0,
        out: 'shop-1/loyalty: renewed\n',
        err: '',
      });
      expect((await runAs('editor', 'suspend', 'loyalty')).code).toBe(0);
      expect((await runAs('editor', 'resume', 'loyalty')).code).toBe(0);
      expect((await runAs('editor', 'inspect', 'loyalty')).out).toMatch(/^Issuer {6}http/m);
      expect((await runAs('editor', 'token', 'loyalty')).out).toMatch(/^eyJ[\w.-]+\n$/);
    });

    it('none: one sentence', async () => {
      for (const args of [['list'], ['status', 'loyalty'], ['renew', 'loyalty']]) {
        expect(await runAs('stranger', ...args)).toEqual({
          code: 3,
          out: '',
          err: expect.stringMatching(/^You may not \w+ convercuscredentials[^\n]*\n$/),
        });
      }
    });
  });
});
