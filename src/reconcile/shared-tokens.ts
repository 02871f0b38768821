import { createHmac, randomBytes } from 'node:crypto';
import type { RenewalPolicy } from '../domain/credential.ts';
import { Failure, isFailure, retryAt } from '../domain/failure.ts';
import type { Need } from '../domain/plan.ts';
import { type EpochMs, isFromTheFuture, type Ms } from '../domain/time.ts';
import { renewalDate, type Token, type TokenRequest } from '../domain/token.ts';
import type { Clock, Random, RequestBudget, TokenSource } from '../ports.ts';
import { Recent } from './recent.ts';

/** Tokens kept for sharing. A token costs about 3 kB; one that is gone costs one more request. */
const TOKENS = 2_000;
const REFUSALS = 100_000;

/** After these answers everybody stays away from the host for a while, not only who asked. */
const isWholeHosts = ({ kind, code, retryAfter }: Failure): boolean =>
  kind === 'RateLimited' || code === '503' || retryAfter !== undefined;

const isUnreachable = (answer: Token | Failure): boolean =>
  isFailure(answer) && answer.kind === 'NetworkError';

/** No token for now, and when it makes sense to ask again (undefined: not before something changes). */
export interface Refusal {
  readonly failure: Failure;
  readonly retryAt: EpochMs | undefined;
  /** An earlier refusal that still stands: nothing was sent this time. */
  readonly isRemembered?: boolean;
}

interface Remembered extends Refusal {
  readonly at: EpochMs;
  readonly attempts: number;
}

/** What one credential asks for. */
export interface Wish {
  readonly request: TokenRequest;
  readonly need: Need;
  readonly policy: RenewalPolicy;
  /** Until when the present token is good: the most urgent wish goes first. */
  readonly urgency: EpochMs;
  /** When to stop waiting for a turn and say so. */
  readonly patience: Ms;
}

interface Parts {
  readonly source: TokenSource;
  readonly budget: RequestBudget;
  readonly clock: Clock;
  readonly random: Random;
  /** No request leaves any more once this has fired; those under way may end. */
  readonly closing: AbortSignal;
  /** Ends requests under way. */
  readonly signal: AbortSignal;
}

/**
 * One request for all who present the same client credential (token URL, client, scope and secret):
 * requests under way are joined, fresh tokens and standing refusals are handed on.
 */
export class SharedTokens {
  readonly #parts: Parts;
  readonly #tokens = new Recent<Token>(TOKENS);
  readonly #refusals = new Recent<Remembered>(REFUSALS);
  readonly #underWay = new Map<string, Promise<Token | Refusal>>();
  /** Identities are digests under a key that never leaves this process. */
  readonly #key = randomBytes(32);

  constructor(parts: Parts) {
    this.#parts = parts;
  }

  /** @throws the signal's reason when the caller's signal fires */
  async obtain(wish: Wish, signal: AbortSignal): Promise<Token | Refusal> {
    signal.throwIfAborted();
    const identity = this.#identityOf(wish.request);
    const now = this.#parts.clock.now();
    const token = this.#tokens.get(identity);
    if (token !== undefined && satisfies(token, wish, now)) return token;
    const refusal = this.#refusals.get(identity);
    if (refusal !== undefined && stands(refusal, wish, now)) return handedOn(refusal, wish);
    return this.#patiently(this.#ask(identity, wish), wish, signal);
  }

  #ask(identity: string, wish: Wish): Promise<Token | Refusal> {
    const known = this.#underWay.get(identity);
    if (known !== undefined) return known;
    const asked = this.#send(identity, wish).finally(() => this.#underWay.delete(identity));
    this.#underWay.set(identity, asked);
    return asked;
  }

  async #send(identity: string, { request, urgency }: Wish): Promise<Token | Refusal> {
    const { source, budget, signal, closing } = this.#parts;
    const host = new URL(request.tokenUrl).host;
    const ask = async () => {
      const answer = await source(request, signal);
      budget.report(host, isUnreachable(answer) ? 'unreachable' : 'answered');
      return answer;
    };
    const answer = await budget.run(host, { urgency }, ask, closing);
    if (isFailure(answer)) return this.#remember(identity, answer, host);
    this.#refusals.delete(identity);
    this.#tokens.set(identity, answer);
    return answer;
  }

  #remember(identity: string, failure: Failure, host: string): Refusal {
    const { budget, clock, random } = this.#parts;
    const at = clock.now();
    const attempts = (this.#refusals.get(identity)?.attempts ?? 0) + 1;
    const refusal = { failure, attempts, at, retryAt: retryAt(failure, attempts, at, random()) };
    this.#refusals.set(identity, refusal);
    if (isWholeHosts(failure)) budget.pause(host, refusal.retryAt ?? at);
    return refusal;
  }

  /** Whoever waits longer than its patience is told so; the request stays where it is in the queue. */
  #patiently(
    asked: Promise<Token | Refusal>,
    { request, patience }: Wish,
    signal: AbortSignal,
  ): Promise<Token | Refusal> {
    const { clock } = this.#parts;
    return new Promise((resolve, reject) => {
      const leave = () => {
        settle();
        reject(signal.reason);
      };
      const giveUp = clock.after(patience, () => {
        settle();
        resolve({ failure: throttled(request), retryAt: clock.now() });
      });
      const settle = () => {
        giveUp();
        signal.removeEventListener('abort', leave);
      };
      signal.addEventListener('abort', leave, { once: true });
      asked.finally(settle).then(resolve, reject);
    });
  }

  #identityOf({
    environment,
    grantType,
    tokenUrl,
    clientId,
    scope,
    clientSecret,
  }: TokenRequest): string {
    const parts = [environment, grantType, tokenUrl, clientId, scope, clientSecret.reveal()];
    return createHmac('sha256', this.#key).update(JSON.stringify(parts)).digest('base64url');
  }
}

export const isRefusal = (answer: Token | Refusal): answer is Refusal => 'failure' in answer;

/** Good for a while yet. (The least time between renewals may outlast a very short token.) */
const satisfies = (token: Token, { need, policy }: Wish, now: EpochMs): boolean =>
  token.issuedAt > need.newerThan &&
  !isFromTheFuture(token.issuedAt, now) &&
  Math.min(renewalDate(token, policy), token.expiresAt) > now;

/** A person's request overrides a refusal, but not one that is younger than the least time between renewals. */
function stands(refusal: Remembered, { need, policy }: Wish, now: EpochMs): boolean {
  if (isFromTheFuture(refusal.at, now)) return false;
  if (need.requested && refusal.at <= now - policy.minimum) return false;
  return refusal.retryAt === undefined || now < refusal.retryAt;
}

/** Whoever was asked to renew now tries as soon as the refusal is old enough. */
function handedOn({ failure, at, retryAt }: Remembered, { need, policy }: Wish): Refusal {
  const allowedAt = at + policy.minimum;
  const requestedAt = Math.min(allowedAt, retryAt ?? allowedAt);
  return { failure, retryAt: need.requested ? requestedAt : retryAt, isRemembered: true };
}

function throttled({ tokenUrl }: TokenRequest): Failure {
  const { host } = new URL(tokenUrl);
  return new Failure(
    'Throttled',
    `Waiting for a turn at ${host}: the request budget of that host is used up, or the host is paused or unreachable`,
  );
}
