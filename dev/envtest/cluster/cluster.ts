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
  /** The isolation's folder. */
  dir: string;
  /** Archives to load. */
  images: readonly string[];
  /** How often kubelet syncs each pod, and so how late a changed Secret shows in a file. Its own default: 1m. */
  syncFrequency?: string;
  log?: Log;
}

/**
 * A real one-node cluster: API server, controllers, scheduler, kubelet, containerd, pod network and Services.
 * To be called inside an Isolation, which also ends it.
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

const NODE_USER = `system:node:${NODE}`;
/** For each step of the start, on a machine that has much else to do. Usually it takes seconds. */
const LIMIT_SECONDS = 180;
const run = promisify(execFile);

/** @throws unless it answers 2xx within 5 s */
async function responses(url: string): Promise<void> {
  const { ok, status } = await fetch(url, { signal: AbortSignal.timeout(5_000) });
  if (!ok) throw new Error(`${url} answered ${status}`);
}

/** What programs want to write outside our folder goes into memory, and goes with the namespace. */
async function prepareMachine(): Promise<void> {
  for (const dir of COVERED) await run('mount', ['-t', 'tmpfs', 'tmpfs', dir]);
  await run('ip', ['link', 'set', 'lo', 'up']);
  // A bridge, for not every kernel has dummy devices.
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

  /** Used by `startCluster`: the node is Ready, and pods can be made, when the promise resolves. */
  async join(): Promise<void> {
    this.#startControllers();
    await serveDns(NODE_ADDRESS, (...service) => this.#addressOf(...service));
    await this.#startKubelet();
    await this.#wait('--for=create', `node/${NODE}`);
    await this.#wait('--for=condition=Ready', `node/${NODE}`);
    await this.#wait('--for=create', 'serviceaccount/default');
    await this.#proxy?.untilReady(() => responses('http://127.0.0.1:10256/healthz'), LIMIT_SECONDS);
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
    const syncFrequency = this.#options.syncFrequency ?? '5s';
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
      // By default it raises the machine's limit with the number of cores, which a network namespace may not.
      '--conntrack-max-per-core=0',
    ]);
  }

  /** By the node's address, so that the node can be cut off from the API server while we are not. */
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
