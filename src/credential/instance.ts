import type { ConvercusCredential } from './api.ts';
import type { ClusterConvercusCredential } from './cluster-api.ts';
import { instanceNameOf } from './cluster-name.ts';

/** A ConvercusCredential, or an instance: what a ClusterConvercusCredential asks for in one namespace. */
export type CredentialResource = ConvercusCredential & {
  /** Of an instance: the namespace of its credentials Secret and its session. */
  readonly credentialsNamespace?: string;
};

/** What is known of a namespace. */
export interface NamespaceMeta {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  /** It is being deleted, and takes no new Secret. */
  readonly isTerminating: boolean;
}

/** Where the credentials Secret of the credential is, and its session. */
export const credentialsNamespaceOf = ({
  metadata,
  credentialsNamespace = metadata.namespace,
}: CredentialResource): string => credentialsNamespace;

/** An instance has no object of its own in the cluster: its status is kept in memory. */
export const isInstance = ({ credentialsNamespace }: CredentialResource): boolean =>
  credentialsNamespace !== undefined;

/**
 * The instance in that namespace. Of its status only what must survive a restart is stored, in that of the
 * ClusterConvercusCredential. In a namespace that is being deleted it is as if it was being deleted, too.
 */
export function instanceIn(
  { metadata, spec, status }: ClusterConvercusCredential,
  { name: namespace, isTerminating }: Pick<NamespaceMeta, 'name' | 'isTerminating'>,
  credentialsNamespace: string,
): CredentialResource {
  const { name, uid, generation, creationTimestamp, deletionTimestamp, annotations } = metadata;
  // Only whether there is one is read
  const leaving = deletionTimestamp ?? (isTerminating ? '' : undefined);
  const { lastHandledRenewRequest, rejectedLogin } = status ?? {};
  return {
    credentialsNamespace,
    metadata: {
      namespace,
      name: instanceNameOf(name),
      uid,
      generation,
      ...(creationTimestamp === undefined ? {} : { creationTimestamp }),
      ...(leaving === undefined ? {} : { deletionTimestamp: leaving }),
      ...(annotations === undefined ? {} : { annotations }),
    },
    spec,
    status: {
      ...(lastHandledRenewRequest === undefined ? {} : { lastHandledRenewRequest }),
      ...(rejectedLogin === undefined ? {} : { rejectedLogin }),
    },
  };
}

/** What is known of the one holds for the other. The target may get another name until the status tells of a token. */
export const isSameInstance = (one: CredentialResource, other: CredentialResource): boolean =>
  one.metadata.uid === other.metadata.uid && one.spec.target.name === other.spec.target.name;

type Selection = Pick<ClusterConvercusCredential['spec'], 'namespaces' | 'namespaceSelector'>;
type Requirement = NonNullable<
  NonNullable<Selection['namespaceSelector']>['matchExpressions']
>[number];

/** The namespace gets the token: it is listed, or its labels match. */
export function selects(
  { namespaces = [], namespaceSelector }: Selection,
  { name, labels }: Pick<NamespaceMeta, 'name' | 'labels'>,
): boolean {
  if (namespaces.includes(name)) return true;
  if (namespaceSelector === undefined) return false;
  const { matchLabels = {}, matchExpressions = [] } = namespaceSelector;
  return (
    Object.entries(matchLabels).every(([key, value]) => labelOf(labels, key) === value) &&
    matchExpressions.every((requirement) => isMet(requirement, labels))
  );
}

/** As apimachinery's `LabelSelectorAsSelector`: NotIn is met by a namespace without the label. */
function isMet({ key, operator, values = [] }: Requirement, labels: NamespaceMeta['labels']) {
  const value = labelOf(labels, key);
  switch (operator) {
    case 'In':
      return value !== undefined && values.includes(value);
    case 'NotIn':
      return value === undefined || !values.includes(value);
    case 'Exists':
      return value !== undefined;
    case 'DoesNotExist':
      return value === undefined;
  }
}

const labelOf = (labels: NamespaceMeta['labels'], key: string): string | undefined =>
  Object.hasOwn(labels, key) ? labels[key] : undefined;
