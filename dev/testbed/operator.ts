import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseAllDocuments, stringify } from 'yaml';
import type { ControlPlane, User } from '../envtest/control-plane.ts';
import { type Ending, freePorts, ServerProcess } from '../envtest/server-process.ts';
import { manifest } from './objects.ts';

/** The operator as its own process, with its CRD, permissions and configuration file. */

const ROOT = join(import.meta.dirname, '../..');
export const CRDS = join(ROOT, 'crds');
export const OPERATOR_NAMESPACE = 'convercus-operator';

/** The service account of deploy/: roles and policies that name it hold for its user, too. */
export const OPERATOR_USER = `system:serviceaccount:${OPERATOR_NAMESPACE}:convercus-operator`;
export const OPERATOR: User = {
  name: OPERATOR_USER,
  groups: ['system:serviceaccounts', `system:serviceaccounts:${OPERATOR_NAMESPACE}`],
};

/** A version of the operator and what it needs in a cluster. */
export interface Release {
  /** Path of the CRD, or of the folder of several. */
  readonly crd: string;
  /** Roles, bindings and admission policies, for the service account of deploy/. */
  readonly permissions: readonly { readonly kind: string }[];
  /** Path of the script. */
  readonly entry: string;
}

/** This checkout, with exactly the permissions of `deploy/`. */
export const thisRelease = async (): Promise<Release> => ({
  crd: CRDS,
  permissions: await permissions(),
  entry: 'src/main.ts',
});

/** Installs the CRD, and what the release grants its service account. */
export async function installCluster(controlPlane: ControlPlane, release?: Release): Promise<void> {
  const { crd, permissions } = release ?? (await thisRelease());
  await installCrd(controlPlane, crd);
  await controlPlane.kubectl(['apply', '-f', '-'], { input: stringify(namespace) });
  await controlPlane.kubectl(['apply', '-f', '-'], { input: manifest(permissions) });
}

const namespace = { apiVersion: 'v1', kind: 'Namespace', metadata: { name: OPERATOR_NAMESPACE } };

/** What the component of `deploy/` grants the operator for ClusterConvercusCredentials. */
export async function allowClusterCredentials(controlPlane: ControlPlane): Promise<void> {
  const objects = await permissions('deploy/components/cluster-credentials');
  await controlPlane.kubectl(['apply', '-f', '-'], { input: manifest(objects) });
}

/** Roles, bindings and admission policies in a folder of `deploy/`. */
export async function permissions(folder = 'deploy/base'): Promise<{ readonly kind: string }[]> {
  const files = ['rbac.yaml', 'admission-policies.yaml'].map((name) => join(ROOT, folder, name));
  const texts = await Promise.all(files.map((file) => readFile(file, 'utf8')));
  return texts.flatMap((text) => parseAllDocuments(text).map((document) => document.toJS()));
}

export async function installCrd(controlPlane: ControlPlane, crd = CRDS): Promise<void> {
  await controlPlane.kubectl(['apply', '--server-side', '-f', crd]);
  await untilServed(controlPlane, 'convercuscredentials');
  if (crd === CRDS) await untilServed(controlPlane, 'clusterconvercuscredentials');
}

/** The API server serves a CRD shortly after it is established. */
export async function untilServed(controlPlane: ControlPlane, plural: string): Promise<void> {
  for (let tries = 0; ; tries += 1) {
    try {
      await controlPlane.kubectl(['get', plural, '-A']);
      return;
    } catch (error) {
      if (tries === 100) throw error;
      await sleep(100);
    }
  }
}

export interface OperatorOptions {
  readonly kubeconfig: string;
  /** Content of the configuration file, without the address of the operations server. */
  readonly config: Readonly<Record<string, unknown>>;
  readonly env?: Readonly<Record<string, string>>;
  /** Arguments for Node, such as `--cpu-prof`. */
  readonly nodeArguments?: readonly string[];
  /** Path of the script. Default: `src/main.ts`. */
  readonly entry?: string;
  /** The path that has to respond with 200 before the operator counts as started. Default: /readyz. */
  readonly startedWhen?: '/livez' | '/readyz';
}

/** The environment `staging` with an identity provider on loopback. */
export const localStaging = (url: string) => ({
  staging: {
    tokenUrl: `${url}/realms/{realm}/protocol/openid-connect/token`,
    loginUrl: `${url}/auth/login`,
    apiUrl: url,
    insecureHttp: true,
  },
});

/** What every operator here is configured with, unless `changes` say otherwise. */
export const operatorConfig = (
  providerUrl: string,
  changes: Readonly<Record<string, unknown>> = {},
): Record<string, unknown> => ({
  environments: localStaging(providerUrl),
  renewal: { minimumSeconds: 1 },
  leaderElection: { namespace: OPERATOR_NAMESPACE },
  log: { level: 'debug' },
  ...changes,
});

export class Operator implements AsyncDisposable {
  readonly url: string;
  readonly #dir: string;
  readonly #args: readonly string[];
  readonly #env: Record<string, string>;
  readonly #startedWhen: string;
  #process: ServerProcess | undefined;

  private constructor(dir: string, port: number, options: OperatorOptions) {
    const { kubeconfig, env = {}, nodeArguments = [] } = options;
    const { entry = 'src/main.ts', startedWhen = '/readyz' } = options;
    this.#dir = dir;
    this.#startedWhen = startedWhen;
    this.url = `http://127.0.0.1:${port}`;
    this.#args = [
      ...nodeArguments,
      resolve(ROOT, entry),
      '--config',
      join(dir, 'config.yaml'),
      '--kubeconfig',
      kubeconfig,
    ];
    this.#env = { ...env, NODE_OPTIONS: '' };
  }

  /** The operator is ready when the promise resolves, or as `startedWhen` says. */
  static async start(options: OperatorOptions): Promise<Operator> {
    const dir = await mkdtemp(join(tmpdir(), 'convercus-operator-'));
    const [port = 0] = await freePorts(1);
    const config = { ...options.config, operations: { host: '127.0.0.1', port } };
    await writeFile(join(dir, 'config.yaml'), stringify(config));
    const operator = new Operator(dir, port, options);
    await operator.run();
    return operator;
  }

  /** Starts the process again after `kill`, with the same configuration. */
  async run(): Promise<void> {
    this.#process = new ServerProcess({
      name: 'operator',
      command: process.execPath,
      args: [...this.#args],
      env: this.#env,
      logFile: this.logFile,
    });
    await this.#process.untilReady(() => this.get(this.#startedWhen), 120);
  }

  get pid(): number | undefined {
    return this.#process?.pid;
  }

  get logFile(): string {
    return join(this.#dir, 'operator.log');
  }

  log(): Promise<string> {
    return readFile(this.logFile, 'utf8');
  }

  async get(path: string): Promise<string> {
    const response = await fetch(`${this.url}${path}`, { signal: AbortSignal.timeout(5_000) });
    const body = await response.text();
    if (!response.ok) throw new Error(`${path} answered ${response.status}: ${body}`);
    return body;
  }

  signal(signal: NodeJS.Signals): void {
    this.#process?.signal(signal);
  }

  /** Resolves with the exit code or signal when the current process has ended. */
  get ended(): Promise<Ending> | undefined {
    return this.#process?.ended;
  }

  /** SIGTERM, then SIGKILL after the grace period; with 0 SIGKILL at once. */
  async kill(graceSeconds = 20): Promise<void> {
    await this.#process?.stop(graceSeconds);
  }

  async stop(): Promise<void> {
    await this.kill();
    await rm(this.#dir, { recursive: true, force: true });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }
}
