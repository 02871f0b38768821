import { clusterNameOf, instanceNameOf } from '../../src/credential/cluster-name.ts';
import { selects } from '../../src/credential/instance.ts';
import { member, textAt } from '../../src/lib/json.ts';
import type { ApiServer } from './api-server.ts';
import { CREDENTIALS_NAMESPACE, NAMESPACES } from './names.ts';
import type { StoredObject } from './objects.ts';
import { specOf } from './rules/rule.ts';

/** ClusterConvercusCredentials as one credential in each of their namespaces. */

interface Cluster {
  readonly server: ApiServer;
}

/** Kind and name in one, of the credential whose Secret that is. */
export function ownerNameIn(labels: Readonly<Record<string, string>>): string | undefined {
  const clusterName = labels['convercus.io/cluster-credential'];
  const name = labels['convercus.io/credential'];
  return name ?? (clusterName === undefined ? undefined : instanceNameOf(clusterName));
}

/** @param name as `ownerNameIn` returns it */
export function credentialNamed(
  { server }: Cluster,
  namespace: string,
  name = '',
): StoredObject | undefined {
  const clusterName = clusterNameOf(name);
  return clusterName === undefined
    ? server.get('convercuscredentials', `${namespace}/${name}`)
    : server.get('clusterconvercuscredentials', `/${clusterName}`);
}

export const isInstance = ({ metadata }: StoredObject): boolean =>
  clusterNameOf(metadata.name) !== undefined;

/** Of its credentials Secret and its session. */
export const credentialsNamespaceOf = (credential: StoredObject): string =>
  isInstance(credential) ? CREDENTIALS_NAMESPACE : credential.metadata.namespace;

/** One for each namespace that a cluster credential selects, with what its status says of the namespace. */
export const instancesOf = (world: Cluster): StoredObject[] =>
  [...world.server.all('clusterconvercuscredentials')].flatMap((cluster) =>
    selectedBy(world, cluster).map((namespace) => instanceIn(cluster, namespace)),
  );

export function selectedBy(world: Cluster, cluster: StoredObject): readonly string[] {
  return NAMESPACES.filter((name) => {
    const labels = world.server.get('namespaces', `/${name}`)?.metadata.labels ?? {};
    return selects({ ...cluster.spec }, { name, labels });
  });
}

function instanceIn(cluster: StoredObject, namespace: string): StoredObject {
  const { metadata, spec, status = {} } = cluster;
  const failure = failuresIn(cluster).get(namespace);
  const isSuspended = specOf(cluster).suspend;
  const observedGeneration = member(status, 'observedGeneration');
  const condition = (type: string) => ({
    type,
    status: failure === undefined ? 'True' : 'False',
    reason: failure ?? (isSuspended ? 'Suspended' : 'TokenValid'),
    message: '',
    observedGeneration,
  });
  return {
    ...cluster,
    metadata: { ...metadata, namespace, name: instanceNameOf(metadata.name) },
    spec: { ...spec },
    status: { ...status, conditions: [condition('Ready'), condition('Renewed')] },
  };
}

/** Reasons by namespace. */
export function failuresIn({ status = {} }: StoredObject): Map<string, string> {
  const failures = member(status, 'failures');
  const list: readonly unknown[] = Array.isArray(failures) ? failures : [];
  return new Map(
    list.map((each) => [textAt(each, 'namespace') ?? '', textAt(each, 'reason') ?? '']),
  );
}
