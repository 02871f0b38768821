import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { randomInt } from 'node:crypto';
import { once } from 'node:events';
import { closeSync, openSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';

/** Free ports, and child processes that end when this process ends. */

export type Log = (line: string) => void;

export const silent: Log = () => {};

/** Standard output and error of a command that ends by itself; undefined when it is absent or fails. */
export async function outputOf(command: string, args: string[]): Promise<string | undefined> {
  try {
    const { stdout, stderr } = await promisify(execFile)(command, args, { timeout: 60_000 });
    return stdout + stderr;
  } catch {
    return undefined;
  }
}

/** Below the ports of outgoing connections (Linux: from 32768) and node ports (Kubernetes: from 30000). */
const PORTS = { from: 10_000, to: 30_000 };

/**
 * `count` different loopback ports on which nothing listens. The system gives none of them to an outgoing connection,
 * so a server that is restarted finds its port free. They are random, so that runs at the same time rarely collide.
 */
export async function freePorts(count: number): Promise<number[]> {
  const ports = new Set<number>();
  while (ports.size < count) {
    const port = randomInt(PORTS.from, PORTS.to);
    if (await isFree(port)) ports.add(port);
  }
  return [...ports];
}

async function isFree(port: number): Promise<boolean> {
  const server = createServer().listen(port, '127.0.0.1');
  try {
    await once(server, 'listening');
    await once(server.close(), 'close');
    return true;
  } catch {
    return false;
  }
}

export interface ServerOptions {
  name: string;
  command: string;
  args: string[];
  env?: Record<string, string>;
  /** Standard output and error are appended to it. */
  logFile: string;
}

/** The exit code, or the signal that ended the process; both null when it could not be started. */
export interface Ending {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

/** A server in its own process group: Ctrl-C in the terminal reaches only this process, which stops the server. */
export class ServerProcess {
  readonly #options: ServerOptions;
  readonly #child: ChildProcess;
  /** Resolves when the process has ended. */
  readonly ended: Promise<Ending>;

  constructor(options: ServerOptions) {
    this.#options = options;
    const log = openSync(options.logFile, 'a');
    this.#child = spawn(options.command, options.args, {
      detached: true,
      stdio: ['ignore', log, log],
      env: { ...inherited(), ...options.env },
    });
    closeSync(log);
    const watchdog = watchOver(this.#child.pid);
    this.ended = new Promise((resolve) => {
      const ended = (ending: Ending): void => {
        signalGroup(this.#child.pid, 'SIGKILL');
        watchdog.kill('SIGKILL');
        resolve(ending);
      };
      this.#child
        .once('exit', (code, signal) => ended({ code, signal }))
        .once('error', () => ended({ code: null, signal: null }));
    });
  }

  get pid(): number | undefined {
    return this.#child.pid;
  }

  get running(): boolean {
    const { pid, exitCode, signalCode } = this.#child;
    return pid !== undefined && exitCode === null && signalCode === null;
  }

  /**
   * Repeats `probe` until it resolves.
   * @throws with the end of the log when the process ends first, or after `seconds`
   */
  async untilReady(probe: () => Promise<unknown>, seconds: number): Promise<void> {
    const deadline = Date.now() + seconds * 1000;
    while (!(await succeeds(probe))) {
      if (!this.running) throw await this.#failure('ended before it was ready');
      if (Date.now() > deadline) throw await this.#failure(`was not ready within ${seconds} s`);
      await sleep(100);
    }
  }

  /** SIGTERM, then SIGKILL after the grace period; with 0 SIGKILL at once. */
  async stop(graceSeconds: number): Promise<void> {
    if (this.running && graceSeconds > 0) signalGroup(this.#child.pid, 'SIGTERM');
    const grace = setTimeout(() => signalGroup(this.#child.pid, 'SIGKILL'), graceSeconds * 1000);
    await this.ended;
    clearTimeout(grace);
  }

  /** Signals the process group; does nothing when the process has ended. */
  signal(signal: NodeJS.Signals): void {
    if (this.running) signalGroup(this.#child.pid, signal);
  }

  async #failure(what: string): Promise<Error> {
    const { name, logFile } = this.#options;
    const log = await readFile(logFile, 'utf8').catch(() => '');
    const tail = log.trimEnd().split('\n').slice(-25).join('\n');
    return new Error(`${name} ${what}. The end of its log:\n${tail}`);
  }
}

/**
 * Kills the process group when this process ends, also by SIGKILL: the pipe closes then, and `read` returns.
 */
function watchOver(pid: number | undefined): ChildProcess {
  const script = 'read -r _; kill -s KILL -- "-$1"';
  const args = ['-c', script, 'watchdog', String(pid ?? '')];
  return spawn('sh', args, { detached: true, stdio: ['pipe', 'ignore', 'ignore'] });
}

function signalGroup(pid: number | undefined, signal: NodeJS.Signals): void {
  try {
    if (pid !== undefined) process.kill(-pid, signal);
  } catch {
    // The whole group has already ended.
  }
}

async function succeeds(probe: () => Promise<unknown>): Promise<boolean> {
  try {
    await probe();
    return true;
  } catch {
    return false;
  }
}

/** Of the person who runs it, without what an operator reads: a proxy, or the identity of a pod. */
function inherited(): NodeJS.ProcessEnv {
  const read =
    /^(https?_proxy|no_proxy|pod_name|pod_namespace|kubeconfig|node_tls_reject_unauthorized)$/i;
  return Object.fromEntries(Object.entries(process.env).filter(([name]) => !read.test(name)));
}
