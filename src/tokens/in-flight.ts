import type { Clock } from '../lib/clock.ts';
import type { Key } from '../lib/key.ts';
import type { EpochMs, Ms } from '../lib/time.ts';

type Outcome<T> = { readonly value: T } | { readonly error: unknown };

interface InFlightRequest<T, State> {
  readonly id: string;
  readonly state: State;
  /** The keys that wait for its outcome, or have not claimed it yet. */
  readonly keys: Set<Key>;
  readonly cancel: AbortController;
  outcome?: Outcome<T>;
}

interface Claim<T, State> {
  readonly request: InFlightRequest<T, State>;
  reportAt: EpochMs;
}

interface Options<T, State> {
  readonly clock: Clock;
  /** The outcome of a request is there: the key should be reconciled before those that are merely due. */
  readonly enqueue: (key: Key) => void;
  /** The outcome would be lost with the process, so a stop waits until it is claimed. */
  readonly mustBeClaimed: (value: T) => boolean;
  /** The outcome of a request that no key wants any more. */
  readonly onAbandoned: (value: T, state: State) => void;
  /** Nothing is sent once it has fired; requests that still wait for their turn end without an outcome. */
  readonly closing: AbortSignal;
}

export interface RequestOptions<T, State> {
  readonly state: State;
  readonly maxWait: Ms;
  /** @param cancelled heeded until the request is sent: no key wants it any more, or nothing is sent any more */
  readonly send: (cancelled: AbortSignal) => Promise<T>;
}

const CANCELLED = new Error('no key waits for the response any more');

/**
 * Requests in flight, one per id, and their outcome, once for each key that asked. Never waits. A key asks for one
 * thing at a time: asking for another leaves the one before.
 */
export class InFlight<T, State> {
  readonly #options: Options<T, State>;
  readonly #requests = new Map<string, InFlightRequest<T, State>>();
  readonly #claims = new Map<Key, Claim<T, State>>();
  /** Outcomes that are lost with the process, counted once for each key that has not claimed them. */
  #unclaimed = 0;
  #onIdle: (() => void)[] = [];

  constructor(options: Options<T, State>) {
    this.#options = options;
    const { closing } = options;
    const cancelAll = (): void => {
      for (const { cancel } of this.#requests.values()) cancel.abort(closing.reason);
    };
    closing.addEventListener('abort', cancelAll, { once: true });
  }

  /** Joins the request in flight, or sends it. `isOverdue`: the key has waited for another `maxWait`. */
  request(
    key: Key,
    id: string,
    options: RequestOptions<T, State>,
  ): { readonly reportAt: EpochMs; readonly isOverdue: boolean } {
    const now = this.#options.clock.now();
    const known = this.#claims.get(key);
    if (known?.request.id === id) {
      const isOverdue = known.request.outcome === undefined && now >= known.reportAt;
      if (isOverdue) known.reportAt = now + options.maxWait;
      return { reportAt: known.reportAt, isOverdue };
    }
    this.leave(key);
    const request = this.#requests.get(id) ?? this.#send(id, options);
    const reportAt = now + options.maxWait;
    request.keys.add(key);
    this.#claims.set(key, { request, reportAt });
    return { reportAt, isOverdue: false };
  }

  /** Of the request of that id, while it is in flight. */
  stateOf(id: string): State | undefined {
    return this.#requests.get(id)?.state;
  }

  /** What the key has asked for, and its outcome as soon as there is one that is no error. */
  find(
    key: Key,
  ): { readonly id: string; readonly state: State; readonly value?: T | undefined } | undefined {
    const request = this.#claims.get(key)?.request;
    if (request === undefined) return undefined;
    const { id, state, outcome } = request;
    return { id, state, value: outcome && 'value' in outcome ? outcome.value : undefined };
  }

  /**
   * The outcome of what the key has asked for, once.
   * @throws what the request threw
   */
  claim(key: Key): T | undefined {
    const request = this.#claims.get(key)?.request;
    if (request?.outcome === undefined) return undefined;
    this.#forget(key, request);
    if ('error' in request.outcome) throw request.outcome.error;
    return request.outcome.value;
  }

  /** The key wants nothing any more, or something else. */
  leave(key: Key): void {
    const request = this.#claims.get(key)?.request;
    if (request === undefined) return;
    this.#forget(key, request);
    if (request.keys.size > 0) return;
    if (request.outcome === undefined) request.cancel.abort(CANCELLED);
    else this.#abandon(request);
  }

  /**
   * Cancels the request if it has not been sent and no other key waits for it. A response that is under way stays to be
   * claimed.
   */
  cancelUnsent(key: Key): void {
    const request = this.#claims.get(key)?.request;
    if (request?.keys.size === 1) request.cancel.abort(CANCELLED);
  }

  /** Resolves when no request is in flight and every outcome that could be lost is claimed. */
  idle(): Promise<void> {
    return new Promise((resolve) => {
      this.#onIdle.push(resolve);
      this.#checkIdle();
    });
  }

  #send(id: string, { state, send }: RequestOptions<T, State>): InFlightRequest<T, State> {
    const { closing } = this.#options;
    const cancel = new AbortController();
    const request: InFlightRequest<T, State> = { id, state, keys: new Set(), cancel };
    this.#requests.set(id, request);
    if (closing.aborted) cancel.abort(closing.reason);
    send(cancel.signal).then(
      (value) => this.#end(request, { value }),
      (error: unknown) => this.#end(request, { error }),
    );
    return request;
  }

  #end(request: InFlightRequest<T, State>, outcome: Outcome<T>): void {
    this.#requests.delete(request.id);
    const isCancelled = 'error' in outcome && request.cancel.signal.aborted;
    if (isCancelled) this.#dropClaims(request);
    else this.#settle(request, outcome);
    this.#checkIdle();
  }

  #settle(request: InFlightRequest<T, State>, outcome: Outcome<T>): void {
    request.outcome = outcome;
    if (this.#mustBeClaimed(request)) this.#unclaimed += request.keys.size;
    if (request.keys.size === 0) this.#abandon(request);
    for (const key of request.keys) this.#options.enqueue(key);
  }

  /** A key may have joined a request after its cancellation: it is reconciled, and asks again. */
  #dropClaims({ keys }: InFlightRequest<T, State>): void {
    for (const key of keys) {
      this.#claims.delete(key);
      if (!this.#options.closing.aborted) this.#options.enqueue(key);
    }
  }

  #abandon({ outcome, state }: InFlightRequest<T, State>): void {
    if (outcome !== undefined && 'value' in outcome)
      this.#options.onAbandoned(outcome.value, state);
  }

  #forget(key: Key, request: InFlightRequest<T, State>): void {
    this.#claims.delete(key);
    request.keys.delete(key);
    if (this.#mustBeClaimed(request)) this.#unclaimed -= 1;
    this.#checkIdle();
  }

  #mustBeClaimed({ outcome }: InFlightRequest<T, State>): boolean {
    return (
      outcome !== undefined && 'value' in outcome && this.#options.mustBeClaimed(outcome.value)
    );
  }

  #checkIdle(): void {
    if (this.#requests.size > 0 || this.#unclaimed > 0) return;
    for (const resolve of this.#onIdle.splice(0)) resolve();
  }
}
