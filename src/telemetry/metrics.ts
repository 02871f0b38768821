import { setImmediate } from 'node:timers/promises';
import type { ConvercusCredential } from '../credential/api.ts';
import type { RenewReason } from '../credential/plan.ts';
import type { Clock } from '../lib/clock.ts';
import type { FailureKind } from '../lib/failure.ts';
import type { EpochMs, Ms } from '../lib/time.ts';
import {
  controllerMetrics,
  type QueueState,
  type ReconcileResult,
  workQueueMetrics,
} from './controller-metrics.ts';
import { credentialGauges } from './credential-gauges.ts';
import { Instruments } from './instruments.ts';

export interface MetricsOptions {
  readonly version: string;
  readonly workers: number;
  readonly leaseName: string;
  readonly clock: Clock;
}

/** Read at each scrape. A part that is absent counts as empty. */
export interface Observed {
  /** All credentials; each call starts a new iteration. */
  readonly credentials?: () => Iterable<ConvercusCredential>;
  readonly queue?: { snapshot(): QueueState };
  readonly controller?: { readonly active: number };
  readonly limiter?: { snapshot(): readonly HostState[] };
}

export interface HostState {
  readonly host: string;
  readonly queued: number;
  readonly running: number;
  readonly pausedUntil: EpochMs | undefined;
}

export interface TokenRequestReport {
  readonly host: string;
  readonly grantType: string;
  readonly outcome: string;
  readonly seconds: number;
}

export interface Metrics {
  renewal(reason: RenewReason, outcome: 'success' | FailureKind): void;
  readonly contentType: string;
  /** Prometheus text in pieces, so that many credentials neither block the event loop nor fill the memory. */
  chunks(): AsyncGenerator<string>;
  tokenRequest(report: TokenRequestReport): void;
  apiRequest(method: string, host: string, code: string): void;
  reconciled(result: ReconcileResult, took: Ms): void;
  leading(isLeading: boolean): void;
  readonly queueMetrics: ReturnType<typeof workQueueMetrics>;
  /** Adds parts that are read, or replaces them. */
  observe(observed: Observed): void;
}

const EMPTY_QUEUE: QueueState = { ready: 0, unfinishedWork: 0, longestWork: 0 };
const REQUEST_SECONDS = [0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30];

/** All metrics, in a registry of their own. */
export function createMetrics({ version, workers, leaseName, clock }: MetricsOptions): Metrics {
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
    const { credentials = () => [] } = observed;
    yield await make.text();
    for (const chunk of credentialGauges(credentials, clock.now())) {
      yield chunk;
      await setImmediate();
    }
  }

  return {
    contentType: make.contentType,
    chunks,
    ...requestMetrics(make),
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
  gauge('paused', 'Whether nothing is sent to the host for now.', ({ pausedUntil }) =>
    Number((pausedUntil ?? 0) > clock.now()),
  );
}

type RequestMetrics = Pick<Metrics, 'tokenRequest' | 'renewal' | 'apiRequest'>;

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
    renewal: (reason, outcome) => renewals([reason, outcome]),
    apiRequest: (method, host, code) => apiRequests([code, method, host]),
  };
}
