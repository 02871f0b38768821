import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, readdir, rm, rmdir } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

/**
 * A cluster runs in its own PID, mount and network namespaces. When their first process ends, the kernel ends all
 * processes and removes all mounts in them. The first process ends when this process ends, also by SIGKILL. Only files
 * and cgroups have to be removed.
 */

const NAME = /^envtest-cluster-(\d+)$/;
const CGROUPS = '/sys/fs/cgroup';

/** The first process adopts orphans, and kills the program when the pipe from this process closes. */
const FIRST_PROCESS = `
exec 3<&0
"$@" < /dev/null 3<&- &
work=$!
(read -r _ <&3; kill -s KILL "$work") &
wait "$work"
`;

interface RunOptions {
  env?: NodeJS.ProcessEnv;
  /** Called with the process whose namespaces `nsenter` can enter. */
  onStart?: (pid: number) => void;
}

/** The namespaces of one cluster, with a folder and a cgroup of the same name. */
export class Isolation {
  readonly dir: string;
  readonly name: string;

  private constructor(parent: string, name: string) {
    this.name = name;
    this.dir = join(parent, name);
  }

  /** Also removes the folders and cgroups of earlier runs that were killed. */
  static async create(parent = tmpdir()): Promise<Isolation> {
    for (const name of await readdir(parent)) {
      const owner = NAME.exec(name)?.[1];
      if (owner !== undefined && !isAlive(Number(owner)))
        await new Isolation(parent, name).remove();
    }
    const isolation = new Isolation(parent, `envtest-cluster-${process.pid}`);
    await isolation.remove();
    await mkdir(isolation.dir, { mode: 0o755 });
    // Some entries are links to the same hierarchy, so a folder may exist already.
    for (const cgroup of await isolation.#cgroups()) await mkdir(cgroup, { recursive: true });
    return isolation;
  }

  /** Runs the program in new namespaces. @returns its exit code */
  async run(
    program: string,
    args: string[],
    { env = {}, onStart = () => {} }: RunOptions = {},
  ): Promise<number> {
    const namespaces = ['--mount', '--net', '--pid', '--fork', '--mount-proc', '--kill-child'];
    const inside = ['sh', '-c', FIRST_PROCESS, 'first-process', program, ...args];
    const child = spawn('unshare', [...namespaces, ...inside], {
      // In its own process group: Ctrl-C reaches only this process, which ends the child.
      detached: true,
      stdio: ['pipe', 'inherit', 'inherit'],
      env: { ...process.env, ...env },
    });
    child.once('spawn', () => onStart(child.pid ?? 0));
    const stop = (): void => void child.stdin.end();
    process.once('SIGINT', stop).once('SIGTERM', stop);
    const [code] = await once(child, 'exit');
    process.off('SIGINT', stop).off('SIGTERM', stop);
    return code ?? 1;
  }

  /**
   * Call it after `run`. Retries while the kernel still ends processes. The folder is removed last: if this process is
   * killed before, the next run finds the folder and removes the rest.
   */
  async remove(): Promise<void> {
    for (const cgroup of await this.#cgroups()) await removeCgroup(cgroup);
    await rm(this.dir, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 });
  }

  /** One per hierarchy in cgroup v1, a single one in v2. */
  async #cgroups(): Promise<string[]> {
    const entries = await readdir(CGROUPS);
    const hierarchies = entries.includes('cgroup.controllers') ? [''] : entries;
    return hierarchies.map((hierarchy) => join(CGROUPS, hierarchy, this.name));
  }
}

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}

/** Only folders can be removed, from the leaves up: the files in a cgroup belong to the kernel. */
async function removeCgroup(path: string, tries = 300): Promise<void> {
  const children = await readdir(path, { withFileTypes: true }).catch(() => undefined);
  if (children === undefined) return;
  for (const child of children) {
    if (child.isDirectory()) await removeCgroup(join(path, child.name), tries);
  }
  try {
    await rmdir(path);
  } catch (error) {
    if (tries === 0) throw error;
    await sleep(100);
    await removeCgroup(path, tries - 1);
  }
}
