import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { randomInt } from 'node:crypto';
import { once } from 'node:events';
import { closeSync, openSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';

/** What the real servers of tests and demo share: free ports, a cache, and processes that never outlive us. */

export type Log = (line: string) => void;

export const silent: Log = () => {};

/** Where downloads and builds are kept between runs, outside the checkout. */
export function cacheDir(): string {
  const base = process.env['XDG_CACHE_HOME'] || join(homedir(), '.cache');
  return join(base, 'convercus-operator');
}

/** Standard output and error of a command that ends by itself; undefined when it is absent or fails. */
export async function outputOf(command: string, args: string[]): Promise<string | undefined> {
  try {
    const { stdout, stderr } = await promisify(execFile)(command, args, { timeout: 60_000 });
    return stdout + stderr;
  } catch {
    return undefined;
  }
}

/** Below what systems give to outgoing connections (from 32768 on) and Kubernetes to node ports (from 30000 on). */
const PORTS = { from: 10_000, to: 30_000 };

/**
 * So many different loopback ports that nothing listened on a moment ago. No outgoing connection gets one of them, so
 * that a server finds its port free again after an outage; and they are random, so that runs at the same time differ.
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
  /** Gets both output streams, appended. */
  logFile: string;
}

/** The exit code, or the signal that ended it; neither when it could not be started. */
export interface Ending {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

/** A server in a process group of its own: a Ctrl-C in the terminal reaches us, and we stop it in order. */
export class ServerProcess {
  readonly #options: ServerOptions;
  readonly #child: ChildProcess;
  /** How it ended, when it has. */
  readonly ended: Promise<Ending>;

  constructor(options: ServerOptions) {
    this.#options = options;
    const log = openSync(options.logFile, 'a');
    this.#child = spawn(options.command, options.args, {
      detached: true,
      stdio: ['ignore', log, log],
      env: { ...process.env, ...options.env },
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
   * Resolves when `probe` does.
   * @throws with the end of the log when the process ends before that, or the time is up
   */
  async untilReady(probe: () => Promise<unknown>, seconds: number): Promise<void> {
    const deadline = Date.now() + seconds * 1000;
    while (!(await succeeds(probe))) {
      if (!this.running) throw await this.#failure('ended before it was ready');
      if (Date.now() > deadline) throw await this.#failure(`was not ready within ${seconds} s`);
      await sleep(100);
    }
  }

  /** SIGTERM, and SIGKILL when the grace is over; a grace of 0 is a SIGKILL at once. */
  async stop(graceSeconds: number): Promise<void> {
    if (this.running && graceSeconds > 0) signalGroup(this.#child.pid, 'SIGTERM');
    const grace = setTimeout(() => signalGroup(this.#child.pid, 'SIGKILL'), graceSeconds * 1000);
    await this.ended;
    clearTimeout(grace);
  }

  /** To its whole process group; nothing happens when it has ended. */
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
 * Kills the group when we are gone: our end of the pipe closes however we die, and only then does `read` return.
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
