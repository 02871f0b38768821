import type { Dispatcher } from 'undici';
import { sendRequest, type WholeRequest, type WholeResponse } from '../lib/http.ts';
import { member, textAt } from '../lib/json.ts';
import { systemClock } from '../lib/system-clock.ts';
import { type Ms, seconds } from '../lib/time.ts';
import { TimeoutError, withTimeout } from '../lib/with-timeout.ts';
import { ApiError } from './api-error.ts';
import { jsonIn, jsonLines, MAX_OBJECT } from './json-lines.ts';
import { loadKubeConfig } from './kubeconfig.ts';
import { type ApiConnection, RestConfig } from './rest-config.ts';

/** A page of a list that is larger is requested again in smaller pages; no other response is. */
const MAX_BODY = MAX_OBJECT;
const MAX_ERROR_BODY = 1024 * 1024;
const DEFAULT_TIMEOUT: Ms = seconds(30);

export interface RestClientOptions {
  /** Absent: the service account of the pod if there is one, else the default kubeconfig. */
  readonly kubeconfigPath?: string;
  readonly userAgent: string;
  /** Told of every request that was sent; `code` is the HTTP status or `<error>`. */
  readonly onRequest?: (method: string, host: string, code: string) => void;
}

export interface ApiRequest {
  readonly method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
  readonly path: string;
  readonly query?: Readonly<Record<string, string>>;
  readonly body?: unknown;
  readonly contentType?: string;
  readonly accept?: string;
  readonly signal: AbortSignal;
  /** For each of at most two tries; 30 s when absent. */
  readonly timeout?: Ms;
  /** Called before a connection is made for a try, and when it is written; what it throws ends the request. */
  readonly beforeSend?: () => void;
}

export type StreamRequest = Omit<ApiRequest, 'body' | 'timeout' | 'beforeSend'>;

export interface ApiResponse {
  readonly status: number;
  /** Parsed JSON. Foreign: read it with the functions of json.ts. */
  readonly body: unknown;
}

/** Requests to one API server. An abort by the caller's signal rejects with its reason; all else is a value. */
export interface RestClient {
  request(request: ApiRequest): Promise<ApiResponse | ApiError>;
  /** The JSON lines of a response that does not end by itself. Rejects with an ApiError. */
  stream(request: StreamRequest): AsyncIterable<unknown>;
  /** Ends all connections, requests in flight included. */
  close(): Promise<void>;
}

/** @throws Error when there is no usable kubeconfig */
export function createRestClient(options: RestClientOptions): RestClient {
  return new UndiciRestClient(
    new RestConfig(() => loadKubeConfig(options.kubeconfigPath)),
    options,
  );
}

/** For a kubeconfig that the caller loads. */
export class UndiciRestClient implements RestClient {
  readonly #restConfig: RestConfig;
  readonly #options: RestClientOptions;

  constructor(restConfig: RestConfig, options: RestClientOptions) {
    this.#restConfig = restConfig;
    this.#options = options;
  }

  async request(request: ApiRequest): Promise<ApiResponse | ApiError> {
    request.signal.throwIfAborted();
    try {
      const { status, body } = await this.#send(request, sendWhole);
      return { status, body: jsonIn(body) };
    } catch (error) {
      return translated(error, request.signal);
    }
  }

  async *stream(request: StreamRequest): AsyncGenerator {
    try {
      const { body } = await this.#send(request, openStream);
      yield* jsonLines(body);
    } catch (error) {
      throw translated(error, request.signal);
    }
  }

  close(): Promise<void> {
    return this.#restConfig.close();
  }

  /** Sends, and once more when the credentials were refused or a kept connection was closed. */
  async #send<T extends StatusResponse>(request: ApiRequest, send: Send<T>): Promise<T> {
    try {
      return await this.#sendOnce(request, send);
    } catch (error) {
      if (request.signal.aborted || !this.#isWorthAnotherTry(request, error)) throw error;
      return this.#sendOnce(request, send);
    }
  }

  #isWorthAnotherTry({ method }: ApiRequest, error: unknown): boolean {
    if (error instanceof ApiError) return error.code === 401 && this.#restConfig.reload();
    const code = networkCode(error);
    if (isCertificateProblem(code)) return this.#restConfig.reload();
    // The server has closed a kept connection. Only for requests that may be repeated, as every PATCH here may
    return CLOSED_CONNECTION.has(code) && (method === 'GET' || method === 'PATCH');
  }

  /** Files and plug-ins of the kubeconfig may fail with any text, even with a token in it, or hang. */
  async #ready({ timeout: ms = DEFAULT_TIMEOUT, signal }: ApiRequest): Promise<ApiConnection> {
    const known = this.#restConfig.current;
    if (known !== undefined) return known;
    const read = () =>
      this.#restConfig.get().catch(() => {
        throw ApiError.network('NoCredentials');
      });
    const connection = await withTimeout(read, { ms, clock: systemClock, signal });
    if (connection !== undefined) return connection;
    signal.throwIfAborted();
    throw new TimeoutError();
  }

  async #sendOnce<T extends StatusResponse>(request: ApiRequest, send: Send<T>): Promise<T> {
    const { dispatcher, headers } = await this.#ready(request);
    const { method, path, query, body, signal, timeout = DEFAULT_TIMEOUT, beforeSend } = request;
    const search = query === undefined ? '' : `?${queryOf(query)}`;
    const whole = {
      origin: this.#restConfig.origin,
      path: `${this.#restConfig.basePath}${path}${search}`,
      method,
      headers: { ...this.#headersOf(request), ...headers },
      body: body === undefined ? null : JSON.stringify(body),
      signal,
      timeout,
      beforeSend,
    };
    beforeSend?.();
    try {
      const response = await send(dispatcher, whole);
      this.#count(method, String(response.status));
      return response;
    } catch (error) {
      this.#count(method, error instanceof ApiError ? String(error.code) : '<error>');
      throw error;
    }
  }

  #headersOf({ accept, body, contentType }: ApiRequest): Record<string, string> {
    return {
      accept: accept ?? 'application/json',
      'user-agent': this.#options.userAgent,
      ...(body === undefined ? {} : { 'content-type': contentType ?? 'application/json' }),
    };
  }

  #count(method: string, code: string): void {
    this.#options.onRequest?.(method, this.#restConfig.host, code);
  }
}

const queryOf = (query: Readonly<Record<string, string>>): string =>
  Object.entries(query)
    .map(([name, value]) => `${name}=${encodeURIComponent(value)}`)
    .join('&');

const CLOSED_CONNECTION = new Set(['UND_ERR_SOCKET', 'ECONNRESET', 'EPIPE']);

const isCertificateProblem = (code: string): boolean =>
  /CERT|SELF_SIGNED|UNABLE_TO_(GET|VERIFY)|^ERR_(SSL|TLS)/.test(code);

/** @throws the caller's reason when the caller has aborted */
function translated(error: unknown, signal: AbortSignal): ApiError {
  signal.throwIfAborted();
  return error instanceof ApiError ? error : ApiError.network(networkCode(error));
}

/** The code of a network error. Its text is dropped, for parsers quote what they read. */
function networkCode(error: unknown): string {
  const cause = member(error, 'cause');
  const ofCause = cause === undefined ? 'Unknown' : networkCode(cause);
  return textAt(error, 'code') ?? ofCause;
}

interface StatusResponse {
  readonly status: number;
}

/** Rejects with an ApiError when the server refuses. */
type Send<T extends StatusResponse> = (dispatcher: Dispatcher, request: WholeRequest) => Promise<T>;

const isSuccess = (status: number): boolean => status >= 200 && status < 300;

const sendWhole: Send<WholeResponse> = async (dispatcher, request) => {
  const response = await sendRequest(dispatcher, request, MAX_BODY);
  if (isSuccess(response.status)) return response;
  throw errorFrom(response);
};

/** The body goes on until the reader leaves. */
const openStream: Send<StatusResponse & { readonly body: AsyncIterable<Buffer> }> = async (
  dispatcher,
  request,
) => {
  const { timeout: headersTimeout, beforeSend: _, ...rest } = request;
  const limits = { headersTimeout, bodyTimeout: 0 };
  const { statusCode: status, headers, body } = await dispatcher.request({ ...rest, ...limits });
  if (isSuccess(status)) return { status, body };
  // A proxy may send the head of an error and then nothing more
  const told = await withTimeout(() => collected(body), { ms: headersTimeout, clock: systemClock });
  if (told === undefined) body.destroy();
  throw errorFrom({ status, headers, body: told ?? Buffer.alloc(0) });
};

/** Leaving the loop closes the connection. */
async function collected(body: AsyncIterable<Buffer>): Promise<WholeResponse['body']> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of body) {
    size += chunk.length;
    if (size > MAX_ERROR_BODY) return 'too-large';
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

/** A proxy may write anything into the body; then only the status counts. */
function errorFrom({ status, headers, body }: WholeResponse): ApiError {
  let described: unknown;
  try {
    described = jsonIn(body);
  } catch {
    described = undefined;
  }
  return new ApiError(status, described, headers['retry-after']);
}
