import { stringify } from 'yaml';
import { manifest } from './objects.ts';
import { OPERATOR_NAMESPACE } from './operator.ts';
import type { Testbed } from './testbed.ts';

/**
 * What the chart makes and `kubectl convercus` looks at: the configuration, and a pod that is ready. Its process runs
 * beside the API server here.
 */
export async function showInstallation(testbed: Testbed, config: object): Promise<void> {
  const { controlPlane } = testbed;
  const labels = { 'app.kubernetes.io/name': 'convercus-operator' };
  const containers = [{ name: 'operator', image: 'registry/convercus-operator:0.1.0' }];
  // The identity of a process has an underscore, which no name may have
  const pod = (await testbed.leader()).toLowerCase().replaceAll('_', '-');
  const objects = [
    {
      apiVersion: 'v1',
      kind: 'ConfigMap',
      metadata: { name: 'convercus-operator', labels },
      data: { 'config.yaml': stringify(config) },
    },
    { apiVersion: 'v1', kind: 'Pod', metadata: { name: pod, labels }, spec: { containers } },
  ];
  const where = ['-n', OPERATOR_NAMESPACE];
  await controlPlane.kubectl(['apply', '-f', '-', ...where], { input: manifest(objects) });
  const conditions = [{ type: 'Ready', status: 'True' }];
  const ready = JSON.stringify({ status: { phase: 'Running', conditions } });
  const patch = ['--subresource=status', '--type=merge', '-p', ready];
  await controlPlane.kubectl(['patch', 'pod', pod, ...patch, ...where]);
}
