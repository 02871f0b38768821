import { type EpochMs, isFromTheFuture } from '../domain/time.ts';
import { renewalDate, type Token } from '../domain/token.ts';
import type { Clock } from '../ports.ts';
import { Recent } from './recent.ts';
import type { TokenDesk } from './token-desk.ts';
import { isRefusal, patiently, type Refusal, type Wish } from './wish.ts';

/** Tokens kept for sharing. A token costs about 3 kB; one that is gone costs one more request. */
const TOKENS = 2_000;

/**
 * One request for all who present the same (token URL, client, scope and secrets):
 * requests under way are joined, fresh tokens and standing refusals are handed on.
 */
export class SharedTokens {
  readonly #desk: TokenDesk;
  readonly #clock: Clock;
  readonly #tokens = new Recent<Token>(TOKENS);
  readonly #underWay = new Map<string, Promise<Token | Refusal>>();

  constructor(desk: TokenDesk, clock: Clock) {
    this.#desk = desk;
    this.#clock = clock;
  }

  /** @throws the signal's reason when the caller's signal fires */
  async obtain(wish: Wish, signal: AbortSignal): Promise<Token | Refusal> {
    signal.throwIfAborted();
    const identity = this.#desk.identityOf(wish.request);
    const token = this.#tokens.get(identity);
    if (token !== undefined && satisfies(token, wish, this.#clock.now())) return token;
    const refusal = this.#desk.standing(wish);
    if (refusal !== undefined) return refusal;
    return patiently(this.#ask(identity, wish), wish, this.#clock, signal);
  }

  #ask(identity: string, wish: Wish): Promise<Token | Refusal> {
    const known = this.#underWay.get(identity);
    if (known !== undefined) return known;
    const asked = this.#send(identity, wish).finally(() => this.#underWay.delete(identity));
    this.#underWay.set(identity, asked);
    return asked;
  }

  async #send(identity: string, wish: Wish): Promise<Token | Refusal> {
    const answer = await this.#desk.ask(wish);
    if (!isRefusal(answer)) this.#tokens.set(identity, answer);
    return answer;
  }
}

/** Good for a while yet. (The least time between renewals may outlast a very short token.) */
export const satisfies = (
  token: Token,
  { need, policy }: Pick<Wish, 'need' | 'policy'>,
  now: EpochMs,
): boolean =>
  token.issuedAt > need.newerThan &&
  !isFromTheFuture(token.issuedAt, now) &&
  Math.min(renewalDate(token, policy), token.expiresAt) > now;
