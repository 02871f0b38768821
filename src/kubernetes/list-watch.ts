import type { ClusterConvercusCredential } from '../credential/cluster-api.ts';
import type { NamespaceMeta } from '../credential/instance.ts';
import { listAt, member, textAt } from '../lib/json.ts';
import { type ListWatch, type Page, WatchError, type WatchEvent } from '../lib/list-watch.ts';
import type { Ms } from '../lib/time.ts';
import { ApiError, BODY_TOO_LARGE, UNEXPECTED_BODY } from './api-error.ts';
import { clusterCredentialFrom, namespaceFrom } from './cluster-objects.ts';
import { type ApiCall, toFailure } from './error-messages.ts';
import {
  type CachedCredential,
  cachedCredentialFrom,
  secretFrom,
  type WatchedSecret,
} from './objects.ts';
import {
  CLUSTER_CREDENTIALS,
  CREDENTIALS,
  JSON_ONLY,
  METADATA,
  METADATA_LIST,
  NAMESPACES,
  pathOf,
  type Resource,
  SECRETS,
} from './resources.ts';
import type { ApiResponse, RestClient } from './rest-client.ts';

/** Objects a page. Half as many after a failure, down to one, which always fits; twice as many after a success. */
const MAX_PAGE = 200;

/** One namespace, or the whole cluster. */
export interface Scope {
  readonly namespace?: string;
  readonly labelSelector?: string;
}

interface Collection<T> extends Scope {
  readonly resource: Resource;
  readonly accept: { readonly list: string; readonly watch: string };
  /** What is kept of an object; undefined for what is no such object. */
  readonly project: (object: unknown) => T | undefined;
}

export const credentialListWatch = (
  restClient: RestClient,
  scope: Scope,
): ListWatch<CachedCredential> =>
  new ApiListWatch(restClient, {
    ...scope,
    resource: CREDENTIALS,
    accept: { list: JSON_ONLY, watch: JSON_ONLY },
    project: cachedCredentialFrom,
  });

/**
 * Metadata only (PartialObjectMetadata), without `data`. A Secret made by `kubectl apply` has its data in the annotation
 * `last-applied-configuration` too, which is sent, and dropped by `secretFrom`.
 */
export const secretListWatch = (
  restClient: RestClient,
  { namespace }: Pick<Scope, 'namespace'>,
): ListWatch<WatchedSecret> =>
  new ApiListWatch(restClient, {
    ...(namespace === undefined ? {} : { namespace }),
    resource: SECRETS,
    accept: { list: METADATA_LIST, watch: METADATA },
    project: secretFrom,
  });

export const clusterCredentialListWatch = (
  restClient: RestClient,
  { labelSelector = '' }: Pick<Scope, 'labelSelector'>,
): ListWatch<ClusterConvercusCredential> =>
  new ApiListWatch(restClient, {
    labelSelector,
    resource: CLUSTER_CREDENTIALS,
    accept: { list: JSON_ONLY, watch: JSON_ONLY },
    project: clusterCredentialFrom,
  });

/** Metadata only: the rest of a namespace says nothing that matters here. */
export const namespaceListWatch = (restClient: RestClient): ListWatch<NamespaceMeta> =>
  new ApiListWatch(restClient, {
    resource: NAMESPACES,
    accept: { list: METADATA_LIST, watch: METADATA },
    project: namespaceFrom,
  });

class ApiListWatch<T> implements ListWatch<T> {
  readonly #restClient: RestClient;
  readonly #collection: Collection<T>;
  readonly #path: string;
  #pageSize = MAX_PAGE;

  constructor(restClient: RestClient, collection: Collection<T>) {
    this.#restClient = restClient;
    this.#collection = collection;
    this.#path = pathOf(collection.resource, collection.namespace);
  }

  async list(continueToken: string | undefined, signal: AbortSignal): Promise<Page<T>> {
    const response = await this.#page(continueToken, signal);
    if (response instanceof ApiError) throw this.#watchError(response, 'list');
    const resourceVersion = this.#versionIn(response);
    const next = textAt(response.body, 'metadata', 'continue');
    return {
      items: listAt(response.body, 'items')
        .map(this.#collection.project)
        .filter((item) => item !== undefined),
      resourceVersion,
      ...(next === undefined || next === '' ? {} : { continue: next }),
    };
  }

  async latest(signal: AbortSignal): Promise<string> {
    const response = await this.#request(1, undefined, signal);
    if (response instanceof ApiError) throw this.#watchError(response, 'list');
    return this.#versionIn(response);
  }

  async *watch(
    resourceVersion: string,
    timeout: Ms,
    signal: AbortSignal,
  ): AsyncGenerator<WatchEvent<T>> {
    const query = {
      ...this.#selection(),
      watch: '1',
      allowWatchBookmarks: 'true',
      resourceVersion,
      timeoutSeconds: String(Math.ceil(timeout / 1_000)),
    };
    try {
      const lines = this.#restClient.stream({
        method: 'GET',
        path: this.#path,
        query,
        accept: this.#collection.accept.watch,
        signal,
      });
      for await (const line of lines) {
        const event = this.#eventFrom(line);
        if (event !== undefined) yield event;
      }
    } catch (error) {
      throw error instanceof ApiError ? this.#watchError(error, 'watch') : error;
    }
  }

  async #page(
    continueToken: string | undefined,
    signal: AbortSignal,
  ): Promise<ApiResponse | ApiError> {
    for (;;) {
      const size = this.#pageSize;
      // Also when the caller gives up during this request: a server may take too long for a page of large objects
      this.#pageSize = Math.max(Math.floor(size / 2), 1);
      const response = await this.#request(size, continueToken, signal);
      const isFailed = response instanceof ApiError;
      if (!isFailed) this.#pageSize = Math.min(size * 2, MAX_PAGE);
      if (!isFailed || response.reason !== BODY_TOO_LARGE || size === 1) return response;
    }
  }

  #request(
    limit: number,
    continueToken: string | undefined,
    signal: AbortSignal,
  ): Promise<ApiResponse | ApiError> {
    return this.#restClient.request({
      method: 'GET',
      path: this.#path,
      query: {
        ...this.#selection(),
        limit: String(limit),
        ...(continueToken === undefined ? {} : { continue: continueToken }),
      },
      accept: this.#collection.accept.list,
      signal,
    });
  }

  #versionIn({ body }: ApiResponse): string {
    const version = textAt(body, 'metadata', 'resourceVersion');
    if (version === undefined) throw this.#watchError(ApiError.network(UNEXPECTED_BODY), 'list');
    return version;
  }

  #selection(): Record<string, string> {
    const { labelSelector = '' } = this.#collection;
    return labelSelector === '' ? {} : { labelSelector };
  }

  /** @throws ApiError for an event that ends the watch */
  #eventFrom(line: unknown): WatchEvent<T> | undefined {
    const object = member(line, 'object');
    const resourceVersion = textAt(object, 'metadata', 'resourceVersion') ?? '';
    switch (textAt(line, 'type') ?? '') {
      case 'BOOKMARK':
        return { type: 'bookmark', resourceVersion };
      case 'ADDED':
      case 'MODIFIED':
        return this.#itemEvent('apply', object, resourceVersion);
      case 'DELETED':
        return this.#itemEvent('delete', object, resourceVersion);
      case 'ERROR':
        throw new ApiError(codeOf(object), object);
      default:
        return undefined;
    }
  }

  #itemEvent(
    type: 'apply' | 'delete',
    object: unknown,
    resourceVersion: string,
  ): WatchEvent<T> | undefined {
    const item = this.#collection.project(object);
    return item === undefined ? undefined : { type, item, resourceVersion };
  }

  #watchError(error: ApiError, verb: ApiCall['verb']): WatchError {
    if (error.code === 410 || error.reason === 'Expired') return new WatchError('gone');
    const { resource, namespace } = this.#collection;
    return new WatchError(toFailure(error, { verb, resource, namespace }));
  }
}

function codeOf(status: unknown): number {
  const code = member(status, 'code');
  return typeof code === 'number' ? code : 500;
}
