import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { ensureBinaries } from '../../dev/envtest/binaries.ts';
import { type ControlPlane, startControlPlane } from '../../dev/envtest/control-plane.ts';
import { manifest } from '../../dev/testbed/objects.ts';
import { installCrd } from '../../dev/testbed/operator.ts';
import { BUILD_TIME, helm, type Manifest, manifests, ROOT, run, the } from '../packaging/render.ts';

const EXAMPLES = join(ROOT, 'examples');
const NAMESPACE = 'shop';

const read = async (file: string): Promise<Manifest[]> =>
  manifests(await readFile(join(EXAMPLES, file), 'utf8'));

async function kustomize(overlay: string): Promise<Manifest[]> {
  const { kubectl } = await ensureBinaries(console.log);
  return manifests(
    await run(kubectl, ['kustomize', join(EXAMPLES, 'kustomize/overlays', overlay)]),
  );
}

const chart = async (): Promise<Manifest[]> =>
  manifests(await helm(['template', 'app', join(EXAMPLES, 'helm'), '--namespace', NAMESPACE]));

const EXAMPLE: readonly [name: string, objects: () => Promise<Manifest[]>][] = [
  ['credential.yaml', () => read('credential.yaml')],
  ['deployment.yaml', () => read('deployment.yaml')],
  ['cronjob.yaml', () => read('cronjob.yaml')],
  ['helm', chart],
  ['kustomize/overlays/staging', () => kustomize('staging')],
  ['kustomize/overlays/production', () => kustomize('production')],
];

/** Of another project: there is no CRD for it here. */
const FOREIGN = ['ExternalSecret'];

describe('a real API server', () => {
  let controlPlane: ControlPlane;

  beforeAll(async () => {
    controlPlane = await startControlPlane();
    await installCrd(controlPlane);
    await controlPlane.kubectl(['create', 'namespace', NAMESPACE]);
    const restricted = 'pod-security.kubernetes.io/enforce=restricted';
    await controlPlane.kubectl(['label', 'namespace', NAMESPACE, restricted]);
  }, BUILD_TIME);

  afterAll(() => controlPlane?.stop());

  it.each(EXAMPLE)('takes %s, with strict validation', async (_, objects) => {
    const own = (await objects()).filter(({ kind }) => !FOREIGN.includes(kind));
    const flags = ['--server-side', '--dry-run=server', '--validate=strict'];
    const input = manifest(own);
    const output = await controlPlane.kubectl(['apply', ...flags, '-f', '-'], { input });
    expect(output.trim().split('\n')).toHaveLength(own.length);
    expect(own.map(({ metadata }) => metadata.namespace)).toEqual(own.map(() => NAMESPACE));
  });

  it.each(['deployment.yaml', 'cronjob.yaml'])('admits pods of %s as restricted', async (file) => {
    const [workload] = (await read(file)).slice(-1);
    const { template } = workload?.['spec'].jobTemplate?.spec ?? workload?.['spec'] ?? {};
    const pod = { apiVersion: 'v1', kind: 'Pod', ...template };
    pod.metadata = { ...pod.metadata, name: 'pod', namespace: NAMESPACE };
    const account = { apiVersion: 'v1', kind: 'ServiceAccount', metadata: { name: 'default' } };
    const apply = ['apply', '-n', NAMESPACE, '-f', '-'];
    await controlPlane.kubectl(apply, { input: manifest([account]) });
    await controlPlane.kubectl([...apply, '--dry-run=server'], { input: manifest([pod]) });
  });
});

describe('the chart', () => {
  it('leaves the placeholders to the operator', async () => {
    expect(the('ConvercusCredential', await chart())['spec'].target.data).toEqual({
      token: '{{access_token}}',
      authorization: 'Bearer $(access_token)',
    });
  });
});

describe('the overlay', () => {
  it.each(['staging', 'production'])('%s takes the secret of its environment', async (overlay) => {
    const objects = await kustomize(overlay);
    const { environment, credentialsSecretRef } = the('ConvercusCredential', objects)['spec'];
    const { target, data } = the('ExternalSecret', objects)['spec'];
    expect(environment).toBe(overlay);
    expect(target.name).toBe(credentialsSecretRef.name);
    expect(data[0].remoteRef.key).toBe(`convercus/${overlay}`);
    expect(target.template.data).toEqual({ client_secret: '{{ .secret | trim }}' });
  });
});

describe('the workloads', () => {
  it.each([
    ['deployment.yaml', 'credential.yaml', 'token'],
    ['cronjob.yaml', 'cronjob.yaml', 'header'],
  ])('of %s mounts what the credential of %s writes', async (file, credentialFile, key) => {
    const credential = the('ConvercusCredential', await read(credentialFile));
    const text = JSON.stringify((await read(file)).at(-1));
    expect(text).toContain(`"secretName":"${credential.metadata.name}-token"`);
    expect(text).not.toMatch(/"(subPath|secretKeyRef|envFrom)"/);
    expect(Object.keys(credential['spec'].target?.data ?? { token: '' })).toEqual([key]);
  });
});
