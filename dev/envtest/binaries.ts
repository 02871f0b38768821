import { join } from 'node:path';
import { cacheDir } from './cache-dir.ts';
import { absentFrom, buildInto, goLacks, pinIn } from './go-build.ts';
import { requestedRelease, writeModuleOf } from './kubernetes-releases.ts';
import type { Log } from './server-process.ts';

export interface Binaries {
  kubeApiserver: string;
  etcd: string;
  kubectl: string;
}

/** What a node runs besides the control plane. */
export interface NodeBinaries {
  kubeControllerManager: string;
  kubeScheduler: string;
  kubelet: string;
  kubeProxy: string;
}

interface Pins {
  kubernetes: string;
  /** The same, unless KUBERNETES_VERSION asks for another API server. */
  apiServer: string;
  etcd: string;
  go: string;
}

const toolsDir = join(import.meta.dirname, 'tools');

const packages = {
  'kube-apiserver': { path: 'k8s.io/kubernetes/cmd/kube-apiserver', buildTime: 'about 5 minutes' },
  kubectl: { path: 'k8s.io/kubernetes/cmd/kubectl', buildTime: 'about 1 minute' },
  etcd: { path: 'go.etcd.io/etcd/server/v3', buildTime: 'under 1 minute' },
  'kube-controller-manager': {
    path: 'k8s.io/kubernetes/cmd/kube-controller-manager',
    buildTime: 'about 2 minutes',
  },
  'kube-scheduler': { path: 'k8s.io/kubernetes/cmd/kube-scheduler', buildTime: 'under 1 minute' },
  kubelet: { path: 'k8s.io/kubernetes/cmd/kubelet', buildTime: 'about 1 minute' },
  'kube-proxy': { path: 'k8s.io/kubernetes/cmd/kube-proxy', buildTime: 'under 1 minute' },
};

/** What has to be installed before a control plane can start here, one sentence each. */
export async function missingForControlPlane(): Promise<string[]> {
  const assets = process.env['KUBEBUILDER_ASSETS'];
  if (assets) {
    const absent = await absentFrom(assets, controlPlaneNames);
    return absent.length === 0
      ? []
      : [`KUBEBUILDER_ASSETS is set, but ${assets} has no ${absent.join(', no ')}.`];
  }
  const pins = await readPins();
  if ((await absentFromCache(pins)).length === 0) return [];
  const have = await goLacks(pins.go);
  if (have === undefined) return [];
  return [
    `Go ${pins.go} or newer builds the Kubernetes API server, and ${have}: install it from https://go.dev/dl, ` +
      'or set KUBEBUILDER_ASSETS to a folder with kube-apiserver, etcd and kubectl.',
  ];
}

/**
 * The servers: from KUBEBUILDER_ASSETS, else from the cache, else built into the cache. KUBERNETES_VERSION names another
 * kube-apiserver; etcd and kubectl stay the same.
 * @throws when something has to be installed first
 */
export async function ensureBinaries(log: Log): Promise<Binaries> {
  const missing = await missingForControlPlane();
  if (missing.length > 0) throw new Error(missing.join('\n'));
  const assets = process.env['KUBEBUILDER_ASSETS'];
  if (assets) return binariesIn(assets);
  const pins = await readPins();
  for (const name of await absentFromCache(pins)) {
    if (name === 'kube-apiserver') await buildApiServer(pins, log);
    else await build(name, pins, log);
  }
  return {
    ...binariesIn(cacheOf(pins)),
    kubeApiserver: join(apiServerDir(pins), 'kube-apiserver'),
  };
}

/**
 * The programs of a node, from the cache or built into it: KUBEBUILDER_ASSETS has none of them.
 * @throws when Go is missing or too old
 */
export async function ensureNodeBinaries(log: Log): Promise<NodeBinaries> {
  const pins = await readPins();
  const dir = cacheOf(pins);
  for (const name of await absentFrom(dir, nodeNames)) await build(name, pins, log);
  return {
    kubeControllerManager: join(dir, 'kube-controller-manager'),
    kubeScheduler: join(dir, 'kube-scheduler'),
    kubelet: join(dir, 'kubelet'),
    kubeProxy: join(dir, 'kube-proxy'),
  };
}

/** kube-controller-manager alone, for a control plane without nodes that needs garbage collection. */
export async function ensureControllerManager(log: Log): Promise<string> {
  const pins = await readPins();
  const dir = cacheOf(pins);
  const name = 'kube-controller-manager';
  if ((await absentFrom(dir, [name])).length > 0) await build(name, pins, log);
  return join(dir, name);
}

/** Of `tools/go.mod`, such as `v1.37.2`. */
export const newestRelease = async (): Promise<string> => (await readPins()).kubernetes;

type Name = keyof typeof packages;

const controlPlaneNames: readonly Name[] = ['kube-apiserver', 'kubectl', 'etcd'];
const nodeNames: readonly Name[] = [
  'kube-controller-manager',
  'kube-scheduler',
  'kubelet',
  'kube-proxy',
];

async function readPins(): Promise<Pins> {
  const pattern = /^\s*(?:require )?k8s\.io\/kubernetes (v\S+)/m;
  const kubernetes = await pinIn(toolsDir, 'Kubernetes version', pattern);
  return {
    kubernetes,
    apiServer: requestedRelease(kubernetes) ?? kubernetes,
    etcd: await pinIn(
      toolsDir,
      'etcd version',
      /^\s*(?:require )?go\.etcd\.io\/etcd\/server\/v3 (v\S+)/m,
    ),
    go: await pinIn(toolsDir, 'Go version', /^go (\S+)/m),
  };
}

function cacheOf(pins: Pins): string {
  return join(cacheDir(), `kubernetes-${pins.kubernetes}-etcd-${pins.etcd}`);
}

const apiServerDir = (pins: Pins): string =>
  pins.apiServer === pins.kubernetes
    ? cacheOf(pins)
    : join(cacheDir(), `kube-apiserver-${pins.apiServer}`);

async function absentFromCache(pins: Pins): Promise<Name[]> {
  const shared = controlPlaneNames.filter((name) => name !== 'kube-apiserver');
  return [
    ...(await absentFrom<Name>(apiServerDir(pins), ['kube-apiserver'])),
    ...(await absentFrom(cacheOf(pins), shared)),
  ];
}

function binariesIn(dir: string): Binaries {
  return {
    kubeApiserver: join(dir, 'kube-apiserver'),
    etcd: join(dir, 'etcd'),
    kubectl: join(dir, 'kubectl'),
  };
}

async function build(name: Name, pins: Pins, log: Log): Promise<void> {
  const flags = ['-ldflags', versionFlags(pins.kubernetes)];
  await buildInto(cacheOf(pins), { name, ...packages[name], pinnedIn: toolsDir, flags }, log);
}

/** Of the release that is asked for: its module is made from its own go.mod, and may be completed by go. */
async function buildApiServer(pins: Pins, log: Log): Promise<void> {
  if (pins.apiServer === pins.kubernetes) return build('kube-apiserver', pins, log);
  const dir = apiServerDir(pins);
  const pinnedIn = join(dir, 'module');
  await writeModuleOf(pins.apiServer, pinnedIn);
  const flags = ['-mod=mod', '-ldflags', versionFlags(pins.apiServer)];
  const name = 'kube-apiserver';
  await buildInto(dir, { name, ...packages[name], pinnedIn, flags }, log);
}

/** Without these the server reports version v0.0.0-master, which clients fail to parse. */
function versionFlags(version: string): string {
  const [major = '', minor = ''] = version.replace('v', '').split('.');
  const set = (name: string, value: string): string =>
    `-X k8s.io/component-base/version.${name}=${value}`;
  return `-s -w ${set('gitVersion', version)} ${set('gitMajor', major)} ${set('gitMinor', minor)}`;
}
