import { nextLoginAt, REJECTED_BEFORE } from '../credential/lockout.ts';
import { isSessionOver } from '../credential/session.ts';
import type { Clock, Random } from '../lib/clock.ts';
import { type Failure, haveSameRetryRule, retryAt, retryBeforeExpiry } from '../lib/failure.ts';
import { LruMap } from '../lib/lru-map.ts';
import { type EpochMs, isFromTheFuture } from '../lib/time.ts';
import type { TokenRequest } from '../oauth/grants.ts';
import { RejectedLogins } from './rejected-logins.ts';
import type { RequestDigests } from './request-digests.ts';
import type { TokenDemand, TokenFailure } from './token-demand.ts';

const MAX_CACHED_FAILURES = 100_000;

/** A failure that is remembered: while it is in force, no equal request is sent. */
interface CachedFailure extends TokenFailure {
  readonly at: EpochMs;
  readonly attempts: number;
}

interface Options {
  readonly digests: RequestDigests;
  readonly clock: Clock;
  readonly random: Random;
}

/**
 * A negative cache: the last failure of each request, and of each password whatever request presented it. While one is
 * in force, nothing is sent.
 */
export class CachedFailures {
  readonly #options: Options;
  readonly #failures = new LruMap<CachedFailure>(MAX_CACHED_FAILURES);
  readonly #logins = new RejectedLogins();

  constructor(options: Options) {
    this.#options = options;
  }

  /** The failure of an equal request, if asking again makes no sense yet. */
  inForce(demand: TokenDemand): TokenFailure | undefined {
    const { clock, digests } = this.#options;
    const now = clock.now();
    const known = [this.#ofPassword(demand), this.#failures.get(digests.of(demand.request))];
    const failure = known.find((each) => each !== undefined && isInForce(each, demand, now));
    return failure && fromCache(failure, demand);
  }

  /** The request has failed. When to try again follows from its kind: several credentials may share the failure. */
  add(failure: Failure, demand: TokenDemand): TokenFailure {
    const { clock, digests } = this.#options;
    const isRejection = failure.kind === 'CredentialsRejected';
    const before = isRejection
      ? this.#ofPassword(demand)
      : this.#failures.get(digests.of(demand.request));
    const isNext = before !== undefined && haveSameRetryRule(before.failure, failure);
    const tried = { failure, attempts: (isNext ? before.attempts : 0) + 1, at: clock.now() };
    const cached = { ...tried, ...this.#nextTry(demand, tried) };
    this.#set(demand.request, cached);
    return cached;
  }

  /** The request has succeeded. */
  clear(request: TokenRequest): void {
    const { digests } = this.#options;
    this.#failures.delete(digests.of(request));
    const password = digests.ofPassword(request);
    if (password === undefined) return;
    this.#failures.delete(password);
    this.#logins.accepted(password);
  }

  /** The rejection of its password, whatever request presented it; a restart knows it from the status. */
  #ofPassword(demand: TokenDemand): CachedFailure | undefined {
    const password = this.#options.digests.ofPassword(demand.request);
    return password === undefined
      ? undefined
      : (this.#failures.get(password) ?? fromStatus(demand));
  }

  /** A rejected password is wrong whatever scope or client secret comes with it; all else is of this very request. */
  #set(request: TokenRequest, cached: CachedFailure): void {
    const { digests } = this.#options;
    const isRejection = cached.failure.kind === 'CredentialsRejected';
    const password = isRejection ? digests.ofPassword(request) : undefined;
    if (password !== undefined) this.#failures.delete(digests.of(request));
    this.#failures.set(password ?? digests.of(request), cached);
  }

  #nextTry(
    { request, loginHistory }: TokenDemand,
    { failure, attempts, at }: Pick<CachedFailure, 'failure' | 'attempts' | 'at'>,
  ): Pick<TokenFailure, 'retryAt' | 'hadWorked'> {
    const { digests, random } = this.#options;
    if (isEndOfSession(request, failure)) return { retryAt: undefined };
    const [user, password] = [digests.ofUser(request), digests.ofPassword(request)];
    if (user === undefined || password === undefined || failure.kind !== 'CredentialsRejected') {
      return { retryAt: retryAt(failure, attempts, at, random()) };
    }
    const evidence = this.#logins.rejected({ user, password, at, attempts }, loginHistory);
    return { retryAt: nextLoginAt(evidence, at, random()), hadWorked: evidence.worked };
  }
}

function fromStatus({
  request,
  loginHistory: { rejection },
}: TokenDemand): CachedFailure | undefined {
  if (rejection === undefined || !isLoginRequest(request)) return undefined;
  const { at, count: attempts, retryAt, hadWorked } = rejection;
  return { failure: REJECTED_BEFORE, at, attempts, retryAt, hadWorked };
}

export const isLoginRequest = ({ grantType }: TokenRequest): boolean =>
  grantType === 'password' || grantType === 'legacy_login';

/** A failure is shared by all who present the same, but each tries again in time for its own token. */
const retryFor = (
  { failure, retryAt, at }: CachedFailure,
  { currentToken }: TokenDemand,
): EpochMs | undefined => retryBeforeExpiry(failure, retryAt, at, currentToken);

/** `renew-requested-at` overrides a failure that is older than `renewal.minimum`, but not the end of a session. */
function isInForce(cached: CachedFailure, demand: TokenDemand, now: EpochMs): boolean {
  if (isEndOfSession(demand.request, cached.failure)) return true;
  if (isFromTheFuture(cached.at, now)) return false;
  if (demand.freshness.requested && cached.at <= now - demand.policy.minimum) return false;
  const retry = retryFor(cached, demand);
  return retry === undefined || now < retry;
}

/** The refresh token of a session that is over is never sent again. */
const isEndOfSession = ({ grantType }: TokenRequest, failure: Failure): boolean =>
  grantType === 'refresh_token' && isSessionOver(failure);

function fromCache(cached: CachedFailure, demand: TokenDemand): TokenFailure {
  const retry = retryFor(cached, demand);
  const allowedAt = cached.at + demand.policy.minimum;
  const retryAt = demand.freshness.requested ? Math.min(allowedAt, retry ?? allowedAt) : retry;
  return { ...cached, retryAt, isCached: true };
}
