import { Socket } from 'node:net';
import { buildConnector, type Dispatcher, Pool } from 'undici';
import { systemClock } from './system-clock.ts';
import type { Ms } from './time.ts';
import { TimeoutError, withTimeout } from './with-timeout.ts';

/** A response from its status line to its end. */
export interface WholeResponse {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  /** `too-large`: it was cut off. */
  readonly body: Buffer | 'too-large';
}

export interface WholeRequest {
  readonly origin: string;
  /** With the query. */
  readonly path: string;
  readonly method: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string | null;
  readonly signal: AbortSignal;
  /** For the whole exchange. */
  readonly timeout: Ms;
  /** Called once there is a connection, right before the request is written; what it throws ends it unwritten. */
  readonly beforeSend?: (() => void) | undefined;
}

/** What comes before the body. The status is 0 until it has arrived. */
interface Head {
  status: number;
  headers: WholeResponse['headers'];
}

/** The connection was cut, or the time was over, in the middle of a response: the server has seen the request. */
export class ResponseCut extends Error {
  readonly head: Readonly<Head>;

  constructor(head: Head, cause: Error) {
    super('cut', { cause });
    this.head = head;
  }
}

const cutAfter = (head: Head, cause: Error): Error =>
  head.status === 0 ? cause : new ResponseCut(head, cause);

/**
 * Sends one request and collects its response, of at most `largest` bytes. By undici's lowest layer: half of what its
 * `request` costs in time and memory goes into a stream for the body, which small responses do not need.
 * Rejects with undici's error, a TimeoutError, either of them in a ResponseCut, the signal's reason, or what
 * `beforeSend` throws.
 */
export async function sendRequest(
  dispatcher: Dispatcher,
  { signal, timeout, beforeSend, ...request }: WholeRequest,
  largest: number,
): Promise<WholeResponse> {
  const head: Head = { status: 0, headers: {} };
  const send = (ended: AbortSignal): Promise<WholeResponse> =>
    new Promise((resolve, reject) => {
      const collector = new Collector(largest, head, { resolve, reject }, beforeSend);
      ended.addEventListener('abort', () => collector.abort(ended.reason));
      dispatcher.dispatch(request, collector);
    });
  const response = await withTimeout(send, { ms: timeout, clock: systemClock, signal });
  if (response !== undefined) return response;
  signal.throwIfAborted();
  throw cutAfter(head, new TimeoutError());
}

interface Outcome {
  readonly resolve: (response: WholeResponse) => void;
  readonly reject: (reason: unknown) => void;
}

class Collector implements Dispatcher.DispatchHandler {
  readonly #largest: number;
  readonly #head: Head;
  readonly #outcome: Outcome;
  readonly #beforeSend: WholeRequest['beforeSend'];
  readonly #chunks: Buffer[] = [];
  #size = 0;
  #controller: Dispatcher.DispatchController | undefined;
  #aborted: { readonly reason: Error } | undefined;

  constructor(
    largest: number,
    head: Head,
    outcome: Outcome,
    beforeSend: WholeRequest['beforeSend'],
  ) {
    this.#largest = largest;
    this.#head = head;
    this.#outcome = outcome;
    this.#beforeSend = beforeSend;
  }

  /** A request that undici has not sent yet is not sent. */
  abort(reason: Error): void {
    this.#aborted = { reason };
    this.#fail(reason);
    this.#controller?.abort(reason);
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    this.#controller = controller;
    if (this.#aborted !== undefined) return controller.abort(this.#aborted.reason);
    this.#beforeSend?.();
  }

  onResponseStart(
    _: Dispatcher.DispatchController,
    status: number,
    headers: WholeResponse['headers'],
  ): void {
    if (status < 200) return;
    this.#head.status = status;
    this.#head.headers = headers;
  }

  onResponseData(controller: Dispatcher.DispatchController, chunk: Buffer): void {
    this.#size += chunk.length;
    if (this.#size <= this.#largest) {
      this.#chunks.push(chunk);
      return;
    }
    this.#end('too-large');
    controller.abort(new Error('too large'));
  }

  onResponseEnd(): void {
    const [only = Buffer.alloc(0), ...more] = this.#chunks;
    this.#end(more.length === 0 ? only : Buffer.concat(this.#chunks));
  }

  onResponseError(_: Dispatcher.DispatchController, error: Error): void {
    this.#fail(cutAfter(this.#head, error));
  }

  #fail(reason: unknown): void {
    this.#outcome.reject(reason);
  }

  #end(body: WholeResponse['body']): void {
    this.#outcome.resolve({ ...this.#head, body });
  }
}

/**
 * The open sockets of a client. Needed because undici's `destroy` leaves open what is still connecting. An AbortSignal
 * for all of them would do that too, but Node keeps each socket that it was given for as long as the signal exists.
 */
export class Sockets {
  readonly #open = new Set<Socket>();
  #isDestroyed = false;

  /** For the option `connect` of an Agent. */
  connector(options: buildConnector.BuildOptions): buildConnector.connector {
    return this.#tracked(buildConnector(options));
  }

  /** For the options `clientFactory` and `factory` of a ProxyAgent, which takes no connector to its proxy. */
  readonly pool = (origin: URL, options: Pool.Options): Dispatcher => {
    const { connect } = options;
    const isConnector = typeof connect === 'function';
    return new Pool(
      origin,
      isConnector ? { ...options, connect: this.#tracked(connect) } : options,
    );
  };

  /** Whatever connects after that is destroyed at once. */
  destroy(): void {
    this.#isDestroyed = true;
    for (const socket of this.#open) socket.destroy(new Error('closed'));
  }

  #tracked(connect: buildConnector.connector): buildConnector.connector {
    return (options, callback) => {
      // The socket, as undici's documentation says; its types say nothing
      const socket: unknown = connect(options, callback);
      if (socket instanceof Socket) this.#track(socket);
    };
  }

  #track(socket: Socket): void {
    this.#open.add(socket);
    socket.once('close', () => this.#open.delete(socket));
    if (this.#isDestroyed) socket.destroy(new Error('closed'));
  }
}
