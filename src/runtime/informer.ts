import { Failure } from '../domain/failure.ts';
import { type Ms, minutes, seconds } from '../domain/time.ts';
import { type Clock, type ListWatch, type Random, WatchProblem, type WatchSink } from '../ports.ts';
import { sleep } from './sleep.ts';

export interface InformerOptions<T> {
  readonly source: ListWatch<T>;
  readonly sink: WatchSink<T>;
  readonly clock: Clock;
  readonly random: Random;
  /** The first list is complete. */
  readonly onSynced?: () => void;
  /** What stands in the way, once per change of words; undefined when it is over. */
  readonly onProblem?: (problem: Failure | undefined) => void;
}

const BACK_OFF: { readonly first: Ms; readonly longest: Ms } = {
  first: seconds(1),
  longest: seconds(30),
};

/** A watch that ends so soon and without an event was no success. */
const TOO_SOON: Ms = seconds(1);

/** How much longer than asked for a watch may stay silent before we cut it. */
const GRACE: Ms = seconds(30);

/** Keeps a sink in step with the cluster: lists, watches from there, and lists again when it has lost its place. */
export async function runInformer<T>(
  options: InformerOptions<T>,
  signal: AbortSignal,
): Promise<void> {
  const informer = new Informer(options, signal);
  while (!signal.aborted) await informer.step();
}

class Informer<T> {
  readonly #options: InformerOptions<T>;
  readonly #signal: AbortSignal;
  /** Where to watch from; undefined when a list is needed. */
  #version: string | undefined;
  #failures = 0;
  #problem: string | undefined;

  constructor(options: InformerOptions<T>, signal: AbortSignal) {
    this.#options = options;
    this.#signal = signal;
  }

  async step(): Promise<void> {
    const { clock } = this.#options;
    try {
      if (this.#version === undefined) await this.#list();
      else await this.#watch(this.#version);
    } catch (error) {
      if (this.#signal.aborted) return;
      const { problem } = error instanceof WatchProblem ? error : new WatchProblem(surprise());
      // Gone once is routine and needs a list at once; gone right after a list is a failure like any other.
      if (problem === 'gone') this.#version = undefined;
      this.#failures += 1;
      if (problem !== 'gone') this.#report(problem);
      if (problem !== 'gone' || this.#failures > 1)
        await sleep(clock, this.#backOff(), this.#signal);
    }
  }

  async #list(): Promise<void> {
    const { source, sink, onSynced } = this.#options;
    sink.listStarted();
    let token: string | undefined;
    let version: string;
    do {
      const page = await source.list(token, this.#signal);
      for (const item of page.items) sink.present(item);
      token = page.continue;
      version = page.resourceVersion;
    } while (token !== undefined);
    sink.listEnded();
    this.#version = version;
    this.#report(undefined);
    onSynced?.();
  }

  async #watch(from: string): Promise<void> {
    const { source, clock, random } = this.#options;
    const timeout = minutes(5) + Math.floor(random() * minutes(5));
    const startedAt = clock.now();
    const cut = new AbortController();
    const cancel = clock.after(timeout + GRACE, () => cut.abort(new WatchProblem(silence())));
    let events = 0;
    try {
      for await (const event of source.watch(
        from,
        timeout,
        AbortSignal.any([this.#signal, cut.signal]),
      )) {
        events += 1;
        this.#failures = 0;
        this.#version = event.resourceVersion;
        if (event.type === 'present') this.#options.sink.present(event.item);
        if (event.type === 'deleted') this.#options.sink.deleted(event.item);
        this.#report(undefined);
      }
    } finally {
      cancel();
    }
    if (events === 0 && clock.now() - startedAt < TOO_SOON) throw new WatchProblem(tooSoon());
    this.#failures = 0;
    this.#report(undefined);
  }

  #backOff(): Ms {
    const { random } = this.#options;
    const wait = Math.min(BACK_OFF.first * 2 ** Math.min(this.#failures - 1, 10), BACK_OFF.longest);
    return wait * (0.5 + random() / 2);
  }

  #report(problem: Failure | undefined): void {
    if (problem?.message === this.#problem) return;
    this.#problem = problem?.message;
    this.#options.onProblem?.(problem);
  }
}

const surprise = () => new Failure('InternalError', 'A watch failed in a way that nobody foresaw');
const silence = () =>
  new Failure('ClusterUnavailable', 'A watch stayed open longer than asked for and was cut');
const tooSoon = () =>
  new Failure('ClusterUnavailable', 'The API server ends watches as soon as they are opened');
