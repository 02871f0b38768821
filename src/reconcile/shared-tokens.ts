import { type EpochMs, isFromTheFuture } from '../domain/time.ts';
import { renewalDate, type Token } from '../domain/token.ts';
import type { Clock, Turn } from '../ports.ts';
import { Recent } from './recent.ts';
import { type TokenDesk, turnFor } from './token-desk.ts';
import { isRefusal, patiently, type Refusal, type Wish } from './wish.ts';

/** Tokens kept for sharing. A token costs about 3 kB; one that is gone costs one more request. */
const TOKENS = 2_000;

interface UnderWay {
  readonly turn: Turn;
  readonly answer: Promise<Token | Refusal>;
}

/**
 * One request for all who present the same (token URL, client, scope and secrets):
 * requests under way are joined, fresh tokens and standing refusals are handed on.
 */
export class SharedTokens {
  readonly #desk: TokenDesk;
  readonly #clock: Clock;
  readonly #tokens = new Recent<Token>(TOKENS);
  readonly #underWay = new Map<string, UnderWay>();

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
    if (known !== undefined) {
      this.#hurry(known.turn, wish);
      return known.answer;
    }
    const turn = turnFor(wish);
    const answer = this.#send(identity, wish, turn).finally(() => this.#underWay.delete(identity));
    this.#underWay.set(identity, { turn, answer });
    return answer;
  }

  /** The request is as urgent as the most urgent of those who wait for it. */
  #hurry(turn: Turn, { request, urgency, held }: Wish): void {
    const now = this.#clock.now();
    const expiries = [turn.expiresAt ?? 0, held?.expiresAt ?? 0].filter((at) => at > now);
    turn.urgency = Math.min(turn.urgency, urgency);
    turn.expiresAt = expiries.length === 0 ? undefined : Math.min(...expiries);
    this.#desk.hurry(request, turn);
  }

  async #send(identity: string, wish: Wish, turn: Turn): Promise<Token | Refusal> {
    const answer = await this.#desk.ask(wish, turn);
    if (!isRefusal(answer)) this.#tokens.set(identity, answer);
    return answer;
  }
}

/** Good for a while yet. (The least time between renewals may outlast a very short token.) */
export const satisfies = (
  token: Token,
  { need, policy, held }: Pick<Wish, 'need' | 'policy' | 'held'>,
  now: EpochMs,
): boolean =>
  token.issuedAt > need.newerThan &&
  !isFromTheFuture(token.issuedAt, now) &&
  Math.min(renewalDate(token, policy), token.expiresAt) > now &&
  !isNoGain(token, need, held);

/** It would not be published as a renewal, so another one has to be asked for. */
const isNoGain = (token: Token, need: Wish['need'], held: Wish['held']): boolean =>
  need.newerThan > 0 && !need.requested && held !== undefined && token.expiresAt < held.expiresAt;
