import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { parse, stringify } from 'yaml';
import { type ControlPlane, startControlPlane } from '../../dev/envtest/control-plane.ts';
import { credentialObject } from '../../dev/testbed/tenant.ts';
import {
  BUILD_TIME,
  CHART,
  fromInput,
  helm,
  inNamespace,
  type Manifest,
  NAMESPACE,
  RELEASE,
  ROOT,
  renderChart,
  renderOverlay,
  the,
  type Values,
} from './render.ts';
import { VALUE_SETS } from './value-sets.ts';

let controlPlane: ControlPlane;

beforeAll(async () => {
  await helm(['version']);
  controlPlane = await startControlPlane({ log: console.log });
  await controlPlane.kubectl(['apply', '-f', join(import.meta.dirname, 'monitoring-crds.yaml')]);
  await controlPlane.kubectl(['wait', '--for=condition=Established', 'crd', '--all']);
  for (const namespace of ['shop', 'warehouse', 'elsewhere']) {
    await controlPlane.kubectl(['create', 'namespace', namespace]);
  }
  const sandbox =
    'apiVersion: node.k8s.io/v1\nkind: RuntimeClass\nmetadata: {name: gvisor}\nhandler: runsc';
  await controlPlane.kubectl(['apply', '-f', '-'], { input: sandbox });
  const restricted = 'pod-security.kubernetes.io/enforce=restricted';
  await controlPlane.kubectl(['create', 'namespace', NAMESPACE]);
  await controlPlane.kubectl(['label', 'namespace', NAMESPACE, restricted]);
}, BUILD_TIME);

afterAll(() => controlPlane?.stop());

const apply = (objects: readonly Manifest[], ...flags: string[]): Promise<string> =>
  controlPlane.kubectl(['apply', '--server-side', ...flags, '-f', '-'], {
    input: objects.map((object) => stringify(object)).join('---\n'),
  });

const dryRun = (objects: readonly Manifest[]): Promise<string> =>
  apply(objects, '--dry-run=server');

/** The pod of the Deployment: the API server rejects a pod that is not restricted, but not such a Deployment. */
const podOf = ({ spec }: Manifest): Manifest => ({
  apiVersion: 'v1',
  kind: 'Pod',
  metadata: { name: 'pod', namespace: NAMESPACE },
  spec: spec.template.spec,
});

describe('a real API server', () => {
  it.each(Object.entries(VALUE_SETS))('accepts the chart with %s', async (_, values) => {
    const objects = await renderChart(values);
    const response = await dryRun(objects);
    expect(response.trim().split('\n')).toHaveLength(objects.length);
  });

  it.each(['cluster', 'cluster-credentials', 'namespaces'])(
    'accepts the overlay %s',
    async (overlay) => {
      const objects = await renderOverlay(overlay);
      const response = await dryRun(objects);
      expect(response.trim().split('\n')).toHaveLength(objects.length);
    },
  );

  it('accepts install.yaml', async () => {
    const file = join(ROOT, 'deploy/install.yaml');
    const flags = ['--server-side', '--force-conflicts', '--dry-run=server'];
    await controlPlane.kubectl(['apply', ...flags, '-f', file]);
  });

  it('admits the pods and the test pod of the chart to a restricted namespace', async () => {
    const objects = await renderChart();
    await dryRun([podOf(the('Deployment', objects)), the('Pod', objects)]);
  });

  it('would refuse a pod that is not restricted', async () => {
    const lax = await renderChart({ securityContext: { capabilities: null } });
    await expect(dryRun([podOf(the('Deployment', lax))])).rejects.toThrow('violates PodSecurity');
  });
});

describe('what the operator may do', () => {
  /** All rights in a namespace, with cluster-wide ones, as `resource [names]: verbs`. */
  async function rightsOf(account: string, namespace: string): Promise<string[]> {
    const who = `--as=system:serviceaccount:${NAMESPACE}:${account}`;
    const flags = ['--list', '--no-headers', '-n', namespace, who];
    const table = await controlPlane.kubectl(['auth', 'can-i', ...flags]);
    return [...table.matchAll(/^(\S+) +\[\] +\[(.*?)\] +\[(.*?)\]$/gm)].map(
      ([, resource = '', names, verbs]) => `${resource} [${names}]: ${verbs}`,
    );
  }

  /** Without the rights that every service account has. */
  async function rightsIn(namespace: string): Promise<string[]> {
    const common = await rightsOf('without-rights', namespace);
    const rights = await rightsOf(RELEASE, namespace);
    return rights.filter((right) => !common.includes(right)).sort();
  }

  const FOR_CREDENTIALS = [
    'convercuscredentials.convercus.io []: get list watch',
    'convercuscredentials.convercus.io/status []: update patch',
    'events.events.k8s.io []: create',
    'secrets []: get list watch create update patch delete',
  ];

  const FOR_LEADING = [
    'leases.coordination.k8s.io []: create',
    `leases.coordination.k8s.io [${RELEASE}]: get update`,
  ];

  async function withPermissions(values: Values, look: () => Promise<void>): Promise<void> {
    const isPermission = ({ kind }: Manifest): boolean => /Role|ServiceAccount/.test(kind);
    const objects = (await renderChart(values)).filter(isPermission);
    await apply(objects);
    try {
      await look();
    } finally {
      const input = objects.map((object) => stringify(object)).join('---\n');
      await controlPlane.kubectl(['delete', '-f', '-'], { input });
    }
  }

  it('in the whole cluster is what it needs, and nothing else', async () => {
    await withPermissions({}, async () => {
      expect(await rightsIn('shop')).toEqual(FOR_CREDENTIALS);
      expect(await rightsIn(NAMESPACE)).toEqual([...FOR_CREDENTIALS, ...FOR_LEADING].sort());
    });
  });

  it('for cluster credentials is to read these, and to list namespaces', async () => {
    const more = [
      'clusterconvercuscredentials.convercus.io []: get list watch',
      'clusterconvercuscredentials.convercus.io/status []: patch',
      'namespaces []: list watch',
    ];
    await withPermissions({ clusterCredentials: { enabled: true } }, async () => {
      expect(await rightsIn('shop')).toEqual([...FOR_CREDENTIALS, ...more].sort());
    });
  });

  it('in listed namespaces ends at their borders', async () => {
    await withPermissions({ watch: { namespaces: ['shop', 'warehouse'] } }, async () => {
      expect(await rightsIn('shop')).toEqual(FOR_CREDENTIALS);
      expect(await rightsIn('warehouse')).toEqual(FOR_CREDENTIALS);
      expect(await rightsIn('elsewhere')).toEqual([]);
      expect(await rightsIn(NAMESPACE)).toEqual(FOR_LEADING);
    });
  });

  it('is nothing once the permissions are gone', async () => {
    expect(await rightsIn('shop')).toEqual([]);
  });
});

describe('a release', () => {
  const release = (command: string, args: string[], values?: Values): Promise<string> => {
    const kubeconfig = `--kubeconfig=${controlPlane.adminKubeconfig}`;
    return helm([command, RELEASE, ...args, ...inNamespace, kubeconfig], values);
  };

  const crd = (path: string): Promise<string> =>
    controlPlane.kubectl([
      'get',
      'crd',
      'convercuscredentials.convercus.io',
      '-o',
      `jsonpath={${path}}`,
    ]);

  it('installs, and says what to do next', async () => {
    const said = await release('install', [CHART, ...fromInput]);
    expect(said).toContain('kubectl create secret generic');
    expect(await controlPlane.kubectl(['get', 'deploy', '-n', NAMESPACE, '-o', 'name'])).toContain(
      RELEASE,
    );
    await controlPlane.kubectl([
      'wait',
      '--for=condition=Established',
      'crd',
      'convercuscredentials.convercus.io',
    ]);
  });

  it('upgrades the CRD', async () => {
    const shortNames = '.spec.names.shortNames';
    const patch = JSON.stringify({ spec: { names: { shortNames: ['old'] } } });
    await controlPlane.kubectl([
      'patch',
      'crd',
      'convercuscredentials.convercus.io',
      '--type=merge',
      '-p',
      patch,
    ]);
    expect(await crd(shortNames)).toBe('["old"]');
    await release('upgrade', [CHART, ...fromInput, '--force-conflicts'], { replicaCount: 2 });
    expect(await crd(shortNames)).toBe('["convcred"]');
  });

  it('leaves credentials and Secrets alone when it is uninstalled', async () => {
    const input = stringify(credentialObject('loyalty', { program: 'ABC' }));
    await controlPlane.kubectl(['apply', '-n', 'shop', '-f', '-'], { input });
    await controlPlane.kubectl(['create', 'secret', 'generic', '-n', 'shop', 'loyalty-token']);
    await release('uninstall', ['--wait', '--timeout=60s']);
    expect(await controlPlane.kubectl(['get', 'deploy', '-n', NAMESPACE, '-o', 'name'])).toBe('');
    const kept = await controlPlane.kubectl(['get', 'convcred,secret', '-n', 'shop', '-o', 'name']);
    expect(kept.trim().split('\n')).toEqual([
      'convercuscredential.convercus.io/loyalty',
      'secret/loyalty-token',
    ]);
  });

  it('upgrades 0.1.0, and credentials that are there go on', async () => {
    const old = await mkdtemp(join(tmpdir(), 'chart-0.1.0-'));
    try {
      await mkdir(join(old, 'templates'));
      const rendered = await readFile(join(ROOT, 'test/upgrade/0.1.0/chart.yaml'));
      await writeFile(join(old, 'rendered.yaml'), rendered);
      await writeFile(join(old, 'templates/all.yaml'), '{{ .Files.Get "rendered.yaml" }}');
      const chart = { apiVersion: 'v2', name: 'convercus-operator', version: '0.1.0' };
      await writeFile(join(old, 'Chart.yaml'), stringify(chart));
      await release('install', [old]);
    } finally {
      await rm(old, { recursive: true });
    }
    await release('upgrade', [CHART, ...fromInput, '--force-conflicts']);
    const annotate = [
      'annotate',
      'convercuscredential',
      'loyalty',
      '-n',
      'shop',
      'convercus.io/renew-requested-at=1',
    ];
    await controlPlane.kubectl(annotate);
    const kind = 'validatingadmissionpolicybindings';
    const bindings = await controlPlane.kubectl(['get', kind, '-o', 'name']);
    expect(bindings.trim().split('\n')).toHaveLength(2);
    await release('uninstall', []);
    expect(await controlPlane.kubectl(['get', kind, '-o', 'name'])).toBe('');
  });

  it('comes back over the CRD that it has left', async () => {
    await release('install', [CHART, ...fromInput]);
  });

  describe('beside another one', () => {
    const second = (command: string, args: string[], values?: Values): Promise<string> =>
      helm(
        [command, 'shop', ...args, '-n', 'elsewhere', '--kubeconfig', controlPlane.adminKubeconfig],
        values,
      );

    it('does not install what the first one has', async () => {
      await expect(second('install', [CHART, ...fromInput])).rejects.toThrow(
        'exists and cannot be imported into the current release',
      );
    });

    it('installs without the CRD, and leaves it where it is', async () => {
      const values = { crds: { enabled: false }, watch: { selector: 'team=shop' } };
      await second('install', [CHART, ...fromInput], values);
      const list = ['get', 'deploy', '-A', '-o', 'jsonpath={.items[*].metadata.name}'];
      expect(await controlPlane.kubectl(list)).toBe('convercus-operator shop-convercus-operator');
      await second('uninstall', []);
      expect(await crd('.metadata.annotations.meta\\.helm\\.sh/release-name')).toBe(RELEASE);
      await release('uninstall', []);
    });
  });

  it('says which kinds of monitors the cluster does not know', async () => {
    const file = join(import.meta.dirname, 'monitoring-crds.yaml');
    await controlPlane.kubectl(['delete', '--wait', '-f', file]);
    const values = { podMonitor: { enabled: true } };
    await expect(release('install', [CHART, ...fromInput], values)).rejects.toThrow(
      'podMonitor.enabled: this cluster does not know the kind PodMonitor',
    );
  });

  it('has an example on the page of the chart that the API server accepts', async () => {
    const { annotations } = parse(await readFile(join(CHART, 'Chart.yaml'), 'utf8'));
    const examples = parse(annotations['artifacthub.io/crdsExamples']);
    expect(examples).toHaveLength(1);
    await dryRun(examples);
    const [{ name }] = parse(annotations['artifacthub.io/crds']);
    expect(await crd('.metadata.name')).toBe(name);
  });
});
