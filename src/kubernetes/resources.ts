import { API_VERSION } from '../credential/target-secret.ts';

/** A kind of object as paths and permissions name it. */
export interface Resource {
  /** `v1` or `group/version`. */
  readonly apiVersion: string;
  readonly plural: string;
}

export const SECRETS: Resource = { apiVersion: 'v1', plural: 'secrets' };
export const CREDENTIALS: Resource = { apiVersion: API_VERSION, plural: 'convercuscredentials' };
export const CLUSTER_CREDENTIALS: Resource = {
  apiVersion: API_VERSION,
  plural: 'clusterconvercuscredentials',
};
export const NAMESPACES: Resource = { apiVersion: 'v1', plural: 'namespaces' };
export const EVENTS: Resource = { apiVersion: 'events.k8s.io/v1', plural: 'events' };
export const LEASES: Resource = { apiVersion: 'coordination.k8s.io/v1', plural: 'leases' };

/** The path of a collection, of one object (`name`), or of its part (`name/status`). */
export function pathOf(resource: Resource, namespace?: string, ...name: readonly string[]): string {
  const root = resource.apiVersion.includes('/') ? 'apis' : 'api';
  const scope = namespace === undefined ? [] : ['namespaces', encodeURIComponent(namespace)];
  const tail = [resource.plural, ...name.map(encodeURIComponent)];
  return `/${[root, resource.apiVersion, ...scope, ...tail].join('/')}`;
}

export const JSON_ONLY = 'application/json';

/** Without plain JSON as a fallback, so that a server which can't leave out the contents of Secrets refuses. */
export const METADATA_LIST = 'application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1';
export const METADATA = 'application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1';
