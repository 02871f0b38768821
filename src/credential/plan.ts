import { Failure } from '../lib/failure.ts';
import type { EpochMs, Ms } from '../lib/time.ts';
import { CLUSTER_KIND, clusterNameOf, kindAndNameOf } from './cluster-name.ts';
import type { Credential } from './credential.ts';
import { loginAllowedAt, presentedDigest, REJECTED_BEFORE, type Rejection } from './lockout.ts';
import { type KnownSecret, type SecretMeta, type TokenAnnotations, versionOf } from './secret.ts';
import { isSessionSecret, sessionNotOurs } from './session-secret.ts';
import { isWrittenByOperator, sourceWrittenByOperator } from './source-type.ts';
import { isMergeAllowed, isOurs, MERGE_ANNOTATION } from './target-secret.ts';

/** Everything that `plan` decides from. */
export interface Observation {
  readonly credential: Credential;
  readonly source: KnownSecret;
  readonly target: SecretMeta | 'absent';
  /** The Secret of the session; absent for all grants but `password`. */
  readonly session: SecretMeta | 'absent';
  /** The target holds what was published; its contents are read only after another writer has changed it. */
  readonly targetIntact: boolean;
  /** Name of the credential with the same target that takes precedence. */
  readonly duplicate: string | undefined;
  /** The last renew request that led to a try, successful or not. */
  readonly handledRenewRequest: string | undefined;
  /** A renew request whose last try failed. It is tried again by the retry rule of that failure. */
  readonly failedRenewRequest: string | undefined;
  /** The last login that the server has rejected. */
  readonly rejection: Rejection | undefined;
  /** By the not-before policy of the realm, tokens requested before this moment are revoked. */
  readonly validFrom: EpochMs;
  /** How long ago this process has published a token of the credential; undefined when it has not. */
  readonly sincePublished: Ms | undefined;
}

/** Why a token is published. Condition reason, event reason and metric label. */
export type RenewReason =
  | 'TokenMissing'
  | 'CredentialChanged'
  | 'SpecChanged'
  | 'TargetEdited'
  | 'TokenRevoked'
  | 'RenewRequested'
  | 'RenewalDue';

export type Plan =
  | {
      readonly do: 'nothing';
      readonly requeueAt: EpochMs | undefined;
      /** Why a token that is due is not requested. */
      readonly failure?: Failure;
    }
  | { readonly do: 'report'; readonly failure: Failure }
  | { readonly do: 'publish'; readonly reason: RenewReason; readonly freshness: RequiredFreshness };

/** Which token may be published. */
export interface RequiredFreshness {
  /** A token that was requested for another credential may serve if it was issued after this moment. */
  readonly newerThan: EpochMs;
  /** `renew-requested-at` asks for it: a cached failure does not count. */
  readonly requested: boolean;
}

/**
 * Pure. Reports the first fault. Without one: nothing while suspended; else publishes for the first reason that holds and
 * need not wait, unless that needs a login that was rejected before.
 */
export function plan(seen: Observation, now: EpochMs): Plan {
  for (const check of FAULT_CHECKS) {
    const failure = check(seen);
    if (failure !== undefined) return { do: 'report', failure };
  }
  if (seen.credential.suspended) return { do: 'nothing', requeueAt: undefined };
  const reasons = PUBLISH_CHECKS.filter(([, holds]) => holds(seen, now)).map(([reason]) => reason);
  const heldUntil = publishableAt(seen, now);
  const reason = reasons.find((each) => now >= heldUntil || !waitsForMinimum(each, seen));
  if (reason === undefined) {
    const nextAt = reasons.length === 0 ? tokenAnnotationsOf(seen)?.renewAt : heldUntil;
    return { do: 'nothing', requeueAt: orAsRequested(nextAt, seen, now) };
  }
  const publish = { do: 'publish', reason, freshness: freshnessFor(reason, seen, now) } as const;
  if (!isRejectedBefore(seen, now) || keepsToken(seen, publish)) return publish;
  return { do: 'nothing', failure: REJECTED_BEFORE, requeueAt: loginAllowedFrom(seen, now) };
}

type FaultCheck = (seen: Observation) => Failure | undefined;

/**
 * The target of a credential with one of these faults is not its own: status has no issuedAt, so that target.name and
 * creationPolicy, which the messages advise to change, can be changed.
 */
const FAULT_CHECKS: readonly FaultCheck[] = [
  takenByDuplicate,
  mergeTargetMissing,
  mergeNotAllowed,
  targetNotOurs,
  sessionTaken,
  sourceTaken,
];

type PublishCheck = (seen: Observation, now: EpochMs) => boolean;

/** In the order of precedence. A check counts only where those above it do not hold, or have to wait. */
const PUBLISH_CHECKS: readonly (readonly [RenewReason, PublishCheck])[] = [
  ['TokenMissing', (seen) => tokenAnnotationsOf(seen) === undefined],
  ['CredentialChanged', credentialChanged],
  ['SpecChanged', (seen) => tokenAnnotationsOf(seen)?.specHash !== seen.credential.specHash],
  ['TargetEdited', (seen) => !isInPlace(seen)],
  [
    'TokenRevoked',
    ({ target, validFrom }) => (tokenAnnotationsOf({ target })?.issuedAt ?? 0) < validFrom,
  ],
  ['RenewRequested', renewRequested],
  ['RenewalDue', renewalDue],
];

export const RENEW_REASONS: readonly RenewReason[] = PUBLISH_CHECKS.map(([reason]) => reason);

/** Annotations of the token in the target, even if another writer has changed the target since. */
export const tokenAnnotationsOf = ({
  target,
}: Pick<Observation, 'target'>): TokenAnnotations | undefined =>
  target === 'absent' ? undefined : target.tokenAnnotations;

/** The target is as it was published: contents, owner and label. */
export function isInPlace({ credential, target, targetIntact }: Observation): boolean {
  if (target === 'absent' || !targetIntact) return false;
  if (credential.target.creationPolicy === 'Merge') return isOurs(credential, target);
  const owner = credential.target.deletionPolicy === 'Delete' ? credential.uid : undefined;
  return target.controllerUid === owner && target.credentialName === credential.name;
}

function takenByDuplicate({ credential, duplicate }: Observation): Failure | undefined {
  if (duplicate === undefined) return undefined;
  return new Failure(
    'TargetNotOurs',
    `Secret "${credential.target.name}" is already the target of ${kindAndNameOf(duplicate)}. Give this one a spec.target.name of its own.`,
  );
}

function mergeTargetMissing({ credential, target }: Observation): Failure | undefined {
  if (credential.target.creationPolicy === 'Owner' || target !== 'absent') return undefined;
  return new Failure(
    'TargetMissing',
    `Secret "${credential.target.name}" does not exist and spec.target.creationPolicy is Merge. Create it, with the annotation ${MERGE_ANNOTATION}: ${credential.name}, or change creationPolicy to Owner, and the operator creates it.`,
  );
}

/** Before any look at what is in the Secret: the message is the same whatever that is. */
function mergeNotAllowed({ credential, target }: Observation): Failure | undefined {
  if (credential.target.creationPolicy === 'Owner' || target === 'absent') return undefined;
  if (isMergeAllowed(credential, target)) return undefined;
  const { name } = credential.target;
  return new Failure(
    'MergeNotAllowed',
    `Secret "${name}" does not allow it. Its owner can: kubectl annotate secret ${name} ${MERGE_ANNOTATION}=${credential.name}.`,
  );
}

function targetNotOurs({ credential, target }: Observation): Failure | undefined {
  if (target === 'absent' || isOurs(credential, target)) return undefined;
  const { name, creationPolicy } = credential.target;
  const isOfCluster = clusterNameOf(credential.name) !== undefined;
  const mayMerge = creationPolicy === 'Owner' && !isOfCluster;
  const merge = mayMerge ? ', or creationPolicy to Merge to add to it' : '';
  return new Failure(
    'TargetNotOurs',
    `Secret "${name}" exists and was not made for this ${isOfCluster ? CLUSTER_KIND : 'ConvercusCredential'}. Change spec.target.name${merge}; delete the Secret only if nothing uses it.`,
  );
}

function sourceTaken({ credential: { source: named }, source }: Observation): Failure | undefined {
  const isTaken = typeof source === 'object' && isWrittenByOperator(source);
  return isTaken ? sourceWrittenByOperator(named.name) : undefined;
}

function sessionTaken({ credential, session }: Observation): Failure | undefined {
  if (session === 'absent' || isSessionSecret(session, credential.name)) return undefined;
  return sessionNotOurs(credential.name, session);
}

/**
 * What would be presented has been rejected, and there is no session to refresh. It is not sent again, not even after
 * a restart: each wrong password brings the account nearer to a lock. `renew-requested-at` allows one more try.
 */
function isRejectedBefore(seen: Observation, now: EpochMs): boolean {
  const { credential, rejection, session, source } = seen;
  if (rejection === undefined || session !== 'absent' || typeof source !== 'object') return false;
  const isSame = rejection.presented === presentedDigest(credential, versionOf(source));
  return isSame && now < (loginAllowedFrom(seen, now) ?? Infinity);
}

function loginAllowedFrom(seen: Observation, now: EpochMs): EpochMs | undefined {
  const { credential, rejection } = seen;
  const requested = isRequestOpen(seen) ? credential.renewal : undefined;
  return rejection && loginAllowedAt(rejection, now, requested);
}

function credentialChanged({ source, target }: Observation): boolean {
  if (source === 'unknown') return false;
  const version = source === 'absent' ? undefined : versionOf(source);
  return tokenAnnotationsOf({ target })?.sourceVersion !== version;
}

/**
 * From when on a token may be published again for a reason that waits: `renewal.minimum` after the last one, but not
 * later than half of what was left of that, so that it does not expire for want of a try (ADR 16).
 */
function publishableAt({ credential, target, sincePublished }: Observation, now: EpochMs): EpochMs {
  const token = tokenAnnotationsOf({ target });
  if (sincePublished === undefined || token === undefined) return now;
  const publishedAt = now - sincePublished;
  const left = Math.max(token.expiresAt - publishedAt, 0);
  return publishedAt + Math.min(credential.renewal.minimum, left / 2);
}

/**
 * Reasons that a loop of writes can bring about again and again (ADR 28). The others don't wait: a person asks for a
 * new spec or a renewal, pods need a missing or broken target, and repairs have waits of their own
 * (reconcile/repairs.ts).
 */
const WAITING: ReadonlySet<RenewReason> = new Set([
  'CredentialChanged',
  'TokenRevoked',
  'RenewalDue',
]);

const waitsForMinimum = (reason: RenewReason, seen: Observation): boolean =>
  WAITING.has(reason) && !(reason === 'CredentialChanged' && isAnotherSource(seen));

/** Not the same Secret written again: the spec names another one, or a person has deleted or made it. */
function isAnotherSource({ source, target }: Observation): boolean {
  const before = tokenAnnotationsOf({ target })?.sourceVersion ?? '';
  return typeof source !== 'object' || !before.startsWith(`${source.uid}/`);
}

/** It has not been tried. */
function isRequestOpen(seen: Observation): boolean {
  const { credential, handledRenewRequest } = seen;
  return credential.renewRequest !== handledRenewRequest && isUnfulfilled(seen);
}

const isRequestFailed = (seen: Observation): boolean =>
  seen.credential.renewRequest === seen.failedRenewRequest && isUnfulfilled(seen);

/** The renew request has not led to the token in place. */
function isUnfulfilled({ credential: { renewRequest }, target }: Observation): boolean {
  return (
    renewRequest !== undefined && renewRequest !== tokenAnnotationsOf({ target })?.renewRequest
  );
}

/** A token younger than `renewal.minimum` stays until it is that old. */
function renewRequested(seen: Observation, now: EpochMs): boolean {
  return (isRequestOpen(seen) || isRequestFailed(seen)) && now >= requestableAt(seen, now);
}

function requestableAt({ credential, target }: Observation, now: EpochMs): EpochMs {
  const issuedAt = tokenAnnotationsOf({ target })?.issuedAt;
  return issuedAt === undefined ? now : issuedAt + credential.renewal.minimum;
}

/** That moment, or sooner when `renew-requested-at` asks for a renewal. */
function orAsRequested(
  at: EpochMs | undefined,
  seen: Observation,
  now: EpochMs,
): EpochMs | undefined {
  return at === undefined || !isRequestOpen(seen) ? at : Math.min(at, requestableAt(seen, now));
}

function renewalDue({ target }: Observation, now: EpochMs): boolean {
  const renewAt = tokenAnnotationsOf({ target })?.renewAt;
  return renewAt !== undefined && renewAt <= now;
}

/** For `renew-requested-at` a token younger than `renewal.minimum` will do. */
function freshnessFor(reason: RenewReason, seen: Observation, now: EpochMs): RequiredFreshness {
  const current = tokenAnnotationsOf(seen)?.issuedAt ?? 0;
  const requested = isRequestOpen(seen);
  if (requested || reason === 'RenewRequested')
    return { requested, newerThan: Math.max(current, now - seen.credential.renewal.minimum) };
  if (reason === 'TokenRevoked') return { requested, newerThan: seen.validFrom - 1 };
  return { requested, newerThan: reason === 'RenewalDue' ? current : 0 };
}

/** The target is to be written with the token that it holds: an edit that asks for no other one. */
export function keepsToken(
  seen: Observation,
  { reason, freshness }: { readonly reason: RenewReason; readonly freshness: RequiredFreshness },
): boolean {
  const { credential, validFrom } = seen;
  const current = tokenAnnotationsOf(seen);
  const isSame = reason === 'SpecChanged' || reason === 'TargetEdited';
  return (
    isSame &&
    !freshness.requested &&
    current?.dataHash === credential.dataHash &&
    current.issuedAt >= validFrom
  );
}

/** Annotations of the token that pods read now; undefined when the target is not as it was published. */
export const trustedToken = (seen: Observation): TokenAnnotations | undefined =>
  seen.duplicate === undefined && isInPlace(seen) ? tokenAnnotationsOf(seen) : undefined;
