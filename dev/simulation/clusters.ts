import { conditionOf } from '../../src/credential/status.ts';
import { member } from '../../src/lib/json.ts';
import { failuresIn, selectedBy } from './instances.ts';
import { NAMESPACES } from './names.ts';
import type { StoredObject } from './objects.ts';
import { isServed, specOf, statusOf, targetNameOf } from './rules/rule.ts';
import type { World } from './world.ts';

/** ClusterConvercusCredentials for the oracle: what is expected of a cluster credential as a whole. */

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
    const problem = isServed(world.setting.releases, cluster)
      ? statusProblem(cluster, selected)
      : undefined;
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
