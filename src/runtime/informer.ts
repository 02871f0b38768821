import { Failure } from '../domain/failure.ts';
import { isOlderVersion, NO_VERSION } from '../domain/resource-version.ts';
import { type Ms, minutes, seconds } from '../domain/time.ts';
import {
  type Clock,
  type ListWatch,
  type Page,
  type Random,
  type WatchEvent,
  WatchProblem,
  type WatchSink,
} from '../ports.ts';
import { Problems, unexpected } from './problems.ts';
import { sleep, within } from './waiting.ts';

/** A watch is asked to last between this and twice as long, so that not all of them end at once. */
const WATCH: Ms = minutes(5);
/** A watch that lasts so much longer than it was asked to is dead, or its server pays no heed. */
const SLACK: Ms = seconds(30);
/** A watch that ends sooner, even cleanly, counts as failed: opening it at once again would spin. */
const SHORTEST_WATCH: Ms = seconds(1);
/**
 * API servers send a bookmark every minute, but nothing when our version lies in their future because etcd was restored
 * from a backup. After so long a list must tell.
 */
const LONGEST_SILENCE: Ms = WATCH;
const PAGE: Ms = minutes(1);
const BACK_OFF = { first: seconds(1), longest: seconds(30) };

const TOO_SHORT = new Failure(
  'ClusterUnavailable',
  'The API server ended the watch as soon as it had begun',
);
const OVERDUE = new Failure(
  'ClusterUnavailable',
  'The API server did not end the watch when it was to; it has been cut',
);
const NO_PAGE = new Failure('ClusterUnavailable', 'The API server did not answer a list in time');

export interface InformerOptions<T> {
  readonly source: ListWatch<T>;
  /** A `listStarted` without a `listEnded` after the one before starts over. */
  readonly sink: WatchSink<T>;
  readonly clock: Clock;
  readonly random: Random;
  /** Once, when the first list is complete. */
  readonly onSynced: () => void;
  /** Trouble that is being retried, once per change of its message; undefined when the watch works again. */
  readonly onProblem: (failure: Failure | undefined) => void;
}

/** Lists and then watches until the signal fires, whatever goes wrong in between. */
export const runInformer = <T>(options: InformerOptions<T>, signal: AbortSignal): Promise<void> =>
  new Informer(options, signal).run();

class Informer<T> {
  readonly #options: InformerOptions<T>;
  readonly #signal: AbortSignal;
  readonly #problems: Problems;
  /** Where the next watch begins; undefined: list first. */
  #version: string | undefined;
  /** The latest that the server has told, also of a watch that it has forgotten since. */
  #latest = NO_VERSION;
  /** When the server last told anything, by the monotonic clock. */
  #heardAt: Ms = 0;
  /** The last watch has ended before its time. */
  #isCut = false;
  #failures = 0;
  #isSynced = false;

  constructor(options: InformerOptions<T>, signal: AbortSignal) {
    this.#options = options;
    this.#signal = signal;
    this.#problems = new Problems(options.onProblem);
  }

  async run(): Promise<void> {
    const { clock } = this.#options;
    while (!this.#signal.aborted) {
      try {
        if (clock.monotonic() - this.#heardAt >= LONGEST_SILENCE) this.#version = undefined;
        if (this.#isCut && (await this.#isRestored())) this.#version = undefined;
        this.#isCut = false;
        this.#version ??= await this.#list();
        if (this.#version !== undefined) await this.#watch(this.#version);
      } catch (error) {
        await this.#recover(error);
      }
    }
  }

  /**
   * Whether etcd was restored from a backup: the server is behind what it has told. All API servers are stopped for that,
   * so it is enough to ask after a watch that was cut.
   */
  async #isRestored(): Promise<boolean> {
    if (this.#version === undefined) return false;
    const version = await this.#answer((signal) => this.#options.source.latest(signal));
    return version !== undefined && isOlderVersion(version, this.#latest);
  }

  /** The version at which to begin watching, or undefined when the signal has fired. */
  async #list(): Promise<string | undefined> {
    const { sink } = this.#options;
    let page = await this.#page(undefined);
    if (page === undefined) return undefined;
    const { resourceVersion } = page;
    // Only an etcd that was restored from a backup goes back behind what it has told
    sink.listStarted(resourceVersion, isOlderVersion(resourceVersion, this.#latest));
    this.#latest = resourceVersion;
    while (page !== undefined) {
      for (const item of page.items) sink.present(item);
      if (page.continue === undefined) return this.#listed(resourceVersion);
      page = await this.#page(page.continue);
    }
    return undefined;
  }

  #page(continueToken: string | undefined): Promise<Page<T> | undefined> {
    return this.#answer((signal) => this.#options.source.list(continueToken, signal));
  }

  /** Undefined when the signal has fired. */
  async #answer<A>(ask: (signal: AbortSignal) => Promise<A>): Promise<A | undefined> {
    const { clock } = this.#options;
    const answer = await within({ clock, limit: PAGE, signal: this.#signal }, ask);
    if (answer === undefined && !this.#signal.aborted) throw new WatchProblem(NO_PAGE);
    return answer;
  }

  #listed(version: string): string {
    const { sink, onSynced, clock } = this.#options;
    sink.listEnded();
    this.#heardAt = clock.monotonic();
    if (!this.#isSynced) onSynced();
    this.#isSynced = true;
    return version;
  }

  async #watch(version: string): Promise<void> {
    const { source, clock, random } = this.#options;
    const timeout = WATCH * (1 + random());
    const began = clock.monotonic();
    const isAlive = { clock, limit: timeout + SLACK, signal: this.#signal };
    const ended = await within(isAlive, async (signal) => {
      for await (const event of source.watch(version, timeout, signal)) {
        if (signal.aborted) break;
        this.#take(event);
      }
      return true;
    });
    if (this.#signal.aborted) return;
    if (ended === undefined) throw new WatchProblem(OVERDUE);
    const lasted = clock.monotonic() - began;
    this.#isCut = lasted < timeout - SHORTEST_WATCH;
    if (lasted < SHORTEST_WATCH) throw new WatchProblem(TOO_SHORT);
    this.#succeeded();
  }

  #take(event: WatchEvent<T>): void {
    const { sink, clock } = this.#options;
    this.#heardAt = clock.monotonic();
    if (event.type === 'present') sink.present(event.item);
    if (event.type === 'deleted') sink.deleted(event.item);
    if (event.resourceVersion !== '') this.#latest = this.#version = event.resourceVersion;
    this.#succeeded();
  }

  #succeeded(): void {
    this.#failures = 0;
    this.#problems.clear();
  }

  /** A list alone is no success: one that is too old again at once must not be repeated without a pause. */
  async #recover(error: unknown): Promise<void> {
    const { clock, random } = this.#options;
    const problem = error instanceof WatchProblem ? error.problem : unexpected('The watch', error);
    this.#isCut = true;
    if (problem === 'gone') this.#version = undefined;
    else this.#problems.add(problem);
    const wait = Math.min(BACK_OFF.first * 2 ** Math.min(this.#failures, 10), BACK_OFF.longest);
    this.#failures += 1;
    await sleep({ clock, limit: wait * (0.5 + random() / 2), signal: this.#signal });
  }
}
