import { isDeepStrictEqual } from 'node:util';
import type { ReconcileContext } from '../controller/reconcile-context.ts';
import type { ConvercusCredential } from '../credential/api.ts';
import { targetNameOf } from '../credential/credential.ts';
import { eventFor } from '../credential/events.ts';
import type { Rejection } from '../credential/lockout.ts';
import type { TokenAnnotations } from '../credential/secret.ts';
import { type Attempt, failureOf, statusFor } from '../credential/status.ts';
import type { Clock, Random } from '../lib/clock.ts';
import { type Failure, isFailure, retryAt, retryBeforeExpiry } from '../lib/failure.ts';
import type { Log } from '../lib/log.ts';
import { type Action, type EpochMs, earliestRequeue, seconds } from '../lib/time.ts';
import type { TokenCache } from '../tokens/token-cache.ts';
import type { TokenClient } from '../tokens/token-client.ts';
import type { ClusterClient } from './cluster-client.ts';
import type { Lister } from './lister.ts';
import type { Sessions } from './sessions.ts';
import type { Subject } from './state.ts';
import type { Telemetry } from './telemetry.ts';

export interface Ports {
  readonly lister: Lister;
  readonly cluster: ClusterClient;
  readonly tokens: TokenCache;
  readonly sessions: Sessions;
  readonly tokenClient: TokenClient;
  readonly telemetry: Telemetry;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
}

/** How a pass ended. */
export interface ReconcileOutcome {
  /** The mark of the token that the target holds now. */
  readonly currentToken: TokenAnnotations | undefined;
  readonly targetVersion: string | undefined;
  readonly tokenUrl?: string;
  readonly suspended: boolean;
  readonly handledRenewRequest: string | undefined;
  readonly rejection: Rejection | undefined;
  readonly attempt: Attempt | undefined;
  /** When the plan wants to be asked again. */
  readonly requeueAt: EpochMs | undefined;
}

type StatusSubject = Pick<Subject, 'resource' | 'state'>;

/** Writes the status if it says anything new, tells people, and answers when to look again. */
export async function updateStatus(
  ports: Ports,
  subject: StatusSubject,
  result: ReconcileOutcome,
  { signal }: ReconcileContext,
): Promise<Action> {
  const failure = failureOf(result);
  const { state } = subject;
  const now = ports.clock.now();
  state.failingSince = failure && (state.failingSince ?? now);
  const due = [result.requeueAt, nextExpiry(result, now)];
  const again = (cause: Failure) =>
    earliestRequeue(
      retryRequestAt(ports, subject, { cause, currentToken: result.currentToken }),
      ...due,
    );
  const isClusterError = failure?.kind === 'ClusterUnavailable';
  if (isClusterError && state.failedRequests === 0) return again(failure);

  const written = await writeStatus(ports, subject.resource, result, signal);
  if (isFailure(written)) return again(written);
  if (isClusterError) return again(failure);
  countTargetRefusals(subject, failure);
  return earliestRequeue(...due);
}

/** A target that is refused (quota, admission) is tried ever more slowly; anything else starts afresh. */
function countTargetRefusals({ state }: StatusSubject, failure: Failure | undefined): void {
  state.failedRequests = failure?.kind === 'TargetRefused' ? state.failedRequests + 1 : 0;
}

/** The moment at which `Ready` turns false unless a renewal succeeds before. */
const nextExpiry = ({ currentToken }: ReconcileOutcome, now: EpochMs): EpochMs | undefined =>
  currentToken !== undefined && currentToken.expiresAt > now ? currentToken.expiresAt : undefined;

async function writeStatus(
  { cluster, clock, log }: Ports,
  resource: ConvercusCredential,
  result: ReconcileOutcome,
  signal: AbortSignal,
): Promise<Failure | undefined> {
  const targetName = targetNameOf(resource);
  const status = statusFor({ ...result, resource, targetName }, clock.now());
  if (isDeepStrictEqual(status, resource.status)) return undefined;
  const written = await cluster.applyStatus(resource, status, signal);
  if (isFailure(written)) return written;
  const event =
    written === 'gone' ? undefined : eventFor(resource.status, status, isRenewed(result));
  if (event === undefined) return undefined;
  cluster.recordEvent(resource, event);
  const { namespace, name } = resource.metadata;
  const level = event.type === 'Warning' ? 'warn' : 'info';
  log[level](event.message, { namespace, name, reason: event.reason });
  return undefined;
}

const isRenewed = ({ attempt }: ReconcileOutcome): boolean =>
  attempt !== undefined && 'renewed' in attempt;

/** The API server did not do its part. Once is no news; the next pass reports it if it goes on. */
function retryRequestAt(
  { clock, random, log }: Ports,
  { resource, state }: StatusSubject,
  {
    cause,
    currentToken,
  }: { readonly cause: Failure; readonly currentToken: TokenAnnotations | undefined },
): EpochMs | undefined {
  state.failedRequests += 1;
  const { failedRequests: attempts, failingSince } = state;
  const { namespace, name } = resource.metadata;
  const { kind: reason, code } = cause;
  log.warn(cause.message, { namespace, name, reason, code, attempts });
  const now = clock.now();
  const retry = retryAt(cause, attempts, now, random());
  const isFailing = failingSince !== undefined; // else it is only the status that could not be written
  return isFailing
    ? retryBeforeTokenExpires(cause, retry, { currentToken, failingSince }, now)
    : retry;
}

/** When to try again what the API server has failed to do or refused: in time for the token in place. */
export function retryBeforeTokenExpires(
  cause: Failure,
  retry: EpochMs | undefined,
  {
    currentToken,
    failingSince,
  }: { readonly currentToken: TokenAnnotations | undefined; readonly failingSince: EpochMs },
  now: EpochMs,
): EpochMs | undefined {
  const token = currentToken && {
    expiresAt: currentToken.expiresAt,
    failingSince,
    minInterval: MIN_RETRY_INTERVAL,
  };
  return retryBeforeExpiry(cause, retry, now, token);
}

/** Between two requests to the API server. */
const MIN_RETRY_INTERVAL = seconds(1);
