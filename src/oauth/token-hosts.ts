import type { Clock, Random } from '../lib/clock.ts';
import { Failure, type FailureKind, isFailure } from '../lib/failure.ts';
import type { Ms } from '../lib/time.ts';
import { type Environment, type Environments, unknownEnvironment } from './environment.ts';
import { hostOf } from './grants.ts';
import type { Exchange, HttpClient, HttpRequest } from './http-client.ts';
import { clockSkewOf, type HttpResponse, type ResponseContext } from './http-response.ts';
import { toFailure } from './network-errors.ts';

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
