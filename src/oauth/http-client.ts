import { type Failure, isFailure } from '../lib/failure.ts';
import { type ConnectionOptions, Connections } from './connections.ts';
import type { Environment } from './environment.ts';
import { type Exchange, type HttpRequest, sendWithRetries } from './exchange.ts';

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
