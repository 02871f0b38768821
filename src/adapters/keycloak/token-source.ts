import type { Environment, Environments } from '../../domain/environment.ts';
import { Failure, type FailureKind, isFailure } from '../../domain/failure.ts';
import { clockSkewOf } from '../../domain/http-answer.ts';
import type { EpochMs, Ms } from '../../domain/time.ts';
import type { Token, TokenRequest } from '../../domain/token.ts';
import { readTokenAnswer } from '../../domain/token-answer.ts';
import type { Random, TokenSource } from '../../ports.ts';
import { type ConnectionOptions, Connections } from '../http/connections.ts';
import { type Exchange, exchange } from '../http/exchange.ts';
import { toFailure } from '../http/to-failure.ts';
import { sendGrant } from './grant-request.ts';

export interface TokenSourceOptions extends ConnectionOptions {
  readonly environments: Environments;
  readonly random: Random;
  readonly userAgent: string;
  readonly onRequest: (report: RequestReport) => void;
}

/** What one call to a token endpoint came to, its quick retries included. Nothing is reported of an aborted one. */
export interface RequestReport {
  readonly host: string;
  readonly grantType: TokenRequest['grantType'];
  readonly outcome: 'success' | FailureKind;
  readonly seconds: number;
  /** The server's clock minus ours, when they are more than 30 s apart. */
  readonly skew?: Ms;
}

/**
 * The token endpoint of a Keycloak. `obtain` answers every fault with a Failure and rejects only with the reason of
 * its signal; it logs nothing and remembers nothing but connections, which `close` ends.
 */
export function createTokenSource(options: TokenSourceOptions): {
  obtain: TokenSource;
  close(): Promise<void>;
} {
  const connections = new Connections(options);

  const obtain: TokenSource = async (request, signal) => {
    const environment = options.environments.get(request.environment);
    if (environment === undefined) return unknownEnvironment(request);
    const startedAt = options.clock.now();
    const host = hostOf(request.tokenUrl);
    const outcome = await ask(request, environment, signal).catch((error: unknown) => {
      signal.throwIfAborted();
      return toFailure(error, host);
    });
    return settle({ request, host, startedAt }, outcome);
  };

  async function ask(request: TokenRequest, environment: Environment, signal: AbortSignal) {
    signal.throwIfAborted();
    const dispatcher = await connections.dispatcherFor(environment);
    if (isFailure(dispatcher)) return dispatcher;
    const deadline = AbortSignal.any([signal, AbortSignal.timeout(options.timeouts.total)]);
    return sendGrant(request, environment.insecureHttp, ({ headers, ...built }) => {
      const ours = { ...headers, 'user-agent': options.userAgent };
      return exchange({ ...built, headers: ours }, dispatcher, options.clock, deadline);
    });
  }

  function settle(asked: Asked, outcome: Exchange | Failure): Token | Failure {
    const { host, startedAt, request } = asked;
    const result = isFailure(outcome) ? outcome : read(asked, outcome, options.random);
    const skew = isFailure(outcome) ? undefined : clockSkewOf(outcome.answer, outcome.receivedAt);
    options.onRequest({
      host,
      grantType: request.grantType,
      outcome: isFailure(result) ? result.kind : 'success',
      seconds: (options.clock.now() - startedAt) / 1_000,
      ...(skew !== undefined && { skew }),
    });
    return result;
  }

  return { obtain, close: () => connections.close() };
}

interface Asked {
  readonly request: TokenRequest;
  readonly host: string;
  readonly startedAt: EpochMs;
}

function read({ request, host }: Asked, exchange: Exchange, random: Random): Token | Failure {
  const { answer, requestedAt, receivedAt } = exchange;
  const { grantType, realm, clientId, scope, clientSecret } = request;
  const question = { grantType, host, realm, clientId, scope, secrets: [clientSecret] };
  const jitter = random() * 2 - 1;
  return readTokenAnswer(answer, { ...question, requestedAt, receivedAt, jitter });
}

const hostOf = (url: string): string => (URL.canParse(url) ? new URL(url).host : url);

const unknownEnvironment = ({ environment }: TokenRequest): Failure =>
  new Failure(
    'InvalidSpec',
    `The operator's configuration has no environment "${environment}". Correct spec.environment.`,
  );
