import type { Credential } from '../credential/credential.ts';
import { renewalDate } from '../credential/renewal.ts';
import {
  isSessionOver,
  type Session,
  sessionAfterRefresh,
  sessionFromLogin,
} from '../credential/session.ts';
import type { Clock, Random } from '../lib/clock.ts';
import { type Failure, isFailure } from '../lib/failure.ts';
import type { Key } from '../lib/key.ts';
import { LruMap } from '../lib/lru-map.ts';
import { type EpochMs, hours, isFromTheFuture, minutes } from '../lib/time.ts';
import { type Environments, tokenUrlOf } from '../oauth/environment.ts';
import {
  type LogoutRequest,
  type PasswordRequest,
  presentsPassword,
  urlOf,
} from '../oauth/grants.ts';
import { expiresBefore, type Token } from '../oauth/token.ts';
import { CachedFailures } from './cached-failures.ts';
import { raiseUrgency, type Ticket } from './deadline-queue.ts';
import type { RequestLimiter } from './host-limiters.ts';
import { InFlight } from './in-flight.ts';
import { NotBeforePolicies } from './not-before-policies.ts';
import { outcomeOf, pausesRealm } from './outcome.ts';
import { RequestDigests } from './request-digests.ts';
import {
  hostOf,
  isTokenFailure,
  type Pending,
  type TokenDemand,
  type TokenFailure,
  throttled,
} from './token-demand.ts';
import type { LogOut, TokenSource } from './token-source.ts';
import { UserLimiter } from './user-limiter.ts';

/** A token costs about 3 kB; one that is not cached any more costs one more request. */
const MAX_CACHED_TOKENS = 2_000;
/** How often to look whether a log-out that waits for its turn is still needed. */
const LOGOUT_CHECK_INTERVAL = minutes(10);
/** It is sent behind everything else, and no key is enqueued for it. */
const BACKGROUND_LOGOUT_MAX_WAIT = hours(1);

export interface TokenClientOptions {
  readonly source: TokenSource;
  readonly logOut: LogOut;
  readonly environments: Environments;
  readonly limiter: RequestLimiter;
  readonly clock: Clock;
  readonly random: Random;
  /** See RequestDigests. */
  readonly digestKey: string;
  /** No request leaves once this has fired; those in flight may end. */
  readonly closing: AbortSignal;
  /** Ends requests in flight. */
  readonly signal: AbortSignal;
  /** A response is in that this key has asked for. */
  readonly enqueue: (key: Key) => void;
  /** Tokens of this endpoint that were asked for earlier are void. */
  readonly onNotBeforeRaised: (tokenUrl: string) => void;
  /** A login or refresh that no credential wants any more has brought a session. */
  readonly onSessionAbandoned: (session: Session, step: SessionStep) => void;
}

/** A login or refresh, and what its response will mean. */
export interface SessionStep {
  readonly credential: Credential;
  readonly request: PasswordRequest;
  /** Version of the Secret that user name and password came from. */
  readonly credentialsVersion: string;
  /** Digest of what was presented. */
  readonly presented: string;
  /** The session that is refreshed; absent for a login. */
  readonly refreshed?: Session;
  /** The session that a login replaces: to be logged out once the new token is in place. */
  readonly supersedes?: Session | undefined;
}

/** Of a request in flight. Until it is sent, demand and step are those of the key that asked last. */
interface RequestState {
  readonly ticket: Ticket;
  /** Of the credentials that wait for it. Its ticket may have the turns of others as well. */
  readonly namespaces: Set<string>;
  demand: TokenDemand;
  step: SessionStep | undefined;
  isSent: boolean;
}

/**
 * Where reconciles ask for tokens. It never waits: a key that gets `Pending` is enqueued when the response is in. What
 * several credentials present alike is asked for once; tokens and failures are shared. Requests go out in their turn.
 */
export class TokenClient {
  readonly digests: RequestDigests;
  readonly #options: TokenClientOptions;
  readonly #failures: CachedFailures;
  readonly #tokens = new LruMap<Token>(MAX_CACHED_TOKENS);
  readonly #requests: InFlight<Token | TokenFailure, RequestState>;
  readonly #logouts: InFlight<Failure | 'ended', undefined>;
  readonly #notBeforePolicies: NotBeforePolicies;
  readonly #users: UserLimiter;

  constructor(options: TokenClientOptions) {
    const { clock, random, digestKey, closing, enqueue, onNotBeforeRaised } = options;
    this.#options = options;
    this.digests = new RequestDigests(digestKey);
    this.#failures = new CachedFailures({ digests: this.digests, clock, random });
    this.#notBeforePolicies = new NotBeforePolicies(onNotBeforeRaised);
    this.#users = new UserLimiter(clock, closing);
    this.#requests = new InFlight({
      clock,
      enqueue,
      closing,
      mustBeClaimed: (response) => !isTokenFailure(response) || isSessionOver(response.failure),
      onAbandoned: (response, { step }) => this.#abandon(response, step),
    });
    this.#logouts = new InFlight({
      clock,
      enqueue,
      closing,
      mustBeClaimed: () => false,
      onAbandoned: () => undefined,
    });
  }

  /** For grants without a session. Each key that asked gets the response once, however short its token lives. */
  get(key: Key, demand: TokenDemand): Token | TokenFailure | Pending {
    const id = this.digests.of(demand.request);
    if (this.#requests.find(key)?.id !== id) this.#requests.leave(key);
    const response = this.#requests.claim(key);
    const now = this.#options.clock.now();
    if (response !== undefined && (isTokenFailure(response) || now < response.expiresAt)) {
      return response;
    }
    const token = this.cached(id, demand);
    return token ?? this.#failures.inForce(demand) ?? this.#request(key, id, demand);
  }

  /** A token that was issued before for the same digest, if it will do. */
  cached(digest: string, demand: TokenDemand): Token | undefined {
    const token = this.#tokens.get(digest);
    const now = this.#options.clock.now();
    return token !== undefined && isFreshEnough(token, demand, now) ? token : undefined;
  }

  /**
   * Logs in or refreshes. Its token is never returned here but by `takeSession`: the session has to be stored first.
   * @param id of the session that is refreshed, or of the login
   */
  requestSession(
    key: Key,
    id: string,
    demand: TokenDemand,
    step: SessionStep,
  ): TokenFailure | Pending {
    const known = this.#requests.find(key);
    if (known?.id !== id) {
      return this.#failures.inForce(demand) ?? this.#request(key, id, demand, step);
    }
    const { value } = known;
    if (value !== undefined && isTokenFailure(value)) {
      this.#requests.claim(key);
      // What was presented may have changed meanwhile: then the failure says nothing about now
      const isCurrent = known.state.step?.presented === step.presented;
      if (isCurrent || isSessionOver(value.failure)) return value;
    }
    return this.#request(key, id, demand, step);
  }

  /** A request of that id is in flight for the key, or its response is not claimed yet. */
  isRequesting(key: Key, id: string): boolean {
    return this.#requests.find(key)?.id === id;
  }

  /**
   * The token that a login or refresh has brought, once.
   * @param uid of the credential that may have it; undefined: none, and the session is abandoned
   */
  takeSession(
    key: Key,
    uid: string | undefined,
  ): { readonly token: Token; readonly step: SessionStep } | undefined {
    const { state, value } = this.#requests.find(key) ?? {};
    const step = state?.step;
    // Asked for by another credential, or by this one with another grant, which may never ask again
    if (step?.credential.uid !== uid) {
      this.#requests.leave(key);
      return undefined;
    }
    if (step === undefined) return undefined;
    if (value !== undefined && isTokenFailure(value)) return undefined;
    this.#requests.claim(key); // throws an unforeseen error of the request
    if (value === undefined) return undefined;
    this.#tokens.set(step.presented, value);
    return { token: value, step };
  }

  /** The key wants no token any more. A session that it gets all the same is abandoned. */
  leave(key: Key): void {
    this.#requests.leave(key);
  }

  /** The end of a session that a refresh has met, once, for a key that wants no token for now. */
  takeSessionEnd(key: Key): { readonly failure: Failure; readonly session: Session } | undefined {
    const { state, value } = this.#requests.find(key) ?? {};
    const session = state?.step?.refreshed;
    if (session === undefined || value === undefined || !isTokenFailure(value)) return undefined;
    if (!isSessionOver(value.failure)) return undefined;
    this.#requests.claim(key);
    return { failure: value.failure, session };
  }

  /**
   * The key wants no token for now: what has not been sent is not sent, and a token or the end of a session that comes
   * is still taken. Another failure is dropped: it would answer what the key asks for later. It is cached all the same.
   */
  cancelUnsent(key: Key): void {
    this.#requests.cancelUnsent(key);
    const { value } = this.#requests.find(key) ?? {};
    const isFailed = value !== undefined && isTokenFailure(value);
    if (isFailed && !isSessionOver(value.failure)) this.#requests.leave(key);
  }

  /** Ends a session, behind everything else. */
  logOut(key: Key, request: LogoutRequest): 'ended' | Failure | Pending {
    const id = this.digests.ofSession(request);
    if (this.#logouts.find(key)?.id !== id) this.#logouts.leave(key);
    const outcome = this.#logouts.claim(key);
    if (outcome !== undefined) return outcome;
    const { reportAt } = this.#logouts.request(key, id, {
      state: undefined,
      maxWait: LOGOUT_CHECK_INTERVAL,
      send: async (cancelled) => (await this.#sendLogout(request, cancelled)) ?? 'ended',
    });
    return { reportAt };
  }

  /** @param from when on its password may be presented once more, if it was rejected before */
  allowPassword(demand: TokenDemand, from: EpochMs): void {
    this.#failures.allowPassword(demand, from);
  }

  /** The outcome of a log-out does not matter to the key any more. */
  leaveLogout(key: Key): void {
    this.#logouts.leave(key);
  }

  /** The same for a session that no credential has any more: waits up to an hour. Undefined when it is over. */
  async logOutInBackground(request: LogoutRequest): Promise<Failure | undefined> {
    const { clock, closing } = this.#options;
    const tooLong = new AbortController();
    const cancel = clock.after(BACKGROUND_LOGOUT_MAX_WAIT, () => tooLong.abort());
    try {
      return await this.#sendLogout(request, AbortSignal.any([closing, tooLong.signal]));
    } catch (error) {
      if (closing.aborted || !tooLong.signal.aborted) throw error;
      const url = this.#logoutUrl(request);
      return throttled(url === undefined ? '' : new URL(url).host);
    } finally {
      cancel();
    }
  }

  /** By our clock: tokens of the endpoint that were asked for before are void. 0 when none are known to be. */
  validFrom(tokenUrl: string): EpochMs {
    return this.#notBeforePolicies.validFrom(tokenUrl, this.#options.clock.now());
  }

  /** Resolves when no request is in flight and every token that has come is taken. */
  async idle(): Promise<void> {
    await Promise.all([this.#requests.idle(), this.#logouts.idle()]);
  }

  #request(key: Key, id: string, demand: TokenDemand, step?: SessionStep): TokenFailure | Pending {
    const known = this.#requests.stateOf(id);
    if (known !== undefined) this.#join(known, demand, step);
    const namespaces = new Set([demand.namespace]);
    const state = { ticket: this.#ticketFor(demand), demand, step, isSent: false, namespaces };
    const { isOverdue, reportAt } = this.#requests.request(key, id, {
      state,
      maxWait: demand.maxWait,
      send: (cancelled) => this.#send(state, cancelled),
    });
    if (!isOverdue) return { reportAt };
    return { failure: throttled(hostOf(demand.request)), retryAt: reportAt };
  }

  #join(state: RequestState, demand: TokenDemand, step: SessionStep | undefined): void {
    const { ticket } = state;
    const { deadline, currentToken } = demand;
    raiseUrgency(
      ticket,
      { deadline, expiresAt: currentToken?.expiresAt },
      this.#options.clock.now(),
    );
    ticket.namespaces.add(demand.namespace);
    state.namespaces.add(demand.namespace);
    this.#options.limiter.raisePriority(hostOf(demand.request), ticket);
    const user = this.digests.ofUser(demand.request);
    if (user !== undefined) this.#users.raisePriority(user, ticket);
    if (!state.isSent) Object.assign(state, { demand, step });
  }

  /** In its turn: of the user who logs in, then of the host. */
  async #send(state: RequestState, cancelled: AbortSignal): Promise<Token | TokenFailure> {
    const { ticket } = state;
    const user = this.digests.ofUser(state.demand.request);
    const onLent = () => this.#options.limiter.raisePriority(hostOf(state.demand.request), ticket);
    const send = (onSent?: () => void) => this.#sendToHost(state, cancelled, onSent);
    const response = await (user === undefined
      ? send()
      : this.#users.run(user, { ticket, onLent }, send, cancelled));
    if (!isTokenFailure(response) && state.step === undefined) {
      this.#tokens.set(this.digests.of(state.demand.request), response);
    }
    return response;
  }

  /** Another login of the same user may have been rejected while this one waited for its turn. */
  async #sendToHost(
    state: RequestState,
    cancelled: AbortSignal,
    onSent?: () => void,
  ): Promise<Token | TokenFailure> {
    const { source, limiter, signal } = this.#options;
    const { ticket } = state;
    const cached = this.#failures.inForce(state.demand);
    if (cached !== undefined) return cached;
    const host = hostOf(state.demand.request);
    const send = async () => {
      state.isSent = true;
      onSent?.();
      const response = await source(state.demand.request, signal);
      // Its report and its end let the next request start, so whatever that has to wait for comes before
      const outcome = isFailure(response) ? this.#failed(response, state) : response;
      limiter.report(host, ticket, outcomeOf(response));
      return outcome;
    };
    const response = await limiter.run(host, ticket, send, cancelled);
    if (isTokenFailure(response)) return response;
    const { request } = state.demand;
    this.#failures.succeeded(request, state.namespaces);
    this.#notBeforePolicies.learn(urlOf(request), response);
    return response;
  }

  #failed(failure: Failure, { demand, ticket, namespaces }: RequestState): TokenFailure {
    const { limiter, clock } = this.#options;
    const tokenFailure = this.#failures.add(failure, demand, namespaces);
    if (pausesRealm(failure)) {
      limiter.pause(hostOf(demand.request), ticket, tokenFailure.retryAt ?? clock.now());
    }
    return tokenFailure;
  }

  async #sendLogout(request: LogoutRequest, cancelled: AbortSignal): Promise<Failure | undefined> {
    const { logOut, limiter, signal } = this.#options;
    const url = this.#logoutUrl(request);
    if (url === undefined) return undefined;
    const ticket = { realm: url, namespaces: new Set<string>(), deadline: Number.MAX_SAFE_INTEGER };
    return limiter.run(new URL(url).host, ticket, () => logOut(request, signal), cancelled);
  }

  /** The token URL. Undefined when the environment is not configured any more: then the session can't be ended. */
  #logoutUrl({ environment: name, realm }: LogoutRequest): string | undefined {
    const environment = this.#options.environments.get(name);
    return environment && tokenUrlOf(environment, realm);
  }

  #ticketFor({ request, namespace, deadline, currentToken }: TokenDemand): Ticket {
    return {
      realm: this.digests.realmOf(request),
      namespaces: new Set([namespace]),
      deadline,
      expiresAt: currentToken?.expiresAt,
      login: presentsPassword(request),
    };
  }

  #abandon(response: Token | TokenFailure, step: SessionStep | undefined): void {
    if (step === undefined || isTokenFailure(response)) return;
    const session = sessionOf(step, response);
    if (session !== undefined) this.#options.onSessionAbandoned(session, step);
  }
}

/** The session that a token has brought; undefined when the provider gave no refresh token. */
export function sessionOf(
  { refreshed, credential, request, credentialsVersion }: SessionStep,
  token: Token,
): Session | undefined {
  if (refreshed !== undefined) return sessionAfterRefresh(refreshed, token);
  return sessionFromLogin(credential, request, { token, sourceVersion: credentialsVersion });
}

/** Newer than required, not dated in the future, not yet due. (`renewal.minimum` may outlast a very short token.) */
const isFreshEnough = (
  token: Token,
  { freshness, policy, currentToken }: TokenDemand,
  now: EpochMs,
): boolean =>
  token.issuedAt > freshness.newerThan &&
  !isFromTheFuture(token.issuedAt, now) &&
  Math.min(renewalDate(token, policy), token.expiresAt) > now &&
  !isExpiringEarlier(token, freshness, currentToken);

/** It would not be published as a renewal, so another one has to be asked for. */
const isExpiringEarlier = (
  token: Token,
  { newerThan, requested }: TokenDemand['freshness'],
  currentToken: TokenDemand['currentToken'],
): boolean =>
  newerThan > 0 && !requested && currentToken !== undefined && expiresBefore(token, currentToken);
