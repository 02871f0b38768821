import { beforeAll, describe, expect, it } from '@jest/globals';
import { parse } from 'yaml';
import {
  BUILD_TIME,
  CHART,
  fromInput,
  helm,
  type Manifest,
  renderChart,
  the,
  type Values,
} from './render.ts';
import { VALUE_SETS } from './value-sets.ts';

beforeAll(async () => void (await helm(['version'])), BUILD_TIME);

const render = (name: string): Promise<Manifest[]> => renderChart(VALUE_SETS[name]);

/** The spec of the pods. */
const podOf = (objects: readonly Manifest[]): Manifest['spec'] =>
  the('Deployment', objects)['spec'].template.spec;

const imageOf = async (values: Values): Promise<string> =>
  podOf(await renderChart(values)).containers[0].image;

describe('the pods of the chart', () => {
  it('pull from the registry of all charts, or that of the image, or that of the repository', async () => {
    const image = { registry: 'a.example.com', repository: 'x/operator', tag: '1' };
    expect(await imageOf({ image })).toBe('a.example.com/x/operator:1');
    const global = { imageRegistry: 'b.example.com/' };
    expect(await imageOf({ image, global })).toBe('b.example.com/x/operator:1');
    const whole = { repository: 'c.example.com/x/operator', tag: '1' };
    expect(await imageOf({ image: whole })).toBe('c.example.com/x/operator:1');
  });

  it('pull with the Secrets of all charts and those of their own', async () => {
    const objects = await renderChart({
      global: { imagePullSecrets: ['all', { name: 'own' }] },
      imagePullSecrets: [{ name: 'own' }],
    });
    const secrets = [{ name: 'all' }, { name: 'own' }];
    expect(podOf(objects).imagePullSecrets).toEqual(secrets);
    expect(the('Pod', objects)['spec'].imagePullSecrets).toEqual(secrets);
  });

  it('trust a bundle of certificates', async () => {
    const pod = podOf(await render('a restricted network with a proxy that intercepts TLS'));
    const [{ env, volumeMounts }] = pod.containers;
    const path = '/etc/convercus-operator-ca';
    expect(env).toContainEqual({ name: 'NODE_EXTRA_CA_CERTS', value: `${path}/bundle.pem` });
    expect(volumeMounts).toContainEqual({ name: 'ca-bundle', mountPath: path, readOnly: true });
    const items = [{ key: 'bundle.pem', path: 'bundle.pem' }];
    expect(pod.volumes).toContainEqual({
      name: 'ca-bundle',
      configMap: { name: 'company-ca', items },
    });
    expect(pod).toMatchObject({ dnsPolicy: 'None', hostAliases: [{ ip: '192.0.2.1' }] });
  });

  it('ask the name servers of the cluster on the network of the node, too', async () => {
    const name = 'the network of the node, and objects of the platform';
    expect(podOf(await render(name))).toMatchObject({
      hostNetwork: true,
      dnsPolicy: 'ClusterFirstWithHostNet',
    });
    expect(podOf(await renderChart())).not.toHaveProperty('dnsPolicy');
  });

  it('have containers before and beside the operator', async () => {
    const pod = podOf(await render('sandboxed pods with a sidecar'));
    const names = (containers: { name: string }[]): string[] => containers.map(({ name }) => name);
    expect(names(pod.initContainers)).toEqual(['wait']);
    expect(names(pod.containers)).toEqual(['operator', 'proxy']);
    expect(pod).toMatchObject({ runtimeClassName: 'gvisor', schedulerName: 'bin-packing' });
  });

  it('keep the labels by which they are selected, whatever other labels say', async () => {
    const labels = { 'app.kubernetes.io/instance': 'mine', team: 'a' };
    const objects = await renderChart({ commonLabels: labels, podLabels: { team: 'b' } });
    const { selector, template } = the('Deployment', objects)['spec'];
    expect(template.metadata.labels).toMatchObject({ ...selector.matchLabels, team: 'b' });
  });

  it('may reach the name servers of OpenShift', async () => {
    const objects = await render('OpenShift with users that it assigns');
    const [dns] = the('NetworkPolicy', objects)['spec'].egress;
    expect(dns.ports).toHaveLength(4);
    expect(dns.ports).toContainEqual({ port: 5353, protocol: 'UDP' });
    expect(podOf(objects).securityContext).not.toHaveProperty('runAsUser');
  });
});

describe('the objects of the chart', () => {
  it('carry annotations for all, and their own win', async () => {
    const objects = await render('waves of Argo CD');
    const waves = new Map(
      objects.map(({ kind, metadata }) => [
        kind,
        metadata.annotations?.['argocd.argoproj.io/sync-wave'],
      ]),
    );
    expect(waves.get('CustomResourceDefinition')).toBe('-1');
    expect(waves.get('Deployment')).toBe('1');
    waves.delete('CustomResourceDefinition');
    waves.delete('Deployment');
    expect(new Set(waves.values())).toEqual(new Set(['0']));
    expect(the('Deployment', objects)['spec'].revisionHistoryLimit).toBe(0);
    expect(the('CustomResourceDefinition', objects).metadata.annotations).toMatchObject({
      'helm.sh/resource-policy': 'keep',
      'argocd.argoproj.io/sync-options': 'ServerSideApply=true',
    });
  });

  it('are all in another namespace, and so is what names it', async () => {
    const objects = await render('another namespace than that of the release');
    const namespaces = new Set(objects.map(({ metadata }) => metadata.namespace));
    expect(namespaces).toEqual(new Set(['elsewhere', 'shop', undefined]));
    const subjects = objects.flatMap((object) => object['subjects'] ?? []);
    expect(new Set(subjects.map(({ namespace }) => namespace))).toEqual(new Set(['elsewhere']));
    expect(JSON.stringify(the('Pod', objects)['spec'])).toContain('convercus-operator.elsewhere:');
    expect(JSON.stringify(objects)).toContain('system:serviceaccount:elsewhere:convercus-operator');
  });

  it('for monitoring look into the namespace of the pods from another one', async () => {
    const objects = await render('monitoring in a namespace of its own');
    for (const kind of ['ServiceMonitor', 'PrometheusRule']) {
      expect(the(kind, objects).metadata.namespace).toBe('elsewhere');
    }
    expect(the('ServiceMonitor', objects)['spec'].namespaceSelector).toEqual({
      matchNames: ['convercus-operator'],
    });
  });

  it('bring others along: maps as they are, strings as templates', async () => {
    const objects = await render('the network of the node, and objects of the platform');
    const named = (name: string): Manifest | undefined =>
      objects.find(({ metadata }) => metadata.name === name);
    expect(named('headers')?.['data']).toEqual({ authorization: 'Bearer {{access_token}}' });
    expect(named('convercus-operator-notes')?.kind).toBe('ConfigMap');
  });

  it('can be of a release whose name is a number', async () => {
    const yaml = await helm(['template', '12', CHART, ...fromInput]);
    const labels = parse(yaml.split(/^---$/m)[1] ?? '').metadata.labels;
    expect(labels['app.kubernetes.io/instance']).toBe('12');
  });
});
