import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';

/** The operator's containers as processes of the machine. */

export interface OperatorProcess {
  readonly pid: number;
  /** Milliseconds since the machine started, accurate to 10. */
  readonly started: number;
  readonly cgroup: string;
}

const CLOCK_TICKS = 100;

/** The process of the pod's container; undefined when it is not running. */
export async function processOf(podUid: string): Promise<OperatorProcess | undefined> {
  for (const entry of await readdir('/proc')) {
    if (!/^\d+$/.test(entry)) continue;
    const cgroups = await readFile(`/proc/${entry}/cgroup`, 'utf8').catch(() => '');
    const command = await readFile(`/proc/${entry}/cmdline`, 'utf8').catch(() => '');
    if (!cgroups.includes(podUid) || !command.includes('/app/bundle/main.js')) continue;
    const stat = await readFile(`/proc/${entry}/stat`, 'utf8').catch(() => '');
    const ticks = Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19]);
    const memory = /^\d+:memory:(.*)$/m.exec(cgroups) ?? /^0::(.*)$/m.exec(cgroups);
    const started = (ticks / CLOCK_TICKS) * 1_000;
    return { pid: Number(entry), started, cgroup: memory?.[1] ?? '' };
  }
  return undefined;
}

/** Milliseconds since the machine started. */
export async function uptime(): Promise<number> {
  return Number((await readFile('/proc/uptime', 'utf8')).split(' ')[0]) * 1_000;
}

/** Memory of the container in bytes, from cgroup v1 or v2. */
export async function memoryOf({ cgroup }: OperatorProcess): Promise<number> {
  const version1 = join('/sys/fs/cgroup/memory', cgroup, 'memory.usage_in_bytes');
  const version2 = join('/sys/fs/cgroup', cgroup, 'memory.current');
  return Number(await readFile(version1, 'utf8').catch(() => readFile(version2, 'utf8')));
}
