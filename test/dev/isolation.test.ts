import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { Isolation } from '../../dev/envtest/cluster/isolation.ts';
import { eventually } from '../../dev/testbed/objects.ts';

const isPossible = process.platform === 'linux' && process.getuid?.() === 0;
const CGROUP = existsSync('/sys/fs/cgroup/cgroup.controllers')
  ? '/sys/fs/cgroup'
  : '/sys/fs/cgroup/memory';

/** Mounts a file system and leaves a process in the background. */
const untidy = (then: string): string[] => [
  '-c',
  `mount -t tmpfs tmpfs /mnt && ip link set lo up && (setsid sleep 1000 &); echo up > "$0"; ${then}`,
];

(isPossible ? describe : describe.skip)('an isolation', () => {
  /** A folder of this test's own: in the default one other runs clean up. */
  let parent: string;

  beforeEach(async () => {
    parent = await mkdtemp(join(tmpdir(), 'isolations-'));
  });

  afterEach(() => rm(parent, { recursive: true }));

  it('passes on the exit code, and ends and unmounts what is left', async () => {
    const isolation = await Isolation.create(parent);
    const sign = join(isolation.dir, 'sign');
    const cgroup = join(CGROUP, isolation.name);
    expect(await isolation.run('sh', [...untidy('exit 3'), sign])).toBe(3);
    expect(await readFile(sign, 'utf8')).toBe('up\n');
    expect(await readFile('/proc/mounts', 'utf8')).not.toContain(' /mnt tmpfs');
    expect(existsSync(cgroup)).toBe(true);
    await isolation.remove();
    expect([existsSync(isolation.dir), existsSync(cgroup)]).toEqual([false, false]);
  }, 120_000);

  it('ends when its owner is killed, and the next one cleans up', async () => {
    const script = `
      import { Isolation } from '${join(import.meta.dirname, '../../dev/envtest/cluster/isolation.ts')}';
      const isolation = await Isolation.create('${parent}');
      const onStart = (pid) => console.log(pid, isolation.dir);
      await isolation.run('sh', ['-c', 'sleep 1000'], { onStart });
    `;
    const stdio: ['ignore', 'pipe', 'inherit'] = ['ignore', 'pipe', 'inherit'];
    const env = { ...process.env, NODE_OPTIONS: '' };
    const args = ['--input-type=module', '--eval', script];
    const owner = spawn(process.execPath, args, { stdio, env });
    const [line] = await once(owner.stdout, 'data');
    const [pid, dir = ''] = String(line).trim().split(' ');
    owner.kill('SIGKILL');
    const isGone = async (): Promise<boolean> => !existsSync(`/proc/${pid}`);
    expect(await eventually(isGone, Boolean)).toBe(true);
    expect([existsSync(dir), existsSync(join(CGROUP, basename(dir)))]).toEqual([true, true]);
    await (await Isolation.create(parent)).remove();
    expect([existsSync(dir), existsSync(join(CGROUP, basename(dir)))]).toEqual([false, false]);
  }, 120_000);
});
