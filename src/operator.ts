import { createTokenSource } from './adapters/keycloak/token-source.ts';
import { KubernetesCluster } from './adapters/kubernetes/cluster.ts';
import { ClusterCache } from './adapters/kubernetes/cluster-view.ts';
import { EventRecorder } from './adapters/kubernetes/event-recorder.ts';
import { leaseStore } from './adapters/kubernetes/lease.ts';
import { credentialListWatch, secretListWatch } from './adapters/kubernetes/list-watch.ts';
import { createTransport, type Transport } from './adapters/kubernetes/transport.ts';
import { systemClock as clock } from './adapters/system-clock.ts';
import type { Metrics } from './adapters/telemetry/metrics.ts';
import type { Config } from './config.ts';
import { Failure, retryAt } from './domain/failure.ts';
import { type Action, lookAgainAtEarliest, seconds } from './domain/time.ts';
import type { ListWatch, Log, TokenSource, WatchSink } from './ports.ts';
import { reconciler } from './reconcile/reconciler.ts';
import { SharedTokens } from './reconcile/shared-tokens.ts';
import { Controller } from './runtime/controller.ts';
import { runInformer } from './runtime/informer.ts';
import { runLeaderElection } from './runtime/leader-election.ts';
import { HostBudgets } from './runtime/request-budget.ts';
import { WorkQueue } from './runtime/work-queue.ts';

const random = Math.random;

/** How long passes may take to end after a stop before they are cut. */
const DRAIN = seconds(20);

export interface Surroundings {
  readonly config: Config;
  readonly kubeconfig: string | undefined;
  readonly identity: string;
  /** For the token hosts; empty for none. */
  readonly proxy: { readonly https: string; readonly except: string };
  readonly userAgent: string;
  readonly log: Log;
  readonly metrics: Metrics;
  readonly readiness: Readiness;
}

/** What the operator waits for before it is ready, by name: `true`, or what stands in the way. */
export type Readiness = Map<string, true | string>;

/** Runs until `stop` fires, then lets passes end and hands the Lease back. */
export async function runOperator(around: Surroundings, stop: AbortSignal): Promise<void> {
  const { config, metrics, log } = around;
  const transport = createTransport({
    ...(around.kubeconfig === undefined ? {} : { kubeconfigPath: around.kubeconfig }),
    userAgent: around.userAgent,
    onRequest: (...request) => metrics.apiRequest(...request),
  });
  let queue: WorkQueue | undefined;
  const cache = new ClusterCache((keys) => {
    for (const key of keys) queue?.add(key);
  });
  const tokenSource = createTokens(around);
  const watching = new AbortController();
  const watches = watch(transport, cache, around, watching.signal);
  metrics.observe({ credentials: () => cache.credentials() });

  const term = async (lost: AbortSignal): Promise<void> => {
    await untilEither(watches.synced, stop, lost);
    queue = new WorkQueue(clock, metrics.queueObserver);
    for (const { metadata } of cache.credentials())
      queue.add(`${metadata.namespace}/${metadata.name}`);
    const parts = { ...around, transport, cache, queue, tokenSource: tokenSource.obtain };
    await lead(parts, { stop, lost });
    queue.shutDown();
    queue = undefined;
  };
  await (config.leaderElection.enabled
    ? elect(transport, around, term, stop)
    : term(new AbortController().signal));

  watching.abort();
  await watches.ended;
  await Promise.all([tokenSource.close(), transport.close()]);
  log.info('Stopped');
}

function createTokens({ config, proxy, userAgent, metrics, log }: Surroundings) {
  return createTokenSource({
    environments: config.environments,
    timeouts: { connect: config.tokenHosts.connectTimeout, total: config.tokenHosts.timeout },
    clock,
    random,
    userAgent,
    proxy,
    onRequest: ({ skew, ...report }) => {
      metrics.tokenRequest(report);
      if (skew === undefined) return;
      log.warn('The clocks differ by more than 30 s', {
        host: report.host,
        skewSeconds: skew / 1_000,
      });
    },
  });
}

interface Watches {
  readonly synced: Promise<void>;
  readonly ended: Promise<unknown>;
}

/** Credentials first: only Secrets that some credential names are kept. One pair of watches per namespace, or one for all. */
function watch(
  transport: Transport,
  cache: ClusterCache,
  around: Surroundings,
  signal: AbortSignal,
): Watches {
  const { namespaces, selector } = around.config.watch;
  const scopes = namespaces.length === 0 ? [undefined] : namespaces;
  const started = scopes.map((namespace) => {
    const where = namespace === undefined ? {} : { namespace };
    const labels = selector === '' ? {} : { labelSelector: selector };
    const name = (what: string) => (namespace === undefined ? what : `${what} in ${namespace}`);
    const credentials = inform(around, name('credentials'), signal, {
      source: credentialListWatch(transport, { ...where, ...labels }),
      sink: cache.credentialSink(namespace),
    });
    const secrets = credentials.synced.then(() =>
      inform(around, name('secrets'), signal, {
        source: secretListWatch(transport, where),
        sink: cache.secretSink(namespace),
      }),
    );
    return { synced: secrets.then((it) => it.synced), ended: credentials.ended };
  });
  return {
    synced: Promise.all(started.map(({ synced }) => synced)).then(() => undefined),
    ended: Promise.all(started.map(({ ended }) => ended)),
  };
}

/** One informer, whose first list is a condition of readiness. */
function inform<T>(
  { readiness, log }: Surroundings,
  name: string,
  signal: AbortSignal,
  { source, sink }: { readonly source: ListWatch<T>; readonly sink: WatchSink<T> },
): Watches {
  const { promise: synced, resolve } = Promise.withResolvers<void>();
  readiness.set(name, 'the first list is not complete yet');
  const onSynced = () => {
    readiness.set(name, true);
    resolve();
  };
  const onProblem = (problem: Failure | undefined) => {
    if (problem === undefined) return log.info('The watch works', { watch: name });
    if (readiness.get(name) !== true) readiness.set(name, problem.message);
    log.warn(problem.message, { watch: name, reason: problem.kind });
  };
  return {
    synced,
    ended: runInformer({ source, sink, clock, random, onSynced, onProblem }, signal),
  };
}

async function elect(
  transport: Transport,
  { config, identity, metrics, log }: Surroundings,
  term: (lost: AbortSignal) => Promise<void>,
  stop: AbortSignal,
): Promise<void> {
  const { namespace, name, lease, renew, retry } = config.leaderElection;
  const options = {
    store: leaseStore(transport, { namespace, name }),
    identity,
    leaseDuration: lease,
    renewDeadline: renew,
    retryPeriod: retry,
    clock,
    random,
    log,
    lead: async (lost: AbortSignal) => {
      metrics.leading(true);
      await term(lost).finally(() => metrics.leading(false));
    },
  };
  while (!stop.aborted) await runLeaderElection(options, stop);
}

interface Parts extends Surroundings {
  readonly transport: Transport;
  readonly cache: ClusterCache;
  readonly queue: WorkQueue;
  readonly tokenSource: TokenSource;
}

/** One term of leadership: passes run until the stop, and are cut when the Lease is lost. */
async function lead(
  { config, identity, metrics, log, transport, cache, queue, tokenSource }: Parts,
  { stop, lost }: { readonly stop: AbortSignal; readonly lost: AbortSignal },
): Promise<void> {
  const cut = new AbortController();
  stop.addEventListener('abort', () => setTimeout(() => cut.abort(), DRAIN).unref(), {
    once: true,
  });
  const abort = AbortSignal.any([lost, cut.signal]);
  const budget = new HostBudgets(config.tokenHosts, clock, random);
  const closing = AbortSignal.any([stop, abort]);
  const tokens = new SharedTokens({
    source: tokenSource,
    budget,
    clock,
    random,
    closing,
    signal: abort,
  });
  const events = new EventRecorder({
    transport,
    instance: identity,
    log,
    signal: abort,
    now: () => clock.now(),
  });
  const cluster = new KubernetesCluster(transport, cache, events);
  const pass = reconciler(
    { view: cache, cluster, tokens, telemetry: metrics, clock, random, log },
    config,
  );
  const controller = new Controller({
    queue,
    workers: config.workers,
    pass,
    onThrow: (error, key, attempts) => onBug(log, { error, key, attempts }),
    clock,
    onPass: (...pass) => metrics.reconciled(...pass),
  });
  metrics.observe({ queue, controller, budget });
  await controller.run({ stop, abort });
}

interface Bug {
  readonly error: unknown;
  readonly key: string;
  readonly attempts: number;
}

/** The message of an unforeseen error may hold anything, so only its kind and place are logged. */
function onBug(log: Log, { error, key, attempts }: Bug): Action {
  const kind = error instanceof Error ? error.name : typeof error;
  log.error('A pass failed because of a bug in the operator', {
    key,
    kind,
    attempts,
    at: placeOf(error),
  });
  const failure = new Failure('InternalError', kind);
  return lookAgainAtEarliest(retryAt(failure, attempts, clock.now(), random()));
}

export function placeOf(error: unknown): string {
  const stack = error instanceof Error ? (error.stack ?? '') : '';
  const frames = stack.split('\n').filter((line) => /^\s+at /.test(line));
  return frames
    .slice(0, 5)
    .map((line) => line.trim())
    .join(' < ');
}

const untilEither = (done: Promise<void>, ...signals: readonly AbortSignal[]): Promise<unknown> => {
  const either = AbortSignal.any([...signals]);
  const fired = new Promise<void>((resolve) => {
    if (either.aborted) resolve();
    else either.addEventListener('abort', () => resolve(), { once: true });
  });
  return Promise.race([done, fired]);
};
