import { randomBytes } from 'node:crypto';
import type { ControlPlane } from '../envtest/control-plane.ts';
import { ExistingCluster } from '../envtest/existing-cluster.ts';
import { manifest } from './objects.ts';
import { CRDS, OPERATOR, OPERATOR_NAMESPACE, permissions } from './operator.ts';

/** Test files for `E2E_KUBECONFIG`: they stop no API server, read no audit log and share no name with a cluster. */
export const ON_ANY_CLUSTER = [
  'test/e2e/grants.slow.ts',
  'test/e2e/targets.test.ts',
  'test/e2e/merge.slow.ts',
  'test/e2e/kept-tokens.slow.ts',
  'test/e2e/noisy-neighbor.slow.ts',
];

const CRD = 'crd/convercuscredentials.convercus.io';

/** The cluster that `E2E_KUBECONFIG` names; undefined when it is unset. */
export async function clusterOfEnvironment(): Promise<ControlPlane | undefined> {
  const kubeconfig = process.env['E2E_KUBECONFIG'];
  if (!kubeconfig) return undefined;
  const cluster = await ExistingCluster.connect(kubeconfig, [OPERATOR]);
  const found = await cluster.kubectl(['get', CRD, '--ignore-not-found', '-o', 'name']);
  if (found === '') return cluster;
  await cluster.stop();
  throw new Error(
    `The cluster of E2E_KUBECONFIG has the operator already (${CRD}), and these tests install and remove it. ` +
      `Take another cluster; if a test run has left it: kubectl delete ${CRD} and what deploy/install.yaml installs.`,
  );
}

/** Before each name of a namespace, so that none is that of a team. */
export const namespacePrefix = (controlPlane: ControlPlane): string =>
  controlPlane instanceof ExistingCluster ? `convercus-e2e-${randomBytes(4).toString('hex')}-` : '';

/**
 * Removes what a test has installed and created. The namespace of the operator stays, empty: in a cluster without
 * controllers it could not be created again.
 */
export async function leaveCluster(
  controlPlane: ControlPlane,
  namespaces: readonly string[],
): Promise<void> {
  if (!(controlPlane instanceof ExistingCluster)) return;
  const remove = (...args: string[]): Promise<string> =>
    controlPlane.kubectl(['delete', '--ignore-not-found', ...args]);
  for (const namespace of namespaces) {
    await remove('convercuscredentials,secrets,configmaps', '--all', '-n', namespace);
    await remove('namespace', namespace, '--wait=false');
  }
  await remove('-f', CRDS);
  const input = manifest(await permissions());
  await controlPlane.kubectl(['delete', '--ignore-not-found', '-f', '-'], { input });
  await remove('leases,serviceaccounts', '--all', '-n', OPERATOR_NAMESPACE);
}
