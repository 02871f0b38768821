import type { ConvercusCredential } from '../credential/api.ts';
import { clusterNameIn } from '../credential/cluster-name.ts';
import {
  type Credential,
  parseCredential,
  type Settings,
  targetNameOf,
} from '../credential/credential.ts';
import { isInstance } from '../credential/instance.ts';
import {
  type Observation,
  type Plan,
  plan,
  type RenewReason,
  tokenAnnotationsOf,
  trustedToken,
} from '../credential/plan.ts';
import type { SecretMeta } from '../credential/secret.ts';
import { type Attempt, conditionOf } from '../credential/status.ts';
import { asSeenBy, isOurs } from '../credential/target-secret.ts';
import {
  type Failure,
  type FailureKind,
  isFailure,
  TOKEN_FAILURES,
  waitsForChange,
} from '../lib/failure.ts';
import type { Key } from '../lib/key.ts';
import { type Action, type EpochMs, earlierAction, seconds } from '../lib/time.ts';
import { isPending, isTokenFailure, type TokenFailure } from '../tokens/token-demand.ts';
import { AcceptedLogins } from './accepted-logins.ts';
import { ClusterReconciler } from './cluster-reconciler.ts';
import { ClusterSessions, clusterKeyIn } from './cluster-sessions.ts';
import type { Dependencies } from './dependencies.ts';
import { FormerTargets } from './former-targets.ts';
import { gather, lastHandledRequest, lastRejection } from './gather.ts';
import { MergedTargets } from './merged-targets.ts';
import { isRepair, recordRepair, repairAt, repairConflict } from './repairs.ts';
import { SessionCleanup } from './session-cleanup.ts';
import { type IssuedToken, Sessions } from './sessions.ts';
import { SharedCredentials } from './shared-credentials.ts';
import { type CredentialState, CredentialStates, type Subject, type Unparsed } from './state.ts';
import { type PlannedSync, rejectionToKeep, type SyncedTarget, TargetSync } from './sync-target.ts';
import { type ReconcileOutcome, retryInTime, StatusUpdater } from './update-status.ts';

/** Most first tokens come sooner, and need no status of their own. */
const PENDING_SHOWN_AFTER = seconds(5);

/**
 * Brings one credential to the state that its spec asks for:
 *
 *     gather (reads only) → plan (pure) → token → sync target → update status → requeue at T | await change
 *
 * Level-based: it decides from what is now, never from the event that enqueued the key. It never waits for the
 * provider: a request in flight belongs to the token client, whose response enqueues the key again.
 */
export class Reconciler {
  readonly cleanup: SessionCleanup;
  readonly #deps: Dependencies;
  readonly #settings: Settings;
  readonly #states = new CredentialStates();
  readonly #acceptedLogins: AcceptedLogins;
  readonly #sessions: Sessions;
  readonly #target: TargetSync;
  readonly #mergedTargets: MergedTargets;
  readonly #formerTargets: FormerTargets;
  readonly #status: StatusUpdater;
  readonly #clusterSessions: ClusterSessions;
  /** Absent: ClusterConvercusCredentials are not served. */
  readonly #cluster: ClusterReconciler | undefined;

  constructor(deps: Dependencies, settings: Settings) {
    this.#deps = deps;
    this.#settings = settings;
    this.cleanup = new SessionCleanup(deps);
    this.#acceptedLogins = new AcceptedLogins(deps);
    this.#sessions = new Sessions(deps, this.#acceptedLogins);
    this.#clusterSessions = new ClusterSessions(deps);
    const parts = {
      sessions: this.#sessions,
      clusterSessions: this.#clusterSessions,
      cleanup: this.cleanup,
      shared: new SharedCredentials(),
      acceptedLogins: this.#acceptedLogins,
    };
    this.#target = new TargetSync(deps, parts);
    this.#mergedTargets = new MergedTargets(deps);
    this.#formerTargets = new FormerTargets(deps);
    this.#status = new StatusUpdater(deps);
    const { clusterCredentials: lister } = deps;
    this.#cluster =
      lister && new ClusterReconciler({ deps, settings, states: this.#states, ...parts, lister });
  }

  /** @param signal fires when nothing may be written any more: the Lease is lost or the process ends */
  async reconcile(key: Key, signal: AbortSignal): Promise<Action> {
    signal.throwIfAborted();
    const clusterName = this.#cluster && clusterNameIn(key);
    if (this.#cluster !== undefined && clusterName !== undefined) {
      return this.#cluster.reconcile(clusterName, signal);
    }
    const resource = this.#deps.lister.credential(key);
    const state = this.#states.of(key, resource?.metadata.uid);
    const action =
      resource === undefined
        ? await this.#reconcileGone(key, state, signal)
        : await this.#reconcileExisting({ key, resource, state }, signal);
    this.#states.tidy(key);
    return action;
  }

  async #reconcileExisting(unparsed: Unparsed, signal: AbortSignal): Promise<Action> {
    const action = await this.#reconcileResource(unparsed, signal);
    const { key, state } = unparsed;
    return earlierAction(action, await this.#mergedTargets.release(key, state, signal));
  }

  async #reconcileGone(key: Key, state: CredentialState, signal: AbortSignal): Promise<Action> {
    this.#deps.tokens.leave(key);
    this.#clusterSessions.leave(key);
    const removed = await this.#formerTargets.removeUnselected(key, state, signal);
    const released = await this.#mergedTargets.release(key, state, signal);
    const cleaned = earlierAction(released, await this.cleanup.cleanUp(key, state, signal));
    const action = earlierAction(removed, cleaned);
    if (action !== 'await-change') return action;
    this.cleanup.logOutRemaining(key, state, signal);
    this.#states.forget(key);
    return action;
  }

  async #reconcileResource(unparsed: Unparsed, signal: AbortSignal): Promise<Action> {
    const { key, resource, state } = unparsed;
    const { tokens, clock } = this.#deps;
    if (resource.metadata.deletionTimestamp !== undefined) {
      tokens.leave(key);
      this.#clusterSessions.leave(key);
      return 'await-change';
    }
    const issued = await this.#sessions.storeIssued(unparsed, signal);
    if (issued !== undefined && isTokenFailure(issued)) {
      return this.#status.update(unparsed, this.#storeFailed(unparsed, issued), signal);
    }
    const whole = await this.#deps.cluster.wholeCredential(resource, signal);
    if (whole === 'superseded') return 'await-change';
    const credential = isFailure(whole) ? whole : this.#parse(whole, state);
    if (isFailure(credential)) {
      // Nothing else claims the response to what was asked for before
      const known = this.#sessions.knownSecret(resource);
      if (!isFailure(whole)) await this.#leaveRequests(unparsed, known, signal);
      return this.#status.update(unparsed, this.#failed(unparsed, credential), signal);
    }
    const subject = { ...unparsed, credential };
    // One that can't be deleted keeps nothing from being renewed
    const removed = await this.#formerTargets.remove(key, resource.metadata.uid, state, signal);
    const outcome = await this.#decide(subject, issued, signal);
    const done = isAction(outcome) ? outcome : await this.#status.update(unparsed, outcome, signal);
    const action = earlierAction(done, removed);
    if (needsSession(credential, outcome, clock.now())) {
      tokens.leaveLogout(key);
      return action;
    }
    return earlierAction(action, await this.cleanup.cleanUp(key, state, signal));
  }

  /** Not again when the reconcile before waits for a token of the same object. */
  #parse(resource: ConvercusCredential, state: CredentialState): Credential | Failure {
    const { parsed } = state;
    state.parsed = undefined;
    if (parsed?.resource === resource) return parsed.credential;
    return parseCredential(resource, this.#settings);
  }

  /** No token is wanted for now. @param session its Secret */
  async #leaveRequests(
    unparsed: Unparsed,
    session: SecretMeta | 'absent',
    signal: AbortSignal,
  ): Promise<void> {
    const { key, resource } = unparsed;
    if (resource.spec.grantType !== 'password') return this.#deps.tokens.leave(key);
    this.#clusterSessions.leave(key);
    await this.#sessions.leave(unparsed, session, signal);
  }

  /** What to write into the status, or just when to reconcile again. */
  async #decide(
    subject: Subject,
    issued: IssuedToken | undefined,
    signal: AbortSignal,
  ): Promise<ReconcileOutcome | Action> {
    const { clock } = this.#deps;
    const { credential } = subject;
    const seen = await gather(this.#deps, this.#acceptedLogins, subject, signal);
    if (isFailure(seen)) {
      return { ...this.#failed(subject, seen), tokenUrl: credential.tokenUrl };
    }
    const now = clock.now();
    // The target may never be written again, because it is another's by now
    if (!holdsToken(seen, now)) this.cleanup.logOutSuperseded(credential, subject.state, signal);
    const next = plan(seen, now);
    if (next.do !== 'publish') {
      await this.#leaveRequests(subject, seen.session, signal);
      return unsynced(subject, seen, next);
    }
    const repair = repairAt(subject, { seen, ...next }, now);
    if (repair !== undefined) {
      const failed = repairConflict(subject);
      if (failed === undefined) return { requeueAt: repair };
      return { ...unchangedOutcome(subject, seen), attempt: { failed }, requeueAt: repair };
    }
    return this.#sync(subject, { seen, next, issued }, signal);
  }

  async #sync(
    subject: Subject,
    {
      seen,
      next: { reason, freshness },
      issued,
    }: {
      readonly seen: Observation;
      readonly next: Extract<Plan, { do: 'publish' }>;
      readonly issued: IssuedToken | undefined;
    },
    signal: AbortSignal,
  ): Promise<ReconcileOutcome | Action> {
    const { state, credential } = subject;
    const isRepaired = isRepair(subject, { seen, reason });
    const planned = { seen, reason, freshness, issued };
    const done = await this.#syncTarget(subject, planned, signal);
    if (done === 'superseded') return 'await-change';
    if (isPending(done)) return this.#pending(subject, seen, done.reportAt);
    state.pendingSince = undefined;
    if (isRepaired && !isTokenFailure(done)) recordRepair(state, this.#deps.clock.now());
    recordRequest(subject, reason, done);
    const unchanged = unchangedOutcome(subject, seen);
    const handledRenewRequest = isResponse(done)
      ? credential.renewRequest
      : unchanged.handledRenewRequest;
    const failed = isTokenFailure(done) ? done : undefined;
    const rejection = isKept(done)
      ? unchanged.rejection
      : rejectionToKeep(seen, this.#loginState(subject), failed, freshness);
    if (reason === 'RenewalDue' && !isTokenFailure(done)) this.#recordSchedule(seen);
    return { ...unchanged, handledRenewRequest, rejection, ...this.#synced(subject, reason, done) };
  }

  /** Without the credentials nothing is presented: what waits for its turn would send values that are withdrawn. */
  async #syncTarget(
    subject: Subject,
    planned: PlannedSync,
    signal: AbortSignal,
  ): ReturnType<TargetSync['sync']> {
    const done = await this.#target.sync(subject, planned, signal);
    if (isInputFault(done)) await this.#leaveRequests(subject, planned.seen.session, signal);
    return done;
  }

  /** No instance logs in: the key of its ClusterConvercusCredential does, for all of them. */
  #loginState({
    key,
    resource,
    state,
  }: Subject): Pick<CredentialState, 'credentials' | 'rejected'> {
    if (!isInstance(resource)) return state;
    const rejected = this.#states.find(clusterKeyIn(key))?.rejected;
    return { credentials: state.credentials, rejected };
  }

  #synced({ credential, state }: Subject, reason: RenewReason, done: SyncedTarget | TokenFailure) {
    const { telemetry, tokens, clock } = this.#deps;
    if (isTokenFailure(done)) {
      if (!done.isCached) telemetry.renewal(reason, done.failure.kind);
      const { failure: failed, retryAt, isCached = false } = done;
      const at = TOKEN_FAILURES.has(failed.kind) ? (done.at ?? clock.now()) : undefined;
      return { attempt: { failed, at, retryAt, isCached }, requeueAt: retryAt };
    }
    telemetry.renewal(reason, 'success');
    const { tokenAnnotations, targetVersion } = done;
    // The request that we joined may have been sent before the provider revoked all earlier tokens
    const isVoid = tokenAnnotations.issuedAt < tokens.validFrom(credential.tokenUrl);
    const requeueAt = isVoid ? clock.now() : tokenAnnotations.renewAt;
    state.publishedAt = isVoid ? undefined : clock.monotonic();
    return {
      currentToken: tokenAnnotations,
      targetVersion,
      attempt: { renewed: reason, claims: done.claims },
      requeueAt,
    };
  }

  /** The status stays as it is. A credential without one gets one after 5 s, which says what it waits for. */
  #pending(subject: Subject, seen: Observation, reportAt: EpochMs): ReconcileOutcome | Action {
    const { state, resource, credential } = subject;
    state.parsed = { resource, credential };
    if ((resource.status?.conditions ?? []).length > 0) return { requeueAt: reportAt };
    const { clock } = this.#deps;
    state.pendingSince ??= clock.monotonic();
    const left = state.pendingSince + PENDING_SHOWN_AFTER - clock.monotonic();
    if (left > 0) return { requeueAt: Math.min(clock.now() + left, reportAt) };
    return { ...unchangedOutcome(subject, seen), attempt: 'pending', requeueAt: reportAt };
  }

  #recordSchedule(seen: Observation): void {
    const { telemetry, clock } = this.#deps;
    const former = trustedToken(seen);
    if (former === undefined) return;
    const now = clock.now();
    telemetry.renewedOnSchedule({
      lateness: now - former.renewAt,
      remaining: former.expiresAt - now,
    });
  }

  /** A session that has come in could not be stored. */
  #storeFailed(unparsed: Unparsed, { failure, retryAt }: TokenFailure): ReconcileOutcome {
    const outcome = this.#failed(unparsed, failure);
    const now = this.#deps.clock.now();
    const { currentToken } = outcome;
    const failing = { currentToken, failingSince: unparsed.state.failingSince ?? now };
    return { ...outcome, requeueAt: retryInTime(failure, retryAt, failing, now) };
  }

  /** The spec is invalid, or a read has failed: the target is left alone, and its token stays as good as it was. */
  #failed(unparsed: Unparsed, failed: Failure): ReconcileOutcome {
    const { resource, state } = unparsed;
    const { uid, namespace, name } = resource.metadata;
    const found = this.#deps.lister.secret(namespace, targetNameOf(resource));
    const targetUser = { uid, name, target: resource.spec.target };
    const isKnown = typeof found === 'object' && isOurs(targetUser, found);
    const now = this.#deps.clock.now();
    const target = isKnown ? asSeenBy(targetUser, found, now) : 'absent';
    return {
      currentToken: tokenAnnotationsOf({ target }),
      targetVersion: target === 'absent' ? undefined : intactVersionOf(target, resource, state),
      suspended: resource.spec.suspend,
      handledRenewRequest: lastHandledRequest(unparsed),
      rejection: lastRejection(unparsed),
      attempt: { failed },
      requeueAt: undefined,
    };
  }
}

const isAction = (outcome: ReconcileOutcome | Action): outcome is Action =>
  outcome === 'await-change' || !('attempt' in outcome);

/**
 * A session has to stay: the grant wants one, the reconcile is not done, or the valid token in place is of a former grant
 * and may be good for nothing without it.
 */
function needsSession(
  { grantType, specHash }: Credential,
  outcome: ReconcileOutcome | Action,
  now: EpochMs,
): boolean {
  if (grantType === 'password' || isAction(outcome)) return true;
  const { currentToken } = outcome;
  return (
    currentToken !== undefined && currentToken.specHash !== specHash && currentToken.expiresAt > now
  );
}

/** Our target holds a token that is still valid: it may be of a session that was replaced since. */
function holdsToken(seen: Observation, now: EpochMs): boolean {
  const expiresAt = tokenAnnotationsOf(seen)?.expiresAt ?? 0;
  return seen.duplicate === undefined && expiresAt > now;
}

/** Nothing is to be published. */
function unsynced(
  subject: Subject,
  seen: Observation,
  next: Exclude<Plan, { do: 'publish' }>,
): ReconcileOutcome {
  const unchanged = unchangedOutcome(subject, seen);
  if (next.do === 'report') {
    return { ...unchanged, attempt: { failed: next.failure }, requeueAt: undefined };
  }
  const isReported = next.failure === undefined || isFailureReported(subject, next.failure);
  const attempt = isReported ? undefined : rejectedBefore(seen, next.failure, next.requeueAt);
  return { ...unchanged, attempt, requeueAt: next.requeueAt };
}

/** Another failure, or an edit, may have hidden in the meantime what still stands in the way. */
function isFailureReported(
  { resource: { status, metadata } }: Subject,
  { kind }: Failure,
): boolean {
  const renewed = conditionOf(status, 'Renewed');
  return renewed?.reason === kind && renewed.observedGeneration === metadata.generation;
}

/** With the times of the rejection, which may be that of another credential. */
const rejectedBefore = (
  { rejection }: Observation,
  failed: Failure,
  retryAt: EpochMs | undefined,
): Attempt => ({ failed, at: rejection?.at, retryAt });

/** The credentials Secret has been read, and a value is missing or faulty. */
const INPUT_FAULTS: readonly FailureKind[] = ['InputMissing', 'InputInvalid'];

const isInputFault = (done: Awaited<ReturnType<TargetSync['sync']>>): boolean =>
  done !== 'superseded' && isTokenFailure(done) && INPUT_FAULTS.includes(done.failure.kind);

/** What stops us before the token endpoint has responded, or before its token is in place. */
const WITHOUT_RESPONSE: ReadonlySet<FailureKind> = new Set<FailureKind>([
  ...INPUT_FAULTS,
  'Throttled',
  'ClusterUnavailable',
  'PermissionDenied',
  'TargetRefused',
]);

/**
 * A renew request is handled by one response. A failure is tried again by its retry rule, unless it waits for a change,
 * but not after a restart. A token may be valid for a day, and what stood in the way may be over in minutes.
 */
function recordRequest(
  { credential: { renewRequest }, state }: Subject,
  reason: RenewReason,
  done: SyncedTarget | TokenFailure,
): void {
  if (isResponse(done)) state.handledRenewRequest = renewRequest;
  if (reason !== 'RenewRequested') return;
  const isRetried = isTokenFailure(done) && !waitsForChange(done.failure);
  state.failedRenewRequest = isRetried ? renewRequest : undefined;
}

const isResponse = (done: SyncedTarget | TokenFailure): boolean =>
  !isTokenFailure(done) || !(done.isCached || WITHOUT_RESPONSE.has(done.failure.kind));

/** Nothing has been presented, so no login has been accepted. */
const isKept = (done: SyncedTarget | TokenFailure): boolean =>
  !isTokenFailure(done) && done.isKept === true;

function unchangedOutcome({ credential }: Subject, seen: Observation) {
  const currentToken = trustedToken(seen);
  const isTrusted = currentToken !== undefined && seen.target !== 'absent';
  return {
    currentToken,
    targetVersion: isTrusted ? seen.target.resourceVersion : undefined,
    tokenUrl: credential.tokenUrl,
    suspended: credential.suspended,
    handledRenewRequest: seen.handledRenewRequest,
    rejection: seen.rejection,
  };
}

/** The status names the version that was last seen intact, so that a later one is still looked into. */
const intactVersionOf = (
  { resourceVersion }: SecretMeta,
  { status }: Unparsed['resource'],
  { intactVersion }: CredentialState,
): string | undefined =>
  resourceVersion === intactVersion ? resourceVersion : status?.target?.resourceVersion;
