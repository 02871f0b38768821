import { access } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { missingForControlPlane } from '../binaries.ts';
import { cacheDir } from '../cache-dir.ts';
import { COVERED } from './node.ts';

export const CERTIFICATES = '/etc/ssl/certs/ca-certificates.crt';

/** Programs or files, and the Debian package that brings each. */
export type DebianPackages = Readonly<Record<string, string>>;

/** What a cluster is made of besides what is built from Go modules. */
export const CLUSTER_PACKAGES: DebianPackages = {
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
  [CERTIFICATES]: 'ca-certificates',
};

/** Some of these programs are in folders that the PATH of an ordinary user lacks. */
export const SYSTEM_FOLDERS = ['/usr/sbin', '/sbin'];
const FOLDERS = [...(process.env['PATH'] ?? '').split(':'), ...SYSTEM_FOLDERS];

/** What has to be changed before a cluster can start here, one sentence each. */
export async function missingForCluster(): Promise<string[]> {
  if (process.platform !== 'linux') return ['The test cluster needs Linux.'];
  const problems = await missingForControlPlane();
  if (process.getuid?.() !== 0) problems.push('The test cluster needs root: try sudo.');
  problems.push(...hidden());
  const packages = await missingPackages(CLUSTER_PACKAGES);
  if (packages.length > 0) {
    const list = packages.join(' ');
    problems.push(`Debian packages are missing: apt-get install --no-install-recommends ${list}`);
  }
  return problems;
}

/** Folders that the cluster needs but could not see, since it mounts an empty tmpfs over them. */
function hidden(): string[] {
  const checkout = join(import.meta.dirname, '../../..');
  return Object.entries({ checkout, cache: cacheDir(), 'temporary files': tmpdir() })
    .filter(([, path]) => COVERED.some((dir) => `${path}/`.startsWith(`${dir}/`)))
    .map(([what, path]) => `The test cluster covers ${COVERED.join(', ')}: ${what} in ${path}`);
}

/** The packages of `needed` whose programs are not there. */
export async function missingPackages(needed: DebianPackages): Promise<string[]> {
  const packages = new Set<string>();
  for (const [program, its] of Object.entries(needed)) {
    if (!(await isThere(program))) packages.add(its);
  }
  return [...packages];
}

async function isThere(program: string): Promise<boolean> {
  const places = program.startsWith('/') ? [program] : FOLDERS.map((dir) => `${dir}/${program}`);
  const found = await Promise.allSettled(places.map((path) => access(path)));
  return found.some(({ status }) => status === 'fulfilled');
}
