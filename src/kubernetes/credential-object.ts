import type { ConvercusCredential } from '../credential/api.ts';
import { RENEW_REQUEST_ANNOTATION, sessionNameOf, targetNameOf } from '../credential/credential.ts';
import { member, numberAt, objectOf, textAt } from '../lib/json.ts';
import type { Key } from '../lib/key.ts';

export const sourceNameOf = (credential: ConvercusCredential): string =>
  credential.spec.credentialsSecretRef.name;

/** The parts of a ConvercusCredential that we keep, or undefined when it is no stored object. */
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
 * An object stored under an older schema may lack what is required now: it gets empty names, which planning calls
 * invalid. The copy comes first, for what is only replaced after it takes no memory.
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

/** The Secrets that it names. */
export const namesOf = (credential: ConvercusCredential): readonly string[] => [
  sourceNameOf(credential),
  targetNameOf(credential),
  ...(credential.spec.grantType === 'password' ? [sessionNameOf(credential.metadata.name)] : []),
];

/** Whether the second tells anything after the first. Not so when only the status has changed, which is our own doing. */
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
