import type { ConvercusCredential } from '../../domain/api.ts';
import { API_VERSION, FIELD_MANAGER, KIND } from '../../domain/target-secret.ts';
import { CREDENTIALS, METADATA, pathOf } from './resources.ts';
import type { ApiRequest } from './transport.ts';

type Metadata = ConvercusCredential['metadata'];
type Status = NonNullable<ConvercusCredential['status']>;

/** Every field of a status. One that is not named here would never be removed. */
const FIELDS: Readonly<Record<keyof Status, null>> = {
  observedGeneration: null,
  conditions: null,
  tokenUrl: null,
  issuedAt: null,
  expiresAt: null,
  renewAt: null,
  target: null,
  lastHandledRenewRequest: null,
  rejectedLogin: null,
};

const common = ({ namespace, name }: Metadata, signal: AbortSignal) => ({
  path: pathOf(CREDENTIALS, namespace, name, 'status'),
  query: { fieldManager: FIELD_MANAGER },
  signal,
});

const objectFrom = (metadata: object, status: object) => ({
  apiVersion: API_VERSION,
  kind: KIND,
  metadata,
  status,
});

/** The status as a whole, of that version of the credential only. Of a status request the API server ignores the spec. */
export function replaceRequest(
  metadata: Metadata,
  status: Status,
  resourceVersion: string,
  signal: AbortSignal,
): ApiRequest {
  const { namespace, name, uid } = metadata;
  const body = objectFrom({ namespace, name, uid, resourceVersion }, status);
  return { ...common(metadata, signal), method: 'PUT', accept: METADATA, body }; // we know the rest
}

/**
 * The same whatever the version, at more cost to the server: a merge patch that removes what the status does not have.
 * The answer is the whole object, for it is another one than we know.
 */
export function rewriteRequest(
  metadata: Metadata,
  status: Status,
  signal: AbortSignal,
): ApiRequest {
  const { namespace, name, uid } = metadata;
  const body = objectFrom({ namespace, name, uid }, { ...FIELDS, ...status });
  const contentType = 'application/merge-patch+json';
  return { ...common(metadata, signal), method: 'PATCH', contentType, body };
}
