import type { Failure } from '../lib/failure.ts';
import { numberAt, textAt } from '../lib/json.ts';
import { type EpochMs, hours, type Ms, microTime, parseTime, seconds } from '../lib/time.ts';
import { ApiError, UNEXPECTED_BODY } from './api-error.ts';
import { type ApiCall, toFailure } from './error-messages.ts';
import { LEASES, pathOf } from './resources.ts';
import type { ApiResponse, RestClient } from './rest-client.ts';

/** Shorter than any sensible lease: a response that comes later is of no use. */
const TIMEOUT: Ms = seconds(5);

/** The longest that can be configured. A Lease that claims more was edited. */
const MAX_DURATION: Ms = hours(1);

/** Status codes of a write which mean that another replica was faster, or that the Lease has been deleted. */
const CONFLICTS = new Set([404, 409]);

/** What we keep of a Lease. The leader election's store has the same shape. */
export interface LeaseRecord {
  readonly holder: string;
  readonly duration: Ms;
  readonly acquiredAt: EpochMs;
  readonly renewedAt: EpochMs;
  readonly transitions: number;
  /** Absent: the Lease is to be created. Present: only if it is still this version. */
  readonly resourceVersion?: string;
}

export interface LeaseName {
  readonly namespace: string;
  readonly name: string;
}

export interface LeaseClient {
  read(signal: AbortSignal): Promise<LeaseRecord | 'absent' | Failure>;
  write(record: LeaseRecord, signal: AbortSignal): Promise<LeaseRecord | 'conflict' | Failure>;
}

/** The Lease (coordination.k8s.io/v1) of that name. */
export const leaseStore = (restClient: RestClient, lease: LeaseName): LeaseClient => ({
  async read(signal) {
    const path = pathOf(LEASES, lease.namespace, lease.name);
    const response = await restClient.request({ method: 'GET', path, signal, timeout: TIMEOUT });
    if (response instanceof ApiError && response.code === 404) return 'absent';
    return recordOf(response, lease, 'get');
  },

  async write(record, signal) {
    const exists = record.resourceVersion !== undefined;
    const response = await restClient.request({
      method: exists ? 'PUT' : 'POST',
      path: pathOf(LEASES, lease.namespace, ...(exists ? [lease.name] : [])),
      body: objectFrom(record, lease),
      signal,
      timeout: TIMEOUT,
    });
    if (response instanceof ApiError && isConflict(response, exists)) return 'conflict';
    return recordOf(response, lease, exists ? 'update' : 'create');
  },
});

/** A missing namespace answers 404 to a creation, which is no conflict. */
const isConflict = ({ code }: ApiError, exists: boolean): boolean =>
  exists ? CONFLICTS.has(code) : code === 409;

function recordOf(
  response: ApiResponse | ApiError,
  { namespace, name }: LeaseName,
  verb: ApiCall['verb'],
): LeaseRecord | Failure {
  const record = response instanceof ApiError ? response : recordFrom(response.body);
  if (!(record instanceof ApiError)) return record;
  return toFailure(record, { verb, resource: LEASES, namespace, name });
}

function objectFrom(record: LeaseRecord, lease: LeaseName): object {
  const { resourceVersion } = record;
  return {
    apiVersion: LEASES.apiVersion,
    kind: 'Lease',
    metadata: { ...lease, ...(resourceVersion === undefined ? {} : { resourceVersion }) },
    spec: {
      holderIdentity: record.holder,
      leaseDurationSeconds: Math.ceil(record.duration / 1_000),
      acquireTime: microTime(record.acquiredAt),
      renewTime: microTime(record.renewedAt),
      leaseTransitions: record.transitions,
    },
  };
}

function recordFrom(object: unknown): LeaseRecord | ApiError {
  const resourceVersion = textAt(object, 'metadata', 'resourceVersion');
  if (resourceVersion === undefined) return ApiError.network(UNEXPECTED_BODY);
  return {
    holder: textAt(object, 'spec', 'holderIdentity') ?? '',
    duration: Math.min(seconds(countAt(object, 'spec', 'leaseDurationSeconds')), MAX_DURATION),
    acquiredAt: timeAt(object, 'spec', 'acquireTime'),
    renewedAt: timeAt(object, 'spec', 'renewTime'),
    transitions: countAt(object, 'spec', 'leaseTransitions'),
    resourceVersion,
  };
}

/** Years of four digits, which alone can be written back. */
function timeAt(object: unknown, ...path: readonly string[]): EpochMs {
  const at = parseTime(textAt(object, ...path)) ?? 0;
  return at >= 0 && at < Date.UTC(9_999, 0) ? at : 0;
}

/** An int32 that counts something; 0 for anything else, and for one that can't be raised. */
function countAt(object: unknown, ...path: readonly string[]): number {
  const count = numberAt(object, ...path) ?? 0;
  return Number.isInteger(count) && count >= 0 && count < 2 ** 31 - 1 ? count : 0;
}
