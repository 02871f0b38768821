import type { ConvercusCredential } from '../credential/api.ts';
import { API_VERSION, FIELD_MANAGER, KIND } from '../credential/target-secret.ts';
import { CREDENTIALS, METADATA, pathOf } from './resources.ts';
import type { ApiRequest } from './rest-client.ts';

type Metadata = ConvercusCredential['metadata'];
type Status = NonNullable<ConvercusCredential['status']>;

const common = ({ namespace, name }: Metadata, signal: AbortSignal) => ({
  path: pathOf(CREDENTIALS, namespace, name, 'status'),
  query: { fieldManager: FIELD_MANAGER },
  signal,
});

/** The status as a whole, of that version of the credential only. Of a status request the API server ignores the spec. */
export function replaceRequest(
  metadata: Metadata,
  status: Status,
  resourceVersion: string,
  signal: AbortSignal,
): ApiRequest {
  const { namespace, name, uid } = metadata;
  const body = {
    apiVersion: API_VERSION,
    kind: KIND,
    metadata: { namespace, name, uid, resourceVersion },
    status,
  };
  return { ...common(metadata, signal), method: 'PUT', accept: METADATA, body }; // we know the rest
}

/**
 * The same whatever the version, at more cost to the server. A JSON patch (RFC 6902): of a merge patch of a status the
 * API server ignores the uid, and members of objects that the new status does not have would stay.
 * The answer is the whole object, for it is another one than we know.
 */
export function rewriteRequest(
  metadata: Metadata,
  status: Status,
  signal: AbortSignal,
): ApiRequest {
  const body = [
    { op: 'test', path: '/metadata/uid', value: metadata.uid },
    { op: 'add', path: '/status', value: status },
  ];
  const contentType = 'application/json-patch+json';
  return { ...common(metadata, signal), method: 'PATCH', contentType, body };
}
