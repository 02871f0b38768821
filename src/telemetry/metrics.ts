import { setImmediate } from 'node:timers/promises';
import type { ConvercusCredential } from '../credential/api.ts';
import { RENEW_REASONS, type RenewReason } from '../credential/plan.ts';
import type { Clock } from '../lib/clock.ts';
import { FAILURE_KINDS, type FailureKind, TOKEN_FAILURES } from '../lib/failure.ts';
import { type EpochMs, type Ms, seconds } from '../lib/time.ts';
import { type ClusterCredential, clusterGauge } from './cluster-gauge.ts';
import {
  controllerMetrics,
  type QueueState,
  type ReconcileResult,
  workQueueMetrics,
} from './controller-metrics.ts';
import { credentialCounts, credentialGauges } from './credential-gauges.ts';
import { Instruments, type Sample } from './instruments.ts';

export interface MetricsOptions {
  readonly version: string;
  readonly workers: number;
  readonly leaseName: string;
  /** Whether each credential has series of its own, with its namespace and name; else they are counted. */
  readonly perCredential?: boolean;
  readonly clock: Clock;
}

/** Read at each scrape. A part that is absent counts as empty. */
export interface Observed {
  /** All credentials; each call starts a new iteration. */
  readonly credentials?: () => Iterable<ConvercusCredential>;
  /** Absent: they are not served. */
  readonly clusterCredentials?: { reported(): Iterable<ClusterCredential> } | undefined;
  readonly queue?: { snapshot(): QueueState };
  readonly controller?: { readonly active: number };
  readonly limiter?: { snapshot(): readonly HostState[] };
}

export interface HostState {
  readonly host: string;
  readonly queued: number;
  readonly running: number;
  readonly pausedUntil: EpochMs | undefined;
  /** Why: `rate_limited` when absent. */
  readonly pauseCause?: PauseCause;
}

/** 429 or Retry-After; or an open circuit breaker. */
export type PauseCause = 'rate_limited' | 'unreachable';

interface TokenHost {
  readonly host: string;
  readonly grantType: string;
}

export interface TokenRequestReport {
  readonly host: string;
  readonly grantType: string;
  readonly outcome: string;
  readonly seconds: number;
}

export interface Metrics {
  renewal(reason: RenewReason, outcome: 'success' | FailureKind): void;
  /** A renewal that was due by date has succeeded. @param remaining what was left of the token before; negative: expired */
  renewedOnSchedule(times: { readonly lateness: Ms; readonly remaining: Ms }): void;
  /** @param namespace empty: the whole cluster */
  watch(resource: string, namespace: string, isUp: boolean): void;
  readonly contentType: string;
  /** Prometheus text in pieces, so that many credentials neither block the event loop nor fill the memory. */
  chunks(): AsyncGenerator<string>;
  tokenRequest(report: TokenRequestReport): void;
  /** Starts their counters at 0, so that a rate shows the first failure, too. */
  tokenHosts(hosts: Iterable<TokenHost>): void;
  apiRequest(method: string, host: string, code: string): void;
  reconciled(result: ReconcileResult, took: Ms): void;
  leading(isLeading: boolean): void;
  readonly queueMetrics: ReturnType<typeof workQueueMetrics>;
  /** Adds parts that are read, or replaces them. */
  observe(observed: Observed): void;
}

const EMPTY_QUEUE: QueueState = { ready: 0, unfinishedWork: 0, longestWork: 0 };
const REQUEST_SECONDS = [0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30];
const LATENESS_SECONDS = [0.1, 0.5, 1, 5, 15, 30, 60, 120, 300, 900];
const REMAINING_SECONDS = [0, 15, 30, 60, 120, 300, 600, 1_800, 7_200, 18_000];

/** All metrics, in a registry of their own. */
export function createMetrics(options: MetricsOptions): Metrics {
  const { version, workers, leaseName, perCredential = true, clock } = options;
  let observed: Observed = {};
  let isLeader = false;
  const make = new Instruments();
  make.addProcess();
  make.gauge('convercus_operator_build_info', 'The version that runs.', ['version'], () => [
    [{ version }, 1],
  ]);
  make.gauge('leader_election_master_status', 'Whether this replica leads.', ['name'], () => [
    [{ name: leaseName }, Number(isLeader)],
  ]);
  const queueMetrics = workQueueMetrics(make, () => observed.queue?.snapshot() ?? EMPTY_QUEUE);
  const reconciled = controllerMetrics(make, workers, () => observed.controller?.active ?? 0);
  hostGauges(make, () => observed.limiter?.snapshot() ?? [], clock);

  async function* chunks(): AsyncGenerator<string> {
    // The leader alone: a standby that is cut off would go on showing old news
    const { credentials = () => [], clusterCredentials } = isLeader ? observed : {};
    yield await make.text();
    const ofCredentials = perCredential
      ? credentialGauges(credentials, clock.now())
      : credentialCounts(credentials(), clock.now());
    for (const chunk of ofCredentials) {
      yield chunk;
      await setImmediate();
    }
    if (perCredential && clusterCredentials !== undefined)
      yield clusterGauge(clusterCredentials.reported());
  }

  return {
    contentType: make.contentType,
    chunks,
    ...requestMetrics(make),
    renewedOnSchedule: scheduleMetrics(make),
    watch: watchMetric(make),
    queueMetrics,
    reconciled,
    leading(isLeading) {
      isLeader = isLeading;
    },
    observe(more) {
      observed = { ...observed, ...more };
    },
  };
}

function hostGauges(make: Instruments, hosts: () => readonly HostState[], clock: Clock): void {
  const gauge = (rest: string, help: string, read: (host: HostState) => number): void =>
    make.gauge(`convercus_token_host_${rest}`, help, ['host'], () =>
      hosts().map((state) => [{ host: state.host }, read(state)]),
    );
  gauge('queue_length', 'Token requests that wait for their turn.', ({ queued }) => queued);
  gauge('running', 'Token requests under way.', ({ running }) => running);
  make.gauge(
    'convercus_token_host_paused',
    'Whether nothing is sent to the host for now, by cause.',
    ['host', 'cause'],
    () =>
      hosts().flatMap(({ host, pausedUntil, pauseCause = 'rate_limited' }) => {
        const isPaused = (pausedUntil ?? 0) > clock.now();
        return PAUSE_CAUSES.map((cause) => [
          { host, cause },
          Number(isPaused && cause === pauseCause),
        ]);
      }),
  );
}

const PAUSE_CAUSES: readonly PauseCause[] = ['rate_limited', 'unreachable'];

function scheduleMetrics(make: Instruments): Metrics['renewedOnSchedule'] {
  const lateness = make.histogram(
    'convercus_renewal_lateness_seconds',
    'How long after their date renewals succeeded.',
    [],
    LATENESS_SECONDS,
  );
  const remaining = make.histogram(
    'convercus_token_remaining_seconds_at_renewal',
    'What was left of the former token when it was renewed; 0: it had expired.',
    [],
    REMAINING_SECONDS,
  );
  return (times) => {
    lateness([], inSeconds(Math.max(times.lateness, 0)));
    // A sum that falls looks like a restart to Prometheus
    remaining([], inSeconds(Math.max(times.remaining, 0)));
  };
}

function watchMetric(make: Instruments): Metrics['watch'] {
  const watches = new Map<string, Sample>();
  make.gauge(
    'convercus_watch_up',
    'Whether the watch works; namespace is empty for the whole cluster.',
    ['resource', 'namespace'],
    () => [...watches.values()],
  );
  return (resource, namespace, isUp) => {
    watches.set(`${resource} ${namespace}`, [{ resource, namespace }, Number(isUp)]);
  };
}

const inSeconds = (time: Ms): number => time / seconds(1);

const OUTCOMES: readonly string[] = ['success', ...TOKEN_FAILURES];

type RequestMetrics = Pick<Metrics, 'tokenRequest' | 'tokenHosts' | 'renewal' | 'apiRequest'>;

function requestMetrics(make: Instruments): RequestMetrics {
  const tokenRequests = make.counter(
    'convercus_token_requests_total',
    'Token requests by how they ended.',
    ['host', 'grant_type', 'outcome'],
  );
  const tokenSeconds = make.histogram(
    'convercus_token_request_duration_seconds',
    'How long token requests took, their quick retries included.',
    ['host', 'grant_type'],
    REQUEST_SECONDS,
  );
  const renewals = make.counter(
    'convercus_renewals_total',
    'Attempts to publish a token, by why they were made and how they ended.',
    ['reason', 'outcome'],
  );
  for (const reason of RENEW_REASONS) renewals([reason, 'success'], 0);
  for (const kind of Object.keys(FAILURE_KINDS)) renewals(['RenewalDue', kind], 0);
  const apiRequests = make.counter('rest_client_requests_total', 'Requests to the API server.', [
    'code',
    'method',
    'host',
  ]);
  return {
    tokenRequest({ host, grantType, outcome, seconds }) {
      tokenRequests([host, grantType, outcome]);
      tokenSeconds([host, grantType], seconds);
    },
    tokenHosts(hosts) {
      for (const { host, grantType } of hosts) {
        for (const outcome of OUTCOMES) tokenRequests([host, grantType, outcome], 0);
      }
    },
    renewal: (reason, outcome) => renewals([reason, outcome]),
    apiRequest: (method, host, code) => apiRequests([code, method, host]),
  };
}
