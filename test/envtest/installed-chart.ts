import type { ControlPlane } from '../../dev/envtest/control-plane.ts';
import { ApiClient } from '../../dev/lab/api-client.ts';
import { eventually, manifest } from '../../dev/testbed/objects.ts';
import { CHART, fromInput, helm, manifests, type Values } from '../packaging/render.ts';

/** What of the chart has an effect without controllers: it says who may do what. */
const KINDS =
  /^(CustomResourceDefinition|ServiceAccount|(Cluster)?Role(Binding)?|ValidatingAdmissionPolicy(Binding)?)$/;

export interface ChartRelease {
  readonly name: string;
  readonly namespace: string;
  readonly values?: Values;
}

export async function installChart(
  controlPlane: ControlPlane,
  { name, namespace, values }: ChartRelease,
): Promise<void> {
  const args = ['template', name, CHART, '--namespace', namespace, ...fromInput];
  const objects = manifests(await helm(args, values)).filter(({ kind }) => KINDS.test(kind));
  const input = manifest(objects);
  await controlPlane.kubectl(['apply', '--server-side', '-f', '-'], { input });
}

/** The user that a token of the service account stands for. */
export const serviceAccount = (namespace: string, name: string) => ({
  name: `system:serviceaccount:${namespace}:${name}`,
  groups: ['system:serviceaccounts', `system:serviceaccounts:${namespace}`],
});

interface Collection {
  readonly root: string;
  readonly plural: string;
  readonly isNamespaced?: boolean;
}

const CREDENTIALS = '/apis/convercus.io/v1alpha1';

const COLLECTIONS: Readonly<Record<string, Collection>> = {
  Secret: { root: '/api/v1', plural: 'secrets' },
  ConvercusCredential: { root: CREDENTIALS, plural: 'convercuscredentials' },
  ClusterConvercusCredential: {
    root: CREDENTIALS,
    plural: 'clusterconvercuscredentials',
    isNamespaced: false,
  },
  Namespace: { root: '/api/v1', plural: 'namespaces', isNamespaced: false },
};

export interface Named {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: {
    readonly name?: string;
    readonly namespace?: string;
    readonly generateName?: string;
  };
}

interface Options {
  readonly dryRun?: boolean;
  readonly fieldManager?: string;
  readonly subresource?: string;
}

/** Sends requests as one user, for objects in `shop` unless they say otherwise. */
export class Account {
  readonly #client: ApiClient;

  private constructor(client: ApiClient) {
    this.#client = client;
  }

  /** @param kubeconfig path */
  static async of(kubeconfig: string): Promise<Account> {
    return new Account(await ApiClient.from(kubeconfig));
  }

  create(object: Named, options?: Options): Promise<string> {
    const { metadata, ...rest } = object;
    const path = pathOf({ ...rest, metadata: { ...metadata, name: '' } }, options);
    return this.#client.send({ method: 'POST', path, body: object });
  }

  /** Server-side. */
  apply(object: Named, options: Options = {}): Promise<string> {
    const path = pathOf(object, { fieldManager: 'test', ...options });
    const contentType = 'application/apply-patch+yaml'; // JSON is YAML
    return this.#client.send({ method: 'PATCH', path, contentType, body: object });
  }

  /** A merge patch. */
  patch(object: Named, change: object, options?: Options): Promise<string> {
    const contentType = 'application/merge-patch+json';
    const path = pathOf(object, options);
    return this.#client.send({ method: 'PATCH', path, contentType, body: change });
  }

  async read(object: Named) {
    return JSON.parse(await this.#client.send({ method: 'GET', path: pathOf(object) }));
  }

  remove(object: Named): Promise<string> {
    return this.#client.send({ method: 'DELETE', path: pathOf(object) });
  }

  close(): Promise<void> {
    return this.#client.close();
  }
}

function pathOf({ kind, metadata }: Named, options: Options = {}): string {
  const { dryRun = false, fieldManager, subresource } = options;
  const { root = '', plural = '', isNamespaced = true } = COLLECTIONS[kind] ?? {};
  const { namespace = 'shop', name = '' } = metadata;
  const query = new URLSearchParams();
  if (dryRun) query.set('dryRun', 'All');
  if (fieldManager !== undefined) query.set('fieldManager', fieldManager);
  const within = isNamespaced ? ['namespaces', namespace] : [];
  const parts = [root, ...within, plural, name, subresource].filter(Boolean);
  return `${parts.join('/')}?${query.toString()}`;
}

/** Why the request failed; empty when it did not. */
export const errorOf = (request: Promise<unknown>): Promise<string> =>
  request.then(
    () => '',
    // The message of the API server is a string within JSON.
    (error: unknown) => String(error).replaceAll('\\"', '"'),
  );

/** The API server takes a moment to heed a new policy. */
export async function untilDenied(request: () => Promise<unknown>): Promise<void> {
  const isDenied = (text: string): boolean => text.includes('denied request');
  const error = await eventually(() => errorOf(request()), isDenied);
  if (!isDenied(error)) throw new Error(`not denied: ${error}`);
}
