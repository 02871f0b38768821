import { isDeepStrictEqual } from 'node:util';
import type { ClusterConvercusCredential } from '../credential/cluster-api.ts';
import { instanceNameOf } from '../credential/cluster-name.ts';
import { clusterStatusFor } from '../credential/cluster-status.ts';
import { eventFor } from '../credential/events.ts';
import type { CredentialResource } from '../credential/instance.ts';
import { isFailure, retryAt } from '../lib/failure.ts';
import { type Action, asError, earliestRequeue, type Ms, seconds } from '../lib/time.ts';
import type { ClusterLister, Dependencies } from './dependencies.ts';

/** Between two writes of one status. */
const MIN_INTERVAL: Ms = seconds(5);
/** From the first change to its write: a renewal reaches most namespaces within that time, and makes one write. */
const DELAY: Ms = seconds(1);

/** Until all instances have reported: before the first status, and after a restart, when that of before still holds. */
const MAX_WAIT = { first: MIN_INTERVAL, next: seconds(30) };

interface LastWrite {
  /** By the monotonic clock. */
  readonly at: Ms;
  /** Writes that failed in a row. */
  readonly failures: number;
}

/** Writes the status of a ClusterConvercusCredential if that of an instance has changed, with an event. */
export class ClusterStatusUpdater {
  readonly #deps: Dependencies;
  readonly #lister: ClusterLister;
  readonly #last = new Map<string, LastWrite>();
  /** Since when the status differs from what is written, by the monotonic clock. */
  readonly #changedSince = new Map<string, Ms>();
  /** Since when some instance has not reported, by the monotonic clock. */
  readonly #incompleteSince = new Map<string, Ms>();

  constructor(deps: Dependencies, lister: ClusterLister) {
    this.#deps = deps;
    this.#lister = lister;
  }

  forget(name: string): void {
    this.#last.delete(name);
    this.#incompleteSince.delete(name);
    this.#changedSince.delete(name);
  }

  async update(resource: ClusterConvercusCredential, signal: AbortSignal): Promise<Action> {
    const { clock } = this.#deps;
    const { name } = resource.metadata;
    const nextAt = (this.#last.get(name)?.at ?? -Infinity) + MIN_INTERVAL;
    const instances = this.#lister.instances(name);
    const dueAt = (this.#changedSince.get(name) ?? -Infinity) + DELAY;
    const earliest = Math.max(nextAt, dueAt, this.#completeAt(resource, instances));
    const wait = earliest - clock.monotonic();
    if (wait > 0) return { requeueAt: clock.now() + wait };
    const missing = this.#lister.missingNamespaces(name);
    const status = clusterStatusFor({ resource, instances, missing }, clock.now());
    if (isDeepStrictEqual(status, resource.status)) {
      this.#changedSince.delete(name);
      return 'await-change';
    }
    if (!this.#changedSince.has(name)) {
      this.#changedSince.set(name, clock.monotonic());
      return { requeueAt: clock.now() + DELAY };
    }
    this.#changedSince.delete(name);
    return this.#write(resource, status, signal);
  }

  /** By when all instances have reported, or are not waited for any more. */
  #completeAt(
    { metadata: { name }, status }: ClusterConvercusCredential,
    instances: readonly CredentialResource[],
  ): Ms {
    if (instances.every(hasReported)) {
      this.#incompleteSince.delete(name);
      return -Infinity;
    }
    const since = this.#incompleteSince.get(name) ?? this.#deps.clock.monotonic();
    this.#incompleteSince.set(name, since);
    return since + (status?.conditions === undefined ? MAX_WAIT.first : MAX_WAIT.next);
  }

  async #write(
    resource: ClusterConvercusCredential,
    status: NonNullable<ClusterConvercusCredential['status']>,
    signal: AbortSignal,
  ): Promise<Action> {
    const { clock, cluster, log, random } = this.#deps;
    const { name, uid } = resource.metadata;
    const written = await cluster.applyClusterStatus(resource, status, signal);
    const failures = isFailure(written) ? (this.#last.get(name)?.failures ?? 0) + 1 : 0;
    this.#last.set(name, { at: clock.monotonic(), failures });
    if (isFailure(written)) {
      const { kind: reason, code } = written;
      log.warn(written.message, { name, reason, code, attempts: failures });
      return asError(earliestRequeue(retryAt(written, failures, clock.now(), random())));
    }
    const isRenewed = status.issuedAt !== resource.status?.issuedAt;
    const event = written === 'gone' ? undefined : eventFor(resource.status, status, isRenewed);
    const about = { metadata: { namespace: '', name: instanceNameOf(name), uid } };
    if (event !== undefined) cluster.recordEvent(about, event);
    return 'await-change';
  }
}

const hasReported = ({ metadata, status }: CredentialResource): boolean =>
  metadata.deletionTimestamp !== undefined || status?.conditions !== undefined;
