import { type Credential, requiredFields } from '../credential/credential.ts';
import {
  type CredentialsValues,
  credentialsIn,
  credentialsSecretMissing,
  requestFrom,
} from '../credential/credentials-secret.ts';
import { isInstance } from '../credential/instance.ts';
import { presentedDigest, type Rejection } from '../credential/lockout.ts';
import {
  type Observation,
  type RequiredFreshness,
  tokenAnnotationsOf,
} from '../credential/plan.ts';
import { minRetryIntervalOf } from '../credential/renewal.ts';
import {
  type DesiredSecret,
  isSameVersion,
  type KnownSecret,
  type SecretMeta,
  type TokenAnnotations,
  versionOf,
} from '../credential/secret.ts';
import {
  credentialOfManager,
  type RenderedTarget,
  renderTarget,
} from '../credential/target-secret.ts';
import { type TokenClaims, tokenClaimsOf } from '../credential/token-claims.ts';
import {
  type CurrentToken,
  Failure,
  isFailure,
  retryAt,
  retryBeforeExpiry,
} from '../lib/failure.ts';
import { type EpochMs, type Ms, minutes, rfc3339 } from '../lib/time.ts';
import type { GrantRequest, PasswordRequest } from '../oauth/grants.ts';
import { expiresBefore, type Token } from '../oauth/token.ts';
import type { LoginHistory } from '../tokens/rejected-logins.ts';
import {
  isPending,
  isTokenFailure,
  type Pending,
  passwordAllowedFrom,
  type TokenFailure,
} from '../tokens/token-demand.ts';
import type { AcceptedLogins } from './accepted-logins.ts';
import type { ClusterSessions } from './cluster-sessions.ts';
import type { Dependencies } from './dependencies.ts';
import { readBack } from './read-back.ts';
import type { PlannedWrite } from './repairs.ts';
import type { SessionCleanup } from './session-cleanup.ts';
import type { IssuedToken, Sessions } from './sessions.ts';
import type { SharedCredentials } from './shared-credentials.ts';
import type { CredentialState, ReadCredentials, Subject } from './state.ts';

/** After so long without a response a credential without a token reports `Throttled`. */
const MAX_WAIT_WITHOUT_TOKEN = minutes(1);
/** The same with a token that is still valid; at its expiry if that is sooner. */
const MAX_WAIT_WITH_TOKEN = minutes(10);

export interface SyncedTarget {
  readonly tokenAnnotations: TokenAnnotations;
  readonly targetVersion: string;
  readonly claims: TokenClaims | undefined;
  /** It is the token that was in place: nothing has been presented for it. */
  readonly isKept?: true;
}

interface Parts {
  readonly sessions: Sessions;
  readonly clusterSessions: ClusterSessions;
  readonly cleanup: SessionCleanup;
  readonly shared: SharedCredentials;
  readonly acceptedLogins: AcceptedLogins;
}

/** What the plan wants. */
export interface PlannedSync extends PlannedWrite {
  /** Came in for this reconcile, from a login or a refresh. */
  readonly issued: IssuedToken | undefined;
}

/** Credentials Secret → token → target Secret. Nothing is written unless a whole, valid target can be. */
export class TargetSync {
  readonly #deps: Dependencies;
  readonly #sessions: Sessions;
  readonly #clusterSessions: ClusterSessions;
  readonly #cleanup: SessionCleanup;
  readonly #shared: SharedCredentials;
  readonly #acceptedLogins: AcceptedLogins;

  constructor(
    deps: Dependencies,
    { sessions, clusterSessions, cleanup, shared, acceptedLogins }: Parts,
  ) {
    this.#deps = deps;
    this.#sessions = sessions;
    this.#clusterSessions = clusterSessions;
    this.#cleanup = cleanup;
    this.#shared = shared;
    this.#acceptedLogins = acceptedLogins;
  }

  /** `superseded`: the credential has changed or gone since the reconcile began; the next one decides. */
  async sync(
    subject: Subject,
    planned: PlannedSync,
    signal: AbortSignal,
  ): Promise<SyncedTarget | TokenFailure | Pending | 'superseded'> {
    const { clock } = this.#deps;
    const currentToken = currentTokenOf(subject, planned.seen, clock.now());
    const done = await this.#trySync(subject, { ...planned, currentToken }, signal);
    if (done === 'superseded' || isPending(done) || !isTokenFailure(done)) return done;
    // A failure may be shared: each credential tries again in time for its own token
    const { failure, retryAt: retry, at = clock.now() } = done;
    return { ...done, retryAt: retryBeforeExpiry(failure, retry, at, currentToken) };
  }

  async #trySync(
    subject: Subject,
    planned: PlannedSync & { readonly currentToken: CurrentToken | undefined },
    signal: AbortSignal,
  ): Promise<SyncedTarget | TokenFailure | Pending | 'superseded'> {
    const { state } = subject;
    const kept =
      planned.issued === undefined
        ? await readBack(this.#deps, subject, planned, signal)
        : undefined;
    if (kept === 'superseded' || isSuperseded(this.#deps.lister, subject)) return 'superseded';
    if (isFailure(kept)) return this.#failed(kept, state.failedRequests);
    if (kept !== undefined) return this.#publishKept(subject, kept, signal);
    const credentials = await this.#readCredentials(subject, planned.seen, signal);
    if (isFailure(credentials)) return this.#failed(credentials, state.failedRequests);
    const token = await this.#obtain(subject, { ...planned, credentials }, signal);
    if (isSuperseded(this.#deps.lister, subject)) return 'superseded';
    if (isPending(token) || isTokenFailure(token)) return token;
    return this.#write(subject, planned, { token, credentials }, signal);
  }

  async #write(
    subject: Subject,
    { seen, freshness }: PlannedSync,
    { token, credentials }: { readonly token: Token; readonly credentials: ReadCredentials },
    signal: AbortSignal,
  ): Promise<SyncedTarget | TokenFailure> {
    const { credential, state } = subject;
    if (isExpiringEarlier(token, freshness, seen)) {
      return this.#failed(expiresEarlier(credential), 0);
    }
    const sourceVersion = versionOf(credentials.meta);
    if (credential.grantType === 'legacy_login') {
      this.#acceptedLogins.add(credential, sourceVersion, token.issuedAt);
    }
    const provenance = { sourceVersion, renewRequest: credential.renewRequest };
    const rendered = renderTarget(credential, token, provenance, seen.target);
    if (isFailure(rendered)) return this.#failed(rendered, 0);
    const claims = tokenClaimsOf(token.accessToken, Object.values(credentials.values));
    const published = await this.#publish(subject, rendered, claims, signal);
    if (!isTokenFailure(published)) this.#cleanup.logOutSuperseded(credential, state, signal);
    return published;
  }

  async #publishKept(
    subject: Subject,
    kept: RenderedTarget,
    signal: AbortSignal,
  ): Promise<SyncedTarget | TokenFailure> {
    const published = await this.#publish(subject, kept, claimsBefore(subject, kept), signal);
    return isTokenFailure(published) ? published : { ...published, isKept: true };
  }

  async #publish(
    { state }: Subject,
    { secret, tokenAnnotations }: RenderedTarget,
    claims: TokenClaims | undefined,
    signal: AbortSignal,
  ): Promise<SyncedTarget | TokenFailure> {
    const written = await this.#apply(secret, signal);
    if (isFailure(written)) return this.#failed(written, state.failedRequests);
    state.intactVersion = written.resourceVersion;
    return { tokenAnnotations, targetVersion: written.resourceVersion, claims };
  }

  /** Reads the credentials Secret only when it has changed since the last time. */
  async #readCredentials(
    { resource, credential, state }: Subject,
    { source }: Observation,
    signal: AbortSignal,
  ): Promise<ReadCredentials | Failure> {
    const keys = requiredFields(credential).flat().join(' ');
    const known = state.credentials?.keys === keys ? state.credentials : undefined;
    if (known !== undefined && isSameVersion(known.meta, source)) return known;
    const read = () => this.#readSource(credential, source, signal);
    const isShared = isInstance(resource);
    const found = await (isShared ? this.#shared.read({ credential, keys, source }, read) : read());
    if (!isFailure(found)) state.credentials = found;
    return found;
  }

  async #readSource(
    credential: Credential,
    source: KnownSecret,
    signal: AbortSignal,
  ): Promise<ReadCredentials | Failure> {
    const keys = requiredFields(credential).flat().join(' ');
    const { namespace, name } = credential.source;
    const contents = await this.#deps.cluster.readSecret(namespace, name, signal);
    if (isFailure(contents)) return contents;
    if (contents === 'absent') return credentialsSecretMissing(credential);
    const values: CredentialsValues | Failure = credentialsIn(contents, credential);
    if (isFailure(values)) return values;
    const meta = isSameVersion(contents.meta, source) ? source : contents.meta;
    return { meta, keys, values };
  }

  #obtain(
    subject: Subject,
    planned: PlannedSync & {
      readonly credentials: ReadCredentials;
      readonly currentToken: CurrentToken | undefined;
    },
    signal: AbortSignal,
  ): Promise<Token | TokenFailure | Pending> {
    const { tokens, clock } = this.#deps;
    const { credential, key } = subject;
    const { seen, issued, credentials, currentToken } = planned;
    const request = requestFrom(credential, credentials.values);
    const credentialsVersion = versionOf(credentials.meta);
    const demand = {
      namespace: credential.source.namespace,
      freshness: freshnessFor(subject, planned),
      policy: credential.renewal,
      currentToken,
      ...waitOf(currentToken, clock.now()),
      loginHistory: loginHistoryOf(seen, credentialsVersion),
    };
    if (!isPassword(request)) return Promise.resolve(tokens.get(key, { ...demand, request }));
    const { session: existing } = seen;
    const call = { demand: { ...demand, request }, credentialsVersion, existing, issued };
    if (isInstance(subject.resource)) {
      return Promise.resolve(this.#clusterSessions.obtain(subject, call));
    }
    return this.#sessions.obtain(subject, call, signal);
  }

  /**
   * What other credentials have set in a Secret to merge into is taken over by force: its owner has passed it on to this
   * one. The version that was read with this consent is the only one that is written.
   */
  async #apply(secret: DesiredSecret, signal: AbortSignal): Promise<SecretMeta | Failure> {
    const { cluster } = this.#deps;
    const written = await cluster.applySecret(secret, signal);
    const isOthers = isFailure(written) && written.managers !== undefined;
    if (!isOthers || secret.resourceVersion === undefined) return written;
    const isPassedOn = written.managers.every((it) => credentialOfManager(it) !== undefined);
    return isPassedOn ? cluster.applySecret({ ...secret, force: true }, signal) : written;
  }

  #failed(failure: Failure, failuresBefore: number): TokenFailure {
    const { clock, random } = this.#deps;
    return { failure, retryAt: retryAt(failure, failuresBefore + 1, clock.now(), random()) };
  }
}

function isSuperseded(
  lister: Dependencies['lister'],
  { key, resource: { metadata } }: Subject,
): boolean {
  const now = lister.credential(key)?.metadata;
  const isSame = now?.uid === metadata.uid && now.generation === metadata.generation;
  return !isSame || now.deletionTimestamp !== undefined;
}

/**
 * Owners of namespaces can forge the dates in a target, and have no say in when the token of a cluster credential is
 * renewed: for an instance that is when the token is due that this process knows.
 */
function freshnessFor(
  { resource }: Subject,
  { reason, freshness }: PlannedSync,
): RequiredFreshness {
  const isByDate = reason === 'RenewalDue' && !freshness.requested;
  return isByDate && isInstance(resource) ? { ...freshness, newerThan: 0 } : freshness;
}

/** Of the token that is kept. */
function claimsBefore(
  { resource: { status } }: Subject,
  { tokenAnnotations: { issuedAt } }: RenderedTarget,
): TokenClaims | undefined {
  return status?.issuedAt === rfc3339(issuedAt) ? status.token : undefined;
}

/** A scheduled renewal must not publish a token that expires earlier than the current one. */
function isExpiringEarlier(
  token: Token,
  { newerThan, requested }: RequiredFreshness,
  seen: Observation,
): boolean {
  const current = tokenAnnotationsOf(seen);
  const isScheduled = current !== undefined && !requested && newerThan === current.issuedAt;
  return isScheduled && expiresBefore(token, current);
}

const expiresEarlier = ({ tokenUrl }: Credential): Failure =>
  new Failure(
    'ShortLivedToken',
    `The new token from ${new URL(tokenUrl).host} would expire before the one in place, which therefore stays. The operator tries again; if this goes on, ask Convercus why tokens are so short.`,
  );

const isPassword = (request: GrantRequest): request is PasswordRequest =>
  request.grantType === 'password';

/** A credential without a token goes before all renewals, but for those whose token would expire meanwhile. */
function waitOf(
  currentToken: CurrentToken | undefined,
  now: EpochMs,
): { readonly deadline: EpochMs; readonly maxWait: Ms } {
  const left = (currentToken?.expiresAt ?? now) - now;
  return {
    deadline: currentToken?.expiresAt ?? now + MAX_WAIT_WITHOUT_TOKEN,
    maxWait: left > 0 ? Math.min(left, MAX_WAIT_WITH_TOKEN) : MAX_WAIT_WITHOUT_TOKEN,
  };
}

function currentTokenOf(
  { credential, state }: Subject,
  seen: Observation,
  now: EpochMs,
): CurrentToken | undefined {
  const current = tokenAnnotationsOf(seen);
  if (current === undefined) return undefined;
  const minInterval = minRetryIntervalOf(credential.renewal);
  return { expiresAt: current.expiresAt, failingSince: state.failingSince ?? now, minInterval };
}

function loginHistoryOf(
  { credential, rejection, target }: Observation,
  version: string,
): LoginHistory {
  const isSame =
    rejection !== undefined && rejection.presented === presentedDigest(credential, version);
  return {
    ...(isSame && { rejection }),
    ...(rejection !== undefined && !isSame && { othersRejectedAt: rejection.at }),
    hasWorked:
      (isSame && rejection.hadWorked) ||
      (credential.grantType === 'legacy_login' &&
        tokenAnnotationsOf({ target })?.sourceVersion === version),
  };
}

/** What the status is to keep of a rejected login, also of a planned one that was not needed yet. */
export function rejectionToKeep(
  { credential, rejection: before }: Observation,
  { rejected, credentials }: Pick<CredentialState, 'rejected' | 'credentials'>,
  failed: TokenFailure | undefined,
  { requested }: RequiredFreshness,
): Rejection | undefined {
  if (credentials === undefined) return before;
  const presented = () => presentedDigest(credential, versionOf(credentials.meta));
  if (failed?.failure.kind === 'CredentialsRejected') return rejectionFrom(presented(), failed);
  const isLatest = rejected !== undefined && rejected.presented === presented();
  if (isLatest) return rejectionFrom(rejected.presented, rejected.tokenFailure);
  if (failed === undefined) return undefined;
  if (before === undefined || !requested) return before;
  // The try that a renew request allows has brought no answer: the password stays allowed, over restarts as well
  return { ...before, retryAt: passwordAllowedFrom(failed) ?? before.retryAt };
}

const rejectionFrom = (presented: string, rejected: TokenFailure): Rejection => ({
  presented,
  at: rejected.at ?? 0,
  count: rejected.attempts ?? 1,
  hadWorked: rejected.hadWorked ?? false,
  retryAt: rejected.retryAt,
});
