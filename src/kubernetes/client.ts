import type { ConvercusCredential } from '../credential/api.ts';
import type { ClusterConvercusCredential } from '../credential/cluster-api.ts';
import { clusterNameOf } from '../credential/cluster-name.ts';
import type { CredentialEvent, EventSubject } from '../credential/events.ts';
import { type CredentialResource, instanceIn, isInstance } from '../credential/instance.ts';
import type {
  DesiredSecret,
  KnownSecret,
  SecretContents,
  SecretIdentity,
  SecretMeta,
} from '../credential/secret.ts';
import type { Status } from '../credential/status.ts';
import { API_VERSION, FIELD_MANAGER, KIND } from '../credential/target-secret.ts';
import { type Failure, isFailure } from '../lib/failure.ts';
import { textAt } from '../lib/json.ts';
import { keyOf } from '../lib/key.ts';
import { ApiError, UNEXPECTED_BODY } from './api-error.ts';
import type { ClusterCache } from './cache.ts';
import { clusterCredentialFrom } from './cluster-objects.ts';
import { toFailure } from './error-messages.ts';
import type { EventRecorder } from './event-recorder.ts';
import {
  type CachedCredential,
  cachedCredentialFrom,
  credentialFrom,
  withoutLargeTarget,
} from './objects.ts';
import { CLUSTER_CREDENTIALS, CREDENTIALS, METADATA, pathOf, SECRETS } from './resources.ts';
import type { ApiRequest, ApiResponse, RestClient } from './rest-client.ts';
import {
  contentsFrom,
  metaFrom,
  metaRequest,
  upgradeManagedFieldsRequest,
  writeConflictOf,
  writeRequest,
} from './secrets.ts';

/** Secrets, statuses and events by one REST client. What it learns of Secrets and statuses the cache knows at once. */
export class KubernetesClient {
  readonly #restClient: RestClient;
  readonly #cache: ClusterCache;
  readonly #events: EventRecorder;

  constructor(restClient: RestClient, cache: ClusterCache, events: EventRecorder) {
    this.#restClient = restClient;
    this.#cache = cache;
    this.#events = events;
  }

  async readSecretMeta(
    namespace: string,
    name: string,
    signal: AbortSignal,
  ): Promise<SecretMeta | 'absent' | Failure> {
    const { changes } = this.#cache;
    const response = await this.#restClient.request(metaRequest(namespace, name, signal));
    const meta = this.#found(response, metaFrom);
    if (meta instanceof ApiError) return this.#unread(meta, namespace, name);
    const known = this.#cache.learnRead({ namespace, name }, meta, changes);
    return known === 'unknown' ? meta : known;
  }

  async readSecret(
    namespace: string,
    name: string,
    signal: AbortSignal,
  ): Promise<SecretContents | 'absent' | Failure> {
    const { changes } = this.#cache;
    const path = pathOf(SECRETS, namespace, name);
    const response = await this.#restClient.request({ method: 'GET', path, signal });
    const contents = this.#found(response, contentsFrom);
    if (contents instanceof ApiError) return this.#unread(contents, namespace, name);
    const meta = contents === 'absent' ? contents : contents.meta;
    this.#cache.learnRead({ namespace, name }, meta, changes);
    return contents;
  }

  async applySecret(desired: DesiredSecret, signal: AbortSignal): Promise<SecretMeta | Failure> {
    const { namespace, name } = desired;
    const { changes } = this.#cache;
    const known = this.#cache.secret(namespace, name);
    const isSharedOwnership = typeof known === 'object' && known.fieldOwnership === 'shared';
    const version = isSharedOwnership
      ? await this.#upgradeManagedFields(desired, signal)
      : (desired.resourceVersion ?? versionKnown(desired, known));
    const response =
      version instanceof ApiError
        ? version
        : await this.#restClient.request(writeRequest({ ...desired, version }, known, signal));
    const meta = response instanceof ApiError ? response : metaFrom(response);
    if (meta instanceof ApiError) return this.#refused(meta, desired, signal);
    this.#cache.learnWritten({ namespace, name, meta }, changes);
    return meta;
  }

  async applyStatus(
    resource: CredentialResource,
    status: Status,
    signal: AbortSignal,
  ): Promise<'written' | 'gone' | Failure> {
    if (isInstance(resource)) {
      return this.#cache.learnInstanceStatus(resource, status) ? 'written' : 'gone';
    }
    const { metadata } = resource;
    const { namespace, name } = metadata;
    const response = await this.#writeStatus(metadata, status, signal);
    if (!(response instanceof ApiError)) return 'written';
    const read = () => this.readCredential(namespace, name, signal);
    if (await isGone(response, metadata.uid, read)) return 'gone';
    return toFailure(response, { verb: 'update', resource: STATUS, namespace, name });
  }

  async deleteSecret(secret: SecretIdentity, signal: AbortSignal): Promise<Failure | undefined> {
    const { namespace, name, uid } = secret;
    const path = pathOf(SECRETS, namespace, name);
    const body = { apiVersion: 'v1', kind: 'DeleteOptions', preconditions: { uid } };
    const response = await this.#restClient.request({ method: 'DELETE', path, body, signal });
    // 409: another Secret has that name by now, which the watch will show
    const isGone = !(response instanceof ApiError) || response.code === 404;
    if (isGone) this.#cache.learnGone(secret);
    if (isGone || response.code === 409) return undefined;
    return toFailure(response, { verb: 'delete', resource: SECRETS, namespace, name });
  }

  async applyClusterStatus(
    { metadata: { name, uid } }: ClusterConvercusCredential,
    status: ClusterStatus,
    signal: AbortSignal,
  ): Promise<'written' | 'gone' | Failure> {
    const path = pathOf(CLUSTER_CREDENTIALS, undefined, name, 'status');
    const patch = statusPatch(uid, status);
    const request = { ...statusRequest(path, signal), ...patch, accept: METADATA };
    const response = await this.#restClient.request(request);
    if (!(response instanceof ApiError)) return 'written';
    const read = () => this.readClusterCredential(name, signal);
    if (await isGone(response, uid, read)) return 'gone';
    return toFailure(response, { verb: 'patch', resource: CLUSTER_STATUS, name });
  }

  async readClusterCredential(
    name: string,
    signal: AbortSignal,
  ): Promise<ClusterConvercusCredential | 'absent' | Failure> {
    const path = pathOf(CLUSTER_CREDENTIALS, undefined, name);
    const response = await this.#restClient.request({ method: 'GET', path, signal });
    const found = this.#found(
      response,
      ({ body }) => clusterCredentialFrom(body) ?? ApiError.network(UNEXPECTED_BODY),
    );
    if (!(found instanceof ApiError)) return found;
    return toFailure(found, { verb: 'get', resource: CLUSTER_CREDENTIALS, name });
  }

  async readCredential(
    namespace: string,
    name: string,
    signal: AbortSignal,
  ): Promise<CredentialResource | 'absent' | Failure> {
    const clusterName = clusterNameOf(name);
    if (clusterName !== undefined) {
      const found = await this.readClusterCredential(clusterName, signal);
      if (found === 'absent' || isFailure(found)) return found;
      return instanceIn(found, { name: namespace, isTerminating: false }, namespace);
    }
    const path = pathOf(CREDENTIALS, namespace, name);
    const response = await this.#restClient.request({ method: 'GET', path, signal });
    const found = this.#found(
      response,
      ({ body }) => credentialFrom(body) ?? ApiError.network(UNEXPECTED_BODY),
    );
    if (!(found instanceof ApiError)) return found;
    return toFailure(found, { verb: 'get', resource: CREDENTIALS, namespace, name });
  }

  async wholeCredential(
    cached: CachedCredential,
    signal: AbortSignal,
  ): Promise<ConvercusCredential | 'superseded' | Failure> {
    const { isTargetOmitted = false, ...kept } = cached;
    if (!isTargetOmitted) return cached;
    const { namespace, name, uid, generation } = cached.metadata;
    const found = await this.readCredential(namespace, name, signal);
    if (isFailure(found)) return found;
    if (found === 'absent') return 'superseded';
    const isSame = found.metadata.uid === uid && found.metadata.generation === generation;
    if (isSame) return { ...kept, spec: found.spec };
    this.#cache.learnCredential(withoutLargeTarget(found), undefined);
    return 'superseded';
  }

  recordEvent(about: EventSubject, event: CredentialEvent): void {
    this.#events.record(about, event);
  }

  /** By PUT of the version that is known, the cheapest way (ADR 17); after a conflict whatever the version. */
  async #writeStatus(
    metadata: Metadata,
    status: Status,
    signal: AbortSignal,
  ): Promise<ApiResponse | ApiError> {
    const known = this.#cache.credential(keyOf(metadata));
    const version =
      known?.metadata.uid === metadata.uid ? known.metadata.resourceVersion : undefined;
    if (known !== undefined && version !== undefined) {
      const response = await this.#restClient.request(
        replaceStatusRequest(metadata, status, version, signal),
      );
      if (!(response instanceof ApiError)) this.#learnStatus(known, status, response);
      if (!(response instanceof ApiError && response.code === 409)) return response;
    }
    const response = await this.#restClient.request(patchStatusRequest(metadata, status, signal));
    const stored = response instanceof ApiError ? undefined : cachedCredentialFrom(response.body);
    if (stored !== undefined) this.#cache.learnCredential(stored, known);
    return response;
  }

  #learnStatus(replaced: ConvercusCredential, status: Status, { body }: ApiResponse): void {
    const version = textAt(body, 'metadata', 'resourceVersion');
    const isSame = textAt(body, 'metadata', 'uid') === replaced.metadata.uid;
    if (isSame && version !== undefined) this.#cache.learnStatus(replaced, status, version);
  }

  /** Returns the version of the Secret afterwards. */
  async #upgradeManagedFields(
    desired: DesiredSecret,
    signal: AbortSignal,
  ): Promise<string | undefined | ApiError> {
    const { namespace, name } = desired;
    const found = await this.#restClient.request(metaRequest(namespace, name, signal));
    if (found instanceof ApiError) return found;
    const response = await this.#restClient.request(
      upgradeManagedFieldsRequest(desired, found, signal),
    );
    return response instanceof ApiError
      ? response
      : textAt(response.body, 'metadata', 'resourceVersion');
  }

  #found<T>(
    response: ApiResponse | ApiError,
    parse: (response: ApiResponse) => T | ApiError,
  ): T | 'absent' | ApiError {
    if (!(response instanceof ApiError)) return parse(response);
    return response.code === 404 ? 'absent' : response;
  }

  #unread(error: ApiError, namespace: string, name: string): Failure {
    return toFailure(error, { verb: 'get', resource: SECRETS, namespace, name });
  }

  async #refused(error: ApiError, desired: DesiredSecret, signal: AbortSignal): Promise<Failure> {
    const { namespace, name, data } = desired;
    const refusal = writeConflictOf(error, desired);
    if (refusal !== undefined) {
      await this.readSecretMeta(namespace, name, signal);
      return refusal;
    }
    return toFailure(error, {
      verb: 'patch',
      resource: SECRETS,
      namespace,
      name,
      sent: Object.values(data),
      quotable: desired.type !== undefined, // a Secret that we merge into holds what we do not know
    });
  }
}

/** So that a write which arrives after another one fails. */
const versionKnown = ({ uid }: DesiredSecret, known: KnownSecret): string | undefined =>
  typeof known === 'object' && known.uid === uid ? known.resourceVersion : undefined;

const STATUS = { ...CREDENTIALS, plural: `${CREDENTIALS.plural}/status` };
const CLUSTER_STATUS = { ...CLUSTER_CREDENTIALS, plural: `${CLUSTER_CREDENTIALS.plural}/status` };

type ClusterStatus = NonNullable<ClusterConvercusCredential['status']>;

type Metadata = ConvercusCredential['metadata'];

/** Whether a status was refused because the object of that uid does not exist any more. */
async function isGone(
  { code }: ApiError,
  uid: string,
  read: () => Promise<{ readonly metadata: { readonly uid: string } } | 'absent' | Failure>,
): Promise<boolean> {
  // 422: the status is not valid, or the uid is not that of the patch
  if (code !== 422) return code === 404;
  const found = await read();
  return found === 'absent' || (!isFailure(found) && found.metadata.uid !== uid);
}

const statusPathOf = ({ namespace, name }: Metadata): string =>
  pathOf(CREDENTIALS, namespace, name, 'status');

const statusRequest = (path: string, signal: AbortSignal) => ({
  path,
  query: { fieldManager: FIELD_MANAGER },
  signal,
});

/** Replaces the status of that version only. The API server ignores the spec in a request for the status. */
export function replaceStatusRequest(
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
  const request = statusRequest(statusPathOf(metadata), signal);
  return { ...request, method: 'PUT', accept: METADATA, body }; // the rest is known
}

/**
 * Replaces the status of any version, at more cost to the API server. A JSON patch (RFC 6902): in a merge patch of a
 * status the API server ignores the uid, and members that the new status does not have would stay.
 * The response is the whole object, for it is another version than is known.
 */
export function patchStatusRequest(
  metadata: Metadata,
  status: Status,
  signal: AbortSignal,
): ApiRequest {
  const request = statusRequest(statusPathOf(metadata), signal);
  return { ...request, ...statusPatch(metadata.uid, status) };
}

const statusPatch = (uid: string, status: object) =>
  ({
    method: 'PATCH',
    contentType: 'application/json-patch+json',
    body: [
      { op: 'test', path: '/metadata/uid', value: uid },
      { op: 'add', path: '/status', value: status },
    ],
  }) as const;
