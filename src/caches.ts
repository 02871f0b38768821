import type { Config } from './config.ts';
import type { ConvercusCredential } from './credential/api.ts';
import { isInstance } from './credential/instance.ts';
import { ClusterCache } from './kubernetes/cache.ts';
import { ClusterCredentials } from './kubernetes/cluster-credentials.ts';
import { type Key, keyOf } from './lib/key.ts';

/** What the watches have shown. */
export interface Caches {
  readonly cache: ClusterCache;
  /** Undefined: they are not served. */
  readonly clusterCredentials: ClusterCredentials | undefined;
}

export function cachesFor(
  { clusterCredentials: { enabled, namespace } }: Config,
  enqueue: (keys: readonly Key[]) => void,
): Caches {
  if (!enabled) return { cache: new ClusterCache(enqueue), clusterCredentials: undefined };
  const cache = new ClusterCache(enqueue, namespace);
  const clusterCredentials = new ClusterCredentials({ namespace, instances: cache, enqueue });
  return { cache, clusterCredentials };
}

/** The objects in the cluster: instances have none, and are not shown one by one. */
export function* reported({ cache, clusterCredentials }: Caches): Iterable<ConvercusCredential> {
  for (const credential of cache.credentials()) if (!isInstance(credential)) yield credential;
  if (clusterCredentials !== undefined) yield* clusterCredentials.reported();
}

/** All credentials whose tokens come from there. */
export function* credentialsWithTokenUrl(
  tokenUrl: string,
  { cache }: Pick<Caches, 'cache'>,
): Iterable<Key> {
  for (const { metadata, status } of cache.credentials()) {
    if (status?.tokenUrl === tokenUrl) yield keyOf(metadata);
  }
}
