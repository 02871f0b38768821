import { execFile } from 'node:child_process';
import { readFile, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { promisify } from 'node:util';
import { ensureBinaries, ensureNodeBinaries, type NodeBinaries } from '../binaries.ts';
import { ControlPlane } from '../control-plane.ts';
import { type Log, ServerProcess, silent } from '../server-process.ts';
import {
  addCgroup,
  ClusterNode,
  connect,
  disconnect,
  LIMIT_SECONDS,
  type NodeOptions,
} from './cluster-node.ts';
import { serveDns } from './dns.ts';
import {
  API_SERVICE_ADDRESS,
  addressesOf,
  BRIDGE,
  COVERED,
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
 * A cluster of one node, to which two can be added: API server, controllers, scheduler, kubelet, containerd, pod
 * network and Services. Call it inside an Isolation; it ends with the Isolation.
 */
export async function startCluster(options: ClusterOptions): Promise<ClusterClient> {
  const log = options.log ?? silent;
  const controlPlaneBinaries = await ensureBinaries(log);
  const binaries = await ensureNodeBinaries(log);
  await prepareMachine();
  const controlPlane = await ControlPlane.prepare(controlPlaneBinaries, {
    dataDir: join(options.dir, 'control-plane'),
    users: [1, 2, 3].map((node) => ({ name: nodeUser(nodeName(node)), groups: ['system:nodes'] })),
    node: { address: NODE_ADDRESS, serviceRange: SERVICES, ...(await certify(options.dir)) },
  });
  const cluster = new ClusterClient(controlPlane, binaries, options);
  await Promise.all([controlPlane.start(), cluster.startContainerd()]);
  await cluster.join();
  return cluster;
}

const DEFAULT_SYNC_FREQUENCY = '5s';
const nodeName = (number: number): string => `node${number}`;
const nodeUser = (name: string): string => `system:node:${name}`;
const run = promisify(execFile);

/** Files that programs write outside `dir` go to a tmpfs, which ends with the mount namespace. */
async function prepareMachine(): Promise<void> {
  for (const dir of COVERED) await run('mount', ['-t', 'tmpfs', 'tmpfs', dir]);
  await run('ip', ['link', 'set', 'lo', 'up']);
  // A bridge, because some kernels have no dummy devices.
  await run('ip', ['link', 'add', BRIDGE, 'type', 'bridge']);
  await run('ip', ['address', 'add', `${NODE_ADDRESS}/24`, 'dev', BRIDGE]);
  await run('ip', ['link', 'set', BRIDGE, 'up']);
  await run('ip', ['route', 'add', 'default', 'dev', BRIDGE]);
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
  readonly #first: ClusterNode;
  readonly #further = new Map<string, ClusterNode>();

  constructor(controlPlane: ControlPlane, binaries: NodeBinaries, options: ClusterOptions) {
    this.controlPlane = controlPlane;
    this.dir = options.dir;
    this.#binaries = binaries;
    this.#options = options;
    this.#first = new ClusterNode(this.#nodeOptions(1));
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
  startContainerd(): Promise<void> {
    return this.#first.startContainerd();
  }

  /** Used by `startCluster`. The node is Ready and accepts pods when the promise resolves. */
  async join(): Promise<void> {
    this.#startControllers();
    await serveDns(NODE_ADDRESS, (...service) => this.#addressOf(...service));
    await this.#startKubelet(this.#first);
    await this.#wait('--for=create', 'serviceaccount/default');
  }

  /** One more node, from `node2` on, on the same machine with a network of its own. It is Ready. */
  async addNode(): Promise<string> {
    const number = this.#further.size + 2;
    const name = nodeName(number);
    const network = await connect({ name, ...addressesOf(number) }, BRIDGE);
    const cgroup = await addCgroup(`/${basename(this.dir)}`, name);
    const dir = join(this.dir, name);
    const node = new ClusterNode({ ...this.#nodeOptions(number), dir, cgroup, network });
    this.#further.set(name, node);
    await node.startContainerd();
    await this.#startKubelet(node);
    return name;
  }

  /** As when its power is cut: connections do not end, they fall silent. It can't be started again. */
  async cutNode(name: string): Promise<void> {
    await disconnect(name);
    await this.#further.get(name)?.kill();
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

  async #startKubelet(node: ClusterNode): Promise<void> {
    const { controlPlane } = this;
    const kubelet = await this.#overNetwork(controlPlane.userKubeconfig(nodeUser(node.name)));
    await node.startKubelet({ kubelet, proxy: await this.#overNetwork(this.kubeconfig) });
    await this.#wait('--for=create', `node/${node.name}`);
    await this.#wait('--for=condition=Ready', `node/${node.name}`);
  }

  #nodeOptions(number: number): NodeOptions {
    const { images, syncFrequency = DEFAULT_SYNC_FREQUENCY } = this.#options;
    const { dir } = this;
    const [name, cgroup, binaries] = [nodeName(number), `/${basename(dir)}`, this.#binaries];
    return { name, ...addressesOf(number), dir, cgroup, images, syncFrequency, binaries };
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

  #spawn(name: string, command: string, args: string[]): ServerProcess {
    return new ServerProcess({ name, command, args, logFile: join(this.dir, `${name}.log`) });
  }
}
