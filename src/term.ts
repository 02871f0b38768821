import type { Config } from './config.ts';
import { Controller } from './controller/controller.ts';
import type { WorkQueue } from './controller/work-queue.ts';
import type { ClusterCache } from './kubernetes/cache.ts';
import { KubernetesClient } from './kubernetes/client.ts';
import { EventRecorder } from './kubernetes/event-recorder.ts';
import type { RestClient } from './kubernetes/rest-client.ts';
import type { Clock, Random } from './lib/clock.ts';
import { Failure, retryAt } from './lib/failure.ts';
import type { Key } from './lib/key.ts';
import type { Log } from './lib/log.ts';
import { type Action, earliestRequeue, seconds } from './lib/time.ts';
import { aborted, sleep, withTimeout } from './lib/with-timeout.ts';
import { Reconciler } from './reconcile/reconciler.ts';
import type { Metrics } from './telemetry/metrics.ts';
import { HostLimiters } from './tokens/host-limiter.ts';
import { TokenClient } from './tokens/token-client.ts';
import type { LogOut, TokenSource } from './tokens/token-source.ts';

/**
 * How long passes may take to end after a stop before they are cut: a token request that has just left gets its answer
 * or its time-out (10 s), and what came of it is written down.
 */
const DRAIN_TIMEOUT = seconds(12);
/** Of that, for the events that are still to be written when the passes have ended. */
const LAST_EVENTS = seconds(2);

export interface TermParts {
  readonly config: Config;
  readonly identity: string;
  readonly log: Log;
  readonly metrics: Metrics;
  readonly clock: Clock;
  readonly random: Random;
  readonly digestKey: string;
  readonly restClient: RestClient;
  /** Throws once the Lease is lost; called right before each request leaves. */
  readonly assertHeld: () => void;
  readonly cache: ClusterCache;
  readonly queue: WorkQueue;
  /** Queues those that are in a namespace that has been listed. */
  readonly enqueue: (keys: Iterable<Key>) => void;
  readonly source: TokenSource;
  readonly logOut: LogOut;
}

/**
 * One term of leadership. Reconciles go on until the stop and the responses that were in flight by then; they are cut
 * when the Lease is lost.
 */
export async function lead(
  parts: TermParts,
  { stop, lost }: { readonly stop: AbortSignal; readonly lost: AbortSignal },
): Promise<void> {
  const { config, metrics, clock, random, queue } = parts;
  const over = new AbortController();
  const ended = new AbortController();
  const abort = AbortSignal.any([lost, over.signal]);
  const limiter = new HostLimiters(config.tokenHosts, clock, random);
  const events = eventRecorder(parts, abort);
  const closing = AbortSignal.any([stop, abort]);
  const { reconciler, tokens } = reconcilerOf(parts, { limiter, events }, { abort, closing });
  const controller = new Controller({
    queue,
    workers: config.workers,
    reconcile: (key, signal) => reconciler.reconcile(key, signal),
    onError: (error, key, attempts) => onReconcileError(parts, { error, key, attempts }),
    clock,
    onReconciled: (...reconcile) => metrics.reconciled(...reconcile),
  });
  metrics.observe({ queue, controller, limiter });
  const drained = new AbortController();
  const drain = async (): Promise<void> => {
    await aborted(stop, ended.signal);
    await withTimeout(() => tokens.idle(), { ms: DRAIN_TIMEOUT, clock, signal: ended.signal });
    drained.abort();
  };
  const cut = async (): Promise<void> => {
    await aborted(stop, ended.signal);
    await sleep({ ms: DRAIN_TIMEOUT, clock, signal: ended.signal });
    over.abort();
  };
  void drain();
  void cut();
  try {
    await controller.run({ stop: drained.signal, abort });
    await withTimeout(() => events.flush(), { ms: LAST_EVENTS, clock, signal: abort });
  } finally {
    ended.abort();
    over.abort();
    limiter.close();
  }
}

/** A new term begins with empty caches. */
function reconcilerOf(
  parts: TermParts,
  { limiter, events }: { readonly limiter: HostLimiters; readonly events: EventRecorder },
  { abort, closing }: { readonly abort: AbortSignal; readonly closing: AbortSignal },
): { readonly reconciler: Reconciler; readonly tokens: TokenClient } {
  const { config, metrics, log, clock, random, cache, enqueue, source, logOut, queue } = parts;
  const restClient = guardedBy(parts.restClient, parts.assertHeld);
  const tokens = new TokenClient({
    source,
    logOut,
    environments: config.environments,
    limiter,
    clock,
    random,
    digestKey: parts.digestKey,
    closing,
    signal: abort,
    enqueue: (key) => queue.addFirst(key),
    // The provider has voided some of their tokens
    onNotBeforeRaised: (tokenUrl) => enqueue(credentialsWithTokenUrl(tokenUrl, cache)),
    onSessionAbandoned: (session, step) => reconciler.cleanup.logOutAbandoned(session, step, abort),
  });
  const cluster = new KubernetesClient(restClient, cache, events);
  const deps = { lister: cache, cluster, tokens, telemetry: metrics, clock, random, log };
  const reconciler = new Reconciler(deps, config);
  return { reconciler, tokens };
}

function eventRecorder(
  { restClient, assertHeld, identity, log, clock }: TermParts,
  signal: AbortSignal,
): EventRecorder {
  return new EventRecorder({
    restClient: guardedBy(restClient, assertHeld),
    instance: identity,
    log,
    signal,
    now: () => clock.now(),
  });
}

/** Nothing leaves after the end of the term, not even from a process that was stopped for longer than that. */
const guardedBy = (restClient: RestClient, assertHeld: () => void): RestClient => ({
  request: (request) => restClient.request({ ...request, beforeSend: assertHeld }),
  stream: (request) => restClient.stream(request),
  close: () => restClient.close(),
});

/** All credentials whose tokens come from there. */
function* credentialsWithTokenUrl(tokenUrl: string, cache: ClusterCache): Iterable<Key> {
  for (const { metadata, status } of cache.credentials()) {
    if (status?.tokenUrl === tokenUrl) yield `${metadata.namespace}/${metadata.name}`;
  }
}

interface ReconcileError {
  readonly error: unknown;
  readonly key: string;
  readonly attempts: number;
}

/** The message of an unforeseen error may hold anything, so only its kind and place are logged. */
function onReconcileError(
  { log, clock, random }: Pick<TermParts, 'log' | 'clock' | 'random'>,
  { error, key, attempts }: ReconcileError,
): Action {
  const kind = error instanceof Error ? error.name : typeof error;
  log.error('A pass failed because of a bug in the operator', {
    key,
    kind,
    attempts,
    at: stackFramesOf(error),
  });
  const failure = new Failure('InternalError', kind);
  return earliestRequeue(retryAt(failure, attempts, clock.now(), random()));
}

export function stackFramesOf(error: unknown): string {
  const { stack = '', message = '' } = error instanceof Error ? error : {};
  const frames = stack
    .slice(stack.indexOf(message) + message.length)
    .split('\n')
    .filter((line) => /^\s+at /.test(line));
  return frames
    .slice(0, 5)
    .map((line) => line.trim())
    .join(' < ');
}
