import type { ConvercusCredential } from '../credential/api.ts';
import { sessionNameOf } from '../credential/credential.ts';
import { credentialsNamespaceOf } from '../credential/instance.ts';
import { presentedDigest } from '../credential/lockout.ts';
import type { SecretMeta } from '../credential/secret.ts';
import {
  isReauthenticationDue,
  isRefreshable,
  isSessionOf,
  isSessionOver,
  refreshRequest,
  type Session,
} from '../credential/session.ts';
import {
  holdsSession,
  isSessionSecret,
  sessionFrom,
  sessionSecretFrom,
} from '../credential/session-secret.ts';
import { Failure, isFailure, retryAt, retryBeforeExpiry, TOKEN_FAILURES } from '../lib/failure.ts';
import { hours, isFromTheFuture } from '../lib/time.ts';
import type { PasswordRequest } from '../oauth/grants.ts';
import type { Token } from '../oauth/token.ts';
import { type SessionStep, sessionOf } from '../tokens/token-client.ts';
import {
  isPending,
  type Pending,
  type TokenDemand,
  type TokenFailure,
} from '../tokens/token-demand.ts';
import type { AcceptedLogins } from './accepted-logins.ts';
import type { Dependencies } from './dependencies.ts';
import { secretMeta } from './gather.ts';
import type { CredentialState, Subject, Unparsed } from './state.ts';

/** After so many ends within an hour another client seems to use the user: the two end each other's sessions. */
const MAX_SESSION_ENDS = 3;

/** A token that has come in for this reconcile, and the digest of what was presented for it. */
export interface IssuedToken {
  readonly token: Token;
  readonly presented: string;
}

/** What a `password` credential asks for. */
export interface SessionDemand {
  readonly demand: TokenDemand<PasswordRequest>;
  /** Version of the Secret that user name and password come from. */
  readonly credentialsVersion: string;
  /** The Secret of its session. */
  readonly existing: SecretMeta | 'absent';
  readonly issued: IssuedToken | undefined;
}

/** What a login has to know of the session before it. */
type PreviousSession = Pick<SessionStep, 'supersedes'> & {
  /** It is over, or near its end, and its password was accepted. */
  readonly ended?: Session | undefined;
};

/**
 * Tokens of the grant `password`: one login, then refreshes. A refresh token may be sent once, so a new one is stored
 * before anything else is done, and one that was refused is never sent again. The states of a session:
 *
 *                         failure: again at its retryAt
 *                         ┌────────────┐
 *                         ▼            │
 *     none ── login ──► in flight ─────┘
 *                         │ token
 *                         ▼                                                           any other failure: again
 *                      unstored ── Secret written ──► stored ── target written ──► in use ◄──────────┐
 *                         ▲                                                          │ renewal due   │
 *                         │ new refresh token                                        ▼               │
 *                         └──────────────────────────────────────────────── refresh in flight ───────┘
 *                                                                                    │ SessionEnded, RefreshTokenReused
 *     login in flight ◄── (after the third end within an hour: later) ── Secret deleted ── ended
 *
 *     in use ── SSO Session Max is near, or other user, client or scope ── login ──► superseded by the new session
 *     superseded, or its refresh token reused ── new target written, or none valid ──► logged out in the background
 *     in flight, and no credential wants it any more ── token ──► logged out in the background
 *
 * A planned login that is refused ends nothing: the session is refreshed until its end.
 */
export class Sessions {
  readonly #deps: Dependencies;
  readonly #acceptedLogins: AcceptedLogins;

  constructor(deps: Dependencies, acceptedLogins: AcceptedLogins) {
    this.#deps = deps;
    this.#acceptedLogins = acceptedLogins;
  }

  /**
   * The first write of a reconcile, whatever it is about: a session that has come in, or could not be stored before.
   * Its credential may be suspended or faulty by now, and will need it later.
   */
  async storeIssued(
    subject: Unparsed,
    signal: AbortSignal,
  ): Promise<IssuedToken | TokenFailure | undefined> {
    const { state, resource } = subject;
    const issued = this.#take(subject);
    const isPassword = resource.spec.grantType === 'password';
    const isToBeStored = issued !== undefined || state.unstoredSession !== undefined;
    if (!isPassword || !isToBeStored) return undefined;
    const { namespace, name } = resource.metadata;
    const at = { namespace, name: sessionNameOf(name) };
    const existing = await secretMeta(this.#deps, at, signal);
    if (isFailure(existing)) return this.#failed(existing, state);
    if (existing !== 'absent' && !isSessionSecret(existing, name)) return issued;
    const failure = await this.#store(subject, existing, signal);
    return failure === undefined ? issued : this.#failed(failure, state);
  }

  /** What a login or refresh has brought. Only the credential that asked may have it. */
  #take({ key, resource, state }: Unparsed): IssuedToken | undefined {
    const isPassword = resource.spec.grantType === 'password';
    const uid = isPassword ? resource.metadata.uid : undefined;
    const taken = this.#deps.tokens.takeSession(key, uid);
    if (taken === undefined) return undefined;
    const { step, token } = taken;
    keep(state, step, token);
    if (step.refreshed === undefined) {
      this.#acceptedLogins.add(step.credential, step.credentialsVersion, token.issuedAt);
    }
    return { token, presented: step.presented };
  }

  /** A token that is there, or a request for one. */
  async obtain(
    subject: Subject,
    session: SessionDemand,
    signal: AbortSignal,
  ): Promise<Token | TokenFailure | Pending> {
    const { tokens, clock } = this.#deps;
    const { issued, demand } = session;
    const presented = this.#presented(subject, demand.request);
    if (issued?.presented === presented && clock.now() < issued.token.expiresAt)
      return issued.token;
    const isLatest = subject.state.presented === presented;
    const cached = isLatest ? tokens.cached(presented, demand) : undefined;
    return cached ?? this.#request(subject, session, signal);
  }

  async #request(
    subject: Subject,
    demanded: SessionDemand,
    signal: AbortSignal,
  ): Promise<TokenFailure | Pending> {
    const { tokens } = this.#deps;
    const { state, credential } = subject;
    const session = await this.#current(subject, demanded, signal);
    if (isFailure(session)) return this.#failed(session, state);
    const { endedSession: ended } = state;
    if (session === undefined || !isSessionOf(session, credential, demanded.demand.request)) {
      // Its Secret may be gone or unreadable, which does not end the session
      const supersedes = session ?? state.session?.session;
      return this.#login(subject, demanded, { ended, supersedes });
    }
    const { digests } = tokens;
    const isOver = ended !== undefined && digests.ofSession(ended) === digests.ofSession(session);
    if (isOver) return this.#loginAfterEnd(subject, demanded, ended, signal);
    const login = this.#plannedLogin(subject, demanded, session);
    return login ?? this.#refresh(subject, demanded, session, signal);
  }

  /** Undefined while the session is to be refreshed, which is so as well when a planned login was refused. */
  #plannedLogin(
    subject: Subject,
    demanded: SessionDemand,
    session: Session,
  ): TokenFailure | Pending | undefined {
    const { clock, tokens } = this.#deps;
    const now = clock.now();
    const previous = { ended: session, supersedes: session };
    // Logged out as well: it has expired by our clock alone
    if (!isRefreshable(session, now)) return this.#login(subject, demanded, previous);
    const isRefreshing = tokens.isRequesting(subject.key, tokens.digests.ofSession(session));
    if (isRefreshing) return undefined;
    if (!isReauthenticationDue(session, now)) {
      if (demanded.demand.freshness.requested) this.#allowLogin(subject, demanded);
      return undefined;
    }
    const login = this.#login(subject, demanded, previous);
    if (isPending(login)) return login;
    // Or held back, after other passwords of the user were rejected
    const isRefused = TOKEN_FAILURES.has(login.failure.kind) || login.isCached === true;
    return isRefused ? undefined : login;
  }

  async #refresh(
    subject: Subject,
    demanded: SessionDemand,
    session: Session,
    signal: AbortSignal,
  ): Promise<TokenFailure | Pending> {
    const { tokens } = this.#deps;
    const { key, state } = subject;
    const id = tokens.digests.ofSession(session);
    const demand = {
      ...demanded.demand,
      request: refreshRequest(session, demanded.demand.request),
    };
    const step = { ...this.#step(subject, demanded), refreshed: session };
    const outcome = tokens.requestSession(key, id, demand, step);
    if (isPending(outcome) || !isSessionOver(outcome.failure)) return outcome;
    const { failure, isCached = false } = outcome;
    state.endedSession = session;
    const contention = isCached ? undefined : this.#noteEnd(subject, session, failure);
    if (contention === undefined) return this.#loginAfterEnd(subject, demanded, session, signal);
    const held = { ...this.#failed(contention, state), at: this.#deps.clock.now() };
    state.heldLogin = { ...held, presented: step.presented };
    await this.#forget(subject, demanded.existing, signal);
    return held;
  }

  /** After too many ends of sessions a login waits, unless a renewal is requested. */
  #heldLogin(
    { state }: Subject,
    { demand }: SessionDemand,
    presented: string,
  ): TokenFailure | undefined {
    const { heldLogin } = state;
    if (heldLogin === undefined) return undefined;
    const { failure, retryAt: retry, at } = heldLogin;
    const now = this.#deps.clock.now();
    const until = retryBeforeExpiry(failure, retry, at, demand.currentToken) ?? now;
    const isOver = now >= until || isFromTheFuture(at, now);
    if (!isOver && !demand.freshness.requested && heldLogin.presented === presented)
      return { failure, at, retryAt: until, isCached: true };
    state.heldLogin = undefined;
    return undefined;
  }

  /** A refresh answers a renew request without the password: one that was rejected may be presented at the next login. */
  #allowLogin({ state }: Subject, { demand }: SessionDemand): void {
    const now = this.#deps.clock.now();
    this.#deps.tokens.allowPassword(demand, now);
    const { rejected } = state;
    if (rejected === undefined) return;
    state.rejected = { ...rejected, tokenFailure: { ...rejected.tokenFailure, retryAt: now } };
  }

  /**
   * No token is wanted any more. A refresh that was sent may have met the end of the session: its refresh token goes.
   * @param existing the Secret of the session
   */
  async leave(
    subject: Unparsed,
    existing: SecretMeta | 'absent',
    signal: AbortSignal,
  ): Promise<void> {
    this.#deps.tokens.cancelUnsent(subject.key);
    const end = this.#deps.tokens.takeSessionEnd(subject.key);
    if (end === undefined) return;
    subject.state.endedSession = end.session;
    this.#noteEnd(subject, end.session, end.failure);
    await this.#forget(subject, existing, signal);
  }

  /** The Secret of its session, as far as it is known without a read. */
  knownSecret(resource: Unparsed['resource']): SecretMeta | 'absent' {
    const namespace = credentialsNamespaceOf(resource);
    const known = this.#deps.lister.secret(namespace, sessionNameOf(resource.metadata.name));
    return known === 'unknown' ? 'absent' : known;
  }

  /** Logs the end of a session, and counts it. A Failure when there were too many. */
  #noteEnd({ state, resource }: Unparsed, ended: Session, failure: Failure): Failure | undefined {
    const { namespace, name } = resource.metadata;
    this.#deps.log.warn(failure.message, { namespace, name, reason: failure.kind });
    // A session lives on whose refresh token was taken for a used one; a log-out still ends it
    if (failure.kind === 'RefreshTokenReused') supersede(state, ended);
    return this.#contention(state, failure);
  }

  /** The refresh token goes before the login, so that it is not sent again after a crash or a change of leader. */
  async #loginAfterEnd(
    subject: Subject,
    demanded: SessionDemand,
    ended: Session,
    signal: AbortSignal,
  ): Promise<TokenFailure | Pending> {
    await this.#forget(subject, demanded.existing, signal);
    return this.#login(subject, demanded, { ended });
  }

  #login(
    subject: Subject,
    demanded: SessionDemand,
    { ended, supersedes }: PreviousSession,
  ): TokenFailure | Pending {
    const { tokens } = this.#deps;
    const { key, state, credential } = subject;
    const { demand, credentialsVersion } = demanded;
    const hasWorked =
      demand.loginHistory.hasWorked || ended?.credentialsVersion === credentialsVersion;
    const login = { ...demand, loginHistory: { ...demand.loginHistory, hasWorked } };
    const step = { ...this.#step(subject, demanded), supersedes };
    const held = this.#heldLogin(subject, demanded, step.presented);
    if (held !== undefined) return held;
    const id = tokens.digests.ofLogin(demand.request, credential.uid);
    const outcome = tokens.requestSession(key, id, login, step);
    if (isPending(outcome) || outcome.failure.kind === 'Throttled') return outcome;
    const isRejected = outcome.failure.kind === 'CredentialsRejected';
    const presented = presentedDigest(credential, credentialsVersion);
    state.rejected = isRejected ? { presented, tokenFailure: outcome } : undefined;
    return outcome;
  }

  #step(subject: Subject, { demand, credentialsVersion }: SessionDemand): SessionStep {
    const { request } = demand;
    const presented = this.#presented(subject, request);
    return { credential: subject.credential, request, credentialsVersion, presented };
  }

  #presented({ credential }: Subject, request: PasswordRequest): string {
    return this.#deps.tokens.digests.ofCredential(request, credential.uid);
  }

  /** The session as it is now. Read only when its Secret is another than the one that was written or read last. */
  async #current(
    { state, credential }: Subject,
    { existing }: SessionDemand,
    signal: AbortSignal,
  ): Promise<Session | undefined | Failure> {
    if (state.unstoredSession !== undefined) return state.unstoredSession;
    if (existing === 'absent') return undefined;
    const known = state.session;
    if (known?.meta.resourceVersion === existing.resourceVersion) return known.session;
    const { namespace, name } = credential;
    const contents = await this.#deps.cluster.readSecret(namespace, sessionNameOf(name), signal);
    if (isFailure(contents)) return contents;
    if (contents === 'absent') return undefined;
    const session = sessionFrom(contents);
    if (session !== undefined) state.session = { meta: contents.meta, session };
    return session;
  }

  /** Writes the session that has come in. After a login without a refresh token the Secret of the one before is deleted. */
  async #store(
    subject: Unparsed,
    existing: SecretMeta | 'absent',
    signal: AbortSignal,
  ): Promise<Failure | undefined> {
    const { state, resource } = subject;
    const session = state.unstoredSession;
    if (session === undefined) {
      await this.#forget(subject, existing, signal);
      return undefined;
    }
    const secret = sessionSecretFrom(resource.metadata, session, existing);
    const written = await this.#deps.cluster.applySecret(secret, signal);
    if (isFailure(written)) return written;
    state.unstoredSession = undefined;
    state.session = { meta: written, session };
    return undefined;
  }

  /** Best effort: at worst a dead refresh token is sent once more after a restart. */
  async #forget(
    { resource: { metadata }, state }: Unparsed,
    existing: SecretMeta | 'absent',
    signal: AbortSignal,
  ): Promise<void> {
    const known = state.session?.meta.uid;
    state.session = undefined;
    state.unstoredSession = undefined;
    if (existing === 'absent') return;
    const { uid } = existing;
    if (uid !== known && !(await this.#isSession(metadata, uid, signal))) return;
    const { namespace, name } = metadata;
    await this.#deps.cluster.deleteSecret({ namespace, name: sessionNameOf(name), uid }, signal);
  }

  /** Metadata do not hold the type: a Secret that others have made must not be deleted. */
  async #isSession(
    { namespace, name }: ConvercusCredential['metadata'],
    uid: string,
    signal: AbortSignal,
  ): Promise<boolean> {
    const found = await this.#deps.cluster.readSecret(namespace, sessionNameOf(name), signal);
    return (
      !isFailure(found) && found !== 'absent' && found.meta.uid === uid && holdsSession(found, name)
    );
  }

  /** Counts the end of a session before its time. A Failure from the third within an hour on. */
  #contention(state: CredentialState, ended: Failure): Failure | undefined {
    const now = this.#deps.clock.now();
    state.sessionEnds = [...(state.sessionEnds ?? []), now].filter((at) => at > now - hours(1));
    if (state.sessionEnds.length < MAX_SESSION_ENDS) return undefined;
    return new Failure(
      'SessionContention',
      `The session has ended ${MAX_SESSION_ENDS} times within an hour; another client seems to use the same user, or to end its sessions. ${ended.message}`,
    );
  }

  #failed(failure: Failure, state: CredentialState): TokenFailure {
    const { clock, random } = this.#deps;
    const attempts = state.failedRequests + 1;
    return { failure, retryAt: retryAt(failure, attempts, clock.now(), random()) };
  }
}

function keep(state: CredentialState, step: SessionStep, token: Token): void {
  state.presented = step.presented;
  state.endedSession = undefined;
  state.unstoredSession = sessionOf(step, token);
  if (step.supersedes !== undefined) supersede(state, step.supersedes);
  if (step.refreshed !== undefined) return;
  state.rejected = undefined;
  state.loggedInAt = token.issuedAt;
}

/** It is logged out once the new token is in place. */
function supersede(state: CredentialState, session: Session): void {
  state.loggedInAt = undefined;
  state.supersededSessions = [...(state.supersededSessions ?? []), session];
}
