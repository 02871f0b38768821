import { isDeepStrictEqual } from 'node:util';
import type { ConvercusCredential } from '../credential/api.ts';
import { CLUSTER_KIND, instanceNameOf } from '../credential/cluster-name.ts';
import {
  RENEW_REQUEST_ANNOTATION,
  sessionNameOf,
  shortened,
  targetNameOf,
} from '../credential/credential.ts';
import { type CredentialResource, credentialsNamespaceOf } from '../credential/instance.ts';
import type { SecretMeta } from '../credential/secret.ts';
import type { Status } from '../credential/status.ts';
import {
  CLUSTER_CREDENTIAL_LABEL,
  COMPONENT_LABEL,
  CREDENTIAL_LABEL,
  FIELD_MANAGER,
  MANAGED_BY_LABEL,
  MERGE_ANNOTATION,
  SESSION_COMPONENT,
} from '../credential/target-secret.ts';
import { parseTokenAnnotations, TOKEN_ANNOTATIONS } from '../credential/token-annotations.ts';
import {
  isObject,
  type JsonObject,
  listAt,
  member,
  numberAt,
  objectOf,
  textAt,
} from '../lib/json.ts';
import { type Key, keyOf as keyOfName, type ObjectName } from '../lib/key.ts';
import { annotatedBy, fieldOwnershipOf, mergedBy } from './managed-fields.ts';

export const sourceOf = (credential: CredentialResource): ObjectName => ({
  namespace: credentialsNamespaceOf(credential),
  name: credential.spec.credentialsSecretRef.name,
});

/** What the cache keeps of a ConvercusCredential: a few kB at most, however large the object is. */
export type CachedCredential = CredentialResource & {
  /** Labels, annotations and data of the target are left out; `KubernetesClient.wholeCredential` reads them. */
  readonly isTargetOmitted?: true;
};

/** Characters of labels, annotations and data of a target that are kept. */
const MAX_TARGET = 4 * 1024;

export function cachedCredentialFrom(object: unknown): CachedCredential | undefined {
  const credential = credentialFrom(object);
  return credential && withoutLargeTarget(credential);
}

export function withoutLargeTarget(credential: ConvercusCredential): CachedCredential {
  if (sizeOf(credential.spec.target) <= MAX_TARGET) return credential;
  const { labels: _, annotations: __, data: ___, ...target } = credential.spec.target;
  return { ...credential, spec: { ...credential.spec, target }, isTargetOmitted: true };
}

function sizeOf({ labels, annotations, data }: ConvercusCredential['spec']['target']): number {
  let size = 0;
  for (const texts of [labels, annotations, data]) {
    for (const [key, text] of Object.entries(texts ?? {})) {
      // No text under another schema; what is left out is read again for the reconcile, which refuses it
      size += typeof text === 'string' ? key.length + text.length : Infinity;
    }
  }
  return size;
}

/** A ConvercusCredential with its whole spec; undefined when it is no stored object. */
export function credentialFrom(object: unknown): ConvercusCredential | undefined {
  const name = textAt(object, 'metadata', 'name');
  const namespace = textAt(object, 'metadata', 'namespace');
  const uid = textAt(object, 'metadata', 'uid');
  if (name === undefined || namespace === undefined || uid === undefined) return undefined;
  const generation = numberAt(object, 'metadata', 'generation') ?? 0;
  const status = statusFrom(member(object, 'status'));
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the API server has validated and defaulted spec and status against the schema that the type is generated from
  return {
    metadata: { name, namespace, uid, generation, ...optionalMeta(object) },
    spec: specFrom(member(object, 'spec')),
    ...(status === undefined ? {} : { status }),
  } as ConvercusCredential;
}

/**
 * An object stored under another schema may lack what is required now, or hold something else there. It gets empty
 * texts, which `parseCredential` refuses.
 */
export function specFrom(spec: unknown): object {
  const source = member(spec, 'credentialsSecretRef');
  return {
    ...objectOf(spec),
    program: textAt(spec, 'program') ?? '',
    environment: textAt(spec, 'environment') ?? '',
    grantType: textAt(spec, 'grantType') ?? '',
    credentialsSecretRef: { ...objectOf(source), name: textAt(source, 'name') ?? '' },
    target: targetFrom(member(spec, 'target')),
  };
}

function targetFrom(value: unknown): object {
  const target = objectOf(value);
  return target['name'] === undefined ? target : { ...target, name: textAt(target, 'name') ?? '' };
}

/** Undefined when it has another shape than the operator's own: then it is written as if there was none. */
export function statusFrom(status: unknown): object | undefined {
  if (!isStatus(status)) return undefined;
  const handled = textAt(status, 'lastHandledRenewRequest');
  return {
    ...objectOf(status),
    ...(handled === undefined ? {} : { lastHandledRenewRequest: shortened(handled) }),
  };
}

function isStatus(status: unknown): status is JsonObject {
  if (!isObject(status)) return false;
  const { conditions = [], target, rejectedLogin } = status;
  if (!Array.isArray(conditions) || !conditions.every(isCondition)) return false;
  const times = ['issuedAt', 'expiresAt', 'renewAt'].map((name) => status[name]);
  return [target, rejectedLogin].every(isFlat) && !times.some(isStructure);
}

const isCondition = (condition: unknown): boolean =>
  ['type', 'status', 'reason'].every((name) => textAt(condition, name) !== undefined);

const isFlat = (value: unknown): boolean => !Object.values(objectOf(value)).some(isStructure);

const isStructure = (value: unknown): boolean => typeof value === 'object';

export function optionalMeta(object: unknown): object {
  const resourceVersion = textAt(object, 'metadata', 'resourceVersion');
  const creationTimestamp = textAt(object, 'metadata', 'creationTimestamp');
  const deletionTimestamp = textAt(object, 'metadata', 'deletionTimestamp');
  const request = textAt(object, 'metadata', 'annotations', RENEW_REQUEST_ANNOTATION);
  return {
    ...(resourceVersion === undefined ? {} : { resourceVersion }),
    ...(creationTimestamp === undefined ? {} : { creationTimestamp }),
    ...(deletionTimestamp === undefined ? {} : { deletionTimestamp }),
    ...(request === undefined
      ? {}
      : { annotations: { [RENEW_REQUEST_ANNOTATION]: shortened(request) } }),
  };
}

export const keyOf = ({ metadata }: Pick<ConvercusCredential, 'metadata'>): Key =>
  keyOfName(metadata);

/** The Secrets that it names: credentials Secret, target, and that of its session. */
export function secretsOf(credential: CredentialResource): readonly ObjectName[] {
  const { metadata, spec } = credential;
  const source = sourceOf(credential);
  const target = { namespace: metadata.namespace, name: targetNameOf(credential) };
  if (spec.grantType !== 'password') return [source, target];
  return [source, target, { namespace: source.namespace, name: sessionNameOf(metadata.name) }];
}

/** A ConvercusCredential or a ClusterConvercusCredential. */
interface Watched {
  readonly metadata: Omit<ConvercusCredential['metadata'], 'namespace'>;
  readonly spec: unknown;
  readonly status?: Pick<Status, 'observedGeneration' | 'conditions'>;
}

/**
 * Predicate of an update: false when only the status has changed. After etcd was restored from a backup a generation may
 * come again with another spec.
 */
export function specOrAnnotationChanged(before: Watched, after: Watched): boolean {
  const [{ metadata: a }, { metadata: b }] = [before, after];
  return (
    a.uid !== b.uid ||
    a.generation !== b.generation ||
    a.deletionTimestamp !== b.deletionTimestamp ||
    a.annotations?.[RENEW_REQUEST_ANNOTATION] !== b.annotations?.[RENEW_REQUEST_ANNOTATION] ||
    !isDeepStrictEqual(before.spec, after.spec)
  );
}

/** Predicate of an update: another client has replaced the report on this generation. */
export const statusLost = (before: Watched, after: Watched): boolean =>
  isReported(before) && !isReported(after);

const isReported = ({ metadata, status }: Watched): boolean =>
  status?.observedGeneration === metadata.generation &&
  (status.conditions ?? []).some(({ type }) => type === 'Ready');

/** What the watch shows of a Secret. */
export interface WatchedSecret {
  readonly namespace: string;
  readonly name: string;
  readonly meta: SecretMeta;
}

/**
 * What is kept of a Secret's metadata. All else is dropped here, above all the annotation `last-applied-configuration`,
 * which holds the data of a Secret made by `kubectl apply`. Undefined when it is no metadata of a stored object.
 */
export function secretMetaFrom(objectMeta: unknown): SecretMeta | undefined {
  const uid = textAt(objectMeta, 'uid');
  const resourceVersion = textAt(objectMeta, 'resourceVersion');
  if (uid === undefined || resourceVersion === undefined) return undefined;
  const controllerUid = controllerOf(objectMeta);
  const credentialName = credentialOf(objectMeta);
  const by = credentialName === undefined ? annotatedBy(objectMeta) : undefined;
  const tokenAnnotations = parseTokenAnnotations(annotationsFrom(objectMeta), by);
  const fieldOwnership = fieldOwnershipOf(objectMeta, credentialName);
  return {
    uid,
    resourceVersion,
    ...(controllerUid === undefined ? {} : { controllerUid }),
    ...(credentialName === undefined ? {} : { credentialName }),
    // A target has token annotations, a session has none
    ...(tokenAnnotations === undefined && isSession(objectMeta) ? { isSession: true } : {}),
    ...(tokenAnnotations === undefined ? {} : { tokenAnnotations }),
    ...mergeMetaFrom(objectMeta),
    ...(fieldOwnership === undefined ? {} : { fieldOwnership }),
  };
}

/** Those of a token. The operator has written none that is longer, but for a renew request. */
function annotationsFrom(objectMeta: unknown): Record<string, string> {
  const annotations: Record<string, string> = {};
  for (const name of Object.values(TOKEN_ANNOTATIONS)) {
    const text = textAt(objectMeta, 'annotations', name);
    if (text === undefined) continue;
    if (name === TOKEN_ANNOTATIONS.renewRequest) annotations[name] = shortened(text);
    else if (text.length <= MAX_TOKEN_ANNOTATION) annotations[name] = text;
  }
  return annotations;
}

const MAX_TOKEN_ANNOTATION = 512;

/** What is too long for a name is not kept. */
const MAX_NAME = 253;

function mergeMetaFrom(objectMeta: unknown): Pick<SecretMeta, 'allowsMergeBy' | 'mergedBy'> {
  const allowed = textAt(objectMeta, 'annotations', MERGE_ANNOTATION);
  const mergers = mergedBy(objectMeta);
  return {
    ...(allowed !== undefined && allowed.length <= MAX_NAME ? { allowsMergeBy: allowed } : {}),
    ...(mergers.length === 0 ? {} : { mergedBy: mergers }),
  };
}

const ownerOf = (objectMeta: unknown): unknown =>
  listAt(objectMeta, 'ownerReferences').find((owner) => member(owner, 'controller') === true);

function controllerOf(objectMeta: unknown): string | undefined {
  const uid = textAt(ownerOf(objectMeta), 'uid');
  return uid && shortened(uid);
}

const ownerKindOf = (objectMeta: unknown): string | undefined =>
  textAt(ownerOf(objectMeta), 'kind');

function credentialOf(objectMeta: unknown): string | undefined {
  if (textAt(objectMeta, 'labels', MANAGED_BY_LABEL) !== FIELD_MANAGER) return undefined;
  const name = textAt(objectMeta, 'labels', CREDENTIAL_LABEL);
  const clusterName = textAt(objectMeta, 'labels', CLUSTER_CREDENTIAL_LABEL);
  // Others may have added the label of the other kind
  const isOfCluster = name === undefined || ownerKindOf(objectMeta) === CLUSTER_KIND;
  return clusterName !== undefined && isOfCluster ? instanceNameOf(clusterName) : name;
}

const isSession = (objectMeta: unknown): boolean =>
  textAt(objectMeta, 'labels', COMPONENT_LABEL) === SESSION_COMPONENT &&
  credentialOf(objectMeta) !== undefined;

/** Undefined when it is no stored Secret. */
export function secretFrom(object: unknown): WatchedSecret | undefined {
  const meta = secretMetaFrom(member(object, 'metadata'));
  const namespace = textAt(object, 'metadata', 'namespace');
  const name = textAt(object, 'metadata', 'name');
  if (meta === undefined || namespace === undefined || name === undefined) return undefined;
  return { namespace, name, meta };
}
