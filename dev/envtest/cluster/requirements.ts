import { access } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { missingForControlPlane } from '../binaries.ts';
import { cacheDir } from '../server-process.ts';
import { COVERED } from './node.ts';

export const CERTIFICATES = '/etc/ssl/certs/ca-certificates.crt';

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
  [CERTIFICATES]: 'ca-certificates',
};

/** With which Keycloak is fetched and run. */
const FOR_KEYCLOAK = { java: 'default-jre-headless', mvn: 'maven' };

/** Where some of them lie, though not everybody's PATH leads there. */
export const SYSTEM_FOLDERS = ['/usr/sbin', '/sbin'];
const FOLDERS = [...(process.env['PATH'] ?? '').split(':'), ...SYSTEM_FOLDERS];

/** What stands in the way of a cluster here, one sentence each. */
export async function missingForCluster(): Promise<string[]> {
  if (process.platform !== 'linux') return ['A cluster of our own needs Linux.'];
  const problems = await missingForControlPlane();
  if (process.getuid?.() !== 0) problems.push('A cluster of our own needs root: try sudo.');
  problems.push(...hidden());
  const packages = await missingPackages();
  if (packages.length > 0) {
    const list = packages.join(' ');
    problems.push(`Debian packages are missing: apt-get install --no-install-recommends ${list}`);
  }
  return problems;
}

/** What the cluster itself could not see. */
function hidden(): string[] {
  const checkout = join(import.meta.dirname, '../../..');
  return Object.entries({ checkout, cache: cacheDir(), 'temporary files': tmpdir() })
    .filter(([, path]) => COVERED.some((dir) => `${path}/`.startsWith(`${dir}/`)))
    .map(([what, path]) => `A cluster of our own covers ${COVERED.join(', ')}: ${what} in ${path}`);
}

async function missingPackages(needed = NEEDED): Promise<string[]> {
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

// `node dev/envtest/cluster/requirements.ts`: the packages that `npm test` and `npm run e2e` lack here, for .ci/run.
if (process.argv[1] === import.meta.filename) {
  console.log((await missingPackages({ ...NEEDED, ...FOR_KEYCLOAK })).join(' '));
}
