import { access } from 'node:fs/promises';
import { missingForControlPlane } from '../control-plane/binaries.ts';

/** What a cluster is made of besides what is built here, and the Debian package that brings it. */
const NEEDED: Record<string, string> = {
  containerd: 'containerd',
  'containerd-shim-runc-v2': 'containerd',
  ctr: 'containerd',
  runc: 'runc',
  '/usr/lib/cni/bridge': 'containernetworking-plugins',
  ip: 'iproute2',
  iptables: 'iptables',
  conntrack: 'conntrack',
  buildah: 'buildah',
  busybox: 'busybox-static',
  openssl: 'openssl',
  unshare: 'util-linux',
};

const FOLDERS = [...(process.env['PATH'] ?? '').split(':'), '/usr/sbin', '/sbin'];

/** What stands in the way of a cluster here, one sentence each. */
export async function missingForCluster(): Promise<string[]> {
  if (process.platform !== 'linux') return ['A cluster of our own needs Linux.'];
  const problems = await missingForControlPlane();
  if (process.getuid?.() !== 0) problems.push('A cluster of our own needs root: try sudo.');
  const packages = await missingPackages();
  if (packages.length > 0) {
    const list = packages.join(' ');
    problems.push(`Debian packages are missing: apt-get install --no-install-recommends ${list}`);
  }
  return problems;
}

async function missingPackages(): Promise<string[]> {
  const packages = new Set<string>();
  for (const [program, its] of Object.entries(NEEDED)) {
    if (!(await isThere(program))) packages.add(its);
  }
  return [...packages];
}

async function isThere(program: string): Promise<boolean> {
  const places = program.startsWith('/') ? [program] : FOLDERS.map((dir) => `${dir}/${program}`);
  const found = await Promise.allSettled(places.map((path) => access(path)));
  return found.some(({ status }) => status === 'fulfilled');
}

// `node dev/cluster/requirements.ts`: for whoever can install them.
if (process.argv[1] === import.meta.filename) console.log((await missingPackages()).join(' '));
