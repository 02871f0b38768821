import { execFile } from 'node:child_process';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { promisify } from 'node:util';
import { ensureBinaries, ensureNodeBinaries, type NodeBinaries } from '../binaries.ts';
import { ControlPlane } from '../control-plane.ts';
import { type Log, ServerProcess, silent } from '../server-process.ts';
import { serveDns } from './dns.ts';
import {
  API_SERVICE_ADDRESS,
  COVERED,
  cniConfig,
  containerdConfig,
  kubeletConfig,
  NODE,
  NODE_ADDRESS,
  POD_RANGE,
  SERVICES,
} from './node.ts';

export interface ClusterOptions {
  /** The folder of the Isolation. */
  dir: string;
  /** Paths of the image archives to load. */
  images: readonly string[];
  /** How often kubelet syncs a pod: the delay until a changed Secret shows in a file. kubelet's default is 1m. */
  syncFrequency?: string;
  log?: Log;
}

/**
 * A one-node cluster: API server, controllers, scheduler, kubelet, containerd, pod network and Services.
 * Call it inside an Isolation; it ends with the Isolation.
 */
export async function startCluster(options: ClusterOptions): Promise<ClusterClient> {
  const log = options.log ?? silent;
  const controlPlaneBinaries = await ensureBinaries(log);
  const binaries = await ensureNodeBinaries(log);
  await prepareMachine();
  const controlPlane = await ControlPlane.prepare(controlPlaneBinaries, {
    dataDir: join(options.dir, 'control-plane'),
    users: [{ name: NODE_USER, groups: ['system:nodes'] }],
    node: { address: NODE_ADDRESS, serviceRange: SERVICES, ...(await certify(options.dir)) },
  });
  const cluster = new ClusterClient(controlPlane, binaries, options);
  await Promise.all([controlPlane.start(), cluster.startContainerd()]);
  await cluster.join();
  return cluster;
}

const DEFAULT_SYNC_FREQUENCY = '5s';
const NODE_USER = `system:node:${NODE}`;
/** For one step of the start on a busy machine; usually a step takes seconds. */
const LIMIT_SECONDS = 180;
const run = promisify(execFile);

/** @throws unless the status is 2xx within 5 s */
async function expectOk(url: string): Promise<void> {
  const { ok, status } = await fetch(url, { signal: AbortSignal.timeout(5_000) });
  if (!ok) throw new Error(`${url} returned ${status}`);
}

/** Files that programs write outside `dir` go to a tmpfs, which ends with the mount namespace. */
async function prepareMachine(): Promise<void> {
  for (const dir of COVERED) await run('mount', ['-t', 'tmpfs', 'tmpfs', dir]);
  await run('ip', ['link', 'set', 'lo', 'up']);
  // A bridge, because some kernels have no dummy devices.
  await run('ip', ['link', 'add', 'node0', 'type', 'bridge']);
  await run('ip', ['address', 'add', `${NODE_ADDRESS}/24`, 'dev', 'node0']);
  await run('ip', ['link', 'set', 'node0', 'up']);
  await run('ip', ['route', 'add', 'default', 'dev', 'node0']);
  await writeFile('/proc/sys/net/ipv4/ip_forward', '1');
}

async function certify(dir: string): Promise<{ certificate: string; key: string }> {
  const [certificate, key] = [join(dir, 'apiserver.crt'), join(dir, 'apiserver.key')];
  const addresses = ['127.0.0.1', NODE_ADDRESS, API_SERVICE_ADDRESS].map((ip) => `IP:${ip}`);
  const names = ['DNS:kubernetes.default.svc', ...addresses].join(',');
  const kind = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '2'];
  const files = ['-keyout', key, '-out', certificate];
  const subject = ['-subj', '/CN=kubernetes', '-addext', `subjectAltName=${names}`];
  await run('openssl', ['req', '-x509', ...kind, ...files, ...subject]);
  return { certificate, key };
}

export class ClusterClient {
  readonly controlPlane: ControlPlane;
  readonly dir: string;
  readonly #binaries: NodeBinaries;
  readonly #options: ClusterOptions;
  #proxy: ServerProcess | undefined;

  constructor(controlPlane: ControlPlane, binaries: NodeBinaries, options: ClusterOptions) {
    this.controlPlane = controlPlane;
    this.dir = options.dir;
    this.#binaries = binaries;
    this.#options = options;
  }

  get kubeconfig(): string {
    return this.controlPlane.adminKubeconfig;
  }

  /** As the administrator. */
  kubectl(
    args: string[],
    options: { input?: string; timeoutSeconds?: number } = {},
  ): Promise<string> {
    return this.controlPlane.kubectl(args, options);
  }

  async apply(...objects: object[]): Promise<void> {
    const input = objects.map((object) => JSON.stringify(object)).join('\n---\n');
    await this.kubectl(['apply', '-f', '-'], { input });
  }

  /** Used by `startCluster`. */
  async startContainerd(): Promise<void> {
    await mkdir(join(this.dir, 'cni'));
    await writeFile(join(this.dir, 'cni', 'pods.conflist'), cniConfig());
    await writeFile(join(this.dir, 'containerd.toml'), containerdConfig(this.dir));
    const config = join(this.dir, 'containerd.toml');
    const containerd = this.#spawn('containerd', 'containerd', [`--config=${config}`]);
    await containerd.untilReady(() => this.#ctr('version'), LIMIT_SECONDS);
    for (const image of this.#options.images) await this.#ctr('images', 'import', image);
  }

  /** Used by `startCluster`. The node is Ready and accepts pods when the promise resolves. */
  async join(): Promise<void> {
    this.#startControllers();
    await serveDns(NODE_ADDRESS, (...service) => this.#addressOf(...service));
    await this.#startKubelet();
    await this.#wait('--for=create', `node/${NODE}`);
    await this.#wait('--for=condition=Ready', `node/${NODE}`);
    await this.#wait('--for=create', 'serviceaccount/default');
    await this.#proxy?.untilReady(() => expectOk('http://127.0.0.1:10256/healthz'), LIMIT_SECONDS);
  }

  async #wait(...what: string[]): Promise<void> {
    await this.kubectl(['wait', ...what, `--timeout=${LIMIT_SECONDS}s`]);
  }

  #startControllers(): void {
    const { controlPlane } = this;
    const admin = `--kubeconfig=${this.kubeconfig}`;
    const { kubeControllerManager, kubeScheduler } = this.#binaries;
    this.#spawn('kube-controller-manager', kubeControllerManager, [
      admin,
      `--service-account-private-key-file=${controlPlane.serviceAccountKey}`,
      `--root-ca-file=${controlPlane.caFile}`,
      '--leader-elect=false',
      '--allocate-node-cidrs=true',
      `--cluster-cidr=${POD_RANGE}`,
      `--service-cluster-ip-range=${SERVICES}`,
    ]);
    this.#spawn('kube-scheduler', kubeScheduler, [admin, '--leader-elect=false']);
  }

  async #startKubelet(): Promise<void> {
    const { dir } = this;
    const { kubelet, kubeProxy } = this.#binaries;
    const config = join(dir, 'kubelet.yaml');
    const syncFrequency = this.#options.syncFrequency ?? DEFAULT_SYNC_FREQUENCY;
    await writeFile(config, kubeletConfig(dir, basename(dir), syncFrequency));
    this.#spawn('kubelet', kubelet, [
      `--config=${config}`,
      `--kubeconfig=${await this.#overNetwork(this.controlPlane.userKubeconfig(NODE_USER))}`,
      `--root-dir=${join(dir, 'kubelet')}`,
      `--hostname-override=${NODE}`,
      `--node-ip=${NODE_ADDRESS}`,
    ]);
    this.#proxy = this.#spawn('kube-proxy', kubeProxy, [
      `--kubeconfig=${await this.#overNetwork(this.kubeconfig)}`,
      `--hostname-override=${NODE}`,
      '--proxy-mode=iptables',
      `--cluster-cidr=${POD_RANGE}`,
      // The default raises the machine's conntrack limit, which a process in a network namespace may not do.
      '--conntrack-max-per-core=0',
    ]);
  }

  /** A copy that names the node's address, so that a test can cut off the node and still reach the API server. */
  async #overNetwork(kubeconfig: string): Promise<string> {
    const copy = join(this.dir, `node-${basename(kubeconfig)}`);
    const text = await readFile(kubeconfig, 'utf8');
    await writeFile(copy, text.replace('127.0.0.1', NODE_ADDRESS), { mode: 0o600 });
    return copy;
  }

  async #addressOf(namespace: string, service: string): Promise<string | undefined> {
    const args = ['get', 'service', service, '-n', namespace, '--ignore-not-found'];
    const address = await this.kubectl([...args, '-o', 'jsonpath={.spec.clusterIP}']);
    return /^[\d.]+$/.test(address) ? address : undefined;
  }

  async #ctr(...args: string[]): Promise<string> {
    const address = ['--address', join(this.dir, 'containerd.sock'), '--namespace', 'k8s.io'];
    const { stdout } = await run('ctr', [...address, ...args], { timeout: 600_000 });
    return stdout;
  }

  #spawn(name: string, command: string, args: string[]): ServerProcess {
    return new ServerProcess({ name, command, args, logFile: join(this.dir, `${name}.log`) });
  }
}
