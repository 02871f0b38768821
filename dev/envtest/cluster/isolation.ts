import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, readdir, rm, rmdir } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

/**
 * A cluster runs in PID, mount and network namespaces of its own. The kernel ends and unmounts whatever is in them
 * when their first process ends, and that one ends with us, however we die: only files and cgroups need to be removed.
 */

const NAME = /^convercus-cluster-(\d+)$/;
const CGROUPS = '/sys/fs/cgroup';

/** The first process: it gives way when our end of the pipe closes, and meanwhile takes in orphans. */
const FIRST_PROCESS = `
exec 3<&0
"$@" < /dev/null 3<&- &
work=$!
(read -r _ <&3; kill -s KILL "$work") &
wait "$work"
`;

interface RunOptions {
  env?: NodeJS.ProcessEnv;
  /** Gets the process whose namespaces can be entered. */
  onStart?: (pid: number) => void;
}

/** A place for one cluster: a folder, and a cgroup of the same name. */
export class Isolation {
  readonly dir: string;
  readonly name: string;

  private constructor(parent: string, name: string) {
    this.name = name;
    this.dir = join(parent, name);
  }

  /** Also removes what earlier runs that were killed have left. */
  static async create(parent = tmpdir()): Promise<Isolation> {
    for (const name of await readdir(parent)) {
      const owner = NAME.exec(name)?.[1];
      if (owner !== undefined && !isAlive(Number(owner)))
        await new Isolation(parent, name).remove();
    }
    const isolation = new Isolation(parent, `convercus-cluster-${process.pid}`);
    await isolation.remove();
    await mkdir(isolation.dir, { mode: 0o755 });
    // Two names of one hierarchy may be links to it.
    for (const cgroup of await isolation.#cgroups()) await mkdir(cgroup, { recursive: true });
    return isolation;
  }

  /** Answers the program's exit code. The program may use `node:net`, `kubectl` and so on as if alone on the machine. */
  async run(
    program: string,
    args: string[],
    { env = {}, onStart = () => {} }: RunOptions = {},
  ): Promise<number> {
    const namespaces = ['--mount', '--net', '--pid', '--fork', '--mount-proc', '--kill-child'];
    const inside = ['sh', '-c', FIRST_PROCESS, 'first-process', program, ...args];
    const child = spawn('unshare', [...namespaces, ...inside], {
      // Out of the terminal's process group: a Ctrl-C reaches us, and we end it.
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
   * What was inside must have ended; the kernel may still be at it for a moment. The folder goes last, for by it the
   * next run knows what is left when this one is killed meanwhile.
   */
  async remove(): Promise<void> {
    for (const cgroup of await this.#cgroups()) await removeCgroup(cgroup);
    await rm(this.dir, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 });
  }

  /** One per hierarchy with version 1, one in all with version 2. */
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

/** Its files are the kernel's: only folders are removed, from the leaves up. */
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
