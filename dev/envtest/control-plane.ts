import { execFile } from 'node:child_process';
import { generateKeyPairSync, randomUUID } from 'node:crypto';
import { access, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { get } from 'node:https';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { text } from 'node:stream/consumers';
import { type Binaries, ensureBinaries } from './binaries.ts';
import { freePorts, type Log, ServerProcess, silent } from './server-process.ts';

export interface User {
  name: string;
  groups?: string[];
}

/** How a node and its pods reach the API server. */
export interface NodeNetwork {
  address: string;
  serviceRange: string;
  /** PEM files. The certificate is self-signed and names every address of the API server. */
  certificate: string;
  key: string;
}

export interface ControlPlaneOptions {
  /** Kept after the stop and used again by the next start. Default: a temporary folder, removed at the stop. */
  dataDir?: string;
  /** Users with a token each and no rights until RBAC grants them some. Default: none. */
  users?: User[];
  /** An `audit.k8s.io/v1` Policy; the events go to `auditLog`, one JSON object a line. */
  auditPolicy?: object;
  /** For a cluster with a node. Default: the API server listens on loopback only. */
  node?: NodeNetwork;
  log?: Log;
}

export interface KubectlOptions {
  /** Standard input, for `apply -f -`. */
  input?: string;
  /** Default: the administrator's. */
  kubeconfig?: string;
  /** Default 300. */
  timeoutSeconds?: number;
}

const admin: User = { name: 'admin', groups: ['system:masters'] };

/**
 * Starts kube-apiserver and etcd on free loopback ports; they are ready when the promise resolves.
 * @throws with what has to be installed, or with the end of the log of the server that did not start
 */
export async function startControlPlane(options: ControlPlaneOptions = {}): Promise<ControlPlane> {
  const binaries = await ensureBinaries(options.log ?? silent);
  const controlPlane = await ControlPlane.prepare(binaries, options);
  try {
    await controlPlane.start();
    return controlPlane;
  } catch (error) {
    await controlPlane.stop();
    throw error;
  }
}

export class ControlPlane implements AsyncDisposable {
  readonly binaries: Binaries;
  /** Holds certificates, kubeconfigs, logs and etcd's data. */
  readonly dir: string;
  readonly url: string;
  readonly #options: ControlPlaneOptions;
  readonly #tokens: ReadonlyMap<string, string>;
  readonly #ports: readonly number[];
  #etcd: ServerProcess | undefined;
  #apiServer: ServerProcess | undefined;

  protected constructor(
    binaries: Binaries,
    options: ControlPlaneOptions,
    dir: string,
    { url, ports }: { readonly url: string; readonly ports: readonly number[] },
  ) {
    this.binaries = binaries;
    this.dir = dir;
    this.#options = options;
    this.#ports = ports;
    this.url = url;
    this.#tokens = new Map(this.#users.map((user) => [user.name, randomUUID()]));
  }

  static async prepare(binaries: Binaries, options: ControlPlaneOptions): Promise<ControlPlane> {
    const dir = options.dataDir
      ? resolve(options.dataDir)
      : await mkdtemp(join(tmpdir(), 'control-plane-'));
    await mkdir(dir, { recursive: true, mode: 0o700 });
    const ports = await freePorts(3);
    return new ControlPlane(binaries, options, dir, {
      url: `https://127.0.0.1:${ports[0]}`,
      ports,
    });
  }

  /** The certificate authority for clients. */
  get caFile(): string {
    return this.#options.node?.certificate ?? join(this.dir, 'certificates', 'apiserver.crt');
  }

  /** Path of the key that signs the tokens of service accounts. */
  get serviceAccountKey(): string {
    return this.#file('service-accounts.key');
  }

  get adminKubeconfig(): string {
    return this.#kubeconfigPath(admin.name);
  }

  get etcdUrl(): string {
    return `http://127.0.0.1:${this.#ports[1]}`;
  }

  /** Path of the audit log; there is none without `auditPolicy`. */
  get auditLog(): string {
    return join(this.dir, 'audit.log');
  }

  get pids(): number[] {
    return [this.#etcd?.pid, this.#apiServer?.pid].filter((pid) => pid !== undefined);
  }

  get #users(): User[] {
    return [admin, ...(this.#options.users ?? [])];
  }

  /** Used by `startControlPlane`. */
  async start(): Promise<void> {
    await this.#writeTokens();
    await this.#writeServiceAccountKeys();
    if (this.#options.auditPolicy) {
      await writeFile(this.#file('audit-policy.json'), JSON.stringify(this.#options.auditPolicy));
    }
    this.#etcd = this.#spawn('etcd', this.binaries.etcd, this.#etcdFlags());
    await this.startApiServer();
    for (const [name, token] of this.#tokens) await this.#writeKubeconfig(name, token);
  }

  /** With the same port, certificate, users and data as before. */
  async startApiServer(): Promise<void> {
    const flags = this.#apiServerFlags();
    this.#apiServer = this.#spawn('kube-apiserver', this.binaries.kubeApiserver, flags);
    await this.#apiServer.untilReady(() => this.#isReady(), 180);
  }

  /** Connections are refused until `startApiServer`. With a grace period of 0 the server is killed. */
  async stopApiServer(graceSeconds = 15): Promise<void> {
    await this.#apiServer?.stop(graceSeconds);
  }

  /** The API server stops first: without etcd its shutdown hangs. */
  async stop(): Promise<void> {
    await this.stopApiServer();
    await this.#etcd?.stop(10);
    if (!this.#options.dataDir) await rm(this.dir, { recursive: true, force: true });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }

  /** The kubeconfig file of one of `options.users`. */
  userKubeconfig(name: string): string {
    if (!this.#tokens.has(name)) throw new Error(`The control plane has no user ${name}`);
    return this.#kubeconfigPath(name);
  }

  /** A new kubeconfig file with a token of the service account, valid for an hour. */
  async serviceAccountKubeconfig(namespace: string, name: string): Promise<string> {
    const token = await this.kubectl(['create', 'token', '-n', namespace, name, '--duration=1h']);
    return this.#writeKubeconfig(`${namespace}-${name}`, token.trim());
  }

  /**
   * The standard output of kubectl.
   * @throws with its standard error when it fails
   */
  async kubectl(args: string[], options: KubectlOptions = {}): Promise<string> {
    const kubeconfig = options.kubeconfig ?? this.adminKubeconfig;
    const flags = [`--kubeconfig=${kubeconfig}`, `--cache-dir=${this.#file('kubectl-cache')}`];
    const timeout = (options.timeoutSeconds ?? 300) * 1000;
    return new Promise((resolve, reject) => {
      const child = execFile(
        this.binaries.kubectl,
        [...flags, ...args],
        { timeout, maxBuffer: 64 << 20 },
        (error, stdout, stderr) => {
          if (error) reject(new Error(`kubectl ${args[0]} failed: ${stderr || error.message}`));
          else resolve(stdout);
        },
      );
      child.stdin?.on('error', () => {}); // it may end without reading
      child.stdin?.end(options.input ?? '');
    });
  }

  /** The API server's own metrics, in the Prometheus text format. */
  metrics(): Promise<string> {
    return this.#get('/metrics');
  }

  /** The default namespace is created after /readyz turns ok, which covers the built-in roles. */
  async #isReady(): Promise<void> {
    await this.#get('/readyz');
    await this.#get('/api/v1/namespaces/default');
  }

  #etcdFlags(): string[] {
    const [, clientPort, peerPort] = this.#ports;
    const client = `http://127.0.0.1:${clientPort}`;
    const peer = `http://127.0.0.1:${peerPort}`;
    return [
      `--data-dir=${this.#file('etcd')}`,
      `--listen-client-urls=${client}`,
      `--advertise-client-urls=${client}`,
      `--listen-peer-urls=${peer}`,
      `--initial-advertise-peer-urls=${peer}`,
      `--initial-cluster=default=${peer}`,
      '--unsafe-no-fsync',
      '--log-level=warn',
    ];
  }

  #apiServerFlags(): string[] {
    const [securePort, etcdPort] = this.#ports;
    const audit = [
      `--audit-policy-file=${this.#file('audit-policy.json')}`,
      `--audit-log-path=${this.auditLog}`,
    ];
    return [
      `--etcd-servers=http://127.0.0.1:${etcdPort}`,
      `--cert-dir=${this.#file('certificates')}`,
      `--secure-port=${securePort}`,
      '--service-account-issuer=https://kubernetes.default.svc',
      `--service-account-key-file=${this.#file('service-accounts.pub')}`,
      `--service-account-signing-key-file=${this.#file('service-accounts.key')}`,
      `--token-auth-file=${this.#file('tokens.csv')}`,
      // By default one open watch delays the shutdown by a minute.
      '--shutdown-watch-termination-grace-period=2s',
      ...(this.#options.node ? nodeFlags(this.#options.node) : LOOPBACK_FLAGS),
      ...(this.#options.auditPolicy ? audit : []),
    ];
  }

  #spawn(name: string, command: string, args: string[]): ServerProcess {
    return new ServerProcess({ name, command, args, logFile: this.#file(`${name}.log`) });
  }

  async #writeTokens(): Promise<void> {
    const lines = this.#users.map(({ name, groups = [] }) => {
      return `${this.#tokens.get(name)},${name},${name},"${groups.join(',')}"\n`;
    });
    await writeFile(this.#file('tokens.csv'), lines.join(''), { mode: 0o600 });
  }

  /** Kept in `dataDir`, so that tokens of an earlier run stay valid. */
  async #writeServiceAccountKeys(): Promise<void> {
    if (await exists(this.#file('service-accounts.key'))) return;
    const { publicKey, privateKey } = generateKeyPairSync('rsa', {
      modulusLength: 2048,
      publicKeyEncoding: { type: 'spki', format: 'pem' },
      privateKeyEncoding: { type: 'pkcs8', format: 'pem' },
    });
    await writeFile(this.#file('service-accounts.pub'), publicKey);
    await writeFile(this.#file('service-accounts.key'), privateKey, { mode: 0o600 });
  }

  async #writeKubeconfig(name: string, token: string): Promise<string> {
    const config = {
      apiVersion: 'v1',
      kind: 'Config',
      clusters: [
        { name: 'local', cluster: { server: this.url, 'certificate-authority': this.caFile } },
      ],
      users: [{ name, user: { token } }],
      contexts: [{ name: 'local', context: { cluster: 'local', user: name } }],
      'current-context': 'local',
    };
    const path = this.#kubeconfigPath(name);
    await writeFile(path, JSON.stringify(config, undefined, 2), { mode: 0o600 });
    return path;
  }

  #kubeconfigPath(name: string): string {
    return this.#file(`${name.replaceAll(':', '-')}.kubeconfig`);
  }

  #file(name: string): string {
    return join(this.dir, name);
  }

  /** As the administrator. The time limit matters: an API server without its etcd sends no response. */
  async #get(path: string): Promise<string> {
    const ca = await readFile(this.caFile);
    const headers = { authorization: `Bearer ${this.#tokens.get(admin.name)}` };
    const signal = AbortSignal.timeout(5000);
    return new Promise((resolve, reject) => {
      get(`${this.url}${path}`, { ca, headers, signal, agent: false }, (response) => {
        const { statusCode } = response;
        const body = text(response);
        if (statusCode === 200) resolve(body);
        else body.finally(() => reject(new Error(`${path} returned ${statusCode}`))).catch(reject);
      }).once('error', reject);
    });
  }
}

const LOOPBACK_FLAGS = [
  '--bind-address=127.0.0.1',
  '--advertise-address=127.0.0.1',
  '--authorization-mode=RBAC',
  '--service-cluster-ip-range=10.0.0.0/24',
  // With it each Pod would wait for the default service account, and no controller creates one.
  '--disable-admission-plugins=ServiceAccount',
  '--endpoint-reconciler-type=none',
];

const nodeFlags = ({ address, serviceRange, certificate, key }: NodeNetwork): string[] => [
  '--bind-address=0.0.0.0',
  `--advertise-address=${address}`,
  `--tls-cert-file=${certificate}`,
  `--tls-private-key-file=${key}`,
  '--authorization-mode=Node,RBAC',
  `--service-cluster-ip-range=${serviceRange}`,
  '--allow-privileged=true',
  '--kubelet-preferred-address-types=InternalIP',
];

async function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}
