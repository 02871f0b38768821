import type { Config } from './config.ts';
import { type Leadership, runLeaderElection } from './controller/leader-election.ts';
import type { LeaseRecord, LeaseStore } from './controller/lease-store.ts';
import { WorkQueue } from './controller/work-queue.ts';
import { ClusterCache } from './kubernetes/cache.ts';
import { leaseStore } from './kubernetes/lease.ts';
import type { RestClient } from './kubernetes/rest-client.ts';
import type { Clock, Random } from './lib/clock.ts';
import { type Failure, isFailure } from './lib/failure.ts';
import type { Key } from './lib/key.ts';
import type { Log } from './lib/log.ts';
import { seconds } from './lib/time.ts';
import { withTimeout } from './lib/with-timeout.ts';
import { type HttpClient, TokenHosts } from './oauth/http-client.ts';
import { createLoginSource } from './oauth/legacy-login.ts';
import { createLogOut } from './oauth/logout.ts';
import { createTokenSource } from './oauth/token-endpoint.ts';
import type { Metrics } from './telemetry/metrics.ts';
import { lead } from './term.ts';
import type { TokenSource } from './tokens/token-source.ts';
import { type Readiness, startInformers } from './watches.ts';

export interface OperatorOptions {
  readonly config: Config;
  readonly identity: string;
  readonly userAgent: string;
  readonly clock: Clock;
  readonly random: Random;
  /** Base64 of random bytes; see TokenDesk. */
  readonly digestKey: string;
  /** To the API server. */
  readonly restClient: RestClient;
  /** To the token hosts. */
  readonly client: HttpClient;
  readonly log: Log;
  readonly metrics: Metrics;
  readonly readiness: Readiness;
}

/** Nothing of it should take time; a mistake there must not keep the process alive. */
const CLOSING = seconds(1);

/**
 * Runs until `stop` fires, then lets passes end, hands the Lease back and closes all connections.
 * @throws what it did not foresee; everything is closed then as well
 */
export async function runOperator(options: OperatorOptions, stop: AbortSignal): Promise<void> {
  const { config, metrics, log, clock, restClient, client } = options;
  let queue: WorkQueue | undefined;
  const enqueue = (keys: Iterable<Key>): void => {
    for (const key of keys) if (informers.isListed(key)) queue?.add(key);
  };
  const cache = new ClusterCache(enqueue);
  const informing = new AbortController();
  const onListed = (namespace?: string) => enqueue(cache.keys(namespace));
  const informers = startInformers(restClient, cache, { ...options, onListed }, informing.signal);
  metrics.observe({ credentials: () => cache.credentials() });

  const term = async ({ lost, assertHeld }: Leadership): Promise<void> => {
    await untilEither(informers.tried, stop, lost);
    queue = new WorkQueue(clock, metrics.queueMetrics);
    enqueue(cache.keys());
    const parts = {
      ...options,
      assertHeld,
      cache,
      queue,
      enqueue,
      ...protocols(options, assertHeld),
    };
    await lead(parts, { stop, lost }).finally(() => {
      queue?.shutDown();
      queue = undefined;
    });
  };
  try {
    await (config.leaderElection.enabled ? elect(options, term, stop) : term(ALWAYS_LEADING));
  } finally {
    informing.abort();
    await withTimeout(
      () => Promise.allSettled([informers.ended, client.close(), restClient.close()]),
      { ms: CLOSING, clock },
    );
  }
  log.info('Stopped');
}

/** Without leader election. */
const ALWAYS_LEADING: Leadership = {
  lost: new AbortController().signal,
  assertHeld: () => undefined,
};

/** Both ways to a token, and the way to end a session, over the same connections. */
function protocols(options: OperatorOptions, beforeSend: () => void) {
  const { environments } = options.config;
  const hosts = tokenHosts(options, beforeSend);
  const endpoint = createTokenSource(hosts);
  const login = createLoginSource(hosts);
  const source: TokenSource = (request, signal) =>
    request.grantType === 'legacy_login' ? login(request, signal) : endpoint(request, signal);
  return { source, logOut: createLogOut(hosts, environments) };
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
      if (skew === undefined) return;
      log.warn('The clocks differ by more than 30 s', {
        host: report.host,
        skewSeconds: skew / 1_000,
      });
    },
  });
}

async function elect(
  { config, restClient, clock, random, identity, metrics, log, readiness }: OperatorOptions,
  term: (leadership: Leadership) => Promise<void>,
  stop: AbortSignal,
): Promise<void> {
  const { namespace, name, lease, renew, retry } = config.leaderElection;
  const options = {
    store: reportingTo(readiness, leaseStore(restClient, { namespace, name })),
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
function reportingTo(readiness: Readiness, store: LeaseStore): LeaseStore {
  readiness.set('lease', 'the Lease has not been reached yet');
  const note = <T extends LeaseRecord | string>(response: T | Failure): T | Failure => {
    if (typeof response === 'object' && !isFailure(response)) readiness.set('lease', true);
    if (isFailure(response) && readiness.get('lease') !== true)
      readiness.set('lease', response.message);
    return response;
  };
  return {
    read: async (signal) => note(await store.read(signal)),
    write: async (record, signal) => note(await store.write(record, signal)),
  };
}

const untilEither = (done: Promise<void>, ...signals: readonly AbortSignal[]): Promise<unknown> => {
  const either = AbortSignal.any([...signals]);
  const fired = new Promise<void>((resolve) => {
    if (either.aborted) resolve();
    else either.addEventListener('abort', () => resolve(), { once: true });
  });
  return Promise.race([done, fired]);
};
