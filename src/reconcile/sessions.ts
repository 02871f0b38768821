import type { ReconcileContext } from '../controller/reconcile-context.ts';
import type { ConvercusCredential } from '../credential/api.ts';
import { sessionNameOf } from '../credential/credential.ts';
import { presentedDigest } from '../credential/lockout.ts';
import type { KnownSecret } from '../credential/secret.ts';
import {
  isReauthenticationDue,
  isRefreshable,
  isSessionOf,
  isSessionOver,
  refreshRequest,
  type Session,
  sessionAfterRefresh,
  sessionFromLogin,
} from '../credential/session.ts';
import { isSessionSecret } from '../credential/session-secret.ts';
import type { Clock, Random } from '../lib/clock.ts';
import { type Failure, isFailure, retryAt, TOKEN_FAILURES } from '../lib/failure.ts';
import type { Log } from '../lib/log.ts';
import { LruMap } from '../lib/lru-map.ts';
import { type Action, minutes } from '../lib/time.ts';
import type { TokenRequest } from '../oauth/grants.ts';
import type { Token } from '../oauth/token.ts';
import { satisfies } from '../tokens/token-cache.ts';
import type { TokenClient } from '../tokens/token-client.ts';
import { isTokenFailure, type TokenFailure, withMaxWait } from '../tokens/token-demand.ts';
import type { ClusterClient } from './cluster-client.ts';
import {
  contentionOf,
  currentSession,
  forgetSession,
  type SessionCall,
  type SessionDemand,
  type SessionLocation,
  sessionLocationOf,
  sinceStored,
  storeSession,
} from './session-store.ts';
import type { CredentialState, SessionRequest, Subject } from './state.ts';

/** Tokens kept, so that a target can be written again without a refresh. */
const MAX_CACHED_TOKENS = 2_000;
/** How often to look for an answer that no pass waits for. */
const IN_FLIGHT_CHECK_INTERVAL = minutes(1);

interface Parts {
  readonly tokenClient: TokenClient;
  readonly cluster: ClusterClient;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
}

/** Undefined while there is none. */
const answerOf = ({ response }: SessionRequest): Promise<Token | TokenFailure | undefined> =>
  Promise.race([response, Promise.resolve(undefined)]);

/** It is logged out once the new token is in place. */
function supersede(state: CredentialState, session: Session): void {
  state.supersededSessions = [...(state.supersededSessions ?? []), session];
}

/** The session before a login. */
type Before = Pick<SessionRequest, 'supersedes' | 'planned'> & { readonly ended?: Session };

/**
 * Tokens of the grant `password`: one login, then refreshes. A refresh token may be sent once, so the next one is
 * stored before its access token is handed out, and one that was refused is never sent again.
 */
export class Sessions {
  readonly #parts: Parts;
  readonly #tokens = new LruMap<Token>(MAX_CACHED_TOKENS);

  constructor(parts: Parts) {
    this.#parts = parts;
  }

  /**
   * The first write of a pass: a session that has come after its pass, or could not be stored. Its credential may be
   * suspended or faulty by now, and will need it later.
   */
  async settle(
    { metadata }: ConvercusCredential,
    state: CredentialState,
    known: KnownSecret,
    signal: AbortSignal,
  ): Promise<TokenFailure | undefined> {
    const { cluster } = this.#parts;
    const { namespace, name } = metadata;
    const hasCome = await this.#takeAnswer(state);
    if (!hasCome && state.unstoredSession === undefined) return undefined;
    const existing =
      known === 'unknown'
        ? await cluster.readSecretMeta(namespace, sessionNameOf(name), signal)
        : known;
    if (isFailure(existing)) return this.#tokenFailure(existing, state);
    if (existing !== 'absent' && !isSessionSecret(existing, name)) return undefined;
    const failure = await this.#store({ metadata, state, existing }, signal);
    return failure && this.#tokenFailure(failure, state);
  }

  /** Whether a token has come for the request that is under way. */
  async #takeAnswer(state: CredentialState): Promise<boolean> {
    const step = state.inFlight;
    const response = step && (await answerOf(step));
    if (step === undefined || response === undefined || isTokenFailure(response)) return false;
    this.#keep(state, step, response);
    return true;
  }

  /** When to look again at a request whose answer the pass has not waited for. */
  async unclaimed(state: CredentialState): Promise<Action> {
    const step = state.inFlight;
    if (step === undefined) return 'await-change';
    const response = await answerOf(step);
    const now = this.#parts.clock.now();
    if (response === undefined) return { requeueAt: now + IN_FLIGHT_CHECK_INTERVAL };
    if (!isTokenFailure(response)) return { requeueAt: now };
    state.inFlight = undefined; // the desk remembers it for as long as it stands
    return 'await-change';
  }

  /** @throws the signal's reason when the pass is aborted */
  async obtain(
    subject: Subject,
    demand: SessionDemand,
    context: ReconcileContext,
  ): Promise<Token | TokenFailure> {
    const call = { subject, demand, context };
    const { inFlight, tokenIdentity } = subject.state;
    const identity = this.#identityOf(call);
    if (inFlight !== undefined) {
      const response = await this.#carryOut(call, inFlight);
      if (inFlight.identity === identity || isTokenFailure(response)) return response;
      return this.#obtainAnew(sinceStored(call));
    }
    const known = tokenIdentity === identity ? this.#tokens.get(identity) : undefined;
    if (known !== undefined && satisfies(known, demand, this.#parts.clock.now())) {
      return known;
    }
    return this.#obtainAnew(call);
  }

  async #obtainAnew(call: SessionCall): Promise<Token | TokenFailure> {
    const session = await currentSession(this.#parts.cluster, call);
    if (isFailure(session)) return this.#tokenFailure(session, call.subject.state);
    const { subject, demand } = call;
    const now = this.#parts.clock.now();
    const isOurs =
      session !== undefined && isSessionOf(session, subject.credential, demand.request);
    if (!isOurs) {
      // Its Secret may be gone or unreadable, which does not end it
      return this.#login(call, { supersedes: session ?? subject.state.session?.session });
    }
    // Logged out as well: it has expired by our clock alone
    if (!isRefreshable(session, now))
      return this.#login(call, { ended: session, supersedes: session });
    if (!isReauthenticationDue(session, now)) return this.#refresh(call, session);
    return this.#login(call, { ended: session, supersedes: session, planned: session });
  }

  #refresh(call: SessionCall, session: Session): Promise<Token | TokenFailure> {
    return this.#carryOut(call, {
      identity: this.#identityOf(call),
      response: this.#ask(call, refreshRequest(session, call.demand.request)),
      sessionWith: (token) => sessionAfterRefresh(session, token),
      refreshed: session,
    });
  }

  async #login(
    call: SessionCall,
    { ended, supersedes, planned }: Before,
  ): Promise<Token | TokenFailure> {
    const { subject, demand } = call;
    const hasWorked =
      demand.loginHistory.hasWorked || ended?.credentialsVersion === demand.sourceVersion;
    const cachedFailure = this.#parts.tokenClient.cachedFailure(demand);
    if (cachedFailure !== undefined) return this.#refusedLogin(call, cachedFailure, planned);
    const { credential } = subject;
    return this.#carryOut(call, {
      identity: this.#identityOf(call),
      response: this.#ask({
        ...call,
        demand: { ...demand, loginHistory: { ...demand.loginHistory, hasWorked } },
      }),
      sessionWith: (token) =>
        sessionFromLogin(credential, demand.request, {
          token,
          sourceVersion: demand.sourceVersion,
        }),
      supersedes,
      planned,
    });
  }

  #ask(
    { demand }: SessionCall,
    request: TokenRequest = demand.request,
  ): Promise<Token | TokenFailure> {
    return this.#parts.tokenClient.ask({ ...demand, request });
  }

  /** Waits for the answer and keeps what it brings. Whoever loses patience leaves the request to the next pass. */
  async #carryOut(call: SessionCall, step: SessionRequest): Promise<Token | TokenFailure> {
    const { subject, demand, context } = call;
    const { state } = subject;
    const { clock } = this.#parts;
    state.inFlight = undefined;
    const response = await context.parked(() =>
      withMaxWait(step.response, demand, clock, context.signal),
    );
    if (isTokenFailure(response)) return this.#refused(call, step, response);
    this.#keep(state, step, response);
    return this.#storedFirst(call, response);
  }

  /** What an answer brings. */
  #keep(state: CredentialState, step: SessionRequest, token: Token): void {
    this.#tokens.set(step.identity, token);
    if (step.refreshed === undefined) state.rejected = undefined;
    state.inFlight = undefined;
    state.tokenIdentity = step.identity;
    state.unstoredSession = step.sessionWith(token);
    if (step.supersedes !== undefined) supersede(state, step.supersedes);
  }

  /** A login that brought no refresh token leaves no session to store. */
  async #store(place: SessionLocation, signal: AbortSignal): Promise<Failure | undefined> {
    const { cluster } = this.#parts;
    if (place.state.unstoredSession !== undefined) return storeSession(cluster, place, signal);
    await forgetSession(cluster, place, signal);
    return undefined;
  }

  /** What was presented may have changed while the request waited: then its refusal says nothing about now. */
  async #refused(
    call: SessionCall,
    step: SessionRequest,
    tokenFailure: TokenFailure,
  ): Promise<Token | TokenFailure> {
    const { failure } = tokenFailure;
    const ended = step.refreshed;
    if (failure.kind === 'Throttled') {
      call.subject.state.inFlight = step;
      return tokenFailure;
    }
    if (ended !== undefined && isSessionOver(failure))
      return this.#loginAgain(call, ended, tokenFailure);
    if (step.identity !== this.#identityOf(call)) return this.#obtainAnew(call);
    return ended === undefined
      ? this.#refusedLogin(call, tokenFailure, step.planned)
      : tokenFailure;
  }

  async #refusedLogin(
    call: SessionCall,
    tokenFailure: TokenFailure,
    planned: Session | undefined,
  ): Promise<Token | TokenFailure> {
    const { state, credential } = call.subject;
    const { kind } = tokenFailure.failure;
    const presented = presentedDigest(credential, call.demand.sourceVersion);
    state.rejected = kind === 'CredentialsRejected' ? { presented, tokenFailure } : undefined;
    const goesOn = planned !== undefined && TOKEN_FAILURES.has(kind);
    return goesOn ? this.#refresh(call, planned) : tokenFailure;
  }

  /** The session is over: its refresh token must not outlive it, not even a crash. */
  async #loginAgain(
    call: SessionCall,
    ended: Session,
    { failure, isCached = false }: TokenFailure,
  ): Promise<Token | TokenFailure> {
    const { clock, log } = this.#parts;
    const { state, credential } = call.subject;
    const { namespace, name } = credential;
    state.session = undefined;
    state.unstoredSession = undefined;
    if (!isCached) log.warn(failure.message, { namespace, name, reason: failure.kind });
    const contention = isCached ? undefined : contentionOf(state, failure, clock.now());
    // A session lives on whose refresh token was taken for a used one; a log-out still ends it
    if (failure.kind === 'RefreshTokenReused' && !isCached) supersede(state, ended);
    let isReplaced = false;
    try {
      const response =
        contention === undefined
          ? await this.#login(call, { ended })
          : this.#tokenFailure(contention, state);
      isReplaced = !isTokenFailure(response);
      return response;
    } finally {
      // A stop ends the login while the pass may still write
      const mayWrite = !call.context.signal.aborted;
      if (!isReplaced && mayWrite) {
        await forgetSession(this.#parts.cluster, sessionLocationOf(call), call.context.signal);
      }
    }
  }

  /** Until the session is stored the token is kept back, and the next pass tries again. */
  async #storedFirst(call: SessionCall, token: Token): Promise<Token | TokenFailure> {
    const failure = await this.#store(sessionLocationOf(call), call.context.signal);
    return failure === undefined ? token : this.#tokenFailure(failure, call.subject.state);
  }

  #tokenFailure(failure: Failure, state: CredentialState): TokenFailure {
    const { clock, random } = this.#parts;
    const now = clock.now();
    return { failure, retryAt: retryAt(failure, state.failedRequests + 1, now, random()) };
  }

  #identityOf({ subject, demand }: SessionCall): string {
    return this.#parts.tokenClient.identityOf(demand.request, subject.credential.uid);
  }
}
