import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { stringify } from 'yaml';
import type { Taken } from './probe.ts';

export interface OperatorOptions {
  /** What Node runs; the folder it is in holds the sources. */
  readonly entry: string;
  readonly apiServer: string;
  /** The configuration file's content. */
  readonly config: Readonly<Record<string, unknown>>;
}

/** The operator as its own process, as a user starts it, which tells what functions of it have run. */
export class OperatorProcess {
  readonly #child: ChildProcess;
  readonly #dir: string;
  readonly #printed: Buffer[] = [];

  private constructor(child: ChildProcess, dir: string) {
    this.#child = child;
    this.#dir = dir;
    for (const stream of [child.stdout, child.stderr])
      stream?.on('data', (piece: Buffer) => this.#printed.push(piece));
  }

  static async start({ entry, apiServer, config }: OperatorOptions): Promise<OperatorProcess> {
    const dir = await mkdtemp(join(tmpdir(), 'convercus-walk-'));
    const files = { config: join(dir, 'config.yaml'), kubeconfig: join(dir, 'kubeconfig') };
    await writeFile(files.config, stringify(config));
    await writeFile(files.kubeconfig, stringify(kubeconfigFor(apiServer)));
    const args = ['--config', files.config, '--kubeconfig', files.kubeconfig];
    const execArgv = ['--import', join(import.meta.dirname, 'probe.ts')];
    // V8 counts calls less exactly in code that comes from a cache
    const env = { ...process.env, NODE_OPTIONS: '', NODE_DISABLE_COMPILE_CACHE: '1' };
    const child = fork(entry, args, { execArgv, env, silent: true });
    return new OperatorProcess(child, dir);
  }

  /** What it has printed. */
  get log(): string {
    return Buffer.concat(this.#printed).toString();
  }

  get hasEnded(): boolean {
    return this.#child.exitCode !== null || this.#child.signalCode !== null;
  }

  /** What has run since the last time, or since the start. */
  async take(): Promise<Taken> {
    const answered = once(this.#child, 'message');
    this.#child.send('take');
    const [taken]: Taken[] = await answered;
    if (taken === undefined) throw new Error('no answer');
    return taken;
  }

  async stop(): Promise<void> {
    if (!this.hasEnded) {
      const ended = once(this.#child, 'exit');
      this.#child.kill('SIGKILL');
      await ended;
    }
    await rm(this.#dir, { recursive: true });
  }
}

const kubeconfigFor = (server: string) => ({
  apiVersion: 'v1',
  kind: 'Config',
  'current-context': 'walk',
  clusters: [{ name: 'walk', cluster: { server, 'insecure-skip-tls-verify': true } }],
  users: [{ name: 'walk', user: {} }],
  contexts: [{ name: 'walk', context: { cluster: 'walk', user: 'walk' } }],
});
