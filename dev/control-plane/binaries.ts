import { execFile } from 'node:child_process';
import { access, constants, mkdir, readFile, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { cacheDir, type Log, outputOf } from '../server-process.ts';

export interface Binaries {
  kubeApiserver: string;
  etcd: string;
  kubectl: string;
}

interface Pins {
  kubernetes: string;
  etcd: string;
  go: string;
}

const toolsDir = join(import.meta.dirname, 'tools');

const packages = {
  'kube-apiserver': { path: 'k8s.io/kubernetes/cmd/kube-apiserver', minutes: 'about 5 minutes' },
  kubectl: { path: 'k8s.io/kubernetes/cmd/kubectl', minutes: 'about 1 minute' },
  etcd: { path: 'go.etcd.io/etcd/server/v3', minutes: 'under 1 minute' },
};

/** What somebody has to install before a control plane can start here, one sentence each. */
export async function missingForControlPlane(): Promise<string[]> {
  const assets = process.env['KUBEBUILDER_ASSETS'];
  if (assets) {
    const absent = await absentFrom(assets);
    return absent.length === 0
      ? []
      : [`KUBEBUILDER_ASSETS is set, but ${assets} has no ${absent.join(', no ')}.`];
  }
  const pins = await readPins();
  if ((await absentFrom(cacheOf(pins))).length === 0) return [];
  const found = /\bgo(\d+\.\d+(?:\.\d+)?)/.exec((await outputOf('go', ['version'])) ?? '')?.[1];
  if (found !== undefined && isAtLeast(found, pins.go)) return [];
  const have = found === undefined ? 'there is none' : `this one is ${found}`;
  return [
    `Go ${pins.go} or newer builds the Kubernetes API server, and ${have}: install it from https://go.dev/dl, ` +
      'or set KUBEBUILDER_ASSETS to a folder with kube-apiserver, etcd and kubectl.',
  ];
}

/**
 * The servers: from KUBEBUILDER_ASSETS, else from the cache, else built into the cache.
 * @throws when something has to be installed first
 */
export async function ensureBinaries(log: Log): Promise<Binaries> {
  const missing = await missingForControlPlane();
  if (missing.length > 0) throw new Error(missing.join('\n'));
  const assets = process.env['KUBEBUILDER_ASSETS'];
  if (assets) return binariesIn(assets);
  const pins = await readPins();
  const dir = cacheOf(pins);
  for (const name of await absentFrom(dir)) await build(name, pins, log);
  return binariesIn(dir);
}

type Name = keyof typeof packages;

const names: readonly Name[] = ['kube-apiserver', 'kubectl', 'etcd'];

async function readPins(): Promise<Pins> {
  const text = await readFile(join(toolsDir, 'go.mod'), 'utf8');
  const pin = (what: string, pattern: RegExp): string => {
    const value = pattern.exec(text)?.[1];
    if (value === undefined) throw new Error(`dev/control-plane/tools/go.mod names no ${what}`);
    return value;
  };
  return {
    kubernetes: pin('Kubernetes version', /^\s*(?:require )?k8s\.io\/kubernetes (v\S+)/m),
    etcd: pin('etcd version', /^\s*(?:require )?go\.etcd\.io\/etcd\/server\/v3 (v\S+)/m),
    go: pin('Go version', /^go (\S+)/m),
  };
}

function cacheOf(pins: Pins): string {
  return join(cacheDir(), `kubernetes-${pins.kubernetes}-etcd-${pins.etcd}`);
}

function binariesIn(dir: string): Binaries {
  return {
    kubeApiserver: join(dir, 'kube-apiserver'),
    etcd: join(dir, 'etcd'),
    kubectl: join(dir, 'kubectl'),
  };
}

async function absentFrom(dir: string): Promise<Name[]> {
  const absent: Name[] = [];
  for (const name of names) {
    await access(join(dir, name), constants.X_OK).catch(() => absent.push(name));
  }
  return absent;
}

/** Under a name of its own until whole, so that two builds at once do no harm and half a file is never run. */
async function build(name: Name, pins: Pins, log: Log): Promise<void> {
  const { path, minutes } = packages[name];
  const dir = cacheOf(pins);
  const unfinished = join(dir, `.${name}.${process.pid}`);
  await mkdir(dir, { recursive: true });
  const started = Date.now();
  const report = (): void => {
    const seconds = Math.round((Date.now() - started) / 1000);
    log(`Building ${name} (once per version, ${minutes} on two cores): ${seconds} s`);
  };
  report();
  const progress = setInterval(report, 15_000);
  try {
    const args = ['build', '-ldflags', versionFlags(pins.kubernetes), '-o', unfinished, path];
    const env = { ...process.env, CGO_ENABLED: '0' };
    await promisify(execFile)('go', args, { cwd: toolsDir, env, maxBuffer: 64 << 20 });
    await rename(unfinished, join(dir, name));
  } finally {
    clearInterval(progress);
    await rm(unfinished, { force: true });
  }
}

/** Without these the server calls itself v0.0.0-master, and clients are confused. */
function versionFlags(version: string): string {
  const [major = '', minor = ''] = version.replace('v', '').split('.');
  const set = (name: string, value: string): string =>
    `-X k8s.io/component-base/version.${name}=${value}`;
  return `-s -w ${set('gitVersion', version)} ${set('gitMajor', major)} ${set('gitMinor', minor)}`;
}

function isAtLeast(found: string, needed: string): boolean {
  return found.localeCompare(needed, 'en', { numeric: true }) >= 0;
}
