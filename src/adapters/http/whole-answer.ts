import type { Dispatcher } from 'undici';

/** An answer from its status line to its end. */
export interface WholeAnswer {
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
}

/** The connection was cut in the middle of an answer: the server has seen the request. */
export class CutAnswer extends Error {
  constructor(cause: Error) {
    super('cut', { cause });
  }
}

/**
 * Sends one request and collects its answer, of at most `largest` bytes. By undici's lowest layer: half of what its
 * `request` costs in time and memory goes into a stream for the body, which nobody needs for small answers.
 * Rejects with undici's error, a CutAnswer, or the signal's reason.
 */
export function wholeAnswer(
  dispatcher: Dispatcher,
  { signal, ...request }: WholeRequest,
  largest: number,
): Promise<WholeAnswer> {
  return new Promise((resolve, reject) => {
    if (signal.aborted) return reject(signal.reason);
    const collector = new Collector(largest, () => signal.removeEventListener('abort', abort));
    const abort = (): void => collector.abort(signal.reason);
    collector.onEnd(resolve, reject);
    signal.addEventListener('abort', abort, { once: true });
    dispatcher.dispatch(request, collector);
  });
}

class Collector implements Dispatcher.DispatchHandler {
  readonly #largest: number;
  readonly #settle: () => void;
  readonly #chunks: Buffer[] = [];
  #size = 0;
  #status = 0;
  #headers: WholeAnswer['headers'] = {};
  #controller: Dispatcher.DispatchController | undefined;
  #aborted: { readonly reason: Error } | undefined;
  #resolve: (answer: WholeAnswer) => void = () => undefined;
  #reject: (reason: unknown) => void = () => undefined;

  /** @param settle called once, when nothing more comes */
  constructor(largest: number, settle: () => void) {
    this.#largest = largest;
    this.#settle = settle;
  }

  onEnd(resolve: (answer: WholeAnswer) => void, reject: (reason: unknown) => void): void {
    this.#resolve = resolve;
    this.#reject = reject;
  }

  /** Also before its turn has come: it is not sent then. */
  abort(reason: Error): void {
    this.#aborted = { reason };
    this.#settle();
    this.#reject(reason);
    this.#controller?.abort(reason);
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    this.#controller = controller;
    if (this.#aborted !== undefined) controller.abort(this.#aborted.reason);
  }

  onResponseStart(
    _: Dispatcher.DispatchController,
    status: number,
    headers: WholeAnswer['headers'],
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
    this.#settle();
    this.#reject(this.#status === 0 ? error : new CutAnswer(error));
  }

  #end(body: WholeAnswer['body']): void {
    this.#settle();
    this.#resolve({ status: this.#status, headers: this.#headers, body });
  }
}
