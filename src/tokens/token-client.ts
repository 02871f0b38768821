import { hash } from 'node:crypto';
import { nextLoginAt } from '../credential/lockout.ts';
import { isSessionOver } from '../credential/session.ts';
import type { Clock, Random } from '../lib/clock.ts';
import { type Failure, haveSameRetryRule, isFailure, retryAt } from '../lib/failure.ts';
import { LruMap } from '../lib/lru-map.ts';
import { Sensitive } from '../lib/sensitive.ts';
import type { Ms } from '../lib/time.ts';
import { type Environments, tokenUrlOf } from '../oauth/environment.ts';
import { type LogoutRequest, type TokenRequest, urlOf } from '../oauth/grants.ts';
import type { Token } from '../oauth/token.ts';
import {
  type CachedFailure,
  cachedFromStatus,
  fromCache,
  isInForce,
  isLoginRequest,
} from './cached-failure.ts';
import type { RequestLimiter, Ticket } from './host-limiter.ts';
import { NotBeforePolicies } from './not-before-policies.ts';
import { RejectedLogins } from './rejected-logins.ts';
import { hostOf, type TokenDemand, type TokenFailure, throttled } from './token-demand.ts';
import type { LogOut, TokenSource } from './token-source.ts';
import { UserLimiter } from './user-limiter.ts';

const MAX_CACHED_FAILURES = 100_000;

/** After these answers everybody stays away from the host for a while, not only who asked. */
const pausesHost = ({ kind, code = '', retryAfter }: Failure): boolean =>
  kind === 'RateLimited' || retryAfter !== undefined || UNAVAILABLE.has(code);

/** The status, or what OAuth calls it. */
const UNAVAILABLE: ReadonlySet<string> = new Set(['503', 'temporarily_unavailable']);

interface Parts {
  readonly source: TokenSource;
  readonly logOut: LogOut;
  readonly environments: Environments;
  readonly limiter: RequestLimiter;
  readonly clock: Clock;
  readonly random: Random;
  /** Identities are digests under this key, which must never leave the process. */
  readonly digestKey: string;
  /** No request leaves any more once this has fired; those under way may end. */
  readonly closing: AbortSignal;
  /** Ends requests under way. */
  readonly signal: AbortSignal;
  /** Tokens of this endpoint that were asked for earlier are void. */
  readonly onNotBeforeRaised: (tokenUrl: string) => void;
}

/** Where all token requests go out: in their turn, not against a standing refusal, and with their outcome remembered. */
export class TokenClient {
  readonly notBeforePolicies: NotBeforePolicies;
  readonly #parts: Parts;
  readonly #refusals = new LruMap<CachedFailure>(MAX_CACHED_FAILURES);
  readonly #logins = new RejectedLogins();
  readonly #users: UserLimiter;
  /** One request is looked up several times on its way. */
  readonly #identities = new WeakMap<TokenRequest, string>();

  constructor(parts: Parts) {
    this.#parts = parts;
    this.#users = new UserLimiter(parts.clock, parts.closing);
    this.notBeforePolicies = new NotBeforePolicies(parts.onNotBeforeRaised);
  }

  /** Equal for equal requests; tells nothing about what they hold. */
  identityOf(request: TokenRequest, ...more: readonly string[]): string {
    const known = this.#identities.get(request);
    const identity = known ?? this.#identityFrom(request);
    if (known === undefined) this.#identities.set(request, identity);
    return more.length === 0 ? identity : this.#digest([identity, ...more]);
  }

  #identityFrom(request: TokenRequest): string {
    const values = Object.values(request).map((value: string | Sensitive) =>
      value instanceof Sensitive ? value.reveal() : value,
    );
    return this.#digest(values);
  }

  /** The refusal of an equal request, if asking again makes no sense yet. */
  cachedFailure(demand: TokenDemand): TokenFailure | undefined {
    const now = this.#parts.clock.now();
    const refusals = [
      this.#ofPassword(demand),
      this.#refusals.get(this.identityOf(demand.request)),
    ];
    const tokenFailure = refusals.find(
      (each) => each !== undefined && isInForce(each, demand, now),
    );
    return tokenFailure && fromCache(tokenFailure, demand);
  }

  /** The rejection of its password, whatever request presented it. */
  #ofPassword(demand: TokenDemand): CachedFailure | undefined {
    const password = this.#passwordOf(demand.request);
    return password === undefined
      ? undefined
      : (this.#refusals.get(password) ?? cachedFromStatus(demand));
  }

  /**
   * Ends a session, in its turn behind everything else. Undefined when it is over, or nobody can end it any more.
   * @param patience for the turn; `Throttled` when it does not come in time
   */
  async logOut(request: LogoutRequest, maxWait: Ms): Promise<Failure | undefined> {
    const { logOut, environments, limiter, signal, closing, clock } = this.#parts;
    const environment = environments.get(request.environment);
    if (environment === undefined) return undefined;
    const { host } = new URL(tokenUrlOf(environment, request.realm));
    const ticket = { deadline: Number.MAX_SAFE_INTEGER };
    const tooLong = new AbortController();
    const cancel = clock.after(maxWait, () => tooLong.abort());
    const waiting = AbortSignal.any([closing, tooLong.signal]);
    try {
      return await limiter.run(host, ticket, () => logOut(request, signal), waiting);
    } catch (error) {
      if (closing.aborted || !tooLong.signal.aborted) throw error;
      return throttled(host);
    } finally {
      cancel();
    }
  }

  /**
   * Sends the request when it is its turn. When to try again after a refusal is said by the rule of its kind alone,
   * for several may wait for the answer. Rejects only when the desk closes.
   */
  async ask(
    demand: TokenDemand,
    ticket: Ticket = ticketFor(demand),
  ): Promise<Token | TokenFailure> {
    const user = this.#userOf(demand.request);
    if (user === undefined) return this.#send(demand, ticket);
    return this.#users.run(user, ticket, () => this.#send(demand, ticket), this.#parts.closing);
  }

  /** The turn of this request has become more urgent. */
  raisePriority(request: TokenRequest, ticket: Ticket): void {
    this.#parts.limiter.raisePriority(hostOf(request), ticket);
  }

  /** Another login of the same user may have been rejected while this one waited for its turn. */
  async #send(demand: TokenDemand, ticket: Ticket): Promise<Token | TokenFailure> {
    const { source, limiter, signal, closing } = this.#parts;
    const { request } = demand;
    const refused = this.cachedFailure(demand);
    if (refused !== undefined) return refused;
    const host = hostOf(request);
    const ask = async () => {
      const response = await source(request, signal);
      limiter.report(host, isUnreachable(response) ? 'unreachable' : 'answered');
      return response;
    };
    const response = await limiter.run(host, ticket, ask, closing);
    if (isFailure(response)) return this.#refused(response, demand);
    this.#refusals.delete(this.identityOf(request));
    this.#passwordAccepted(request);
    this.notBeforePolicies.learn(urlOf(request), response);
    return response;
  }

  #refused(failure: Failure, demand: TokenDemand): TokenFailure {
    const { clock, limiter } = this.#parts;
    const isRejection = failure.kind === 'CredentialsRejected';
    const identity = this.identityOf(demand.request);
    const before = isRejection ? this.#ofPassword(demand) : this.#refusals.get(identity);
    const isNext = before !== undefined && haveSameRetryRule(before.failure, failure);
    const tried = { failure, attempts: (isNext ? before.attempts : 0) + 1, at: clock.now() };
    const tokenFailure = { ...tried, ...this.#nextTry(demand, tried) };
    this.#remember(demand.request, tokenFailure);
    if (pausesHost(failure))
      limiter.pause(hostOf(demand.request), tokenFailure.retryAt ?? tried.at);
    return tokenFailure;
  }

  /** A rejected password is wrong whatever scope or client secret comes with it; all else is of this very request. */
  #remember(request: TokenRequest, tokenFailure: CachedFailure): void {
    const identity = this.identityOf(request);
    const password =
      tokenFailure.failure.kind === 'CredentialsRejected' ? this.#passwordOf(request) : undefined;
    if (password !== undefined) this.#refusals.delete(identity);
    this.#refusals.set(password ?? identity, tokenFailure);
  }

  #passwordAccepted(request: TokenRequest): void {
    const password = this.#passwordOf(request);
    if (password === undefined) return;
    this.#refusals.delete(password);
    this.#logins.accepted(password);
  }

  #nextTry(
    { request, loginHistory }: TokenDemand,
    { failure, attempts, at }: Pick<CachedFailure, 'failure' | 'attempts' | 'at'>,
  ): Pick<TokenFailure, 'retryAt' | 'hadWorked'> {
    if (request.grantType === 'refresh_token' && isSessionOver(failure))
      return { retryAt: undefined };
    const random = this.#parts.random();
    const [user, identity] = [this.#userOf(request), this.#passwordOf(request)];
    if (user === undefined || identity === undefined || failure.kind !== 'CredentialsRejected') {
      return { retryAt: retryAt(failure, attempts, at, random) };
    }
    const evidence = this.#logins.rejected({ user, identity, at, attempts }, loginHistory);
    return { retryAt: nextLoginAt(evidence, at, random), hadWorked: evidence.worked };
  }

  /** Who logs in; undefined for a request without a password. */
  #userOf(request: TokenRequest): string | undefined {
    if (request.grantType === 'password') {
      return this.#digest([request.tokenUrl, request.clientId, request.username.reveal()]);
    }
    if (request.grantType !== 'legacy_login') return undefined;
    return this.#digest([request.loginUrl, request.org.reveal(), request.username.reveal()]);
  }

  /** Of user and password together; undefined for a request without a password. */
  #passwordOf(request: TokenRequest): string | undefined {
    const user = this.#userOf(request);
    if (user === undefined || !('password' in request)) return undefined;
    return this.#digest([user, request.password.reveal()]);
  }

  #digest(parts: readonly string[]): string {
    return hash('sha256', `${this.#parts.digestKey}${JSON.stringify(parts)}`, 'base64url');
  }
}

export const ticketFor = ({ request, deadline, currentToken }: TokenDemand): Ticket => ({
  deadline,
  expiresAt: currentToken?.expiresAt,
  login: isLoginRequest(request),
});

const isUnreachable = (response: Token | Failure): boolean =>
  isFailure(response) && response.kind === 'NetworkError';
