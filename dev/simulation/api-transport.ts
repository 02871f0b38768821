import { ApiError } from '../../src/kubernetes/api-error.ts';
import type {
  ApiRequest,
  ApiResponse,
  RestClient,
  StreamRequest,
} from '../../src/kubernetes/rest-client.ts';
import { type Ms, seconds } from '../../src/lib/time.ts';
import { type ApiNetwork, errorFor, type Outcome } from './api-network.ts';
import type { Reply } from './api-server.ts';
import { latency } from './conditions.ts';
import type { Replica } from './replica.ts';
import { WatchConnection } from './watch-connection.ts';

/** The default of `timeout` in ApiRequest. */
const DEFAULT_TIMEOUT: Ms = seconds(30);

/** The RestClient of one replica: requests and watches travel through the simulated network. */
export function apiTransport(replica: Replica, network: ApiNetwork): RestClient {
  return {
    request: (request) => new ApiCall(replica, network, request).response,
    stream: (request) => stream(replica, network, request),
    close: () => Promise.resolve(),
  };
}

async function* stream(
  replica: Replica,
  network: ApiNetwork,
  request: StreamRequest,
): AsyncGenerator {
  request.signal.throwIfAborted();
  const connection = new WatchConnection(replica, network, request);
  network.watches.add(connection);
  try {
    for (;;) {
      const line = await connection.next();
      if (line === undefined) return;
      yield JSON.parse(line.toString());
    }
  } finally {
    connection.close();
    network.watches.delete(connection);
  }
}

/** A request on its way, at the server, and its response on the way back. */
class ApiCall {
  readonly response: Promise<ApiResponse | ApiError>;
  readonly #replica: Replica;
  readonly #network: ApiNetwork;
  readonly #request: ApiRequest;
  readonly #sent: string;
  readonly #resolve: (response: ApiResponse | ApiError) => void;
  readonly #report: (outcome: Outcome) => void;
  #cancelTimeout: () => void = () => undefined;
  #isWritten = false;
  #isArrived = false;
  #isOver = false;
  #isCut = false;

  constructor(replica: Replica, network: ApiNetwork, request: ApiRequest) {
    this.#replica = replica;
    this.#network = network;
    this.#request = request;
    this.#sent = request.body === undefined ? '' : JSON.stringify(request.body);
    const { promise, resolve, reject } = Promise.withResolvers<ApiResponse | ApiError>();
    this.response = promise;
    this.#resolve = resolve;
    this.#report = () => undefined;
    if (replica.isDead) return; // it crashed while its code ran
    try {
      request.signal.throwIfAborted();
      request.beforeSend?.();
    } catch (error) {
      reject(error);
      return;
    }
    this.#report = network.onRequest(replica, request);
    const abort = (): void => {
      if (this.#end()) reject(request.signal.reason);
    };
    request.signal.addEventListener('abort', abort, { once: true });
    const timeout = request.timeout ?? DEFAULT_TIMEOUT;
    this.#cancelTimeout = replica.clock.after(timeout, () => this.#fail('TIMEOUT'));
    void promise
      .finally(() => request.signal.removeEventListener('abort', abort))
      .catch(() => undefined);
    this.#send();
  }

  #send(): void {
    const { conditions, dice, scheduler } = this.#network;
    const { api } = conditions;
    if (api.down) return this.#failIn(dice.between(0, 3), 'ECONNREFUSED');
    if (dice.chance(api.lostBefore)) return this.#failIn(latency(dice, conditions), 'ECONNRESET');
    if (dice.chance(api.hangs)) return;
    scheduler.after(latency(dice, conditions), () => this.#arrive());
  }

  #arrive(): void {
    const { conditions, dice, server } = this.#network;
    if (this.#isCut) return;
    this.#isArrived = true;
    if (conditions.api.down) return this.#failIn(0, 'ECONNRESET');
    if (dice.chance(conditions.api.refused)) return this.#answer(this.#refusal());
    const { method, path, query, contentType } = this.#request;
    const body: unknown = this.#sent === '' ? undefined : JSON.parse(this.#sent);
    const reply = server.handle({
      method,
      path,
      body,
      ...(query === undefined ? {} : { query }),
      ...(contentType === undefined ? {} : { contentType }),
    });
    this.#isWritten = method !== 'GET' && 'object' in reply;
    if (dice.chance(conditions.api.lostAfter)) {
      return this.#failIn(latency(dice, conditions), 'ECONNRESET');
    }
    this.#answer(responseFor(reply, this.#request));
  }

  #refusal(): ApiError {
    const code = this.#network.dice.pick([429, 500, 503]);
    return new ApiError(code, { reason: 'Refused' }, code === 429 ? '1' : undefined);
  }

  #answer(response: ApiResponse | ApiError): void {
    const { conditions, dice } = this.#network;
    this.#replica.after(latency(dice, conditions), () => {
      if (!this.#end(response instanceof ApiError ? response.code : response.status)) return;
      this.#resolve(response);
    });
  }

  #failIn(delay: Ms, reason: string): void {
    this.#replica.after(delay, () => this.#fail(reason));
  }

  #fail(reason: string): void {
    if (this.#end(reason)) this.#resolve(ApiError.network(reason));
  }

  /** The sender stops waiting. @returns false if it had stopped before */
  #end(result?: number | string): boolean {
    if (this.#isOver) return false;
    this.#isOver = true;
    this.#cancelTimeout();
    // The request may arrive although the sender has stopped waiting
    this.#isCut = !this.#isArrived && this.#network.dice.chance(0.5);
    this.#report({
      isWritten: this.#isWritten,
      seen: typeof result === 'number' ? 'response' : 'unknown',
    });
    this.#network.trace.add(
      this.#replica.name,
      () => `${wordsFor(this.#request)} → ${result ?? 'aborted'}`,
    );
    return true;
  }
}

export function wordsFor({
  method,
  path,
  query,
}: Pick<ApiRequest, 'method' | 'path' | 'query'>): string {
  const short = path.replace(/^\/apis?\/([\w.]+\/)?v\w+\//, '').replace(/^namespaces\//, '');
  return `${query?.['watch'] === undefined ? method : 'WATCH'} ${short}${query?.['continue'] === undefined ? '' : ' (next page)'}`;
}

const isMetadataOnly = ({ accept = '' }: Pick<ApiRequest, 'accept'>): boolean =>
  accept.includes('PartialObjectMetadata');

/** A copy by JSON, so that no object is shared with the server. */
function responseFor(reply: Reply, request: ApiRequest): ApiResponse | ApiError {
  if ('refusal' in reply) return errorFor(reply.refusal);
  const metadata = isMetadataOnly(request);
  if ('object' in reply) {
    const { object } = reply;
    return {
      status: 200,
      body: copyOf(
        metadata ? { kind: 'PartialObjectMetadata', metadata: object.metadata } : object,
      ),
    };
  }
  const { items, ...page } = reply.page;
  const shown = metadata ? items.map((item) => ({ metadata: item.metadata })) : items;
  return { status: 200, body: copyOf({ metadata: page, items: shown }) };
}

const copyOf = (value: unknown): unknown => JSON.parse(JSON.stringify(value));
