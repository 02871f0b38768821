import type { ConvercusCredential } from '../credential/api.ts';
import { RENEW_REQUEST_ANNOTATION, sessionNameOf, targetNameOf } from '../credential/credential.ts';
import type { SecretMeta } from '../credential/secret.ts';
import {
  CREDENTIAL_LABEL,
  FIELD_MANAGER,
  MANAGED_BY_LABEL,
  SESSION_COMPONENT,
  SESSION_LABEL,
} from '../credential/target-secret.ts';
import { parseTokenAnnotations } from '../credential/token-annotations.ts';
import { listAt, member, numberAt, objectOf, textAt, textsAt } from '../lib/json.ts';
import type { Key } from '../lib/key.ts';
import { annotatedBy, fieldOwnershipOf } from './managed-fields.ts';

export const sourceNameOf = (credential: ConvercusCredential): string =>
  credential.spec.credentialsSecretRef.name;

/** What is kept of a ConvercusCredential; undefined when it is no stored object. */
export function credentialFrom(object: unknown): ConvercusCredential | undefined {
  const name = textAt(object, 'metadata', 'name');
  const namespace = textAt(object, 'metadata', 'namespace');
  const uid = textAt(object, 'metadata', 'uid');
  if (name === undefined || namespace === undefined || uid === undefined) return undefined;
  const generation = numberAt(object, 'metadata', 'generation') ?? 0;
  const status = member(object, 'status');
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the API server has validated and defaulted spec and status against the schema that the type is generated from
  return {
    metadata: { name, namespace, uid, generation, ...optionalMeta(object) },
    spec: specFrom(member(object, 'spec')),
    ...(status === undefined ? {} : { status: objectOf(status) }),
  } as ConvercusCredential;
}

/**
 * An object stored under an older schema may lack what is required now. It gets empty names, which `parseCredential`
 * refuses.
 */
function specFrom(spec: unknown): object {
  const source = member(spec, 'credentialsSecretRef');
  return {
    ...objectOf(spec),
    program: textAt(spec, 'program') ?? '',
    environment: textAt(spec, 'environment') ?? '',
    credentialsSecretRef: { ...objectOf(source), name: textAt(source, 'name') ?? '' },
    target: objectOf(member(spec, 'target')),
  };
}

function optionalMeta(object: unknown): object {
  const resourceVersion = textAt(object, 'metadata', 'resourceVersion');
  const creationTimestamp = textAt(object, 'metadata', 'creationTimestamp');
  const deletionTimestamp = textAt(object, 'metadata', 'deletionTimestamp');
  const request = textAt(object, 'metadata', 'annotations', RENEW_REQUEST_ANNOTATION);
  return {
    ...(resourceVersion === undefined ? {} : { resourceVersion }),
    ...(creationTimestamp === undefined ? {} : { creationTimestamp }),
    ...(deletionTimestamp === undefined ? {} : { deletionTimestamp }),
    ...(request === undefined ? {} : { annotations: { [RENEW_REQUEST_ANNOTATION]: request } }),
  };
}

export const keyOf = ({ metadata }: Pick<ConvercusCredential, 'metadata'>): Key =>
  `${metadata.namespace}/${metadata.name}`;

/** The names of its Secrets. */
export const namesOf = (credential: ConvercusCredential): readonly string[] => [
  sourceNameOf(credential),
  targetNameOf(credential),
  ...(credential.spec.grantType === 'password' ? [sessionNameOf(credential.metadata.name)] : []),
];

/** Predicate of an update: false when only the status has changed. */
export function generationOrAnnotationChanged(
  { metadata: a }: ConvercusCredential,
  { metadata: b }: ConvercusCredential,
): boolean {
  return (
    a.uid !== b.uid ||
    a.generation !== b.generation ||
    a.deletionTimestamp !== b.deletionTimestamp ||
    a.annotations?.[RENEW_REQUEST_ANNOTATION] !== b.annotations?.[RENEW_REQUEST_ANNOTATION]
  );
}

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
  const tokenAnnotations = parseTokenAnnotations(textsAt(objectMeta, 'annotations'), by);
  const fieldOwnership = fieldOwnershipOf(objectMeta, credentialName);
  return {
    uid,
    resourceVersion,
    ...(controllerUid === undefined ? {} : { controllerUid }),
    ...(credentialName === undefined ? {} : { credentialName }),
    ...(isSession(objectMeta) ? { isSession: true } : {}),
    ...(tokenAnnotations === undefined ? {} : { tokenAnnotations }),
    ...(fieldOwnership === undefined ? {} : { fieldOwnership }),
  };
}

function controllerOf(objectMeta: unknown): string | undefined {
  const owners = listAt(objectMeta, 'ownerReferences');
  return textAt(
    owners.find((owner) => member(owner, 'controller') === true),
    'uid',
  );
}

const credentialOf = (objectMeta: unknown): string | undefined =>
  textAt(objectMeta, 'labels', MANAGED_BY_LABEL) === FIELD_MANAGER
    ? textAt(objectMeta, 'labels', CREDENTIAL_LABEL)
    : undefined;

const isSession = (objectMeta: unknown): boolean =>
  textAt(objectMeta, 'labels', SESSION_LABEL) === SESSION_COMPONENT &&
  credentialOf(objectMeta) !== undefined;

/** Undefined when it is no stored Secret. */
export function secretFrom(object: unknown): WatchedSecret | undefined {
  const meta = secretMetaFrom(member(object, 'metadata'));
  const namespace = textAt(object, 'metadata', 'namespace');
  const name = textAt(object, 'metadata', 'name');
  if (meta === undefined || namespace === undefined || name === undefined) return undefined;
  return { namespace, name, meta };
}
