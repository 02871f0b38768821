import { type Credential, targetNameOf } from '../domain/credential.ts';
import { Failure, type Held, isFailure, retryAt, retryBeforeExpiry } from '../domain/failure.ts';
import { presentedBy, type Rejection } from '../domain/login-gate.ts';
import { markOf, type Need, type Observation } from '../domain/plan.ts';
import {
  type DesiredSecret,
  type SecretMeta,
  type TargetMark,
  versionOf,
} from '../domain/secret.ts';
import { requestFrom } from '../domain/source.ts';
import { credentialOfManager, renderTarget } from '../domain/target-secret.ts';
import { type EpochMs, hours, type Ms, minutes } from '../domain/time.ts';
import { type GrantRequest, leastOf, type PasswordRequest, type Token } from '../domain/token.ts';
import type { Clock, Cluster, ClusterView, Log, PassContext, Random } from '../ports.ts';
import type { Subject } from './gather.ts';
import type { LoginPast } from './login-memory.ts';
import type { Memory } from './memory.ts';
import { type Presented, presented } from './presented.ts';
import type { Sessions } from './sessions.ts';
import type { SharedTokens } from './shared-tokens.ts';
import { logOutRetired } from './sweep.ts';
import type { TokenDesk } from './token-desk.ts';
import { isRefusal, type Refusal } from './wish.ts';

interface Ports {
  readonly view: ClusterView;
  readonly cluster: Cluster;
  readonly tokens: SharedTokens;
  readonly sessions: Sessions;
  readonly desk: TokenDesk;
  readonly log: Log;
  readonly clock: Clock;
  readonly random: Random;
}

export interface Published {
  readonly mark: TargetMark;
  readonly targetVersion: string;
}

/** How long somebody without any token waits for a turn before its status says why nothing happens. */
const PATIENCE = minutes(1);
/** The same for somebody whose token is still good. */
const LONGEST = minutes(60);

/**
 * Source Secret → token → target Secret. Nothing is written unless a whole, valid target can be.
 * `superseded`: the credential has changed or gone while we waited for the token; its next pass decides anew.
 */
export async function publish(
  ports: Ports,
  subject: Subject,
  { seen, need }: Due,
  context: PassContext,
): Promise<Published | Refusal | 'superseded'> {
  const held = heldBy(subject, seen, ports.clock.now());
  const done = await tryToPublish(ports, subject, { seen, need, held }, context);
  if (done === 'superseded' || !('failure' in done)) return done;
  // Several may have got this refusal: each tries again in time for its own token
  const { failure, retryAt: retry, at = ports.clock.now() } = done;
  return { ...done, retryAt: retryBeforeExpiry(failure, retry, at, held) };
}

interface Due {
  readonly seen: Observation;
  readonly need: Need;
}

async function tryToPublish(
  ports: Ports,
  subject: Subject,
  { seen, need, held }: Due & { readonly held: Held | undefined },
  context: PassContext,
): Promise<Published | Refusal | 'superseded'> {
  const { credential, memory } = subject;
  const source = await presented(ports.cluster, subject, seen, context.signal);
  if (isFailure(source)) return refusal(ports, memory.failedRequests, source);
  const token = await obtain(ports, subject, { seen, need, source, held }, context);
  if (isSuperseded(ports.view, subject)) return 'superseded';
  if (isRefusal(token)) return token;
  if (isNoGain(token, need, seen)) return refusal(ports, 0, noGain(credential));
  const provenance = { sourceVersion: source.version, renewRequest: credential.renewRequest };
  const rendered = renderTarget(credential, token, provenance, seen.target);
  if (isFailure(rendered)) return refusal(ports, 0, rendered);
  const written = await writeTarget(ports, credential, rendered.secret, {
    known: seen.target,
    signal: context.signal,
  });
  if (isFailure(written)) return refusal(ports, memory.failedRequests, written);
  memory.intactVersion = written.resourceVersion;
  logOutRetired(ports, credential, memory, context.signal);
  return { mark: rendered.mark, targetVersion: written.resourceVersion };
}

/**
 * What another credential has set in a Secret to merge into, and left there when it was deleted, was renamed or got
 * another target, is taken over: by force, and only if nobody has written to the Secret since it was looked at.
 */
async function writeTarget(
  { cluster }: Ports,
  { namespace, name }: Credential,
  secret: DesiredSecret,
  { known, signal }: { readonly known: SecretMeta | 'absent'; readonly signal: AbortSignal },
): Promise<SecretMeta | Failure> {
  const written = await cluster.applySecret(secret, signal);
  if (!isFailure(written) || written.managers === undefined || known === 'absent') return written;
  for (const manager of written.managers) {
    const holder = credentialOfManager(manager);
    if (holder === undefined) return written;
    const found =
      holder === name ? 'absent' : await cluster.readCredential(namespace, holder, signal);
    if (isFailure(found)) return found;
    if (found !== 'absent' && targetNameOf(found) === secret.name) {
      return heldByOther(secret.name, holder);
    }
  }
  const { resourceVersion } = known;
  return cluster.applySecret({ ...secret, resourceVersion, force: true }, signal);
}

/** The end of the other credential wakes nobody who names another Secret than it does. */
const heldByOther = (secret: string, other: string): Failure =>
  new Failure(
    'TargetNotOurs',
    `ConvercusCredential "${other}" has set keys or annotations of Secret "${secret}" that this one wants to set; give one of the two another spec.target.name, or delete the other`,
    { retryAfter: hours(1) },
  );

function isSuperseded(view: ClusterView, { resource: { metadata } }: Subject): boolean {
  const now = view.credential(`${metadata.namespace}/${metadata.name}`)?.metadata;
  const isSame = now?.uid === metadata.uid && now.generation === metadata.generation;
  return !isSame || now.deletionTimestamp !== undefined;
}

/** A routine renewal that would leave people with less time than they have is none. */
function isNoGain(token: Token, { newerThan, requested }: Need, seen: Observation): boolean {
  const held = markOf(seen);
  const isRoutine = held !== undefined && !requested && newerThan === held.issuedAt;
  return isRoutine && token.expiresAt < held.expiresAt;
}

const noGain = ({ tokenUrl }: Credential): Failure =>
  new Failure(
    'ShortLivedToken',
    `The new token from ${new URL(tokenUrl).host} would expire before the one in place, which therefore stays. The operator tries again; if this goes on, ask Convercus why tokens are so short.`,
  );

interface Asking extends Due {
  readonly source: Presented;
  readonly held: Held | undefined;
}

function obtain(
  { tokens, sessions, clock }: Ports,
  subject: Subject,
  { seen, need, source, held }: Asking,
  context: PassContext,
): Promise<Token | Refusal> {
  const { credential } = subject;
  const request = requestFrom(credential, source.values);
  const wish = {
    need,
    policy: credential.renewal,
    held,
    ...timesOf(held, clock.now()),
    past: pastOf(seen, source.version),
  };
  if (!isPassword(request)) {
    return context.parked(() => tokens.obtain({ ...wish, request }, context.signal));
  }
  const { session } = seen;
  const sessionWish = { ...wish, request, session, sourceVersion: source.version };
  return sessions.obtain(subject, sessionWish, context);
}

const isPassword = (request: GrantRequest): request is PasswordRequest =>
  request.grantType === 'password';

/** Whoever has no token yet goes before all renewals, but for those whose token would expire meanwhile. */
function timesOf(
  held: Held | undefined,
  now: EpochMs,
): { readonly urgency: EpochMs; readonly patience: Ms } {
  const expiresAt = held?.expiresAt ?? now;
  const patience = expiresAt > now ? Math.min(expiresAt - now, LONGEST) : PATIENCE;
  return { urgency: held?.expiresAt ?? now + PATIENCE, patience };
}

function heldBy(
  { credential, memory }: Subject,
  seen: Observation,
  now: EpochMs,
): Held | undefined {
  const mark = markOf(seen);
  if (mark === undefined) return undefined;
  const { failingSince = now } = memory;
  return { expiresAt: mark.expiresAt, failingSince, least: leastOf(credential.renewal) };
}

function pastOf({ credential, rejection, target }: Observation, version: string): LoginPast {
  const isSame = rejection?.presented === presentedBy(credential, version);
  return {
    ...(isSame && { rejection }),
    ...(rejection !== undefined && !isSame && { othersRejectedAt: rejection.at }),
    hasWorked:
      (isSame && rejection.hadWorked) ||
      (credential.grantType === 'legacy_login' && markOf({ target })?.sourceVersion === version),
  };
}

/** What is to be remembered of a login that was rejected, be it one that was not needed yet. */
export function rejectionOf(
  { credential, rejection: before }: Observation,
  { rejected, source }: Memory,
  done: Published | Refusal,
): Rejection | undefined {
  if (source === undefined) return before;
  const failed = 'failure' in done ? done : undefined;
  const presented = presentedBy(credential, versionOf(source.meta));
  const known = rejected?.presented === presented ? rejected.refusal : undefined;
  const latest = failed?.failure.kind === 'CredentialsRejected' ? failed : known;
  if (latest !== undefined) return rejectionFrom(presented, latest);
  return failed === undefined ? undefined : before;
}

const rejectionFrom = (presented: string, refused: Refusal): Rejection => ({
  presented,
  at: refused.at ?? 0,
  count: refused.attempts ?? 1,
  hadWorked: refused.hadWorked ?? false,
  retryAt: refused.retryAt,
});

const refusal = ({ clock, random }: Ports, failuresBefore: number, failure: Failure): Refusal => ({
  failure,
  retryAt: retryAt(failure, failuresBefore + 1, clock.now(), random()),
});
