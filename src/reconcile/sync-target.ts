import type { ReconcileContext } from '../controller/reconcile-context.ts';
import { type Credential, targetNameOf } from '../credential/credential.ts';
import { requestFrom } from '../credential/credentials-secret.ts';
import { presentedDigest, type Rejection } from '../credential/lockout.ts';
import {
  type Observation,
  type RequiredFreshness,
  tokenAnnotationsOf,
} from '../credential/plan.ts';
import { minRetryIntervalOf } from '../credential/renewal.ts';
import {
  type DesiredSecret,
  type SecretMeta,
  type TokenAnnotations,
  versionOf,
} from '../credential/secret.ts';
import { credentialOfManager, renderTarget } from '../credential/target-secret.ts';
import type { Clock, Random } from '../lib/clock.ts';
import {
  type CurrentToken,
  Failure,
  isFailure,
  retryAt,
  retryBeforeExpiry,
} from '../lib/failure.ts';
import type { Log } from '../lib/log.ts';
import { type EpochMs, hours, type Ms, minutes } from '../lib/time.ts';
import type { GrantRequest, PasswordRequest } from '../oauth/grants.ts';
import type { Token } from '../oauth/token.ts';
import type { LoginHistory } from '../tokens/rejected-logins.ts';
import type { TokenCache } from '../tokens/token-cache.ts';
import type { TokenClient } from '../tokens/token-client.ts';
import { isTokenFailure, type TokenFailure } from '../tokens/token-demand.ts';
import type { ClusterClient } from './cluster-client.ts';
import type { Lister } from './lister.ts';
import { type CredentialsRead, readCredentials } from './read-credentials.ts';
import { logOutSuperseded } from './session-cleanup.ts';
import type { Sessions } from './sessions.ts';
import type { CredentialState, Subject } from './state.ts';

interface Ports {
  readonly lister: Lister;
  readonly cluster: ClusterClient;
  readonly tokens: TokenCache;
  readonly sessions: Sessions;
  readonly tokenClient: TokenClient;
  readonly log: Log;
  readonly clock: Clock;
  readonly random: Random;
}

export interface SyncedTarget {
  readonly tokenAnnotations: TokenAnnotations;
  readonly targetVersion: string;
}

/** How long somebody without any token waits for a turn before its status says why nothing happens. */
const MAX_WAIT_WITHOUT_TOKEN = minutes(1);
/** The same for somebody whose token is still good. */
const MAX_WAIT_WITH_TOKEN = minutes(60);

/**
 * Source Secret → token → target Secret. Nothing is written unless a whole, valid target can be.
 * `superseded`: the credential has changed or gone while we waited for the token; its next pass decides anew.
 */
export async function syncTarget(
  ports: Ports,
  subject: Subject,
  { seen, freshness }: PlannedSync,
  context: ReconcileContext,
): Promise<SyncedTarget | TokenFailure | 'superseded'> {
  const currentToken = currentTokenOf(subject, seen, ports.clock.now());
  const done = await trySyncTarget(ports, subject, { seen, freshness, currentToken }, context);
  if (done === 'superseded' || !('failure' in done)) return done;
  // Several may have got this refusal: each tries again in time for its own token
  const { failure, retryAt: retry, at = ports.clock.now() } = done;
  return { ...done, retryAt: retryBeforeExpiry(failure, retry, at, currentToken) };
}

interface PlannedSync {
  readonly seen: Observation;
  readonly freshness: RequiredFreshness;
}

async function trySyncTarget(
  ports: Ports,
  subject: Subject,
  {
    seen,
    freshness,
    currentToken,
  }: PlannedSync & { readonly currentToken: CurrentToken | undefined },
  context: ReconcileContext,
): Promise<SyncedTarget | TokenFailure | 'superseded'> {
  const { credential, state } = subject;
  const source = await readCredentials(ports.cluster, subject, seen, context.signal);
  if (isFailure(source)) return tokenFailure(ports, state.failedRequests, source);
  const token = await obtain(ports, subject, { seen, freshness, source, currentToken }, context);
  if (isSuperseded(ports.lister, subject)) return 'superseded';
  if (isTokenFailure(token)) return token;
  if (isExpiringEarlier(token, freshness, seen))
    return tokenFailure(ports, 0, expiresEarlier(credential));
  const provenance = { sourceVersion: source.version, renewRequest: credential.renewRequest };
  const rendered = renderTarget(credential, token, provenance, seen.target);
  if (isFailure(rendered)) return tokenFailure(ports, 0, rendered);
  const written = await writeTarget(ports, credential, rendered.secret, {
    known: seen.target,
    signal: context.signal,
  });
  if (isFailure(written)) return tokenFailure(ports, state.failedRequests, written);
  state.intactVersion = written.resourceVersion;
  logOutSuperseded(ports, credential, state, context.signal);
  return { tokenAnnotations: rendered.tokenAnnotations, targetVersion: written.resourceVersion };
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
      return targetHeldByOther(secret.name, holder);
    }
  }
  const { resourceVersion } = known;
  return cluster.applySecret({ ...secret, resourceVersion, force: true }, signal);
}

/** The end of the other credential wakes nobody who names another Secret than it does. */
const targetHeldByOther = (secret: string, other: string): Failure =>
  new Failure(
    'TargetNotOurs',
    `ConvercusCredential "${other}" has set keys or annotations of Secret "${secret}" that this one wants to set; give one of the two another spec.target.name, or delete the other`,
    { retryAfter: hours(1) },
  );

function isSuperseded(lister: Lister, { resource: { metadata } }: Subject): boolean {
  const now = lister.credential(`${metadata.namespace}/${metadata.name}`)?.metadata;
  const isSame = now?.uid === metadata.uid && now.generation === metadata.generation;
  return !isSame || now.deletionTimestamp !== undefined;
}

/** A routine renewal that would leave people with less time than they have is none. */
function isExpiringEarlier(
  token: Token,
  { newerThan, requested }: RequiredFreshness,
  seen: Observation,
): boolean {
  const currentToken = tokenAnnotationsOf(seen);
  const isRoutine = currentToken !== undefined && !requested && newerThan === currentToken.issuedAt;
  return isRoutine && token.expiresAt < currentToken.expiresAt;
}

const expiresEarlier = ({ tokenUrl }: Credential): Failure =>
  new Failure(
    'ShortLivedToken',
    `The new token from ${new URL(tokenUrl).host} would expire before the one in place, which therefore stays. The operator tries again; if this goes on, ask Convercus why tokens are so short.`,
  );

interface SessionCall extends PlannedSync {
  readonly source: CredentialsRead;
  readonly currentToken: CurrentToken | undefined;
}

function obtain(
  { tokens, sessions, clock }: Ports,
  subject: Subject,
  { seen, freshness, source, currentToken }: SessionCall,
  context: ReconcileContext,
): Promise<Token | TokenFailure> {
  const { credential } = subject;
  const request = requestFrom(credential, source.values);
  const demand = {
    freshness,
    policy: credential.renewal,
    currentToken,
    ...waitOf(currentToken, clock.now()),
    loginHistory: loginHistoryOf(seen, source.version),
  };
  if (!isPassword(request)) {
    return context.parked(() => tokens.obtain({ ...demand, request }, context.signal));
  }
  const { session } = seen;
  const sessionWish = { ...demand, request, session, sourceVersion: source.version };
  return sessions.obtain(subject, sessionWish, context);
}

const isPassword = (request: GrantRequest): request is PasswordRequest =>
  request.grantType === 'password';

/** Whoever has no token yet goes before all renewals, but for those whose token would expire meanwhile. */
function waitOf(
  currentToken: CurrentToken | undefined,
  now: EpochMs,
): { readonly deadline: EpochMs; readonly maxWait: Ms } {
  const expiresAt = currentToken?.expiresAt ?? now;
  const maxWait =
    expiresAt > now ? Math.min(expiresAt - now, MAX_WAIT_WITH_TOKEN) : MAX_WAIT_WITHOUT_TOKEN;
  return { deadline: currentToken?.expiresAt ?? now + MAX_WAIT_WITHOUT_TOKEN, maxWait };
}

function currentTokenOf(
  { credential, state }: Subject,
  seen: Observation,
  now: EpochMs,
): CurrentToken | undefined {
  const tokenAnnotations = tokenAnnotationsOf(seen);
  if (tokenAnnotations === undefined) return undefined;
  const { failingSince = now } = state;
  return {
    expiresAt: tokenAnnotations.expiresAt,
    failingSince,
    minInterval: minRetryIntervalOf(credential.renewal),
  };
}

function loginHistoryOf(
  { credential, rejection, target }: Observation,
  version: string,
): LoginHistory {
  const isSame = rejection?.presented === presentedDigest(credential, version);
  return {
    ...(isSame && { rejection }),
    ...(rejection !== undefined && !isSame && { othersRejectedAt: rejection.at }),
    hasWorked:
      (isSame && rejection.hadWorked) ||
      (credential.grantType === 'legacy_login' &&
        tokenAnnotationsOf({ target })?.sourceVersion === version),
  };
}

/** What is to be remembered of a login that was rejected, be it one that was not needed yet. */
export function rejectionOf(
  { credential, rejection: before }: Observation,
  { rejected, source }: CredentialState,
  done: SyncedTarget | TokenFailure,
): Rejection | undefined {
  if (source === undefined) return before;
  const failed = 'failure' in done ? done : undefined;
  const presented = presentedDigest(credential, versionOf(source.meta));
  const known = rejected?.presented === presented ? rejected.tokenFailure : undefined;
  const latest = failed?.failure.kind === 'CredentialsRejected' ? failed : known;
  if (latest !== undefined) return rejectionFrom(presented, latest);
  return failed === undefined ? undefined : before;
}

const rejectionFrom = (presented: string, refused: TokenFailure): Rejection => ({
  presented,
  at: refused.at ?? 0,
  count: refused.attempts ?? 1,
  hadWorked: refused.hadWorked ?? false,
  retryAt: refused.retryAt,
});

const tokenFailure = (
  { clock, random }: Ports,
  failuresBefore: number,
  failure: Failure,
): TokenFailure => ({
  failure,
  retryAt: retryAt(failure, failuresBefore + 1, clock.now(), random()),
});
