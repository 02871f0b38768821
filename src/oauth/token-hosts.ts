import type { Clock, Random } from '../lib/clock.ts';
import { Failure, type FailureKind, isFailure } from '../lib/failure.ts';
import type { EpochMs, Ms } from '../lib/time.ts';
import type { Environment, Environments } from './environment.ts';
import type { Exchange, HttpRequest } from './exchange.ts';
import type { HttpClient } from './http-client.ts';
import { clockSkewOf, type HttpResponse } from './http-response.ts';
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

/** What only the asker knows of an answer. */
export interface AskContext {
  readonly host: string;
  readonly requestedAt: EpochMs;
  readonly receivedAt: EpochMs;
  /** In [-1, 1], drawn once per answer. */
  readonly jitter: number;
}

export interface Question<T> {
  readonly environment: string;
  readonly url: string;
  readonly grantType: string;
  /** Builds the request of its protocol and hands it to `send`. */
  readonly ask: (
    environment: Environment,
    send: (request: HttpRequest) => Promise<Exchange | Failure>,
  ) => Promise<Exchange | Failure>;
  readonly read: (response: HttpResponse, context: AskContext) => T | Failure;
}

/**
 * What all token protocols have in common: one exchange, its report, and the reading of its answer. Every fault is a
 * Failure; only the signal's reason rejects. It logs and remembers nothing.
 */
export class TokenHosts {
  readonly #options: TokenHostOptions;

  constructor(options: TokenHostOptions) {
    this.#options = options;
  }

  async ask<T>(question: Question<T>, signal: AbortSignal): Promise<T | Failure> {
    const environment = this.#options.environments.get(question.environment);
    if (environment === undefined) return unknownEnvironment(question);
    const startedAt = this.#options.clock.now();
    const outcome = await this.#exchange(question, environment, signal).catch((error: unknown) => {
      signal.throwIfAborted();
      return toFailure(error, hostOf(question.url));
    });
    return this.#settle(question, startedAt, outcome);
  }

  async #exchange<T>({ ask }: Question<T>, environment: Environment, signal: AbortSignal) {
    signal.throwIfAborted();
    const { client, userAgent, beforeSend } = this.#options;
    return ask(environment, ({ headers, ...request }) => {
      const ours = { ...headers, 'user-agent': userAgent };
      return client.send(environment, { ...request, headers: ours, beforeSend }, signal);
    });
  }

  #settle<T>(
    { url, grantType, read }: Question<T>,
    startedAt: EpochMs,
    outcome: Exchange | Failure,
  ): T | Failure {
    const host = hostOf(url);
    const result = isFailure(outcome)
      ? outcome
      : read(outcome.response, this.#context(host, outcome));
    const skew = isFailure(outcome) ? undefined : clockSkewOf(outcome.response, outcome.receivedAt);
    this.#options.onRequest({
      host,
      grantType,
      outcome: isFailure(result) ? result.kind : 'success',
      seconds: (this.#options.clock.now() - startedAt) / 1_000,
      ...(skew !== undefined && { skew }),
    });
    return result;
  }

  #context(host: string, { requestedAt, receivedAt }: Exchange): AskContext {
    return { host, requestedAt, receivedAt, jitter: this.#options.random() * 2 - 1 };
  }
}

const hostOf = (url: string): string => (URL.canParse(url) ? new URL(url).host : url);

const unknownEnvironment = ({ environment }: { readonly environment: string }): Failure =>
  new Failure(
    'InvalidSpec',
    `The operator's configuration has no environment "${environment}". Correct spec.environment.`,
  );
