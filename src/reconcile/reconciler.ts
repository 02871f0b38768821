import type { ReconcileContext } from '../controller/reconcile-context.ts';
import {
  type Credential,
  parseCredential,
  type Settings,
  sessionNameOf,
  targetNameOf,
} from '../credential/credential.ts';
import {
  type Observation,
  type Plan,
  plan,
  type RenewReason,
  tokenAnnotationsOf,
  trustedToken,
} from '../credential/plan.ts';
import type { SecretMeta } from '../credential/secret.ts';
import { type Attempt, conditionOf, readRejection } from '../credential/status.ts';
import { asSeenBy, isOurs } from '../credential/target-secret.ts';
import { type Failure, type FailureKind, isFailure } from '../lib/failure.ts';
import type { Key } from '../lib/key.ts';
import { type Action, type EpochMs, earlierAction } from '../lib/time.ts';
import type { TokenFailure } from '../tokens/token-demand.ts';
import { gather } from './gather.ts';
import type { Lister } from './lister.ts';
import { isRepair, recordRepair, repairAt, repairConflict } from './repairs.ts';
import { cleanUpSession, hasUnstoredSession, logOutUnstoredSessions } from './session-cleanup.ts';
import type { Subject } from './state.ts';
import { type CredentialState, CredentialStates } from './state.ts';
import { rejectionOf, type SyncedTarget, syncTarget } from './sync-target.ts';
import {
  type Ports,
  type ReconcileOutcome,
  retryBeforeTokenExpires,
  updateStatus,
} from './update-status.ts';

export type Reconcile = (key: Key, context: ReconcileContext) => Promise<Action>;

/** gather (reads only) → plan (pure) → carry out (writes only) → when to look again. */
export function reconciler(ports: Ports, settings: Settings): Reconcile {
  const states = new CredentialStates();
  const reconcile: Reconcile = async (key, context) => {
    const resource = ports.lister.credential(key);
    const state = states.of(key, resource?.metadata.uid);
    if (resource === undefined) {
      const action = await cleanUpLeftover(ports, key, state, context);
      if (action !== 'await-change') return action;
      logOutUnstoredSessions(ports, key, state, context.signal);
      states.forget(key);
      return action;
    }
    if (resource.metadata.deletionTimestamp !== undefined) return 'await-change';
    const action = await reconcileCredential(ports, settings, { key, resource, state }, context);
    if (resource.spec.grantType !== 'password' || isDue(action, ports.clock.now())) return action;
    return earlierAction(action, await ports.sessions.unclaimed(state));
  };
  return async (key, context) => {
    const action = await reconcile(key, context);
    states.tidy(key);
    return action;
  };
}

const isDue = (action: Action, now: EpochMs): boolean =>
  action !== 'await-change' && action.requeueAt <= now;

async function reconcileCredential(
  ports: Ports,
  settings: Settings,
  { key, resource, state }: { readonly key: Key } & Omit<Subject, 'credential'>,
  context: ReconcileContext,
): Promise<Action> {
  const { lister, cluster, tokenClient } = ports;
  const finish = (result: ReconcileOutcome) =>
    updateStatus(ports, { resource, state }, result, context);
  const unsettled = await settle(ports, { resource, state }, context.signal);
  if (unsettled !== undefined) {
    const { failure, retryAt } = unsettled;
    const result = failedOutcome(lister, { resource, state }, failure);
    const now = ports.clock.now();
    const failing = { currentToken: result.currentToken, failingSince: state.failingSince ?? now };
    return finish({
      ...result,
      requeueAt: retryBeforeTokenExpires(failure, retryAt, failing, now),
    });
  }
  const credential = parseCredential(resource, settings);
  if (isFailure(credential)) return finish(failedOutcome(lister, { resource, state }, credential));
  const subject = { resource, state, credential };
  const { tokenUrl } = credential;
  const validFrom = tokenClient.notBeforePolicies.validFrom(tokenUrl, ports.clock.now());
  const seen = await gather({ lister, cluster, validFrom }, subject, context.signal);
  if (isFailure(seen))
    return finish({ ...failedOutcome(lister, { resource, state }, seen), tokenUrl });
  const now = ports.clock.now();
  const next = plan(seen, now);
  const repair = next.do === 'publish' ? repairAt(subject, { seen, ...next }, now) : undefined;
  if (repair !== undefined) {
    const failed = repairConflict(subject);
    const action = { requeueAt: repair };
    if (failed === undefined) return action;
    return finish({ ...unchangedOutcome(subject, seen), attempt: { failed }, ...action });
  }
  const result = await carryOut(ports, subject, { seen, next }, context);
  if (result === 'superseded') return 'await-change';
  const action = await finish(result);
  if (needsSession(credential, result, ports.clock.now())) return action;
  return earlierAction(action, await cleanUpLeftover(ports, key, state, context));
}

/** The token in place may come from a former grant, and be good for nothing once its session has ended. */
function needsSession(
  { grantType, specHash }: Credential,
  { currentToken }: ReconcileOutcome,
  now: EpochMs,
): boolean {
  if (grantType === 'password') return true;
  return (
    currentToken !== undefined && currentToken.specHash !== specHash && currentToken.expiresAt > now
  );
}

/** What a session needs is done first, whatever its credential has become; unless it has another grant. */
async function settle(
  { sessions, lister }: Ports,
  { resource, state }: Omit<Subject, 'credential'>,
  signal: AbortSignal,
): Promise<TokenFailure | undefined> {
  const { namespace, name } = resource.metadata;
  if (resource.spec.grantType !== 'password') return undefined;
  return sessions.settle(resource, state, lister.secret(namespace, sessionNameOf(name)), signal);
}

/** The session of a credential that is gone, or that has another grant by now. */
async function cleanUpLeftover(
  ports: Ports,
  key: Key,
  state: CredentialState,
  context: ReconcileContext,
): Promise<Action> {
  const isLeft =
    ports.lister.hasSession(key) || state.session !== undefined || hasUnstoredSession(state);
  return isLeft ? cleanUpSession(ports, key, state, context) : 'await-change';
}

async function carryOut(
  ports: Ports,
  subject: Subject,
  { seen, next }: { readonly seen: Observation; readonly next: Plan },
  context: ReconcileContext,
): Promise<ReconcileOutcome | 'superseded'> {
  const unchanged = unchangedOutcome(subject, seen);
  switch (next.do) {
    case 'nothing':
      return { ...unchanged, attempt: unreportedFailure(subject, next), requeueAt: next.requeueAt };
    case 'report':
      return { ...unchanged, attempt: { failed: next.failure }, requeueAt: undefined };
    case 'publish': {
      const repairs = isRepair(subject, { seen, reason: next.reason });
      const done = await syncTarget(ports, subject, { seen, freshness: next.freshness }, context);
      if (done === 'superseded') return done;
      if (repairs && !('failure' in done)) recordRepair(subject.state, ports.clock.now());
      const { renewRequest } = subject.credential;
      if (isResponse(done)) subject.state.handledRequest = renewRequest;
      const handledRenewRequest = isResponse(done) ? renewRequest : unchanged.handledRenewRequest;
      const rejection = rejectionOf(seen, subject.state, done);
      const outcome = { ...unchanged, handledRenewRequest, rejection };
      return { ...outcome, ...afterSync(ports, subject, next.reason, done) };
    }
  }
}

/** Another failure may have hidden in the meantime what still stands in the way. */
function unreportedFailure(
  { resource: { status } }: Subject,
  { failure }: { readonly failure?: Failure },
): Attempt | undefined {
  const isTold = conditionOf(status, 'Renewed')?.reason === failure?.kind;
  return failure === undefined || isTold ? undefined : { failed: failure };
}

/** What stops us before the token endpoint has answered, or before its token is in place. */
const WITHOUT_RESPONSE: ReadonlySet<FailureKind> = new Set<FailureKind>([
  'Throttled',
  'ClusterUnavailable',
  'TargetRefused',
]);

const isResponse = (done: SyncedTarget | TokenFailure): boolean =>
  !('failure' in done) || !(done.isCached || WITHOUT_RESPONSE.has(done.failure.kind));

function unchangedOutcome({ credential }: Subject, seen: Observation) {
  const currentToken = trustedToken(seen);
  const known = currentToken !== undefined && seen.target !== 'absent';
  return {
    currentToken,
    targetVersion: known ? seen.target.resourceVersion : undefined,
    tokenUrl: credential.tokenUrl,
    suspended: credential.suspended,
    handledRenewRequest: seen.handledRenewRequest,
    rejection: seen.rejection,
  };
}

function afterSync(
  { telemetry, tokenClient, clock }: Ports,
  { credential }: Subject,
  reason: RenewReason,
  done: SyncedTarget | TokenFailure,
) {
  if ('failure' in done) {
    if (!done.isCached) telemetry.renewal(reason, done.failure.kind);
    return { attempt: { failed: done.failure }, requeueAt: done.retryAt };
  }
  telemetry.renewal(reason, 'success');
  const { tokenAnnotations, targetVersion } = done;
  // The request that we joined may have been sent before the provider revoked all earlier tokens
  const isVoid =
    tokenAnnotations.issuedAt <
    tokenClient.notBeforePolicies.validFrom(credential.tokenUrl, clock.now());
  const requeueAt = isVoid ? clock.now() : tokenAnnotations.renewAt;
  return { currentToken: tokenAnnotations, targetVersion, attempt: { renewed: reason }, requeueAt };
}

/** What we can't make sense of or can't look into is left alone; a token in the target stays as good as it was. */
function failedOutcome(
  lister: Lister,
  { resource, state }: Omit<Subject, 'credential'>,
  failed: Failure,
): ReconcileOutcome {
  const { uid, namespace, name } = resource.metadata;
  const found = lister.secret(namespace, targetNameOf(resource));
  const targetUser = { uid, name, target: resource.spec.target };
  const isKnown = typeof found === 'object' && isOurs(targetUser, found);
  const target = isKnown ? asSeenBy(targetUser, found) : 'absent';
  return {
    currentToken: tokenAnnotationsOf({ target }),
    targetVersion: target === 'absent' ? undefined : intactVersionOf(target, { resource, state }),
    suspended: resource.spec.suspend,
    handledRenewRequest: resource.status?.lastHandledRenewRequest,
    rejection: readRejection(resource.status),
    attempt: { failed },
    requeueAt: undefined,
  };
}

/** The status names the version that was last seen intact, so that a later one is still looked into. */
const intactVersionOf = (
  { resourceVersion }: SecretMeta,
  { resource: { status }, state }: Omit<Subject, 'credential'>,
): string | undefined =>
  resourceVersion === state.intactVersion ? resourceVersion : status?.target?.resourceVersion;
