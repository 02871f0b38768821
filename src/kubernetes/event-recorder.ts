import type { CredentialEvent, EventSubject } from '../credential/events.ts';
import type { Clock } from '../lib/clock.ts';
import type { Log } from '../lib/log.ts';
import { type Ms, seconds } from '../lib/time.ts';
import { ApiError } from './api-error.ts';
import { toFailure } from './error-messages.ts';
import { type EventSeries, eventFrom, keyOfSeries, repeat, seriesOf } from './event-series.ts';
import { EventSpamFilter } from './event-spam-filter.ts';
import { EVENTS, pathOf } from './resources.ts';
import type { RestClient } from './rest-client.ts';

/** As many as the first sync of a large cluster brings; some 600 bytes each. */
const MAX_QUEUE = 10_000;
const MAX_IN_FLIGHT = 8;
const TIMEOUT: Ms = seconds(10);

export interface EventRecorderOptions {
  readonly restClient: RestClient;
  /** Which of several replicas it is: the name of the pod or host. */
  readonly instance: string;
  readonly log: Log;
  /** Ends everything that still waits. */
  readonly signal: AbortSignal;
  readonly clock: Clock;
  /** Reconciles run. Then one event is written after the other, so that tokens and statuses go before. */
  readonly isBusy: () => boolean;
}

/** Writes events in the background. Of more than MAX_QUEUE that wait the newest are lost. */
export class EventRecorder {
  readonly #options: EventRecorderOptions;
  readonly #filter: EventSpamFilter;
  /** By the key of the series, in the order in which they are written. */
  readonly #queue = new Map<string, EventSeries>();
  readonly #inFlight = new Set<Promise<void>>();
  /** Since the queue was empty. */
  #lost = 0;

  constructor(options: EventRecorderOptions) {
    const { clock, signal } = options;
    this.#options = options;
    this.#filter = new EventSpamFilter({ clock, signal, pass: (series) => this.#add(series) });
    signal.addEventListener('abort', () => this.#end(), { once: true });
  }

  record(about: EventSubject, event: CredentialEvent): void {
    const { signal, clock } = this.#options;
    if (signal.aborted) return;
    const series = seriesOf(about, event, clock.now());
    const queued = this.#queue.get(keyOfSeries(series));
    if (queued === undefined) this.#filter.add(series);
    else repeat(queued, series);
  }

  /** Resolves when all events so far are written or lost, but for those that wait because there were too many. */
  async flush(): Promise<void> {
    while (this.#inFlight.size > 0) await Promise.all(this.#inFlight);
  }

  #add(series: EventSeries): void {
    const { namespace, name } = series;
    if (this.#queue.size >= MAX_QUEUE) {
      if (this.#lost === 0) {
        this.#options.log.warn('Too many events at once; some are lost', { namespace, name });
      }
      this.#lost += 1;
      return;
    }
    this.#queue.set(keyOfSeries(series), series);
    this.#work();
  }

  #work(): void {
    const { signal, isBusy, log } = this.#options;
    const most = isBusy() ? 1 : MAX_IN_FLIGHT;
    for (const [key, series] of this.#queue) {
      if (signal.aborted || this.#inFlight.size >= most) return;
      this.#queue.delete(key);
      this.#start(series);
    }
    if (this.#lost > 0)
      log.warn('Events were lost because there were too many', { count: this.#lost });
    this.#lost = 0;
  }

  #start(series: EventSeries): void {
    const posting = this.#post(series).finally(() => {
      this.#inFlight.delete(posting);
      this.#work();
    });
    this.#inFlight.add(posting);
  }

  /** Never rejects. */
  async #post(series: EventSeries): Promise<void> {
    const { namespace, name } = series;
    const { restClient, signal, log, instance } = this.#options;
    const path = pathOf(EVENTS, namespace);
    const body = eventFrom(series, instance);
    const response = await restClient
      .request({ method: 'POST', path, body, signal, timeout: TIMEOUT })
      .catch(() => ApiError.network('Aborted'));
    if (!(response instanceof ApiError)) return;
    const failure = toFailure(response, { verb: 'create', resource: EVENTS, namespace });
    log.warn('An event could not be recorded', { namespace, name, reason: failure.message });
  }

  #end(): void {
    const count = this.#queue.size + this.#filter.size;
    this.#queue.clear();
    if (count === 0) return;
    this.#options.log.warn('Events were not recorded before the operator had to end', { count });
  }
}
