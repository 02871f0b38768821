import { MERGE_ANNOTATION } from '../../src/credential/target-secret.ts';

/** Objects as the API server stores them, with the fields that the operator reads or writes. */

export const KINDS = [
  'secrets',
  'convercuscredentials',
  'clusterconvercuscredentials',
  'namespaces',
  'leases',
  'events',
] as const;
export type Kind = (typeof KINDS)[number];

export interface OwnerReference {
  readonly apiVersion: string;
  readonly kind: string;
  readonly name: string;
  readonly uid: string;
  readonly controller?: boolean;
}

export interface ManagedFieldsEntry {
  readonly manager: string;
  readonly operation: 'Apply' | 'Update';
  readonly fieldsV1: FieldsV1;
}

/** Sets of fields: objects of objects, as in metadata.managedFields. */
export interface FieldsV1 {
  readonly [field: string]: FieldsV1;
}

export interface ObjectMeta {
  readonly name: string;
  readonly namespace: string;
  readonly uid: string;
  readonly resourceVersion: string;
  readonly generation?: number;
  readonly creationTimestamp?: string;
  readonly deletionTimestamp?: string;
  readonly labels?: Readonly<Record<string, string>>;
  readonly annotations?: Readonly<Record<string, string>>;
  readonly ownerReferences?: readonly OwnerReference[];
  readonly managedFields?: readonly ManagedFieldsEntry[];
}

/** Immutable: a write stores another object. */
export interface StoredObject {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: ObjectMeta;
  readonly type?: string;
  readonly data?: Readonly<Record<string, string>>;
  readonly spec?: Readonly<Record<string, unknown>>;
  readonly status?: Readonly<Record<string, unknown>>;
}

/** An object from a client, in which any field may be absent. */
export type Draft = Omit<Partial<StoredObject>, 'metadata'> & {
  readonly metadata: Partial<ObjectMeta>;
};

export const API_VERSIONS: Readonly<Record<Kind, readonly [apiVersion: string, kind: string]>> = {
  secrets: ['v1', 'Secret'],
  convercuscredentials: ['convercus.io/v1alpha1', 'ConvercusCredential'],
  clusterconvercuscredentials: ['convercus.io/v1alpha1', 'ClusterConvercusCredential'],
  namespaces: ['v1', 'Namespace'],
  leases: ['coordination.k8s.io/v1', 'Lease'],
  events: ['events.k8s.io/v1', 'Event'],
};

/** Without a namespace: theirs is the empty one. */
export const isClusterScoped = (kind: Kind): boolean =>
  kind === 'clusterconvercuscredentials' || kind === 'namespaces';

export const keyOf = ({ namespace, name }: Pick<ObjectMeta, 'namespace' | 'name'>): string =>
  `${namespace}/${name}`;

export const encoded = (data: Readonly<Record<string, string>>): Record<string, string> =>
  Object.fromEntries(
    Object.entries(data).map(([key, value]) => [key, Buffer.from(value).toString('base64')]),
  );

export const decoded = (data: StoredObject['data'] = {}): Record<string, string> =>
  Object.fromEntries(
    Object.entries(data).map(([key, value]) => [key, Buffer.from(value, 'base64').toString()]),
  );

/** The credential that people let merge into the Secret. */
export const mergeAllowedTo = ({ metadata }: StoredObject): string | undefined =>
  metadata.annotations?.[MERGE_ANNOTATION];

/** True if people own annotations of a Secret with creationPolicy Merge, which the operator leaves to them. */
export const hasForeignAnnotations = ({
  metadata: { managedFields = [] },
}: StoredObject): boolean =>
  managedFields.some(
    ({ manager, fieldsV1 }) =>
      manager === 'kubectl-edit' && fieldsV1['f:metadata']?.['f:annotations'] !== undefined,
  );
