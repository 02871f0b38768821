import { isDeepStrictEqual } from 'node:util';
import { targetNameOf } from '../credential/credential.ts';
import { eventFor } from '../credential/events.ts';
import { isInstance } from '../credential/instance.ts';
import type { Rejection } from '../credential/lockout.ts';
import type { TokenAnnotations } from '../credential/secret.ts';
import { type Attempt, failureOf, statusFor } from '../credential/status.ts';
import {
  type Failure,
  isClusterFailure,
  isFailure,
  retryAt,
  retryBeforeExpiry,
} from '../lib/failure.ts';
import { type Action, asError, type EpochMs, earliestRequeue, seconds } from '../lib/time.ts';
import type { Dependencies } from './dependencies.ts';
import type { Unparsed } from './state.ts';

/** What a reconcile has come to. */
export interface ReconcileOutcome {
  /** Of the token that the target holds now. */
  readonly currentToken: TokenAnnotations | undefined;
  readonly targetVersion: string | undefined;
  readonly tokenUrl?: string;
  readonly suspended: boolean;
  readonly handledRenewRequest: string | undefined;
  readonly rejection: Rejection | undefined;
  readonly attempt: Attempt | undefined;
  /** When the plan wants the next reconcile. */
  readonly requeueAt: EpochMs | undefined;
}

/** Between two requests to the API server. */
const MIN_RETRY_INTERVAL = seconds(1);

/** Writes the status if it says anything new, with an event, and decides when to reconcile again. */
export class StatusUpdater {
  readonly #deps: Dependencies;

  constructor(deps: Dependencies) {
    this.#deps = deps;
  }

  async update(
    { resource, state }: Unparsed,
    outcome: ReconcileOutcome,
    signal: AbortSignal,
  ): Promise<Action> {
    const failure = failureOf(outcome);
    const now = this.#deps.clock.now();
    state.failingSince = failure && (state.failingSince ?? now);
    const due = [outcome.requeueAt, nextExpiry(outcome, now)];
    const again = (cause: Failure) =>
      asError(earliestRequeue(this.#retryAt({ resource, state }, cause, outcome), ...due));
    // An error of the API server is put into the status only when it repeats
    const isClusterError = failure !== undefined && isClusterFailure(failure);
    if (isClusterError && state.failedRequests === 0) return again(failure);

    const written = await this.#write({ resource, state }, outcome, signal);
    if (isFailure(written)) return again(written);
    if (isClusterError) return again(failure);
    // A refused target (quota, admission) is tried again after longer waits; any other outcome starts from the first
    state.failedRequests = failure?.kind === 'TargetRefused' ? state.failedRequests + 1 : 0;
    return earliestRequeue(...due);
  }

  async #write(
    { resource, state }: Omit<Unparsed, 'key'>,
    outcome: ReconcileOutcome,
    signal: AbortSignal,
  ): Promise<Failure | undefined> {
    const { cluster, clock, log } = this.#deps;
    const targetName = targetNameOf(resource);
    const status = statusFor({ ...outcome, resource, targetName }, clock.now());
    if (state.unwrittenStatus === undefined && isDeepStrictEqual(status, resource.status))
      return undefined;
    const written = await cluster.applyStatus(resource, status, signal);
    state.unwrittenStatus = isFailure(written) ? status : undefined;
    if (isFailure(written)) return written;
    const event =
      written === 'gone' ? undefined : eventFor(resource.status, status, isRenewed(outcome));
    if (event === undefined) return undefined;
    if (!isInstance(resource)) cluster.recordEvent(resource, event); // else one tells it for all
    const { namespace, name } = resource.metadata;
    const level = event.type === 'Warning' ? 'warn' : 'debug'; // each renewal has a line of its own
    log[level](event.message, { namespace, name, reason: event.reason });
    return undefined;
  }

  #retryAt(
    { resource, state }: Omit<Unparsed, 'key'>,
    cause: Failure,
    { currentToken }: ReconcileOutcome,
  ): EpochMs | undefined {
    const { clock, random, log } = this.#deps;
    state.failedRequests += 1;
    const { failedRequests: attempts, failingSince } = state;
    const { namespace, name } = resource.metadata;
    const { kind: reason, code } = cause;
    // A missing permission is told once for all credentials
    const level = reason === 'PermissionDenied' ? 'debug' : 'warn';
    log[level](cause.message, { namespace, name, reason, code, attempts });
    const now = clock.now();
    const retry = retryAt(cause, attempts, now, random());
    const isFailing = failingSince !== undefined; // else it is only the status that could not be written
    return isFailing ? retryInTime(cause, retry, { currentToken, failingSince }, now) : retry;
  }
}

/** When `Ready` turns false unless a renewal succeeds before. */
const nextExpiry = ({ currentToken }: ReconcileOutcome, now: EpochMs): EpochMs | undefined =>
  currentToken !== undefined && currentToken.expiresAt > now ? currentToken.expiresAt : undefined;

const isRenewed = ({ attempt }: ReconcileOutcome): boolean =>
  typeof attempt === 'object' && 'renewed' in attempt;

/** When to try again what the API server has failed to do or refused: in time for the token in place. */
export function retryInTime(
  cause: Failure,
  retry: EpochMs | undefined,
  failing: {
    readonly currentToken: TokenAnnotations | undefined;
    readonly failingSince: EpochMs;
  },
  now: EpochMs,
): EpochMs | undefined {
  const { currentToken, failingSince } = failing;
  const token = currentToken && {
    expiresAt: currentToken.expiresAt,
    failingSince,
    minInterval: MIN_RETRY_INTERVAL,
  };
  return retryBeforeExpiry(cause, retry, now, token);
}
