import { clusterNameOf, instanceNameOf } from '../../src/credential/cluster-name.ts';
import { selects } from '../../src/credential/instance.ts';
import { conditionOf } from '../../src/credential/status.ts';
import { member, textAt } from '../../src/lib/json.ts';
import type { StoredObject } from './objects.ts';
import { specOf, statusOf, targetNameOf } from './rules/rule.ts';
import { CREDENTIALS_NAMESPACE, NAMESPACES, type World } from './world.ts';

/** ClusterConvercusCredentials for the oracle: what is expected in each namespace. */

/** Kind and name in one, of the credential whose Secret that is. */
export function ownerNameIn(labels: Readonly<Record<string, string>>): string | undefined {
  const clusterName = labels['convercus.io/cluster-credential'];
  const name = labels['convercus.io/credential'];
  return name ?? (clusterName === undefined ? undefined : instanceNameOf(clusterName));
}

/** @param name as `ownerNameIn` returns it */
export function credentialNamed(
  { server }: World,
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
export const instancesOf = (world: World): StoredObject[] =>
  world
    .clusterCredentials()
    .flatMap((cluster) =>
      selectedBy(world, cluster).map((namespace) => instanceIn(cluster, namespace)),
    );

function selectedBy(world: World, cluster: StoredObject): readonly string[] {
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
function failuresIn({ status = {} }: StoredObject): Map<string, string> {
  const failures = member(status, 'failures');
  const list: readonly unknown[] = Array.isArray(failures) ? failures : [];
  return new Map(
    list.map((each) => [textAt(each, 'namespace') ?? '', textAt(each, 'reason') ?? '']),
  );
}

/** What its status says wrong of the namespaces as a whole. */
function statusProblem(cluster: StoredObject, selected: readonly string[]): string | undefined {
  const count = (name: string) => member(cluster.status, 'namespaces', name);
  if (count('selected') !== selected.length)
    return `${String(count('selected'))} namespaces, not ${selected.length}`;
  const failures = failuresIn(cluster);
  const wrong = [...failures.keys()].find(
    (name) => NAMESPACES.some((it) => it === name) && !selected.includes(name),
  );
  if (wrong !== undefined) return `a failure in namespace ${wrong}, which is not selected`;
  if (failures.size > 0 || specOf(cluster).suspend || selected.length === 0) return undefined;
  const ready = conditionOf(statusOf(cluster), 'Ready');
  const isReady = ready?.status === 'True' && count('ready') === selected.length;
  return isReady
    ? undefined
    : `Ready=${ready?.status} ${ready?.reason}, ${String(count('ready'))} ready`;
}

/** What is wrong with statuses, and with targets where a cluster credential selects nothing. */
export function clusterProblems(world: World): string[] {
  const clusters = world.clusterCredentials();
  return clusters.flatMap((cluster) => {
    const { name, uid } = cluster.metadata;
    const selected = selectedBy(world, cluster);
    const isServed =
      world.setting.releases === 1 ||
      ['one', 'two'].includes(cluster.metadata.labels?.['release'] ?? '');
    const problem = isServed ? statusProblem(cluster, selected) : undefined;
    const left = [...world.server.all('secrets')].filter(
      ({ metadata: { namespace, ownerReferences = [] }, type }) =>
        type === 'convercus.io/token' &&
        ownerReferences.some((owner) => owner.uid === uid) &&
        !selected.includes(namespace),
    );
    return [
      ...(problem === undefined ? [] : [`cluster credential ${name}: ${problem}`]),
      ...left.map((it) => `target ${it.metadata.namespace}/${targetNameOf(cluster)} is left`),
    ];
  });
}
