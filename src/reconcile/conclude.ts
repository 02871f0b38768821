import { isDeepStrictEqual } from 'node:util';
import type { ConvercusCredential } from '../domain/api.ts';
import { targetNameOf } from '../domain/credential.ts';
import { eventFor } from '../domain/events.ts';
import { type Failure, isFailure, retryAt, retryBeforeExpiry } from '../domain/failure.ts';
import type { Rejection } from '../domain/login-gate.ts';
import type { TargetMark } from '../domain/secret.ts';
import { type Attempt, failureOf, statusFor } from '../domain/status.ts';
import { type Action, type EpochMs, lookAgainAtEarliest, seconds } from '../domain/time.ts';
import type { Clock, Cluster, ClusterView, Log, PassContext, Random, Telemetry } from '../ports.ts';
import type { Subject } from './gather.ts';
import type { Sessions } from './sessions.ts';
import type { SharedTokens } from './shared-tokens.ts';
import type { TokenDesk } from './token-desk.ts';

export interface Ports {
  readonly view: ClusterView;
  readonly cluster: Cluster;
  readonly tokens: SharedTokens;
  readonly sessions: Sessions;
  readonly desk: TokenDesk;
  readonly telemetry: Telemetry;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
}

/** How a pass ended. */
export interface Result {
  /** The mark of the token that the target holds now. */
  readonly held: TargetMark | undefined;
  readonly targetVersion: string | undefined;
  readonly tokenUrl?: string;
  readonly suspended: boolean;
  readonly handledRenewRequest: string | undefined;
  readonly rejection: Rejection | undefined;
  readonly attempt: Attempt | undefined;
  /** When the plan wants to be asked again. */
  readonly lookAgainAt: EpochMs | undefined;
}

type Concluding = Pick<Subject, 'resource' | 'memory'>;

/** Writes the status if it says anything new, tells people, and answers when to look again. */
export async function conclude(
  ports: Ports,
  subject: Concluding,
  result: Result,
  { signal }: PassContext,
): Promise<Action> {
  const failure = failureOf(result);
  const { memory } = subject;
  const now = ports.clock.now();
  memory.failingSince = failure && (memory.failingSince ?? now);
  const due = [result.lookAgainAt, expiryAhead(result, now)];
  const again = (cause: Failure) =>
    lookAgainAtEarliest(tryAgainAt(ports, subject, { cause, held: result.held }), ...due);
  const isClusters = failure?.kind === 'ClusterUnavailable';
  if (isClusters && memory.failedRequests === 0) return again(failure);

  const written = await report(ports, subject.resource, result, signal);
  if (isFailure(written)) return again(written);
  if (isClusters) return again(failure);
  countRefusals(subject, failure);
  return lookAgainAtEarliest(...due);
}

/** A target that is refused (quota, admission) is tried ever more slowly; anything else starts afresh. */
function countRefusals({ memory }: Concluding, failure: Failure | undefined): void {
  memory.failedRequests = failure?.kind === 'TargetRefused' ? memory.failedRequests + 1 : 0;
}

/** The moment at which `Ready` turns false unless a renewal succeeds before. */
const expiryAhead = ({ held }: Result, now: EpochMs): EpochMs | undefined =>
  held !== undefined && held.expiresAt > now ? held.expiresAt : undefined;

async function report(
  { cluster, clock, log }: Ports,
  resource: ConvercusCredential,
  result: Result,
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

const isRenewed = ({ attempt }: Result): boolean => attempt !== undefined && 'renewed' in attempt;

/** The API server did not do its part. Once is no news; the next pass reports it if it goes on. */
function tryAgainAt(
  { clock, random, log }: Ports,
  { resource, memory }: Concluding,
  { cause, held }: { readonly cause: Failure; readonly held: TargetMark | undefined },
): EpochMs | undefined {
  memory.failedRequests += 1;
  const { failedRequests: attempts, failingSince } = memory;
  const { namespace, name } = resource.metadata;
  const { kind: reason, code } = cause;
  log.warn(cause.message, { namespace, name, reason, code, attempts });
  const now = clock.now();
  const retry = retryAt(cause, attempts, now, random());
  const isFailing = failingSince !== undefined; // else it is only the status that could not be written
  return isFailing ? retryInTime(cause, retry, { held, failingSince }, now) : retry;
}

/** When to try again what the API server has failed to do or refused: in time for the token in place. */
export function retryInTime(
  cause: Failure,
  retry: EpochMs | undefined,
  { held, failingSince }: { readonly held: TargetMark | undefined; readonly failingSince: EpochMs },
  now: EpochMs,
): EpochMs | undefined {
  const token = held && { expiresAt: held.expiresAt, failingSince, least: LEAST };
  return retryBeforeExpiry(cause, retry, now, token);
}

/** Between two requests to the API server. */
const LEAST = seconds(1);
