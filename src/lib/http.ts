import type { Dispatcher } from 'undici';
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
}

/** The connection was cut in the middle of a response: the server has seen the request. */
export class ResponseCut extends Error {
  constructor(cause: Error) {
    super('cut', { cause });
  }
}

/**
 * Sends one request and collects its response, of at most `largest` bytes. By undici's lowest layer: half of what its
 * `request` costs in time and memory goes into a stream for the body, which small responses do not need.
 * Rejects with undici's error, a ResponseCut, a TimeoutError, or the signal's reason.
 */
export async function sendRequest(
  dispatcher: Dispatcher,
  { signal, timeout, ...request }: WholeRequest,
  largest: number,
): Promise<WholeResponse> {
  const send = (ended: AbortSignal): Promise<WholeResponse> =>
    new Promise((resolve, reject) => {
      const collector = new Collector(largest, { resolve, reject });
      ended.addEventListener('abort', () => collector.abort(ended.reason));
      dispatcher.dispatch(request, collector);
    });
  const response = await withTimeout(send, { ms: timeout, clock: systemClock, signal });
  if (response !== undefined) return response;
  signal.throwIfAborted();
  throw new TimeoutError();
}

interface Outcome {
  readonly resolve: (response: WholeResponse) => void;
  readonly reject: (reason: unknown) => void;
}

class Collector implements Dispatcher.DispatchHandler {
  readonly #largest: number;
  readonly #outcome: Outcome;
  readonly #chunks: Buffer[] = [];
  #size = 0;
  #status = 0;
  #headers: WholeResponse['headers'] = {};
  #controller: Dispatcher.DispatchController | undefined;
  #aborted: { readonly reason: Error } | undefined;

  constructor(largest: number, outcome: Outcome) {
    this.#largest = largest;
    this.#outcome = outcome;
  }

  /** A request that undici has not sent yet is not sent. */
  abort(reason: Error): void {
    this.#aborted = { reason };
    this.#fail(reason);
    this.#controller?.abort(reason);
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    this.#controller = controller;
    if (this.#aborted !== undefined) controller.abort(this.#aborted.reason);
  }

  onResponseStart(
    _: Dispatcher.DispatchController,
    status: number,
    headers: WholeResponse['headers'],
  ): void {
    if (status < 200) return;
    this.#status = status;
    this.#headers = headers;
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
    this.#fail(this.#status === 0 ? error : new ResponseCut(error));
  }

  #fail(reason: unknown): void {
    this.#outcome.reject(reason);
  }

  #end(body: WholeResponse['body']): void {
    this.#outcome.resolve({ status: this.#status, headers: this.#headers, body });
  }
}
