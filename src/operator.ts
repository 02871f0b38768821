import { type Caches, cachesFor, credentialsWithTokenUrl, reported } from './caches.ts';
import type { Config } from './config.ts';
import { Controller } from './controller/controller.ts';
import { type Leadership, runLeaderElection } from './controller/leader-election.ts';
import type { LeaseRecord, LeaseStore } from './controller/lease.ts';
import { WorkQueue } from './controller/work-queue.ts';
import { clusterNameIn } from './credential/cluster-name.ts';
import { startInformers } from './informers.ts';
import { ApiError } from './kubernetes/api-error.ts';
import { KubernetesClient } from './kubernetes/client.ts';
import { toFailure } from './kubernetes/error-messages.ts';
import { EventRecorder } from './kubernetes/event-recorder.ts';
import { leaseStore } from './kubernetes/lease.ts';
import { CLUSTER_CREDENTIALS, CREDENTIALS, EVENTS, SECRETS } from './kubernetes/resources.ts';
import type { ApiRequest, RestClient } from './kubernetes/rest-client.ts';
import type { Clock, Random } from './lib/clock.ts';
import { Failure, isFailure, retryAt } from './lib/failure.ts';
import type { Key } from './lib/key.ts';
import type { Log } from './lib/log.ts';
import { type Action, earliestRequeue, seconds } from './lib/time.ts';
import { kindAndPlaceOf } from './lib/unexpected-error.ts';
import { aborted, sleep, withTimeout } from './lib/with-timeout.ts';
import type { HttpClient } from './oauth/http-client.ts';
import { createLoginSource } from './oauth/legacy-login.ts';
import { createLogOut } from './oauth/logout.ts';
import { createTokenSource } from './oauth/token-endpoint.ts';
import { TokenHosts } from './oauth/token-hosts.ts';
import type { Check, Readiness } from './readiness.ts';
import type { Dependencies, Telemetry } from './reconcile/dependencies.ts';
import { Reconciler } from './reconcile/reconciler.ts';
import type { Metrics } from './telemetry/metrics.ts';
import { ReconcileLog } from './telemetry/reconcile-log.ts';
import { HostLimiters } from './tokens/host-limiters.ts';
import { TokenClient, type TokenClientOptions } from './tokens/token-client.ts';
import type { TokenSource } from './tokens/token-source.ts';

export interface OperatorOptions {
  readonly config: Config;
  readonly identity: string;
  readonly userAgent: string;
  readonly clock: Clock;
  readonly random: Random;
  /** Base64 of random bytes; see RequestDigests. */
  readonly digestKey: string;
  /** To the API server. */
  readonly restClient: RestClient;
  /** To the token hosts. */
  readonly client: HttpClient;
  readonly log: Log;
  /** Gets a line for each token that is issued; absent: none does. */
  readonly audit?: Log | undefined;
  /** Makes the values of the field `reconcileID` of the log; numbers when absent. */
  readonly newReconcileID?: () => string;
  readonly metrics: Metrics;
  readonly readiness: Readiness;
}

/**
 * How long reconciles may take to end after a stop before they are cut: a token request in flight gets its response or
 * its time-out (10 s), and what came of it is written.
 */
const DRAIN_TIMEOUT = seconds(12);
/** Of that, for the events that are still to be written when the reconciles have ended. */
const LAST_EVENTS = seconds(2);
/** Closing takes no time; a mistake there must not keep the process alive. */
const CLOSE_TIMEOUT = seconds(1);

/**
 * The wiring, in the order of the start: cache, informers, leader election, and for each term of leadership the work
 * queue, the token client, the reconciler and the controller. It stops in the reverse order.
 * @throws what it did not foresee; everything is closed then as well
 */
export async function runOperator(options: OperatorOptions, stop: AbortSignal): Promise<void> {
  const { config, metrics, log, clock, restClient, client } = options;
  let queue: WorkQueue | undefined;
  const enqueue = (keys: Iterable<Key>): void => {
    for (const key of keys) if (informers.isListed(key)) queue?.add(key);
  };
  const caches = cachesFor(config, enqueue);
  const { cache, clusterCredentials } = caches;
  metrics.observe({ credentials: () => reported(caches), clusterCredentials });
  metrics.tokenHosts(tokenHostsOf(config));

  const informing = new AbortController();
  const onListed = (namespace?: string) => {
    enqueue(cache.keys(namespace));
    enqueue(clusterCredentials?.keys() ?? []);
  };
  const informers = startInformers(restClient, caches, { ...options, onListed }, informing.signal);

  const term = async (leadership: Leadership): Promise<void> => {
    await untilAny(informers.tried, stop, leadership.lost);
    clusterCredentials?.beginTerm();
    queue = new WorkQueue(clock, metrics.queueMetrics);
    onListed();
    const lines = reconcileLog(options);
    const { assertHeld, lost } = leadership;
    const { log } = lines;
    const parts = { ...options, ...caches, log, lines, queue, enqueue, assertHeld };
    await lead(parts, { stop, lost }).finally(() => {
      lines.close();
      queue?.shutDown();
      queue = undefined;
    });
  };
  try {
    await (config.leaderElection.enabled ? elect(options, term, stop) : leadAlways(metrics, term));
  } finally {
    informing.abort();
    await withTimeout(
      () => Promise.allSettled([informers.ended, client.close(), restClient.close()]),
      { ms: CLOSE_TIMEOUT, clock },
    );
  }
  log.info('Stopped');
}

function reconcileLog({ log, audit, clock, newReconcileID }: OperatorOptions): ReconcileLog {
  let count = 0;
  const newID = (): string => {
    count += 1;
    return String(count);
  };
  return new ReconcileLog({ log, audit, clock, newID: newReconcileID ?? newID });
}

/** Without leader election. */
async function leadAlways(
  metrics: Metrics,
  term: (leadership: Leadership) => Promise<void>,
): Promise<void> {
  metrics.leading(true);
  await term({ lost: new AbortController().signal, assertHeld: () => undefined });
}

async function untilAny(done: Promise<void>, ...signals: readonly AbortSignal[]): Promise<void> {
  const over = new AbortController();
  await Promise.race([done, aborted(AbortSignal.any([...signals]), over.signal)]);
  over.abort();
}

async function elect(
  { config, restClient, clock, random, identity, metrics, log, readiness }: OperatorOptions,
  term: (leadership: Leadership) => Promise<void>,
  stop: AbortSignal,
): Promise<void> {
  const { namespace, name, lease, renew, retry } = config.leaderElection;
  const options = {
    store: reportingTo(readiness.lease(), leaseStore(restClient, { namespace, name })),
    identity,
    leaseDuration: lease,
    renewDeadline: renew,
    retryPeriod: retry,
    clock,
    random,
    log,
    lead: async (leadership: Leadership) => {
      metrics.leading(true);
      await term(leadership).finally(() => metrics.leading(false));
    },
  };
  while (!stop.aborted) await runLeaderElection(options, stop);
}

/** Not ready before the Lease was seen or written once, so that a missing permission shows before it is needed. */
function reportingTo(check: Check, store: LeaseStore): LeaseStore {
  check.fails('the Lease has not been reached yet');
  const note = <T extends LeaseRecord | string>(response: T | Failure): T | Failure => {
    if (isFailure(response)) check.fails(response.message);
    else if (typeof response === 'object') check.works();
    return response;
  };
  return {
    read: async (signal) => note(await store.read(signal)),
    write: async (record, signal) => note(await store.write(record, signal)),
  };
}

interface TermParts extends OperatorOptions, Caches {
  readonly lines: ReconcileLog;
  readonly queue: WorkQueue;
  /** Of the keys those whose namespace has been listed. */
  readonly enqueue: (keys: Iterable<Key>) => void;
  /** Throws once the Lease is lost; called right before each request leaves. */
  readonly assertHeld: () => void;
}

/**
 * One term of leadership. Reconciles go on until the stop and the responses that were in flight by then; they are cut
 * when the Lease is lost.
 */
async function lead(
  parts: TermParts,
  { stop, lost }: { readonly stop: AbortSignal; readonly lost: AbortSignal },
): Promise<void> {
  const { config, metrics, clock, random, queue } = parts;
  const over = new AbortController();
  const ended = new AbortController();
  const abort = AbortSignal.any([lost, over.signal]);
  const limiter = new HostLimiters(config.tokenHosts, clock, random);
  const events = eventRecorder(parts, abort, () => controller.active > 0);
  const closing = AbortSignal.any([stop, abort]);
  const tokens = tokenClientFrom(parts, limiter, { abort, closing }, (session, step) =>
    reconciler.cleanup.logOutAbandoned(session, step, abort),
  );
  const cluster = new KubernetesClient(guarded(parts), parts.cache, events);
  const { lines } = parts;
  const reconciler = new Reconciler(dependencies(parts, cluster, tokens), config);
  const controller = new Controller({
    queue,
    workers: config.workers,
    reconcile: (key, signal) =>
      lines.run(key, resourceOf(parts, key), () => reconciler.reconcile(key, signal)),
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

function dependencies(
  parts: TermParts,
  cluster: KubernetesClient,
  tokens: TokenClient,
): Dependencies {
  const { cache: lister, clusterCredentials, clock, random, log, queue } = parts;
  const given = { lister, clusterCredentials, cluster, tokens, clock, random, log };
  return { ...given, telemetry: telemetryOf(parts), enqueueFirst: (key) => queue.addFirst(key) };
}

const telemetryOf = ({ metrics, lines }: TermParts): Telemetry => ({
  renewal(reason, outcome) {
    metrics.renewal(reason, outcome);
    lines.renewal(reason, outcome);
  },
  renewedOnSchedule: (times) => metrics.renewedOnSchedule(times),
});

/** A new term begins with empty caches. */
function tokenClientFrom(
  parts: TermParts,
  limiter: HostLimiters,
  { abort, closing }: { readonly abort: AbortSignal; readonly closing: AbortSignal },
  onSessionAbandoned: TokenClientOptions['onSessionAbandoned'],
): TokenClient {
  const { config, clock, random, digestKey, queue, enqueue } = parts;
  return new TokenClient({
    ...protocols(parts, parts.assertHeld),
    environments: config.environments,
    limiter,
    clock,
    random,
    digestKey,
    closing,
    signal: abort,
    enqueue: (key) => queue.addFirst(key),
    // The provider has voided some of their tokens
    onNotBeforeRaised: (tokenUrl) => enqueue(credentialsWithTokenUrl(tokenUrl, parts)),
    onSessionAbandoned,
  });
}

/** Both ways to a token, and the way to end a session, over the same connections. */
function protocols(options: TermParts, beforeSend: () => void) {
  const { environments } = options.config;
  const hosts = tokenHosts(options, beforeSend);
  const endpoint = createTokenSource(hosts);
  const login = createLoginSource(hosts);
  const source: TokenSource = async (request, signal) => {
    const response = await (request.grantType === 'legacy_login'
      ? login(request, signal)
      : endpoint(request, signal));
    if (!isFailure(response)) options.lines.tokenIssued(request, response);
    return response;
  };
  return { source, logOut: createLogOut(hosts, environments) };
}

/** A ConvercusCredential, an instance, or the ClusterConvercusCredential that has the key. */
function resourceOf({ cache, clusterCredentials }: Caches, key: Key) {
  const clusterName = clusterNameIn(key);
  if (clusterName === undefined) return cache.credential(key);
  return clusterCredentials?.credential(clusterName);
}

/** The hosts that the configuration names, each with the grants that it serves. */
function* tokenHostsOf({ environments }: Config): Iterable<{ host: string; grantType: string }> {
  for (const { tokenUrl, loginUrl } of environments.values()) {
    const { host } = new URL(tokenUrl);
    yield { host, grantType: 'client_credentials' };
    yield { host, grantType: 'password' };
    yield { host, grantType: 'refresh_token' };
    if (loginUrl !== '') yield { host: new URL(loginUrl).host, grantType: 'legacy_login' };
  }
}

function tokenHosts(
  { config, client, clock, random, userAgent, metrics, log }: OperatorOptions,
  beforeSend: () => void,
): TokenHosts {
  return new TokenHosts({
    environments: config.environments,
    client,
    clock,
    random,
    userAgent,
    beforeSend,
    onRequest: ({ skew, ...report }) => {
      metrics.tokenRequest(report);
      log.debug('Token request', { ...report });
      if (skew === undefined) return;
      log.warn('The clocks differ by more than 30 s', {
        host: report.host,
        skewSeconds: skew / 1_000,
      });
    },
  });
}

const eventRecorder = (
  parts: TermParts,
  signal: AbortSignal,
  isBusy: () => boolean,
): EventRecorder =>
  new EventRecorder({
    restClient: guarded(parts),
    instance: parts.identity,
    log: parts.log,
    signal,
    clock: parts.clock,
    isBusy,
  });

/** Nothing leaves after the end of the term, not even from a process that was stopped for longer than that. */
const guarded = ({ restClient, assertHeld, readiness, lines }: TermParts): RestClient => ({
  async request(request) {
    const response = await restClient.request({ ...request, beforeSend: assertHeld });
    const call = callOf(request);
    const failure = response instanceof ApiError ? toFailure(response, call) : undefined;
    if (failure?.kind === 'PermissionDenied')
      lines.permissionDenied(call.verb, call.resource.plural, failure.message);
    const isWrite = call.verb !== 'get' && call.resource !== EVENTS;
    if (isWrite) noteWrite(readiness.writes, failure);
    return response;
  },
  stream: (request) => restClient.stream(request),
  close: () => restClient.close(),
});

const VERBS = {
  GET: 'get',
  POST: 'create',
  PUT: 'update',
  PATCH: 'patch',
  DELETE: 'delete',
} as const;

function callOf({ method, path }: ApiRequest) {
  const [, namespace, plural] = /\/namespaces\/([^/]+)\/(\w+)/.exec(path) ?? [];
  const known = [CREDENTIALS, EVENTS].find((it) => it.plural === plural);
  const isOfCluster = path.includes(`/${CLUSTER_CREDENTIALS.plural}/`);
  const resource = known ?? (isOfCluster ? CLUSTER_CREDENTIALS : SECRETS);
  return { verb: VERBS[method], resource, namespace };
}

/** An object that is refused or gone tells nothing: the API server works, and only one namespace is concerned. */
function noteWrite(check: Check, failure: Failure | undefined): void {
  if (failure === undefined) return check.works();
  const { kind, code, message } = failure;
  const isOfObject = kind === 'TargetRefused' || code === '404' || code === '409';
  if (!isOfObject) check.fails(message);
}

interface ReconcileError {
  readonly error: unknown;
  readonly key: string;
  readonly attempts: number;
}

function onReconcileError(
  { log, clock, random }: Pick<TermParts, 'log' | 'clock' | 'random'>,
  { error, key, attempts }: ReconcileError,
): Action {
  const { kind, at } = kindAndPlaceOf(error);
  log.error('A reconcile failed because of a bug in the operator', { key, kind, attempts, at });
  const failure = new Failure('InternalError', kind);
  return earliestRequeue(retryAt(failure, attempts, clock.now(), random()));
}
