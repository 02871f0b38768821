import type { CredentialEvent, EventSubject } from '../credential/events.ts';
import { API_VERSION, FIELD_MANAGER, KIND } from '../credential/target-secret.ts';
import type { Log } from '../lib/log.ts';
import { type EpochMs, type Ms, seconds } from '../lib/time.ts';
import { ApiError } from './api-error.ts';
import { toFailure } from './error-messages.ts';
import { EVENTS, pathOf } from './resources.ts';
import type { RestClient } from './rest-client.ts';

/** As many as a cold start of a large cluster brings; some 600 bytes each. */
const MAX_QUEUE = 10_000;
const TIMEOUT: Ms = seconds(10);

/** What events.k8s.io/v1 allows, in bytes. */
const MAX_NOTE = 1_024;

function noteOf(message: string): string {
  const bytes = Buffer.from(message);
  if (bytes.length <= MAX_NOTE) return message;
  const start = bytes.subarray(0, MAX_NOTE - Buffer.byteLength('…'));
  return `${new TextDecoder().decode(start, { stream: true })}…`; // drops half a character at the end
}

export interface EventRecorderOptions {
  readonly restClient: RestClient;
  /** Which of several replicas it is: the name of the pod or host. */
  readonly instance: string;
  readonly log: Log;
  /** Ends everything that still waits. */
  readonly signal: AbortSignal;
  readonly now: () => EpochMs;
}

/** Writes events in the background, one after the other; when they come faster than that, the newest are lost. */
export class EventRecorder {
  readonly #options: EventRecorderOptions;
  readonly #queue: { about: EventSubject; body: object }[] = [];
  #working: Promise<void> | undefined;

  constructor(options: EventRecorderOptions) {
    this.#options = options;
  }

  record(about: EventSubject, event: CredentialEvent): void {
    const { namespace, name } = about.metadata;
    if (this.#options.signal.aborted) return;
    if (this.#queue.length >= MAX_QUEUE) {
      this.#options.log.warn('Too many events at once; one is lost', { namespace, name });
      return;
    }
    this.#queue.push({ about, body: this.#objectFrom(about, event) });
    this.#working ??= this.#work();
  }

  /** Resolves when all events so far are written or lost. */
  async flush(): Promise<void> {
    await this.#working;
  }

  /** Never rejects. */
  async #work(): Promise<void> {
    const { signal, log } = this.#options;
    while (!signal.aborted) {
      const next = this.#queue.shift();
      if (next === undefined) break;
      await this.#post(next.about, next.body);
    }
    this.#working = undefined;
    const count = this.#queue.splice(0).length;
    if (count > 0) log.warn('Events were not recorded before the operator had to end', { count });
  }

  async #post({ metadata }: EventSubject, body: object): Promise<void> {
    const { namespace, name } = metadata;
    const { restClient, signal, log } = this.#options;
    const path = pathOf(EVENTS, namespace);
    const response = await restClient
      .request({ method: 'POST', path, body, signal, timeout: TIMEOUT })
      .catch(() => ApiError.network('Aborted'));
    if (!(response instanceof ApiError)) return;
    const failure = toFailure(response, { verb: 'create', resource: EVENTS, namespace });
    log.warn('An event could not be recorded', { namespace, name, reason: failure.message });
  }

  #objectFrom({ metadata }: EventSubject, event: CredentialEvent): object {
    const { namespace, name, uid } = metadata;
    return {
      apiVersion: EVENTS.apiVersion,
      kind: 'Event',
      metadata: { namespace, generateName: prefixOf(name) },
      eventTime: new Date(this.#options.now()).toISOString().replace('Z', '000Z'), // six digits
      type: event.type,
      reason: event.reason,
      note: noteOf(event.message),
      action: 'Reconcile',
      regarding: { apiVersion: API_VERSION, kind: KIND, namespace, name, uid },
      reportingController: `convercus.io/${FIELD_MANAGER}`,
      reportingInstance: this.#options.instance.slice(0, 128),
    };
  }
}

/** The server adds five characters. What stands before the dash has to end with a letter or digit. */
const prefixOf = (name: string): string => `${name.slice(0, 50).replace(/[^a-z0-9]+$/, '')}-`;
