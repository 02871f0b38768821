import { type Change, matcher, targetOf } from './api-server.ts';
import type { StoredObject } from './objects.ts';

/** The request that opened the watch. */
export interface Watched {
  readonly path: string;
  readonly query?: Readonly<Record<string, string>>;
  readonly accept?: string;
}

/**
 * The event of a watch for a change, without the line break; undefined when there is none. An object that no longer
 * matches the selector counts as deleted.
 */
export function watchLine(
  { path, query = {}, accept = '' }: Watched,
  { kind, type, object, before }: Change,
): string | undefined {
  const { kind: watched, namespace } = targetOf(path);
  if (kind !== watched) return undefined;
  if (namespace !== undefined && object.metadata.namespace !== namespace) return undefined;
  const matches = matcher(query['labelSelector']);
  const [was, is] = [before !== undefined && matches(before), matches(object)];
  if (!was && (!is || type === 'DELETED')) return undefined;
  const shown = type === 'DELETED' || !is ? 'DELETED' : was ? 'MODIFIED' : 'ADDED';
  const state = is || before === undefined ? object : asItWas(before, object);
  const isMetadataOnly = accept.includes('PartialObjectMetadata');
  return `{"type":"${shown}","object":${isMetadataOnly ? metadataText(state) : objectText(state)}}`;
}

function metadataText({ metadata }: StoredObject): string {
  const { name, namespace, uid, resourceVersion, ...rest } = metadata;
  const kind = { kind: 'PartialObjectMetadata', apiVersion: 'meta.k8s.io/v1' };
  return JSON.stringify({ ...kind, metadata: { name, namespace, uid, resourceVersion, ...rest } });
}

/** The fields in the order of a real server. */
function objectText({ metadata, ...object }: StoredObject): string {
  const { name, namespace, uid, resourceVersion, ...rest } = metadata;
  const { apiVersion, kind, ...members } = object;
  return JSON.stringify({
    apiVersion,
    kind,
    metadata: { ...rest, name, namespace, resourceVersion, uid },
    ...members,
  });
}

/** An object that no longer matches is sent in its old state, with the version of the change (cache_watcher.go). */
const asItWas = (before: StoredObject, { metadata }: StoredObject): StoredObject => ({
  ...before,
  metadata: { ...before.metadata, resourceVersion: metadata.resourceVersion },
});
