import type { Clock, Random } from '../lib/clock.ts';
import { Failure } from '../lib/failure.ts';
import {
  type EventHandler,
  type ListWatch,
  type Page,
  WatchError,
  type WatchEvent,
} from '../lib/list-watch.ts';
import { isOlderVersion, NO_VERSION } from '../lib/resource-version.ts';
import { type Ms, minutes, seconds } from '../lib/time.ts';
import { sleep, withTimeout } from '../lib/with-timeout.ts';
import { ErrorReporter, unexpectedError } from './error-reporter.ts';

/** A watch is asked to last between this and twice as long, so that not all of them end at once. */
const WATCH_TIMEOUT: Ms = minutes(5);
/** A watch that outlasts the time-out it asked for by this much is cut. */
const WATCH_GRACE: Ms = seconds(30);
/** A watch that ends sooner, even cleanly, counts as failed: to open it again at once would spin. */
const MIN_WATCH: Ms = seconds(1);
/**
 * API servers send a bookmark every minute, but nothing at all when our version lies in their future because etcd was
 * restored from a backup. After so long without an event everything is listed.
 */
const MAX_SILENCE: Ms = WATCH_TIMEOUT;
const PAGE_TIMEOUT: Ms = minutes(1);
const BACKOFF = { first: seconds(1), longest: seconds(30) };

const WATCH_TOO_SHORT = new Failure(
  'ClusterUnavailable',
  'The API server ended the watch as soon as it had begun',
);
const WATCH_OVERDUE = new Failure(
  'ClusterUnavailable',
  'The API server did not end the watch when it was to; it has been cut',
);
const LIST_REPEATED = new Failure(
  'ClusterUnavailable',
  'The API server sends the same page of a list again and again',
);
const GONE_AGAIN = new Failure(
  'ClusterUnavailable',
  'The API server has dropped the version of a list before it was complete or watched (HTTP 410), again and again',
);
const PAGE_TIMED_OUT = new Failure(
  'ClusterUnavailable',
  'The API server did not answer a list in time',
);

export interface InformerOptions<T> {
  readonly listWatch: ListWatch<T>;
  /** An `init` before the `initDone` of the list before starts over. */
  readonly handler: EventHandler<T>;
  readonly clock: Clock;
  readonly random: Random;
  /** Once, when the first list is complete. */
  readonly onSynced: () => void;
  /** What fails and is being retried, once per change of its message; undefined when the watch works again. */
  readonly onError: (failure: Failure | undefined) => void;
}

/** Lists and then watches until the signal fires, whatever goes wrong in between. */
export const runInformer = <T>(options: InformerOptions<T>, signal: AbortSignal): Promise<void> =>
  new Informer(options, signal).run();

/** What the informer does next, like kube-rs `watcher::State`. */
type State =
  /** Lists everything: at the start, after HTTP 410, after a long silence, and when etcd was restored from a backup. */
  | { readonly is: 'Empty' }
  /** Watches from the version: everything up to it has been shown. */
  | { readonly is: 'Watching'; readonly version: string }
  /** Asks whether etcd was restored, and only then watches from the version: the watch has ended before its time. */
  | { readonly is: 'Interrupted'; readonly version: string };

const EMPTY: State = { is: 'Empty' };

class Informer<T> {
  readonly #options: InformerOptions<T>;
  readonly #signal: AbortSignal;
  readonly #errors: ErrorReporter;
  #state = EMPTY;
  /** The latest version that the server has told, also of a watch that it has forgotten since. */
  #latest = NO_VERSION;
  /** When the server last told anything, by the monotonic clock. */
  #heardAt: Ms = 0;
  /** How many lists and watches have failed in a row. */
  #failures = 0;
  /** The last list or watch failed with HTTP 410. Once is usual, after an interruption; a second time it is reported. */
  #wasGone = false;
  #isSynced = false;

  constructor(options: InformerOptions<T>, signal: AbortSignal) {
    this.#options = options;
    this.#signal = signal;
    this.#errors = new ErrorReporter(options.onError);
  }

  async run(): Promise<void> {
    const { clock } = this.#options;
    while (!this.#signal.aborted) {
      const isSilent = clock.monotonic() - this.#heardAt >= MAX_SILENCE;
      try {
        this.#state = await this.#next(isSilent ? EMPTY : this.#state);
      } catch (error) {
        await this.#recover(error);
      }
    }
  }

  async #next(state: State): Promise<State> {
    switch (state.is) {
      case 'Empty':
        return this.#list();
      case 'Interrupted':
        return (await this.#isRestored()) ? EMPTY : { ...state, is: 'Watching' };
      case 'Watching':
        return this.#watch(state.version);
    }
  }

  /**
   * Whether etcd was restored from a backup: the server is behind what it has told. All API servers are stopped for
   * that, so it is enough to ask after a watch that has ended before its time.
   */
  async #isRestored(): Promise<boolean> {
    const version = await this.#request((signal) => this.#options.listWatch.latest(signal));
    return version !== undefined && isOlderVersion(version, this.#latest);
  }

  async #list(): Promise<State> {
    const { handler } = this.#options;
    let page = await this.#page(undefined);
    if (page === undefined) return EMPTY;
    const { resourceVersion } = page;
    handler.init(resourceVersion, isOlderVersion(resourceVersion, this.#latest));
    this.#latest = resourceVersion;
    while (page !== undefined) {
      for (const item of page.items) handler.apply(item);
      const next: string | undefined = page.continue;
      if (next === undefined) return this.#listed(resourceVersion);
      page = await this.#page(next);
      if (page?.continue === next) throw new WatchError(LIST_REPEATED);
    }
    return EMPTY;
  }

  #page(continueToken: string | undefined): Promise<Page<T> | undefined> {
    return this.#request((signal) => this.#options.listWatch.list(continueToken, signal));
  }

  /** Undefined when the signal has fired. */
  async #request<A>(send: (signal: AbortSignal) => Promise<A>): Promise<A | undefined> {
    const { clock } = this.#options;
    const response = await withTimeout(send, { ms: PAGE_TIMEOUT, clock, signal: this.#signal });
    if (response === undefined && !this.#signal.aborted) throw new WatchError(PAGE_TIMED_OUT);
    return response;
  }

  #listed(version: string): State {
    const { handler, onSynced, clock } = this.#options;
    handler.initDone();
    this.#heardAt = clock.monotonic();
    if (!this.#isSynced) {
      onSynced();
      this.#errors.clear(); // the same failure, if it comes again, is another one
    }
    this.#isSynced = true;
    return { is: 'Watching', version };
  }

  async #watch(from: string): Promise<State> {
    const { listWatch, clock, random } = this.#options;
    const timeout = WATCH_TIMEOUT * (1 + random());
    const began = clock.monotonic();
    const watch = async (signal: AbortSignal): Promise<true> => {
      for await (const event of listWatch.watch(from, timeout, signal)) {
        if (signal.aborted) break;
        this.#take(event);
      }
      return true;
    };
    const ms = timeout + WATCH_GRACE;
    const ended = await withTimeout(watch, { ms, clock, signal: this.#signal });
    if (this.#signal.aborted) return EMPTY;
    if (ended === undefined) throw new WatchError(WATCH_OVERDUE);
    const lasted = clock.monotonic() - began;
    if (lasted < MIN_WATCH) throw new WatchError(WATCH_TOO_SHORT);
    this.#succeeded();
    return lasted < timeout - MIN_WATCH ? interrupted(this.#state) : this.#state;
  }

  #take(event: WatchEvent<T>): void {
    const { handler, clock } = this.#options;
    this.#heardAt = clock.monotonic();
    if (event.type === 'apply') handler.apply(event.item);
    if (event.type === 'delete') handler.delete(event.item);
    const version = event.resourceVersion;
    if (version !== '') {
      this.#latest = version;
      this.#state = { is: 'Watching', version };
    }
    this.#succeeded();
  }

  #succeeded(): void {
    this.#failures = 0;
    this.#wasGone = false;
    this.#errors.clear();
  }

  /** A list alone does not count as success: one that is too old again at once must not be repeated without a pause. */
  async #recover(error: unknown): Promise<void> {
    const { clock, random } = this.#options;
    const reason = error instanceof WatchError ? error.reason : unexpectedError('The watch', error);
    this.#state = reason === 'gone' ? EMPTY : interrupted(this.#state);
    if (reason !== 'gone') this.#errors.add(reason);
    else if (this.#wasGone) this.#errors.add(GONE_AGAIN);
    this.#wasGone = reason === 'gone';
    const wait = Math.min(BACKOFF.first * 2 ** Math.min(this.#failures, 10), BACKOFF.longest);
    this.#failures += 1;
    await sleep({ ms: wait * (0.5 + random() / 2), clock, signal: this.#signal });
  }
}

const interrupted = (state: State): State =>
  state.is === 'Empty' ? EMPTY : { is: 'Interrupted', version: state.version };
