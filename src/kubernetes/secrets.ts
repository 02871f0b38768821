import type {
  DesiredSecret,
  KnownSecret,
  SecretContents,
  SecretMeta,
} from '../credential/secret.ts';
import { Failure } from '../lib/failure.ts';
import { listAt, member, textAt, textsAt } from '../lib/json.ts';
import { Sensitive } from '../lib/sensitive.ts';
import { ApiError, UNEXPECTED_BODY } from './api-error.ts';
import { upgradeManagedFields } from './managed-fields.ts';
import { secretMetaFrom } from './objects.ts';
import { METADATA, pathOf, SECRETS } from './resources.ts';
import type { ApiRequest, ApiResponse } from './rest-client.ts';

/** kubectl keeps the whole object in it, with the data. */
const LAST_APPLIED = 'kubectl.kubernetes.io/last-applied-configuration';

/** For metadata only. */
export const metaRequest = (namespace: string, name: string, signal: AbortSignal): ApiRequest => ({
  method: 'GET',
  path: pathOf(SECRETS, namespace, name),
  accept: METADATA,
  signal,
});

/**
 * The cheapest safe write (ADR 17). POST when none was found, for an apply without uid would take over one that has
 * appeared since. PUT when no other manager has set a field, of the version that is known. Else server-side apply,
 * which leaves the fields of others. The response is metadata only, for the rest is known.
 */
export function writeRequest(
  { version, ...desired }: DesiredSecret & { readonly version: string | undefined },
  known: KnownSecret,
  signal: AbortSignal,
): ApiRequest {
  const { namespace, name, uid, type, fieldManager } = desired;
  const common = { accept: METADATA, signal };
  if (type !== undefined && uid === undefined) {
    const path = pathOf(SECRETS, namespace);
    return { ...common, method: 'POST', path, query: { fieldManager }, body: objectFrom(desired) };
  }
  const path = pathOf(SECRETS, namespace, name);
  if (
    type !== undefined &&
    typeof known === 'object' &&
    known.uid === uid &&
    known.fieldOwnership === 'sole'
  ) {
    const body = objectFrom(desired, version);
    return { ...common, method: 'PUT', path, query: { fieldManager }, body };
  }
  return {
    ...common,
    method: 'PATCH',
    path,
    query: { fieldManager, force: String(desired.force) },
    contentType: 'application/apply-patch+yaml', // JSON is YAML
    body: objectFrom(desired, version),
  };
}

/** Turns what we have set by PUT into what we have applied, of the version that was read only. */
export function upgradeManagedFieldsRequest(
  { namespace, name, fieldManager, ...desired }: DesiredSecret,
  { body }: ApiResponse,
  signal: AbortSignal,
): ApiRequest {
  const resourceVersion = desired.resourceVersion ?? textAt(body, 'metadata', 'resourceVersion');
  const managedFields = upgradeManagedFields(
    listAt(body, 'metadata', 'managedFields'),
    fieldManager,
  );
  return {
    method: 'PATCH',
    path: pathOf(SECRETS, namespace, name),
    query: { fieldManager },
    contentType: 'application/merge-patch+json',
    accept: METADATA,
    body: { metadata: { resourceVersion, managedFields } },
    signal,
  };
}

function objectFrom(
  { namespace, name, uid, type, owner, labels, annotations, data }: DesiredSecret,
  resourceVersion?: string,
): object {
  const encoded = Object.entries(data).map(([key, value]) => [
    key,
    Buffer.from(value.reveal()).toString('base64'),
  ]);
  return {
    apiVersion: 'v1',
    kind: 'Secret',
    ...(type === undefined ? {} : { type }),
    metadata: {
      namespace,
      name,
      ...(uid === undefined ? {} : { uid }),
      ...(resourceVersion === undefined ? {} : { resourceVersion }),
      ...ifAny('labels', labels),
      ...ifAny('annotations', annotations),
      ...(owner === undefined ? {} : { ownerReferences: [{ ...owner, controller: true }] }),
    },
    ...ifAny('data', Object.fromEntries(encoded)),
  };
}

/** The manager of an apply would own an empty map as a field. */
const ifAny = (name: string, map: Readonly<Record<string, string>>): object =>
  Object.keys(map).length === 0 ? {} : { [name]: map };

export const metaFrom = (response: ApiResponse): SecretMeta | ApiError =>
  secretMetaFrom(member(response.body, 'metadata')) ?? ApiError.network(UNEXPECTED_BODY);

export function contentsFrom(response: ApiResponse): SecretContents | ApiError {
  const meta = metaFrom(response);
  if (meta instanceof ApiError) return meta;
  const { [LAST_APPLIED]: _, ...annotations } = textsAt(response.body, 'metadata', 'annotations');
  const data = Object.entries(textsAt(response.body, 'data'));
  return {
    meta,
    type: textAt(response.body, 'type') ?? '',
    labels: textsAt(response.body, 'metadata', 'labels'),
    annotations,
    data: new Map(
      data.map(([key, value]) => [key, new Sensitive(Buffer.from(value, 'base64').toString())]),
    ),
  };
}

/**
 * Why the API server did not write, where the reason is the Secret that it found: one of another owner, which is for a
 * user to settle, or another version than was known, which the next reconcile settles. Undefined for all other reasons.
 */
export function writeConflictOf(error: ApiError, desired: DesiredSecret): Failure | undefined {
  const details = { code: String(error.code) };
  const reason = error.code === 409 || error.code === 422 ? notOursText(error, desired) : undefined;
  if (reason !== undefined) {
    const managers = conflictsIn(error).map(({ detail }) => managerIn(detail));
    const held = managers.length === 0 ? {} : { managers: [...new Set(managers)] };
    return new Failure('TargetNotOurs', reason, { ...details, ...held });
  }
  const isAnother = error.code === 404 || error.code === 409 || fieldsOf(error).has('metadata.uid');
  if (!isAnother) return undefined;
  const text = `Secret "${desired.name}" has changed or gone while it was being written; the next reconcile looks again`;
  return new Failure('ClusterUnavailable', text, details);
}

const fieldsOf = ({ causes }: ApiError): Set<string> => new Set(causes.map(({ field }) => field));

function notOursText(error: ApiError, desired: DesiredSecret): string | undefined {
  const { name, type } = desired;
  const fields = fieldsOf(error);
  const elsewhere = 'change spec.target.name; delete the Secret only if nothing uses it';
  if (fields.has('type') && type !== undefined) {
    return `Secret "${name}" exists and is not of the type ${type}; ${elsewhere}`;
  }
  if (fields.has('metadata.ownerReferences')) {
    return `Secret "${name}" is controlled by another object; ${elsewhere}`;
  }
  const taken = conflictsIn(error);
  if (taken.length === 0) return undefined;
  const paths = pathsOf(desired);
  const whose = new Set(
    taken.map(
      ({ field, detail }) => `${paths.has(field) ? field : 'a field'} (${managerIn(detail)})`,
    ),
  );
  return `Other field managers own fields of Secret "${name}": ${listed([...whose])}; use other keys, or let them give these up`;
}

const conflictsIn = ({ causes }: ApiError) =>
  causes.filter(({ reason }) => reason === 'FieldManagerConflict');

const MAX_LISTED = 5;

function listed(words: readonly string[]): string {
  const more = words.length - MAX_LISTED;
  const shown = words.slice(0, MAX_LISTED).join(', ');
  return more > 0 ? `${shown} and ${more} more` : shown;
}

/** The fields that we have sent, as the API server names them. */
const pathsOf = ({ data, labels, annotations }: DesiredSecret): Set<string> =>
  new Set([
    ...Object.keys(data).map((key) => `.data.${key}`),
    ...Object.keys(labels).map((key) => `.metadata.labels.${key}`),
    ...Object.keys(annotations).map((key) => `.metadata.annotations.${key}`),
  ]);

/** `conflict with "NAME" using v1`, perhaps with a time. The name is the other client's; nothing else is shown. */
const managerIn = (detail: Sensitive): string =>
  /^conflict with "([\w./:@ -]{1,128})"/.exec(detail.reveal())?.[1] ?? 'unknown';
