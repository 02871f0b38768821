import { Failure } from '../lib/failure.ts';
import { type EpochMs, isFromTheFuture } from '../lib/time.ts';
import type { Credential } from './credential.ts';
import { loginAllowedAt, presentedDigest, REJECTED_BEFORE, type Rejection } from './lockout.ts';
import { type KnownSecret, type SecretMeta, type TokenAnnotations, versionOf } from './secret.ts';
import { isSessionSecret, sessionNotOurs } from './session-secret.ts';
import { isOurs } from './target-secret.ts';

/** Everything that a decision rests on, gathered before it is made. */
export interface Observation {
  readonly credential: Credential;
  readonly source: KnownSecret;
  readonly target: SecretMeta | 'absent';
  /** The Secret of the session; absent for all grants but `password`. */
  readonly session: SecretMeta | 'absent';
  /** The target's contents are what we published; only looked into when somebody else has written to it. */
  readonly targetIntact: boolean;
  /** Another credential that names the same target and has the better claim. */
  readonly duplicate: string | undefined;
  /** The last renew request that was answered, be it by a failure. */
  readonly handledRenewRequest: string | undefined;
  /** The last login that the server has rejected. */
  readonly rejection: Rejection | undefined;
  /** Tokens that were asked for before this moment are void. */
  readonly validFrom: EpochMs;
}

/** Why a token is to be published. Condition reason, event reason and metric label. */
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
      /** What keeps us from doing what is due. */
      readonly failure?: Failure;
    }
  | { readonly do: 'report'; readonly failure: Failure }
  | { readonly do: 'publish'; readonly reason: RenewReason; readonly freshness: RequiredFreshness };

/** Which token will do. */
export interface RequiredFreshness {
  /** One that was obtained for another credential serves as well if it was issued after this moment. */
  readonly newerThan: EpochMs;
  /** A person asks: an earlier refusal does not count. */
  readonly requested: boolean;
}

/** Reads only what it is given. The first fault is reported; else the first reason to publish is acted on. */
export function plan(seen: Observation, now: EpochMs): Plan {
  for (const check of FAULT_CHECKS) {
    const failure = check(seen);
    if (failure !== undefined) return { do: 'report', failure };
  }
  if (seen.credential.suspended) return { do: 'nothing', requeueAt: undefined };
  for (const [reason, holds] of PUBLISH_CHECKS) {
    if (!holds(seen, now)) continue;
    if (!isLockedOut(seen, now))
      return { do: 'publish', reason, freshness: freshnessFor(reason, seen, now) };
    return { do: 'nothing', failure: REJECTED_BEFORE, requeueAt: reauthenticateAt(seen, now) };
  }
  return { do: 'nothing', requeueAt: nextRenewal(seen, now) };
}

type FaultCheck = (seen: Observation) => Failure | undefined;

const FAULT_CHECKS: readonly FaultCheck[] = [
  takenByDuplicate,
  mergeTargetMissing,
  targetNotOurs,
  sessionTaken,
];

type PublishCheck = (seen: Observation, now: EpochMs) => boolean;

/** Later checks may rely on the earlier ones not holding. */
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

/** The mark of the token in the target, whoever has touched it since. */
export const tokenAnnotationsOf = ({
  target,
}: Pick<Observation, 'target'>): TokenAnnotations | undefined =>
  target === 'absent' ? undefined : target.tokenAnnotations;

/** The target is as we published it: contents, owner and label. */
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
    `Secret "${credential.target.name}" is already the target of ConvercusCredential "${duplicate}"; give this one a spec.target.name of its own`,
  );
}

function mergeTargetMissing({ credential, target }: Observation): Failure | undefined {
  if (credential.target.creationPolicy === 'Owner' || target !== 'absent') return undefined;
  return new Failure(
    'TargetMissing',
    `Secret "${credential.target.name}" does not exist and spec.target.creationPolicy is Merge; create it, or use Owner`,
  );
}

function targetNotOurs({ credential, target }: Observation): Failure | undefined {
  if (target === 'absent' || isOurs(credential, target)) return undefined;
  return new Failure(
    'TargetNotOurs',
    `Secret "${credential.target.name}" exists and was not made for this ConvercusCredential; delete it, choose another spec.target.name, or use creationPolicy Merge`,
  );
}

function sessionTaken({ credential, session }: Observation): Failure | undefined {
  const isTaken = session !== 'absent' && !isSessionSecret(session, credential.name);
  return isTaken ? sessionNotOurs(credential.name) : undefined;
}

/**
 * What would be presented has been rejected, and there is no session to go on with. A restart must not try again:
 * each wrong password brings the account nearer to a lock. A person may ask for one more try.
 */
function isLockedOut(seen: Observation, now: EpochMs): boolean {
  const { credential, rejection, session, source } = seen;
  if (rejection === undefined || session !== 'absent' || typeof source !== 'object') return false;
  const isSame = rejection.presented === presentedDigest(credential, versionOf(source));
  return isSame && now < (reauthenticateAt(seen, now) ?? Infinity);
}

function reauthenticateAt(seen: Observation, now: EpochMs): EpochMs | undefined {
  const { credential, rejection } = seen;
  const requested = isRequestOpen(seen) ? credential.renewal : undefined;
  return rejection && loginAllowedAt(rejection, now, requested);
}

function credentialChanged({ source, target }: Observation): boolean {
  if (source === 'unknown') return false;
  const version = source === 'absent' ? undefined : versionOf(source);
  return tokenAnnotationsOf({ target })?.sourceVersion !== version;
}

function isRequestOpen({ credential, target, handledRenewRequest }: Observation): boolean {
  const { renewRequest } = credential;
  if (renewRequest === undefined || renewRequest === handledRenewRequest) return false;
  return renewRequest !== tokenAnnotationsOf({ target })?.renewRequest;
}

/** A token that is younger than the least time between two renewals is left in place until then. */
function renewRequested(seen: Observation, now: EpochMs): boolean {
  return isRequestOpen(seen) && now >= requestableAt(seen, now);
}

function requestableAt({ credential, target }: Observation, now: EpochMs): EpochMs {
  const issuedAt = tokenAnnotationsOf({ target })?.issuedAt;
  if (issuedAt === undefined || isFromTheFuture(issuedAt, now)) return now;
  return issuedAt + credential.renewal.minimum;
}

/** When the token in place is due, or may be renewed because somebody has asked for it. */
function nextRenewal(seen: Observation, now: EpochMs): EpochMs | undefined {
  const renewAt = tokenAnnotationsOf(seen)?.renewAt;
  if (renewAt === undefined || !isRequestOpen(seen)) return renewAt;
  return Math.min(renewAt, requestableAt(seen, now));
}

function renewalDue({ target }: Observation, now: EpochMs): boolean {
  const tokenAnnotations = tokenAnnotationsOf({ target });
  return (
    tokenAnnotations !== undefined &&
    (tokenAnnotations.renewAt <= now || isFromTheFuture(tokenAnnotations.issuedAt, now))
  );
}

/** A request to renew now is content with a token younger than the least time between two renewals. */
function freshnessFor(reason: RenewReason, seen: Observation, now: EpochMs): RequiredFreshness {
  const issuedAt = tokenAnnotationsOf(seen)?.issuedAt ?? 0;
  const held = isFromTheFuture(issuedAt, now) ? 0 : issuedAt;
  const requested = isRequestOpen(seen);
  if (requested)
    return { requested, newerThan: Math.max(held, now - seen.credential.renewal.minimum) };
  if (reason === 'TokenRevoked') return { requested, newerThan: seen.validFrom - 1 };
  return { requested, newerThan: reason === 'RenewalDue' ? held : 0 };
}

/** The mark of the token that people can read from the target right now, or undefined when there is none of ours. */
export const trustedToken = (seen: Observation): TokenAnnotations | undefined =>
  seen.duplicate === undefined && isInPlace(seen) ? tokenAnnotationsOf(seen) : undefined;
