import pRetry from 'p-retry';
import type { Dispatcher } from 'undici';
import type { Clock, Random } from '../lib/clock.ts';
import { Failure, type FailureKind, isFailure } from '../lib/failure.ts';
import { ResponseCut, sendRequest } from '../lib/http.ts';
import type { EpochMs, Ms } from '../lib/time.ts';
import { type ConnectionOptions, Connections } from './connections.ts';
import { type Environment, type Environments, unknownEnvironment } from './environment.ts';
import { hostOf } from './grants.ts';
import { clockSkewOf, type HttpResponse, type ResponseContext } from './http-response.ts';
import { isTransient, isUnsent, toFailure } from './network-errors.ts';
import { MAX_BODY, responseFrom } from './response-body.ts';

export interface HttpRequest {
  readonly url: string;
  readonly method: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
  /** It counts at the server: never sent again once it may have arrived. */
  readonly once?: boolean;
  /** Called right before each try leaves; what it throws ends the exchange. */
  readonly beforeSend?: (() => void) | undefined;
}

export interface Exchange {
  readonly response: HttpResponse;
  /** When the try that got the response was sent. */
  readonly requestedAt: EpochMs;
  readonly receivedAt: EpochMs;
}

/** The way to the token hosts. A simulation puts another in its place. */
export interface HttpClient {
  /**
   * One exchange within the time allowed, over a connection that the environment trusts. A Failure when its `caFile`
   * can't be used; rejects with the network's error or the signal's reason.
   */
  send(
    environment: Environment,
    request: HttpRequest,
    signal: AbortSignal,
  ): Promise<Exchange | Failure>;
  /** Ends all connections, requests in flight included. */
  close(): Promise<void>;
}

export function createHttpClient(options: ConnectionOptions): HttpClient {
  const connections = new Connections(options);
  const limits = { clock: options.clock, timeout: options.timeouts.total };
  return {
    async send(environment, request, signal) {
      const dispatcher = await connections.dispatcherFor(environment);
      if (isFailure(dispatcher)) return dispatcher;
      return sendWithRetries(request, dispatcher, limits, signal);
    },
    close: () => connections.close(),
  };
}

/** Three tries, 0.2 s and 0.6 s apart. */
const RETRIES = { retries: 2, minTimeout: 200, factor: 3 } as const;

/**
 * Tries again after transient faults of the network, but not for longer than `timeout` in all. What has a status line
 * is a response, whatever becomes of its body: the server may have counted a wrong password. Redirects are responses
 * like any other: a secret is sent only where it was meant to go.
 */
async function sendWithRetries(
  request: HttpRequest,
  dispatcher: Dispatcher,
  { clock, timeout }: { readonly clock: Clock; readonly timeout: Ms },
  signal: AbortSignal,
): Promise<Exchange> {
  const { url, method, body, once = false, beforeSend } = request;
  const headers = { ...request.headers, 'accept-encoding': 'gzip' };
  const { origin, pathname, search } = new URL(url);
  let requestedAt = clock.now();
  const deadline = clock.monotonic() + timeout;
  const send = () => {
    beforeSend?.();
    requestedAt = clock.now();
    const left = Math.max(deadline - clock.monotonic(), 1);
    const path = pathname + search;
    const whole = { origin, path, method, headers, body, signal, timeout: left };
    return sendRequest(dispatcher, whole, MAX_BODY).then(responseFrom, responseOfError);
  };
  const isHarmless = once ? isUnsent : isTransient;
  const shouldRetry = ({ error }: { error: Error }) => isHarmless(error);
  const response = await pRetry(send, { ...RETRIES, signal, shouldRetry });
  return { response, requestedAt, receivedAt: clock.now() };
}

function responseOfError(cause: unknown): HttpResponse {
  if (cause instanceof ResponseCut) return responseFrom({ ...cause.head, body: 'cut' });
  // p-retry knows only errors of its own realm
  throw new Error('no response', { cause });
}

export interface TokenHostOptions {
  readonly environments: Environments;
  readonly client: HttpClient;
  readonly clock: Clock;
  readonly random: Random;
  readonly userAgent: string;
  readonly onRequest: (report: RequestReport) => void;
  /** Called right before a request leaves; what it throws ends it. */
  readonly beforeSend?: () => void;
}

/** What one call to a token host came to, its quick retries included. Nothing is reported of an aborted one. */
export interface RequestReport {
  readonly host: string;
  readonly grantType: string;
  readonly outcome: 'success' | FailureKind;
  readonly seconds: number;
  /** The server's clock minus ours, when they are more than 30 s apart. */
  readonly skew?: Ms;
}

export type Send = (request: HttpRequest) => Promise<Exchange | Failure>;

/** One call of a protocol. */
interface Call<T> {
  readonly environment: string;
  readonly url: string;
  /** Where the configuration of the environment has the URL from. */
  readonly urlSetting: 'tokenUrl' | 'loginUrl';
  readonly grantType: string;
  /** Builds the request and sends it once. */
  readonly exchange: (send: Send) => Promise<Exchange | Failure>;
  readonly read: (response: HttpResponse, context: ResponseContext) => T | Failure;
}

/**
 * What all protocols have in common: environment, https, one exchange, its report, and the reading of its response.
 * Every fault is a Failure; only the signal's reason rejects. It logs and remembers nothing.
 */
export class TokenHosts {
  readonly #options: TokenHostOptions;

  constructor(options: TokenHostOptions) {
    this.#options = options;
  }

  async request<T>(call: Call<T>, signal: AbortSignal): Promise<T | Failure> {
    const { environments, clock } = this.#options;
    const environment = environments.get(call.environment);
    if (environment === undefined) return unknownEnvironment(call.environment);
    const startedAt = clock.monotonic();
    const exchange = await this.#exchange(call, environment, signal).catch((error: unknown) => {
      signal.throwIfAborted();
      return toFailure(error, hostOf(call.url));
    });
    const result = isFailure(exchange) ? exchange : this.#read(call, exchange);
    this.#report(call, { startedAt, exchange, result });
    return result;
  }

  async #exchange<T>(
    { url, urlSetting, exchange }: Call<T>,
    environment: Environment,
    signal: AbortSignal,
  ): Promise<Exchange | Failure> {
    signal.throwIfAborted();
    const isSafe = environment.insecureHttp || new URL(url).protocol === 'https:';
    if (!isSafe) return insecureEndpoint(url, urlSetting);
    const { client, userAgent, beforeSend } = this.#options;
    return exchange(({ headers, ...request }) => {
      const ours = { ...headers, 'user-agent': userAgent };
      return client.send(environment, { ...request, headers: ours, beforeSend }, signal);
    });
  }

  #read<T>({ url, read }: Call<T>, { response, requestedAt, receivedAt }: Exchange): T | Failure {
    const jitter = this.#options.random() * 2 - 1;
    return read(response, { host: hostOf(url), requestedAt, receivedAt, jitter });
  }

  #report<T>({ url, grantType }: Call<T>, { startedAt, exchange, result }: Outcome<T>): void {
    const skew = isFailure(exchange)
      ? undefined
      : clockSkewOf(exchange.response, exchange.receivedAt);
    this.#options.onRequest({
      host: hostOf(url),
      grantType,
      outcome: isFailure(result) ? result.kind : 'success',
      seconds: (this.#options.clock.monotonic() - startedAt) / 1_000,
      ...(skew !== undefined && { skew }),
    });
  }
}

interface Outcome<T> {
  /** By the monotonic clock. */
  readonly startedAt: Ms;
  readonly exchange: Exchange | Failure;
  readonly result: T | Failure;
}

const insecureEndpoint = (url: string, urlSetting: string): Failure =>
  new Failure(
    'InsecureEndpoint',
    `${hostOf(url)} is not asked over plain HTTP. ` +
      `Use an https:// ${urlSetting}, or set insecureHttp for the environment.`,
  );
