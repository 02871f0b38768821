import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { type ControlPlane, startControlPlane } from '../../dev/envtest/control-plane.ts';
import { ExistingCluster } from '../../dev/envtest/existing-cluster.ts';
import { clusterOfEnvironment, leaveCluster } from '../../dev/testbed/any-cluster.ts';
import {
  installCluster,
  installCrd,
  OPERATOR_NAMESPACE,
  OPERATOR_USER,
} from '../../dev/testbed/operator.ts';

/** What `E2E_KUBECONFIG=FILE npm run e2e` does to a cluster besides the tests. */
describe('a cluster that is not ours', () => {
  let controlPlane: ControlPlane;
  const before = process.env['E2E_KUBECONFIG'];

  beforeAll(async () => {
    controlPlane = await startControlPlane({ log: console.log });
    process.env['E2E_KUBECONFIG'] = controlPlane.adminKubeconfig;
  }, 15 * 60_000);

  afterAll(async () => {
    if (before === undefined) delete process.env['E2E_KUBECONFIG'];
    else process.env['E2E_KUBECONFIG'] = before;
    await controlPlane?.stop();
  });

  const found = (...what: string[]): Promise<string> =>
    controlPlane.kubectl(['get', ...what, '-o', 'name', '--ignore-not-found']);

  it('gets the operator with its service account, and loses all of it but its namespace', async () => {
    const cluster = await clusterOfEnvironment();
    if (cluster === undefined) throw new Error('E2E_KUBECONFIG is not read');
    try {
      await installCluster(cluster);
      await cluster.kubectl(['create', 'namespace', 'shop']);
      const kubeconfig = cluster.userKubeconfig(OPERATOR_USER);
      expect(await cluster.kubectl(['auth', 'whoami'], { kubeconfig })).toContain(OPERATOR_USER);
      await cluster.kubectl(['get', 'convercuscredentials', '-A'], { kubeconfig });
      await expect(cluster.stopApiServer()).rejects.toThrow('is not ours');
    } finally {
      await leaveCluster(cluster, ['shop']);
      await cluster.stop();
    }
    expect(await found('crd')).toBe('');
    expect(await found('serviceaccounts,roles,rolebindings', '-n', OPERATOR_NAMESPACE)).toBe('');
    const wide = 'clusterroles,clusterrolebindings,validatingadmissionpolicies';
    expect(await found(wide)).not.toContain('convercus');
    expect(await found('namespace', OPERATOR_NAMESPACE)).not.toBe('');
  });

  it('is refused when it has the operator already', async () => {
    await installCrd(controlPlane);
    await expect(clusterOfEnvironment()).rejects.toThrow('has the operator already');
    expect(await found('crd')).toContain('convercuscredentials');
  });

  it('has no kubeconfig of a user that is no service account', async () => {
    const connected = ExistingCluster.connect(controlPlane.adminKubeconfig, [{ name: 'alice' }]);
    await expect(connected).rejects.toThrow('alice is no service account');
  });
});
