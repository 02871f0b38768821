import type { SecretMeta } from '../credential/secret.ts';
import {
  CREDENTIAL_LABEL,
  FIELD_MANAGER,
  MANAGED_BY_LABEL,
  SESSION_COMPONENT,
  SESSION_LABEL,
} from '../credential/target-secret.ts';
import { parseTokenAnnotations } from '../credential/token-annotations.ts';
import { listAt, member, textAt, textsAt } from '../lib/json.ts';
import { annotatedBy, fieldOwnershipOf } from './managed-fields.ts';

/** A Secret as the watch shows it. */
export interface WatchedSecret {
  readonly namespace: string;
  readonly name: string;
  readonly meta: SecretMeta;
}

/**
 * What we keep of a Secret's metadata. Everything else is dropped here, above all the annotation
 * `last-applied-configuration`, which holds the data of a Secret made by `kubectl apply`.
 * Undefined when it is no metadata of a stored object.
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

/** Undefined when it is no metadata of a stored Secret. */
export function secretFrom(object: unknown): WatchedSecret | undefined {
  const meta = secretMetaFrom(member(object, 'metadata'));
  const namespace = textAt(object, 'metadata', 'namespace');
  const name = textAt(object, 'metadata', 'name');
  if (meta === undefined || namespace === undefined || name === undefined) return undefined;
  return { namespace, name, meta };
}
