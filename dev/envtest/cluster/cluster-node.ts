import { execFile } from 'node:child_process';
import { mkdir, readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { NodeBinaries } from '../binaries.ts';
import { ServerProcess } from '../server-process.ts';
import { cniConfig, containerdConfig, kubeletConfig, NODE_ADDRESS, POD_RANGE } from './node.ts';

export interface NodeOptions {
  readonly name: string;
  readonly address: string;
  /** The range of its pods' addresses. */
  readonly pods: string;
  /** For its files. */
  readonly dir: string;
  /** The cgroup for its pods, such as `/envtest-cluster-1`. */
  readonly cgroup: string;
  /** Paths of the image archives to load. */
  readonly images: readonly string[];
  readonly syncFrequency: string;
  readonly binaries: NodeBinaries;
  /** Path of the file with its network namespace. Default: that of this process. */
  readonly network?: string;
}

/** Paths of kubeconfigs that name the API server by its address in the network of nodes. */
export interface NodeKubeconfigs {
  /** As the user of this node. */
  readonly kubelet: string;
  readonly proxy: string;
}

/** For one step of the start on a busy machine; usually a step takes seconds. */
export const LIMIT_SECONDS = 180;
const CGROUPS = '/sys/fs/cgroup';
const run = promisify(execFile);

/** containerd, kubelet and kube-proxy of a node. */
export class ClusterNode {
  readonly name: string;
  readonly #options: NodeOptions;
  readonly #servers: ServerProcess[] = [];

  constructor(options: NodeOptions) {
    this.name = options.name;
    this.#options = options;
  }

  /** The images are loaded when the promise resolves. */
  async startContainerd(): Promise<void> {
    const { dir, pods, images } = this.#options;
    await mkdir(this.#file('cni'), { recursive: true });
    await writeFile(join(dir, 'cni', 'pods.conflist'), cniConfig(this.name, pods));
    await writeFile(this.#file('containerd.toml'), containerdConfig(dir));
    const config = `--config=${this.#file('containerd.toml')}`;
    const containerd = this.#spawn('containerd', 'containerd', [config]);
    await containerd.untilReady(() => this.#ctr('version'), LIMIT_SECONDS);
    for (const image of images) await this.#ctr('images', 'import', image);
  }

  async startKubelet(kubeconfigs: NodeKubeconfigs): Promise<void> {
    const { dir, name, address, cgroup, syncFrequency, binaries } = this.#options;
    await writeFile(this.#file('kubelet.yaml'), kubeletConfig(dir, cgroup, syncFrequency));
    this.#spawn('kubelet', binaries.kubelet, [
      `--config=${this.#file('kubelet.yaml')}`,
      `--kubeconfig=${kubeconfigs.kubelet}`,
      `--root-dir=${this.#file('kubelet')}`,
      `--cert-dir=${this.#file('kubelet-certificates')}`,
      `--hostname-override=${name}`,
      `--node-ip=${address}`,
    ]);
    const proxy = this.#spawn('kube-proxy', binaries.kubeProxy, [
      `--kubeconfig=${kubeconfigs.proxy}`,
      `--hostname-override=${name}`,
      '--proxy-mode=iptables',
      `--cluster-cidr=${POD_RANGE}`,
      // The default raises the machine's conntrack limit, which a process in a network namespace may not do.
      '--conntrack-max-per-core=0',
    ]);
    const wget = ['wget', '-q', '-O', '/dev/null', 'http://127.0.0.1:10256/healthz'];
    await proxy.untilReady(() => this.#inNetwork('busybox', wget), LIMIT_SECONDS);
  }

  /** Ends containerd, kubelet and kube-proxy by SIGKILL. Containers go on. */
  async kill(): Promise<void> {
    await Promise.all(this.#servers.map((server) => server.stop(0)));
  }

  async #ctr(...args: string[]): Promise<void> {
    const address = ['--address', this.#file('containerd.sock'), '--namespace', 'k8s.io'];
    await run('ctr', [...address, ...args], { timeout: 600_000 });
  }

  async #inNetwork(command: string, args: string[]): Promise<void> {
    const [program = '', ...rest] = this.#entered(command, args);
    await run(program, rest, { timeout: 10_000 });
  }

  /** The command as it runs in the node's network. */
  #entered(command: string, args: string[]): string[] {
    const { network } = this.#options;
    return [...(network === undefined ? [] : ['nsenter', `--net=${network}`]), command, ...args];
  }

  #spawn(name: string, program: string, programArgs: string[]): ServerProcess {
    const [command = '', ...args] = this.#entered(program, programArgs);
    const server = new ServerProcess({ name, command, args, logFile: this.#file(`${name}.log`) });
    this.#servers.push(server);
    return server;
  }

  #file(name: string): string {
    return join(this.#options.dir, name);
  }
}

/**
 * A network for a node, in a namespace of its own: its cable ends in the bridge of the first node.
 * @returns the file with the namespace
 */
export async function connect(
  { name, address, pods }: Pick<NodeOptions, 'name' | 'address' | 'pods'>,
  bridge: string,
): Promise<string> {
  const ip = (...args: string[]): Promise<unknown> => run('ip', args);
  const inside = (...args: string[]): Promise<unknown> => ip('-n', name, ...args);
  await ip('netns', 'add', name);
  await ip('link', 'add', cableOf(name), 'type', 'veth', 'peer', 'name', 'eth0', 'netns', name);
  await ip('link', 'set', cableOf(name), 'master', bridge, 'up');
  await inside('link', 'set', 'lo', 'up');
  await inside('address', 'add', `${address}/24`, 'dev', 'eth0');
  await inside('link', 'set', 'eth0', 'up');
  await inside('route', 'add', 'default', 'via', NODE_ADDRESS);
  await ip('route', 'add', pods, 'via', address);
  const network = `/run/netns/${name}`;
  const forward = 'echo 1 > /proc/sys/net/ipv4/ip_forward';
  await run('nsenter', [`--net=${network}`, 'sh', '-c', forward]);
  return network;
}

/** From now on nothing reaches the node and nothing leaves it. */
export async function disconnect(name: string): Promise<void> {
  await run('ip', ['link', 'set', cableOf(name), 'down']);
}

const cableOf = (name: string): string => `cable-${name}`;

/** Creates a cgroup below that of the first node. */
export async function addCgroup(parent: string, name: string): Promise<string> {
  const entries = await readdir(CGROUPS);
  const isVersion2 = entries.includes('cgroup.controllers');
  const hierarchies = isVersion2 ? [CGROUPS] : entries.map((entry) => join(CGROUPS, entry));
  if (isVersion2) {
    const controllers = '+cpu +cpuset +memory +pids +io';
    await writeFile(join(CGROUPS, parent, 'cgroup.subtree_control'), controllers);
  }
  for (const hierarchy of hierarchies) {
    await mkdir(join(hierarchy, parent, name), { recursive: true });
  }
  return join(parent, name);
}
