import type { KubeConfig } from '@kubernetes/client-node';
import { ApiError } from '../kubernetes/api-error.ts';
import {
  loadDefaultKubeConfig,
  loadKubeConfig,
  problemOf,
  readProblem,
} from '../kubernetes/kubeconfig.ts';
import { pathOf, type Resource } from '../kubernetes/resources.ts';
import { type ApiRequest, type RestClient, UndiciRestClient } from '../kubernetes/rest-client.ts';
import { RestConfig } from '../kubernetes/rest-config.ts';
import { listAt, textAt } from '../lib/json.ts';
import { seconds } from '../lib/time.ts';
import { cliErrorFrom, type Wanted } from './api-sentences.ts';
import { CliError, EXIT } from './exit-code.ts';

export interface ClusterOptions {
  readonly kubeconfig?: string | undefined;
  readonly context?: string | undefined;
  readonly version: string;
  readonly signal: AbortSignal;
}

type Query = Readonly<Record<string, string>>;
type Send = Omit<ApiRequest, 'path' | 'signal'> & { readonly subresource?: string };

const PAGE = '500';
const TIMEOUT = seconds(20);

/** The API server as the person's own kubeconfig and rights show it. Methods throw a CliError. */
export class Cluster implements AsyncDisposable {
  readonly server: string;
  /** Of the context. */
  readonly namespace: string;
  readonly #rest: RestClient;
  readonly #signal: AbortSignal;

  constructor(
    rest: RestClient,
    options: { server: string; namespace: string; signal: AbortSignal },
  ) {
    this.#rest = rest;
    this.server = options.server;
    this.namespace = options.namespace;
    this.#signal = options.signal;
  }

  static open(options: ClusterOptions): Cluster {
    const config = loadedConfig(options);
    const server = new URL(config.getCurrentCluster()?.server ?? '').origin;
    const context = config.getContextObject(config.getCurrentContext());
    const connection = new RestConfig(() => loadedConfig(options));
    const userAgent = `kubectl-convercus/${options.version}`;
    const rest = new UndiciRestClient(connection, { userAgent });
    const namespace = context?.namespace || 'default';
    return new Cluster(rest, { server, namespace, signal: options.signal });
  }

  /** The body of the response. */
  async send(wanted: Wanted, { subresource, ...request }: Send): Promise<unknown> {
    const { resource, namespace, name } = wanted;
    const tail = [name, subresource].filter((part) => part !== undefined);
    const path = pathOf(resource, namespace, ...tail);
    const response = await this.#rest.request({
      timeout: TIMEOUT,
      ...request,
      path,
      signal: this.#signal,
    });
    if (response instanceof ApiError) throw cliErrorFrom(response, wanted, this.server);
    return response.body;
  }

  get(resource: Resource, namespace: string | undefined, name: string): Promise<unknown> {
    return this.send({ verb: 'get', resource, namespace, name }, { method: 'GET' });
  }

  /** All pages. @param namespace undefined for the whole cluster */
  async list(
    resource: Resource,
    namespace: string | undefined,
    query: Query = {},
  ): Promise<readonly unknown[]> {
    const items: unknown[] = [];
    let token: string | undefined;
    do {
      const page = { ...query, limit: PAGE, ...(token === undefined ? {} : { continue: token }) };
      const list = await this.send(
        { verb: 'list', resource, namespace },
        { method: 'GET', query: page },
      );
      items.push(...listAt(list, 'items'));
      token = textAt(list, 'metadata', 'continue') || undefined;
    } while (token !== undefined);
    return items;
  }

  /** A merge patch (RFC 7386). */
  patch({ resource, namespace, name }: Address, body: object): Promise<unknown> {
    return this.send(
      { verb: 'patch', resource, namespace, name },
      { method: 'PATCH', contentType: 'application/merge-patch+json', query: MANAGER, body },
    );
  }

  create(resource: Resource, object: NewObject, query: Query = {}): Promise<unknown> {
    const { namespace, name, ...rest } = object;
    return this.send(
      { verb: 'create', resource, namespace },
      {
        method: 'POST',
        query: { ...MANAGER, ...query },
        body: { ...rest, metadata: { namespace, name } },
      },
    );
  }

  /** Whether it knows the resource; every authenticated user may ask that. */
  async serves({ apiVersion, plural }: Resource): Promise<boolean> {
    const resource = { apiVersion, plural };
    const response = await this.#rest.request({
      method: 'GET',
      path: apiVersion.includes('/') ? `/apis/${apiVersion}` : `/api/${apiVersion}`,
      timeout: TIMEOUT,
      signal: this.#signal,
    });
    if (response instanceof ApiError) {
      if (response.code === 404) return false;
      throw cliErrorFrom(response, { verb: 'get', resource }, this.server);
    }
    return listAt(response.body, 'resources').some((each) => textAt(each, 'name') === plural);
  }

  /** The log of a pod, each line parsed as JSON. Throws an ApiError for a line that is none. */
  podLog({ namespace, name }: Named, query: Query): AsyncIterable<unknown> {
    const path = pathOf({ apiVersion: 'v1', plural: 'pods' }, namespace, name, 'log');
    return this.#rest.stream({ method: 'GET', path, query, accept: '*/*', signal: this.#signal });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#rest.close();
  }
}

/** Of an object; one of the cluster has no namespace. */
export interface Address {
  readonly resource: Resource;
  readonly namespace: string | undefined;
  readonly name: string;
}

interface Named {
  readonly namespace: string;
  readonly name: string;
}

/** An object with its namespace and name beside the rest, which is sent as it is. */
type NewObject = Named & Readonly<Record<string, unknown>>;

const MANAGER = { fieldManager: 'kubectl-convercus' };

function loadedConfig({ kubeconfig, context }: ClusterOptions): KubeConfig {
  const config = readConfig(kubeconfig);
  if (context !== undefined) {
    if (config.getContextObject(context) === null) {
      throw new CliError(
        EXIT.cluster,
        `The kubeconfig has no context "${context}"; see those that it has: kubectl config get-contexts`,
      );
    }
    config.setCurrentContext(context);
  }
  const problem = problemOf(config, kubeconfig);
  if (problem !== undefined) throw new CliError(EXIT.cluster, problem);
  return config;
}

function readConfig(kubeconfig: string | undefined): KubeConfig {
  try {
    return kubeconfig === undefined ? loadDefaultKubeConfig() : loadKubeConfig(kubeconfig);
  } catch (error) {
    throw new CliError(EXIT.cluster, readProblem(error, kubeconfig));
  }
}
