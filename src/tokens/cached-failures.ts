import { nextLoginAt, REJECTED_BEFORE } from '../credential/lockout.ts';
import { isSessionOver } from '../credential/session.ts';
import type { Clock, Random } from '../lib/clock.ts';
import { Failure, haveSameRetryRule, retryAt, retryBeforeExpiry } from '../lib/failure.ts';
import { FairLruMap } from '../lib/fair-lru-map.ts';
import { type EpochMs, isFromTheFuture, type Ms, rfc3339 } from '../lib/time.ts';
import { presentsPassword, type TokenRequest } from '../oauth/grants.ts';
import { type FailureRecord, recalledFailure } from '../oauth/recalled-failure.ts';
import { outcomeOf } from './outcome.ts';
import { MAX_REJECTED_PASSWORDS, RejectedLogins } from './rejected-logins.ts';
import type { RequestDigests } from './request-digests.ts';
import {
  hostOf,
  passwordAllowedFrom,
  type TokenDemand,
  type TokenFailure,
} from './token-demand.ts';

/** One costs about 0.5 kB. Namespaces share them: none pushes out what others have, up to an equal share. */
const MAX_CACHED_FAILURES = 10_000;

/** A failure that is remembered: while it is in force, no equal request is sent. */
interface CachedFailure extends FailureRecord, Omit<TokenFailure, 'failure'> {
  readonly at: EpochMs;
  readonly attempts: number;
  /** The same moment by the monotonic clock; undefined when it comes from a status. */
  readonly since?: Ms;
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
  readonly #failures = new FairLruMap<CachedFailure>(MAX_CACHED_FAILURES);
  readonly #logins: RejectedLogins;

  constructor(options: Options) {
    this.#options = options;
    this.#logins = new RejectedLogins(options.clock);
  }

  /** How many are remembered. */
  get size(): number {
    return this.#failures.size;
  }

  /** The failure of an equal request, if asking again makes no sense yet. */
  inForce(demand: TokenDemand): TokenFailure | undefined {
    const { clock, digests } = this.#options;
    const known = [this.#ofPassword(demand), this.#failures.get(digests.of(demand.request))];
    const cached = known.find((each) => each !== undefined && isInForce(each, demand, clock));
    return cached === undefined ? this.#tooManyPasswords(demand) : fromCache(cached, demand);
  }

  /**
   * The request has failed. When to try again follows from its kind: several credentials may share the failure.
   * @param namespaces of all credentials that waited for it
   */
  add(failure: Failure, demand: TokenDemand, namespaces: Iterable<string>): TokenFailure {
    const { clock, digests } = this.#options;
    const isRejection = failure.kind === 'CredentialsRejected';
    const before = isRejection
      ? this.#ofPassword(demand)
      : this.#failures.get(digests.of(demand.request));
    const isNext = before !== undefined && haveSameRetryRule(before, failure);
    const tried = { failure, attempts: (isNext ? before.attempts : 0) + 1, at: clock.now() };
    const tokenFailure = { ...tried, ...this.#nextTry(demand, tried, namespaces) };
    this.#set(demand, tokenFailure);
    if (demand.freshness.requested && !isRejection) {
      this.allowPassword(demand, passwordAllowedFrom(tokenFailure));
    }
    return tokenFailure;
  }

  /** Ends its failures; its password counts as accepted for these namespaces. */
  succeeded(request: TokenRequest, namespaces: Iterable<string>): void {
    const { digests } = this.#options;
    this.#failures.delete(digests.of(request));
    const [user, password] = [digests.ofUser(request), digests.ofPassword(request)];
    if (user === undefined || password === undefined) return;
    this.#failures.delete(password);
    this.#logins.accepted({ user, password, namespaces });
  }

  /**
   * A renew request allows a rejected password one more try. Until one has an answer, the password stays allowed.
   * @param retryAt from when on it may be presented
   */
  allowPassword(demand: TokenDemand, retryAt: EpochMs | undefined): void {
    const password = this.#options.digests.ofPassword(demand.request);
    const rejected = this.#ofPassword(demand);
    if (password === undefined || rejected === undefined) return;
    this.#failures.set(password, { ...rejected, retryAt }, demand.namespace);
  }

  /** The rejection of its password, whatever request presented it; a restart knows it from the status. */
  #ofPassword(demand: TokenDemand): CachedFailure | undefined {
    const password = this.#options.digests.ofPassword(demand.request);
    return password === undefined
      ? undefined
      : (this.#failures.get(password) ?? fromStatus(demand));
  }

  /**
   * Too many other passwords of its user were rejected for its namespace. That this one has worked counts only where
   * this process saw it: what target and session say of it the owner of the namespace may have written.
   */
  #tooManyPasswords({ request, namespace }: TokenDemand): TokenFailure | undefined {
    const { digests, clock } = this.#options;
    const [user, password] = [digests.ofUser(request), digests.ofPassword(request)];
    if (user === undefined || password === undefined) return undefined;
    const wait = this.#logins.waitOf({ user, password, namespace });
    if (wait === undefined) return undefined;
    const allowedAt = clock.now() + wait;
    const failure = tooManyPasswords(hostOf(request), allowedAt, wait);
    return { failure, retryAt: allowedAt, isCached: true };
  }

  /** A rejected password is wrong whatever scope or client secret comes with it; all else is of this very request. */
  #set(
    { request, namespace }: TokenDemand,
    { failure, ...rest }: TokenFailure & Pick<CachedFailure, 'at' | 'attempts'>,
  ): void {
    const { digests } = this.#options;
    const isRejection = failure.kind === 'CredentialsRejected';
    const password = isRejection ? digests.ofPassword(request) : undefined;
    if (password !== undefined) this.#failures.delete(digests.of(request));
    const { kind, code, retryAfter } = failure;
    const cached = { kind, code, retryAfter, ...rest, since: this.#options.clock.monotonic() };
    this.#failures.set(password ?? digests.of(request), cached, namespace);
  }

  #nextTry(
    { request, loginHistory }: TokenDemand,
    { failure, attempts, at }: Pick<CachedFailure, 'attempts' | 'at'> & { failure: Failure },
    namespaces: Iterable<string>,
  ): Pick<TokenFailure, 'retryAt' | 'hadWorked'> {
    const { digests, random } = this.#options;
    if (isEndOfSession(request, failure)) return { retryAt: undefined };
    const [user, password] = [digests.ofUser(request), digests.ofPassword(request)];
    const byKind = () => ({ retryAt: retryAt(failure, attempts, at, random()) });
    if (user === undefined || password === undefined) return byKind();
    const login = { user, password, at, attempts, namespaces };
    if (failure.kind !== 'CredentialsRejected') {
      if (isUnanswered(failure)) this.#logins.unanswered(login);
      return byKind();
    }
    const { isUnreadable } = failure;
    const evidence = { ...this.#logins.rejected(login, loginHistory), isUnreadable };
    return { retryAt: nextLoginAt(evidence, at, random()), hadWorked: evidence.worked };
  }
}

/**
 * Neither the server itself has answered, nor is it known that the request has not arrived. A proxy says 503 also when
 * it has lost the response; what is refused with 429 has not been looked at.
 */
function isUnanswered(failure: Failure): boolean {
  const outcome = outcomeOf(failure);
  const isLost = outcome === 'unreachable' || outcome === 'abnormal';
  return isLost || failure.kind === 'ServerUnavailable';
}

/** Told instead of sending one more password of the user. */
function tooManyPasswords(host: string, allowedAt: EpochMs, retryAfter: Ms): Failure {
  return new Failure(
    'Throttled',
    `${MAX_REJECTED_PASSWORDS} different passwords of this user were rejected within 15 minutes (login at ${host}), so no other one is presented before ${rfc3339(allowedAt)}: more would lock the account. Make sure that the password in the credentials Secret is right.`,
    { retryAfter },
  );
}

function fromStatus({
  request,
  loginHistory: { rejection },
}: TokenDemand): CachedFailure | undefined {
  if (rejection === undefined || !presentsPassword(request)) return undefined;
  const { at, count: attempts, retryAt, hadWorked } = rejection;
  const { kind, code, retryAfter } = REJECTED_BEFORE;
  return { kind, code, retryAfter, at, attempts, retryAt, hadWorked };
}

/** A failure is shared by all who present the same, but each tries again in time for its own token. */
const retryFor = (cached: CachedFailure, { currentToken }: TokenDemand): EpochMs | undefined =>
  retryBeforeExpiry(cached, cached.retryAt, cached.at, currentToken);

/** `renew-requested-at` overrides a failure that is older than `renewal.minimum`, but not the end of a session. */
function isInForce(cached: CachedFailure, demand: TokenDemand, clock: Clock): boolean {
  const now = clock.now();
  if (isEndOfSession(demand.request, cached)) return true;
  // How long ago it was is not known; a password that was given up stays so however long that is
  if (isFromTheFuture(cached.at, now))
    return isGivenUp(cached, demand.request) && !demand.freshness.requested;
  if (demand.freshness.requested && cached.at <= now - demand.policy.minimum) return false;
  const retry = retryFor(cached, demand);
  return retry === undefined || (now < retry && !isWaitOver(cached, retry, clock));
}

/** A password that is presented only after a change or a renew request, as `loginAllowedAt` has it. */
const isGivenUp = ({ kind, retryAt }: CachedFailure, request: TokenRequest): boolean =>
  kind === 'CredentialsRejected' && retryAt === undefined && presentsPassword(request);

/** When the wall clock was set back in between, it alone would keep the failure in force for longer by as much. */
const isWaitOver = ({ at, since }: CachedFailure, retry: EpochMs, clock: Clock): boolean =>
  since !== undefined && clock.monotonic() - since >= retry - at;

/** The refresh token of a session that is over is never sent again. */
const isEndOfSession = (
  { grantType }: TokenRequest,
  failure: Pick<FailureRecord, 'kind'>,
): boolean => grantType === 'refresh_token' && isSessionOver(failure);

function fromCache(cached: CachedFailure, demand: TokenDemand): TokenFailure {
  const retry = retryFor(cached, demand);
  const allowedAt = cached.at + demand.policy.minimum;
  const retryAt = demand.freshness.requested ? Math.min(allowedAt, retry ?? allowedAt) : retry;
  const { at, attempts, hadWorked = false } = cached;
  const isFromStatus = cached.kind === 'CredentialsRejected' && cached.code === undefined;
  const failure = isFromStatus ? REJECTED_BEFORE : recalledFailure(cached, demand.request);
  return { failure, retryAt, at, attempts, hadWorked, isCached: true };
}
