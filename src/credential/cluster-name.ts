import { type Key, keyOf, splitKey } from '../lib/key.ts';

/**
 * Names of cluster credentials. A ClusterConvercusCredential is reconciled as one credential in each of its namespaces,
 * its instances, whose name is kind and name in one, as kubectl writes them. No ConvercusCredential has such a name, so
 * owners, field managers and keys of the two kinds can't be taken for each other.
 */

export const CLUSTER_KIND = 'ClusterConvercusCredential';

const PREFIX = `${CLUSTER_KIND}/`;

/** The name of its instances. */
export const instanceNameOf = (clusterName: string): string => PREFIX + clusterName;

/** The name of the ClusterConvercusCredential; undefined for the name of a ConvercusCredential. */
export const clusterNameOf = (name: string): string | undefined =>
  name.startsWith(PREFIX) ? name.slice(PREFIX.length) : undefined;

/** Kind and name in the words of messages. */
export function kindAndNameOf(name: string): string {
  const clusterName = clusterNameOf(name);
  return clusterName === undefined
    ? `ConvercusCredential "${name}"`
    : `${CLUSTER_KIND} "${clusterName}"`;
}

/** The key of the instance in that namespace. */
export const instanceKeyOf = (clusterName: string, namespace: string): Key =>
  keyOf({ namespace, name: instanceNameOf(clusterName) });

/** The key of the ClusterConvercusCredential itself: its status and its session. */
export const clusterKeyOf = (clusterName: string): Key => instanceKeyOf(clusterName, '');

/** The name of the ClusterConvercusCredential; undefined for keys of instances and of ConvercusCredentials. */
export function clusterNameIn(key: Key): string | undefined {
  const { namespace, name } = splitKey(key);
  return namespace === '' ? clusterNameOf(name) : undefined;
}
