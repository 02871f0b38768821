import pRetry from 'p-retry';
import type { Dispatcher } from 'undici';
import type { Clock } from '../lib/clock.ts';
import { type Failure, isFailure } from '../lib/failure.ts';
import { ResponseCut, sendRequest } from '../lib/http.ts';
import { type EpochMs, type Ms, seconds } from '../lib/time.ts';
import { type ConnectionOptions, Connections } from './connections.ts';
import type { Environment } from './environment.ts';
import type { HttpResponse } from './http-response.ts';
import { isTransient, isUnsent } from './network-errors.ts';
import { MAX_BODY, responseFrom } from './response-body.ts';

export interface HttpRequest {
  readonly url: string;
  readonly method: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
  /** It counts at the server: never sent again once it may have arrived. */
  readonly once?: boolean;
  /** Called before a connection is made for a try, and when it is written; what it throws ends the exchange. */
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

/** With less time left a try may arrive, but its response come too late: a refresh token would be spent for nothing. */
const SHORTEST_RETRY: Ms = seconds(1);

/**
 * Tries again after transient faults of the network, as long as there is time: `timeout` in all. What has a status line
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
    const whole = { origin, path, method, headers, body, signal, timeout: left, beforeSend };
    return sendRequest(dispatcher, whole, MAX_BODY).then(responseFrom, responseOfError);
  };
  const isHarmless = once ? isUnsent : isTransient;
  const hasTime = (wait: Ms) => deadline - clock.monotonic() - wait >= SHORTEST_RETRY;
  const shouldRetry = ({ error, retryDelay }: { error: Error; retryDelay: Ms }) =>
    isHarmless(error) && hasTime(retryDelay);
  const response = await pRetry(send, { ...RETRIES, signal, shouldRetry });
  return { response, requestedAt, receivedAt: clock.now() };
}

function responseOfError(cause: unknown): HttpResponse {
  if (cause instanceof ResponseCut) return responseFrom({ ...cause.head, body: 'cut' });
  // p-retry knows only errors of its own realm
  throw new Error('no response', { cause });
}
