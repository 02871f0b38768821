import { hash } from 'node:crypto';
import { type Environments, tokenUrlOf } from '../domain/environment.ts';
import { type Failure, haveSameRule, isFailure, retryAt } from '../domain/failure.ts';
import { nextLogin } from '../domain/login-gate.ts';
import type { LogoutRequest } from '../domain/logout.ts';
import { Sensitive } from '../domain/sensitive.ts';
import { isEnd } from '../domain/session.ts';
import type { Ms } from '../domain/time.ts';
import { type Token, type TokenRequest, urlOf } from '../domain/token.ts';
import type { Clock, LogOut, Random, RequestBudget, TokenSource, Turn } from '../ports.ts';
import { LoginMemory } from './login-memory.ts';
import { Recent } from './recent.ts';
import { Revocations } from './revocations.ts';
import { fromPast, handedOn, isLogin, type Remembered, stands } from './standing.ts';
import { UserTurns } from './user-turns.ts';
import { hostOf, type Refusal, throttled, type Wish } from './wish.ts';

const REFUSALS = 100_000;

/** After these answers everybody stays away from the host for a while, not only who asked. */
const isWholeHosts = ({ kind, code = '', retryAfter }: Failure): boolean =>
  kind === 'RateLimited' || retryAfter !== undefined || UNAVAILABLE.has(code);

/** The status, or what OAuth calls it. */
const UNAVAILABLE: ReadonlySet<string> = new Set(['503', 'temporarily_unavailable']);

interface Parts {
  readonly source: TokenSource;
  readonly logOut: LogOut;
  readonly environments: Environments;
  readonly budget: RequestBudget;
  readonly clock: Clock;
  readonly random: Random;
  /** Identities are digests under this key, which must never leave the process. */
  readonly digestKey: string;
  /** No request leaves any more once this has fired; those under way may end. */
  readonly closing: AbortSignal;
  /** Ends requests under way. */
  readonly signal: AbortSignal;
  /** Tokens of this endpoint that were asked for earlier are void. */
  readonly onRevoked: (tokenUrl: string) => void;
}

/** Where all token requests go out: in their turn, not against a standing refusal, and with their outcome remembered. */
export class TokenDesk {
  readonly revocations: Revocations;
  readonly #parts: Parts;
  readonly #refusals = new Recent<Remembered>(REFUSALS);
  readonly #logins = new LoginMemory();
  readonly #users: UserTurns;
  /** One request is looked up several times on its way. */
  readonly #identities = new WeakMap<TokenRequest, string>();

  constructor(parts: Parts) {
    this.#parts = parts;
    this.#users = new UserTurns(parts.clock, parts.closing);
    this.revocations = new Revocations(parts.onRevoked);
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
  standing(wish: Wish): Refusal | undefined {
    const now = this.#parts.clock.now();
    const refusals = [this.#ofPassword(wish), this.#refusals.get(this.identityOf(wish.request))];
    const refusal = refusals.find((each) => each !== undefined && stands(each, wish, now));
    return refusal && handedOn(refusal, wish);
  }

  /** The rejection of its password, whatever request presented it. */
  #ofPassword(wish: Wish): Remembered | undefined {
    const password = this.#passwordOf(wish.request);
    return password === undefined ? undefined : (this.#refusals.get(password) ?? fromPast(wish));
  }

  /**
   * Ends a session, in its turn behind everything else. Undefined when it is over, or nobody can end it any more.
   * @param patience for the turn; `Throttled` when it does not come in time
   */
  async logOut(request: LogoutRequest, patience: Ms): Promise<Failure | undefined> {
    const { logOut, environments, budget, signal, closing, clock } = this.#parts;
    const environment = environments.get(request.environment);
    if (environment === undefined) return undefined;
    const { host } = new URL(tokenUrlOf(environment, request.realm));
    const turn = { urgency: Number.MAX_SAFE_INTEGER };
    const tooLong = new AbortController();
    const cancel = clock.after(patience, () => tooLong.abort());
    const waiting = AbortSignal.any([closing, tooLong.signal]);
    try {
      return await budget.run(host, turn, () => logOut(request, signal), waiting);
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
  async ask(wish: Wish, turn: Turn = turnFor(wish)): Promise<Token | Refusal> {
    const user = this.#userOf(wish.request);
    if (user === undefined) return this.#send(wish, turn);
    return this.#users.run(user, turn, () => this.#send(wish, turn), this.#parts.closing);
  }

  /** The turn of this request has become more urgent. */
  hurry(request: TokenRequest, turn: Turn): void {
    this.#parts.budget.hurry(hostOf(request), turn);
  }

  /** Another login of the same user may have been rejected while this one waited for its turn. */
  async #send(wish: Wish, turn: Turn): Promise<Token | Refusal> {
    const { source, budget, signal, closing } = this.#parts;
    const { request } = wish;
    const refused = this.standing(wish);
    if (refused !== undefined) return refused;
    const host = hostOf(request);
    const ask = async () => {
      const answer = await source(request, signal);
      budget.report(host, isUnreachable(answer) ? 'unreachable' : 'answered');
      return answer;
    };
    const answer = await budget.run(host, turn, ask, closing);
    if (isFailure(answer)) return this.#refused(answer, wish);
    this.#refusals.delete(this.identityOf(request));
    this.#passwordAccepted(request);
    this.revocations.learn(urlOf(request), answer);
    return answer;
  }

  #refused(failure: Failure, wish: Wish): Refusal {
    const { clock, budget } = this.#parts;
    const isRejection = failure.kind === 'CredentialsRejected';
    const identity = this.identityOf(wish.request);
    const before = isRejection ? this.#ofPassword(wish) : this.#refusals.get(identity);
    const isNext = before !== undefined && haveSameRule(before.failure, failure);
    const tried = { failure, attempts: (isNext ? before.attempts : 0) + 1, at: clock.now() };
    const refusal = { ...tried, ...this.#nextTry(wish, tried) };
    this.#remember(wish.request, refusal);
    if (isWholeHosts(failure)) budget.pause(hostOf(wish.request), refusal.retryAt ?? tried.at);
    return refusal;
  }

  /** A rejected password is wrong whatever scope or client secret comes with it; all else is of this very request. */
  #remember(request: TokenRequest, refusal: Remembered): void {
    const identity = this.identityOf(request);
    const password =
      refusal.failure.kind === 'CredentialsRejected' ? this.#passwordOf(request) : undefined;
    if (password !== undefined) this.#refusals.delete(identity);
    this.#refusals.set(password ?? identity, refusal);
  }

  #passwordAccepted(request: TokenRequest): void {
    const password = this.#passwordOf(request);
    if (password === undefined) return;
    this.#refusals.delete(password);
    this.#logins.accepted(password);
  }

  #nextTry(
    { request, past }: Wish,
    { failure, attempts, at }: Pick<Remembered, 'failure' | 'attempts' | 'at'>,
  ): Pick<Refusal, 'retryAt' | 'hadWorked'> {
    if (request.grantType === 'refresh_token' && isEnd(failure)) return { retryAt: undefined };
    const random = this.#parts.random();
    const [user, identity] = [this.#userOf(request), this.#passwordOf(request)];
    if (user === undefined || identity === undefined || failure.kind !== 'CredentialsRejected') {
      return { retryAt: retryAt(failure, attempts, at, random) };
    }
    const suspicion = this.#logins.rejected({ user, identity, at, attempts }, past);
    return { retryAt: nextLogin(suspicion, at, random), hadWorked: suspicion.worked };
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

export const turnFor = ({ request, urgency, held }: Wish): Turn => ({
  urgency,
  expiresAt: held?.expiresAt,
  login: isLogin(request),
});

const isUnreachable = (answer: Token | Failure): boolean =>
  isFailure(answer) && answer.kind === 'NetworkError';
