import { execFile } from 'node:child_process';
import { mkdir, writeFile } from 'node:fs/promises';
import { join, relative } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { stringify } from 'yaml';
import { type Convercus, startConvercus } from '../../dev/convercus/convercus.ts';
import { type ClusterClient, startCluster } from '../../dev/envtest/cluster/cluster.ts';
import { archivesIn } from '../../dev/envtest/cluster/images.ts';
import { NODE_ADDRESS } from '../../dev/envtest/cluster/node.ts';
import { ensureTool } from '../../dev/packaging/tools.ts';
import { localStaging, OPERATOR_NAMESPACE } from '../../dev/testbed/operator.ts';
import { Testbed } from '../../dev/testbed/testbed.ts';
import { StandInApi } from './stand-in-api.ts';
import type { Issued } from './watches.ts';
import { RESTRICTED } from './workload.ts';

const ROOT = join(import.meta.dirname, '../..');
const CHART = join(ROOT, 'charts/convercus-operator');
export const RELEASE = 'convercus-operator';
export { OPERATOR_NAMESPACE };

export interface PodObject {
  readonly metadata: { readonly name: string; readonly uid: string };
  readonly status: { readonly podIP?: string };
}

/** A cluster; the identity provider and the API that workloads call run outside of it, on the node's address. */
export class Lab {
  readonly cluster: ClusterClient;
  readonly api: StandInApi;
  readonly #testbed: Testbed;

  private constructor(cluster: ClusterClient, testbed: Testbed, api: StandInApi) {
    this.cluster = cluster;
    this.#testbed = testbed;
    this.api = api;
  }

  /** @param dir the folder of the Isolation, with the images */
  static async start(dir: string, syncFrequency: string): Promise<Lab> {
    const cluster = await startCluster({ dir, images: await archivesIn(dir), syncFrequency });
    const testbed = await Testbed.start({
      controlPlane: async () => cluster.controlPlane,
      provider: () => startConvercus({ host: NODE_ADDRESS }),
      release: 'none',
      operators: [],
    });
    const api = new StandInApi();
    await api.listen(NODE_ADDRESS);
    return new Lab(cluster, testbed, api);
  }

  async stop(): Promise<void> {
    this.api.close();
    await this.#testbed.stop();
  }

  get provider(): Convercus {
    return this.#testbed.provider;
  }

  /** @throws with the standard error of helm */
  async helm(command: string, values: object = {}, ...flags: string[]): Promise<string> {
    const file = join(this.cluster.dir, 'values.yaml');
    await writeFile(file, stringify({ environments: localStaging(this.provider.url), ...values }));
    const where = ['--namespace', OPERATOR_NAMESPACE, '--kubeconfig', this.cluster.kubeconfig];
    const isOfChart = command === 'install' || command === 'upgrade';
    const what = isOfChart ? [RELEASE, CHART, '--values', file] : [RELEASE];
    const env = { ...process.env, HELM_CACHE_HOME: this.cluster.dir };
    const { stdout } = await promisify(execFile)(
      await ensureTool('helm'),
      [command, ...what, ...where, ...flags],
      { env },
    );
    return stdout;
  }

  /** Applies an overlay over one of deploy/, with another image and provider, as users do. */
  async applyOverlay(name: string, image: string): Promise<void> {
    const dir = join(this.cluster.dir, 'overlay');
    const [newName = '', newTag] = image.split(/:(?=[^:]*$)/);
    const pull = [
      { op: 'add', path: '/spec/template/spec/containers/0/imagePullPolicy', value: 'Never' },
    ];
    const config = { name: 'convercus-operator-config', namespace: OPERATOR_NAMESPACE };
    await mkdir(dir, { recursive: true });
    await writeFile(
      join(dir, 'config.yaml'),
      stringify({ environments: localStaging(this.provider.url) }),
    );
    await writeFile(
      join(dir, 'kustomization.yaml'),
      stringify({
        resources: [relative(dir, join(ROOT, 'deploy/overlays', name))],
        images: [{ name: 'registry.invalid/convercus-operator', newName, newTag }],
        configMapGenerator: [{ ...config, behavior: 'replace', files: ['config.yaml'] }],
        patches: [{ target: { kind: 'Deployment' }, patch: JSON.stringify(pull) }],
      }),
    );
    await this.cluster.kubectl(['apply', '--server-side', '--force-conflicts', '-k', dir]);
  }

  /** A namespace that admits restricted pods only. */
  async namespace(name: string): Promise<void> {
    await this.cluster.apply({
      apiVersion: 'v1',
      kind: 'Namespace',
      metadata: { name, labels: RESTRICTED },
    });
  }

  /** Creates a realm `<program>-staging`, and a Secret with its client secret that is named like the credential. */
  async customer(namespace: string, name: string, lifetime: number): Promise<string> {
    const settings = { accessTokenLifespan: lifetime };
    const { clientSecret } = await this.#testbed.addRealm(`${name}-staging`, settings);
    await this.setSecret(namespace, name, clientSecret);
    return clientSecret;
  }

  async setSecret(namespace: string, name: string, clientSecret: string): Promise<void> {
    await this.cluster.apply({
      apiVersion: 'v1',
      kind: 'Secret',
      metadata: { name, namespace },
      stringData: { client_secret: clientSecret },
    });
  }

  async credential(namespace: string, name: string, renewal: object = {}): Promise<void> {
    await this.cluster.apply({
      apiVersion: 'convercus.io/v1alpha1',
      kind: 'ConvercusCredential',
      metadata: { name, namespace },
      spec: { program: name, environment: 'staging', credentialsSecretRef: { name }, renewal },
    });
  }

  /** The operator's pods that are not being deleted. */
  async operatorPods(): Promise<PodObject[]> {
    const args = ['get', 'pods', '-n', OPERATOR_NAMESPACE, '-o', 'json'];
    const { items } = JSON.parse(await this.cluster.kubectl(args));
    return items.filter(
      ({ metadata }: { metadata: { deletionTimestamp?: string } }) =>
        metadata.deletionTimestamp === undefined,
    );
  }

  /** Token requests with status 200, by the credential of the realm. */
  issued(realm: RegExp): Issued[] {
    const good = this.provider.log.entries.filter(
      (entry) => entry.status === 200 && realm.test(entry.realm),
    );
    return good.map(({ realm, time }, index) => ({
      credential: realm.replace(/-staging$/, ''),
      at: time,
      next: good.slice(index + 1).find((entry) => entry.realm === realm)?.time ?? Infinity,
    }));
  }
}

/** Seconds for steps that take a few seconds on an idle machine. */
export const PATIENCE = 180;

/** @throws when the condition is not true in time */
export async function until<T>(
  look: () => T | undefined | false | Promise<T | undefined | false>,
  seconds = PATIENCE,
  pause = 50,
): Promise<T> {
  const deadline = Date.now() + seconds * 1_000;
  for (;;) {
    const seen = await look();
    if (seen !== undefined && seen !== false) return seen;
    if (Date.now() > deadline)
      throw new Error(`It was not so within ${seconds} s: ${look.toString()}`);
    await sleep(pause);
  }
}
