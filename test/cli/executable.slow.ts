import { spawnSync } from 'node:child_process';
import { statSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { buildCliExecutable } from '../../dev/cli-executable.ts';
import type { Tenant } from '../../dev/testbed/tenant.ts';
import type { Testbed } from '../../dev/testbed/testbed.ts';
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

  /** Without Node in PATH. */
  const run = (args: readonly string[], env: NodeJS.ProcessEnv = {}) =>
    spawnSync(file, args, { env: { PATH: dir, HOME: dir, ...env }, encoding: 'utf8' });

  it('runs without Node', () => {
    const { status, stdout, stderr } = run(['--version']);
    expect([status, stdout, stderr]).toEqual([0, expect.stringMatching(/^\d+\.\d+\.\d+\n$/), '']);
  });

  it('tells in one sentence that there is no cluster', () => {
    const { status, stderr } = run(['list']);
    expect([status, stderr]).toEqual([
      3,
      expect.stringMatching(/^There is no kubeconfig[^\n]*\n$/),
    ]);
  });

  it('starts within a second', () => {
    const took = Array.from({ length: 9 }, () => {
      const started = performance.now();
      run(['--version']);
      return performance.now() - started;
    }).sort((a, b) => a - b);
    const [median = Infinity] = took.slice(4);
    console.log(`${statSync(file).size} bytes, median of 9 starts: ${median.toFixed(0)} ms`);
    expect(median).toBeLessThan(1_000);
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

    const runAs = (role: Role, ...args: string[]) => {
      const { status, stdout, stderr } = run([...args, '-n', tenant.namespace], {
        KUBECONFIG: testbed.controlPlane.userKubeconfig(role),
      });
      return { code: status, out: stdout, err: stderr };
    };

    it('view: looks, and changes nothing', () => {
      expect(runAs('viewer', 'list')).toEqual({
        code: 0,
        out: expect.stringMatching(/^loyalty +T1 staging +yes +ok /m),
        err: '',
      });
      expect(runAs('viewer', 'status', 'loyalty').code).toBe(0);
      expect(runAs('viewer', 'doctor', 'loyalty', '--no-login').code).toBe(0);
      for (const args of [['renew'], ['suspend'], ['inspect'], ['token']]) {
        expect(runAs('viewer', ...args, 'loyalty')).toEqual({
          code: 3,
          out: '',
          err: expect.stringMatching(/^You may not (patch|get) [^\n]*\n$/),
        });
      }
    });

    it('edit: renews, suspends, and reads the token', () => {
      expect(runAs('editor', 'renew', 'loyalty', '--wait')).toEqual({
        code: 0,
        out: 'shop-1/loyalty: renewed\n',
        err: '',
      });
      expect(runAs('editor', 'suspend', 'loyalty').code).toBe(0);
      expect(runAs('editor', 'resume', 'loyalty').code).toBe(0);
      expect(runAs('editor', 'inspect', 'loyalty').out).toMatch(/^Issuer {6}http/m);
      expect(runAs('editor', 'token', 'loyalty').out).toMatch(/^eyJ[\w.-]+\n$/);
    });

    it('none: one sentence', () => {
      for (const args of [['list'], ['status', 'loyalty'], ['renew', 'loyalty']]) {
        expect(runAs('stranger', ...args)).toEqual({
          code: 3,
          out: '',
          err: expect.stringMatching(/^You may not \w+ convercuscredentials[^\n]*\n$/),
        });
      }
    });
  });
});
