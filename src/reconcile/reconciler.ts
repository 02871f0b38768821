import {
  type Credential,
  parseCredential,
  type Settings,
  sessionNameOf,
  targetNameOf,
} from '../domain/credential.ts';
import { type Failure, type FailureKind, isFailure } from '../domain/failure.ts';
import {
  heldMark,
  markOf,
  type Observation,
  type Plan,
  plan,
  type RenewReason,
} from '../domain/plan.ts';
import type { SecretMeta } from '../domain/secret.ts';
import { type Attempt, conditionOf, readRejection } from '../domain/status.ts';
import { asSeenBy, isOurs } from '../domain/target-secret.ts';
import { type Action, type EpochMs, earlier } from '../domain/time.ts';
import type { ClusterView, Key, PassContext } from '../ports.ts';
import { conclude, type Ports, type Result, retryInTime } from './conclude.ts';
import { gather, type Subject } from './gather.ts';
import { Memories, type Memory } from './memory.ts';
import { type Published, publish, rejectionOf } from './publish.ts';
import { contested, isRepair, noteRepair, repairAt } from './repairs.ts';
import { hasUnstored, logOutUnstored, sweepSession } from './sweep.ts';
import type { Refusal } from './wish.ts';

export type Pass = (key: Key, context: PassContext) => Promise<Action>;

/** gather (reads only) → plan (pure) → carry out (writes only) → when to look again. */
export function reconciler(ports: Ports, settings: Settings): Pass {
  const memories = new Memories();
  const pass: Pass = async (key, context) => {
    const resource = ports.view.credential(key);
    const memory = memories.of(key, resource?.metadata.uid);
    if (resource === undefined) {
      const action = await sweepLeftover(ports, key, memory, context);
      if (action !== 'await-change') return action;
      logOutUnstored(ports, key, memory, context.signal);
      memories.forget(key);
      return action;
    }
    if (resource.metadata.deletionTimestamp !== undefined) return 'await-change';
    const action = await reconcile(ports, settings, { key, resource, memory }, context);
    if (resource.spec.grantType !== 'password' || isDue(action, ports.clock.now())) return action;
    return earlier(action, await ports.sessions.unclaimed(memory));
  };
  return async (key, context) => {
    const action = await pass(key, context);
    memories.tidy(key);
    return action;
  };
}

const isDue = (action: Action, now: EpochMs): boolean =>
  action !== 'await-change' && action.lookAgainAt <= now;

async function reconcile(
  ports: Ports,
  settings: Settings,
  { key, resource, memory }: { readonly key: Key } & Omit<Subject, 'credential'>,
  context: PassContext,
): Promise<Action> {
  const { view, cluster, desk } = ports;
  const finish = (result: Result) => conclude(ports, { resource, memory }, result, context);
  const unsettled = await settle(ports, { resource, memory }, context.signal);
  if (unsettled !== undefined) {
    const { failure, retryAt } = unsettled;
    const result = unusable(view, { resource, memory }, failure);
    const now = ports.clock.now();
    const failing = { held: result.held, failingSince: memory.failingSince ?? now };
    return finish({ ...result, lookAgainAt: retryInTime(failure, retryAt, failing, now) });
  }
  const credential = parseCredential(resource, settings);
  if (isFailure(credential)) return finish(unusable(view, { resource, memory }, credential));
  const subject = { resource, memory, credential };
  const { tokenUrl } = credential;
  const voidBefore = desk.revocations.voidBefore(tokenUrl, ports.clock.now());
  const seen = await gather({ view, cluster, voidBefore }, subject, context.signal);
  if (isFailure(seen)) return finish({ ...unusable(view, { resource, memory }, seen), tokenUrl });
  const now = ports.clock.now();
  const next = plan(seen, now);
  const repair = next.do === 'publish' ? repairAt(subject, { seen, ...next }, now) : undefined;
  if (repair !== undefined) {
    const failed = contested(subject);
    const action = { lookAgainAt: repair };
    if (failed === undefined) return action;
    return finish({ ...asItIs(subject, seen), attempt: { failed }, ...action });
  }
  const result = await carryOut(ports, subject, { seen, next }, context);
  if (result === 'superseded') return 'await-change';
  const action = await finish(result);
  if (needsSession(credential, result, ports.clock.now())) return action;
  return earlier(action, await sweepLeftover(ports, key, memory, context));
}

/** The token in place may come from a former grant, and be good for nothing once its session has ended. */
function needsSession(
  { grantType, specHash }: Credential,
  { held }: Result,
  now: EpochMs,
): boolean {
  if (grantType === 'password') return true;
  return held !== undefined && held.specHash !== specHash && held.expiresAt > now;
}

/** What a session needs is done first, whatever its credential has become; unless it has another grant. */
async function settle(
  { sessions, view }: Ports,
  { resource, memory }: Omit<Subject, 'credential'>,
  signal: AbortSignal,
): Promise<Refusal | undefined> {
  const { namespace, name } = resource.metadata;
  if (resource.spec.grantType !== 'password') return undefined;
  return sessions.settle(resource, memory, view.secret(namespace, sessionNameOf(name)), signal);
}

/** The session of a credential that is gone, or that has another grant by now. */
async function sweepLeftover(
  ports: Ports,
  key: Key,
  memory: Memory,
  context: PassContext,
): Promise<Action> {
  const isLeft = ports.view.hasSession(key) || memory.session !== undefined || hasUnstored(memory);
  return isLeft ? sweepSession(ports, key, memory, context) : 'await-change';
}

async function carryOut(
  ports: Ports,
  subject: Subject,
  { seen, next }: { readonly seen: Observation; readonly next: Plan },
  context: PassContext,
): Promise<Result | 'superseded'> {
  const unchanged = asItIs(subject, seen);
  switch (next.do) {
    case 'nothing':
      return { ...unchanged, attempt: untold(subject, next), lookAgainAt: next.lookAgainAt };
    case 'report':
      return { ...unchanged, attempt: { failed: next.failure }, lookAgainAt: undefined };
    case 'publish': {
      const repairs = isRepair(subject, { seen, reason: next.reason });
      const done = await publish(ports, subject, { seen, need: next.need }, context);
      if (done === 'superseded') return done;
      if (repairs && !('failure' in done)) noteRepair(subject.memory, ports.clock.now());
      const { renewRequest } = subject.credential;
      if (isAnswer(done)) subject.memory.answeredRequest = renewRequest;
      const handledRenewRequest = isAnswer(done) ? renewRequest : unchanged.handledRenewRequest;
      const rejection = rejectionOf(seen, subject.memory, done);
      const remembered = { ...unchanged, handledRenewRequest, rejection };
      return { ...remembered, ...published(ports, subject, next.reason, done) };
    }
  }
}

/** Another failure may have hidden in the meantime what still stands in the way. */
function untold(
  { resource: { status } }: Subject,
  { failure }: { readonly failure?: Failure },
): Attempt | undefined {
  const isTold = conditionOf(status, 'Renewed')?.reason === failure?.kind;
  return failure === undefined || isTold ? undefined : { failed: failure };
}

/** What stops us before the token endpoint has answered, or before its token is in place. */
const NO_ANSWER: ReadonlySet<FailureKind> = new Set<FailureKind>([
  'Throttled',
  'ClusterUnavailable',
  'TargetRefused',
]);

const isAnswer = (done: Published | Refusal): boolean =>
  !('failure' in done) || !(done.isRemembered || NO_ANSWER.has(done.failure.kind));

function asItIs({ credential }: Subject, seen: Observation) {
  const held = heldMark(seen);
  const known = held !== undefined && seen.target !== 'absent';
  return {
    held,
    targetVersion: known ? seen.target.resourceVersion : undefined,
    tokenUrl: credential.tokenUrl,
    suspended: credential.suspended,
    handledRenewRequest: seen.handledRenewRequest,
    rejection: seen.rejection,
  };
}

function published(
  { telemetry, desk, clock }: Ports,
  { credential }: Subject,
  reason: RenewReason,
  done: Published | Refusal,
) {
  if ('failure' in done) {
    if (!done.isRemembered) telemetry.renewal(reason, done.failure.kind);
    return { attempt: { failed: done.failure }, lookAgainAt: done.retryAt };
  }
  telemetry.renewal(reason, 'success');
  const { mark, targetVersion } = done;
  // The request that we joined may have been sent before the provider revoked all earlier tokens
  const isVoid = mark.issuedAt < desk.revocations.voidBefore(credential.tokenUrl, clock.now());
  const lookAgainAt = isVoid ? clock.now() : mark.renewAt;
  return { held: mark, targetVersion, attempt: { renewed: reason }, lookAgainAt };
}

/** What we can't make sense of or can't look into is left alone; a token in the target stays as good as it was. */
function unusable(
  view: ClusterView,
  { resource, memory }: Omit<Subject, 'credential'>,
  failed: Failure,
): Result {
  const { uid, namespace, name } = resource.metadata;
  const found = view.secret(namespace, targetNameOf(resource));
  const claimant = { uid, name, target: resource.spec.target };
  const isKnown = typeof found === 'object' && isOurs(claimant, found);
  const target = isKnown ? asSeenBy(claimant, found) : 'absent';
  return {
    held: markOf({ target }),
    targetVersion: target === 'absent' ? undefined : intactVersionOf(target, { resource, memory }),
    suspended: resource.spec.suspend,
    handledRenewRequest: resource.status?.lastHandledRenewRequest,
    rejection: readRejection(resource.status),
    attempt: { failed },
    lookAgainAt: undefined,
  };
}

/** The status names the version that was last seen intact, so that a later one is still looked into. */
const intactVersionOf = (
  { resourceVersion }: SecretMeta,
  { resource: { status }, memory }: Omit<Subject, 'credential'>,
): string | undefined =>
  resourceVersion === memory.intactVersion ? resourceVersion : status?.target?.resourceVersion;
