import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { cacheDir } from '../../../envtest/cache-dir.ts';
import type { ControlPlane } from '../../../envtest/control-plane.ts';
import { absentFrom, buildInto, goLacks, pinIn } from '../../../envtest/go-build.ts';
import { freePorts, type Log, ServerProcess } from '../../../envtest/server-process.ts';

/** External Secrets Operator (ESO): what it takes to run its controller, without its webhook and cert-controller. */

const PINNED_IN = join(import.meta.dirname, 'tools');
const MODULE = 'github.com/external-secrets/external-secrets';
const PROGRAM = 'external-secrets';
const NAMESPACE = 'external-secrets';

export interface Release {
  readonly version: string;
  readonly program: string;
  readonly crds: readonly string[];
}

/**
 * From the cache, else built into it.
 * @throws when there is no Go that can build it
 */
export async function ensureExternalSecrets(log: Log): Promise<Release> {
  const pattern = new RegExp(`^require ${MODULE} (v\\S+)`, 'm');
  const version = await pinIn(PINNED_IN, 'version of External Secrets Operator', pattern);
  const dir = join(cacheDir(), `external-secrets-${version}`);
  if ((await absentFrom(dir, [PROGRAM])).length > 0) await build(dir, log);
  const crds = join(dir, 'crds');
  const files = (await readdir(crds)).filter((file) => file.includes('external-secrets.io_'));
  return { version, program: join(dir, PROGRAM), crds: files.map((file) => join(crds, file)) };
}

async function build(dir: string, log: Log): Promise<void> {
  const needed = await pinIn(PINNED_IN, 'Go version', /^go (\S+)/m);
  const have = await goLacks(needed);
  if (have !== undefined) {
    throw new Error(
      `Go ${needed} or newer builds External Secrets Operator, and ${have}: install it from https://go.dev/dl.`,
    );
  }
  log('Downloading the module of External Secrets Operator');
  const pinnedIn = await moduleDir();
  await copyFiles(join(pinnedIn, 'config/crds/bases'), join(dir, 'crds'));
  await buildInto(dir, { name: PROGRAM, path: '.', pinnedIn, buildTime: 'about 4 minutes' }, log);
}

/** Without their modes: everything in Go's module cache is read-only. */
async function copyFiles(from: string, to: string): Promise<void> {
  await mkdir(to, { recursive: true });
  for (const file of await readdir(from)) {
    await writeFile(join(to, file), await readFile(join(from, file)));
  }
}

/** In Go's module cache. */
async function moduleDir(): Promise<string> {
  const args = ['mod', 'download', '-json', MODULE];
  const { stdout } = await promisify(execFile)('go', args, { cwd: PINNED_IN });
  const { Dir: dir }: { Dir: string } = JSON.parse(stdout);
  return dir;
}

const OBJECTS = [
  { apiVersion: 'v1', kind: 'Namespace', metadata: { name: NAMESPACE } },
  { apiVersion: 'v1', kind: 'ServiceAccount', metadata: { name: PROGRAM, namespace: NAMESPACE } },
  {
    apiVersion: 'rbac.authorization.k8s.io/v1',
    kind: 'ClusterRole',
    metadata: { name: PROGRAM },
    rules: [
      {
        apiGroups: ['', 'external-secrets.io', 'generators.external-secrets.io'],
        resources: ['*'],
        verbs: ['*'],
      },
    ],
  },
  {
    apiVersion: 'rbac.authorization.k8s.io/v1',
    kind: 'ClusterRoleBinding',
    metadata: { name: PROGRAM },
    roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name: PROGRAM },
    subjects: [{ kind: 'ServiceAccount', name: PROGRAM, namespace: NAMESPACE }],
  },
];

/** CRDs and permissions. Resolves to the kubeconfig of its service account. */
export async function installExternalSecrets(
  controlPlane: ControlPlane,
  { crds }: Release,
): Promise<string> {
  await controlPlane.kubectl(['apply', '--server-side', ...crds.flatMap((file) => ['-f', file])]);
  await controlPlane.kubectl(['wait', '--for=condition=Established', 'crd', '--all']);
  const input = OBJECTS.map((object) => JSON.stringify(object)).join('\n---\n');
  await controlPlane.kubectl(['apply', '-f', '-'], { input });
  return controlPlane.serviceAccountKubeconfig(NAMESPACE, PROGRAM);
}

export interface ExternalSecretsOptions {
  readonly program: string;
  readonly kubeconfig: string;
  /** Besides addresses and log level. */
  readonly flags: readonly string[];
}

export class ExternalSecrets {
  readonly #url: string;
  readonly #dir: string;
  readonly #process: ServerProcess;

  private constructor(dir: string, port: number, options: ExternalSecretsOptions) {
    const address = `127.0.0.1:${port}`;
    this.#url = `http://${address}/metrics`;
    this.#dir = dir;
    this.#process = new ServerProcess({
      name: PROGRAM,
      command: options.program,
      args: [`--metrics-addr=${address}`, '--loglevel=warn', ...options.flags],
      env: { KUBECONFIG: options.kubeconfig },
      logFile: join(dir, 'external-secrets.log'),
    });
  }

  /** Its metrics are served when the promise resolves. */
  static async start(options: ExternalSecretsOptions): Promise<ExternalSecrets> {
    const dir = await mkdtemp(join(tmpdir(), 'external-secrets-'));
    const [port = 0] = await freePorts(1);
    const started = new ExternalSecrets(dir, port, options);
    await started.#process.untilReady(() => started.#metrics(), 60);
    return started;
  }

  get pid(): number {
    const { pid } = this.#process;
    if (pid === undefined) throw new Error('External Secrets Operator does not run');
    return pid;
  }

  /** Of its own count. */
  async failedSyncs(): Promise<number> {
    const lines = (await this.#metrics()).matchAll(
      /^externalsecret_sync_calls_error\{.*\} (.*)$/gm,
    );
    return [...lines].reduce((sum, [, value]) => sum + Number(value), 0);
  }

  async stop(): Promise<void> {
    await this.#process.stop(20);
    await rm(this.#dir, { recursive: true, force: true });
  }

  async #metrics(): Promise<string> {
    const response = await fetch(this.#url, { signal: AbortSignal.timeout(5_000) });
    if (!response.ok) throw new Error(`${this.#url} answered ${response.status}`);
    return response.text();
  }
}
