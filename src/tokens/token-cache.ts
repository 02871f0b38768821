import { renewalDate } from '../credential/renewal.ts';
import type { Clock } from '../lib/clock.ts';
import { LruMap } from '../lib/lru-map.ts';
import { type EpochMs, isFromTheFuture } from '../lib/time.ts';
import type { Token } from '../oauth/token.ts';
import type { Ticket } from './host-limiter.ts';
import { type TokenClient, ticketFor } from './token-client.ts';
import {
  isTokenFailure,
  type TokenDemand,
  type TokenFailure,
  withMaxWait,
} from './token-demand.ts';

/** Tokens kept for sharing. A token costs about 3 kB; one that is gone costs one more request. */
const MAX_CACHED_TOKENS = 2_000;

interface InFlight {
  readonly ticket: Ticket;
  readonly response: Promise<Token | TokenFailure>;
}

/**
 * One request for all who present the same (token URL, client, scope and secrets):
 * requests under way are joined, fresh tokens and standing refusals are handed on.
 */
export class TokenCache {
  readonly #tokenClient: TokenClient;
  readonly #clock: Clock;
  readonly #tokens = new LruMap<Token>(MAX_CACHED_TOKENS);
  readonly #inFlight = new Map<string, InFlight>();

  constructor(tokenClient: TokenClient, clock: Clock) {
    this.#tokenClient = tokenClient;
    this.#clock = clock;
  }

  /** @throws the signal's reason when the caller's signal fires */
  async obtain(demand: TokenDemand, signal: AbortSignal): Promise<Token | TokenFailure> {
    signal.throwIfAborted();
    const identity = this.#tokenClient.identityOf(demand.request);
    const token = this.#tokens.get(identity);
    if (token !== undefined && satisfies(token, demand, this.#clock.now())) return token;
    const tokenFailure = this.#tokenClient.cachedFailure(demand);
    if (tokenFailure !== undefined) return tokenFailure;
    return withMaxWait(this.#ask(identity, demand), demand, this.#clock, signal);
  }

  #ask(identity: string, demand: TokenDemand): Promise<Token | TokenFailure> {
    const known = this.#inFlight.get(identity);
    if (known !== undefined) {
      this.#raisePriority(known.ticket, demand);
      return known.response;
    }
    const ticket = ticketFor(demand);
    const response = this.#send(identity, demand, ticket).finally(() =>
      this.#inFlight.delete(identity),
    );
    this.#inFlight.set(identity, { ticket, response });
    return response;
  }

  /** The request is as urgent as the most urgent of those who wait for it. */
  #raisePriority(ticket: Ticket, { request, deadline, currentToken }: TokenDemand): void {
    const now = this.#clock.now();
    const expiries = [ticket.expiresAt ?? 0, currentToken?.expiresAt ?? 0].filter((at) => at > now);
    ticket.deadline = Math.min(ticket.deadline, deadline);
    ticket.expiresAt = expiries.length === 0 ? undefined : Math.min(...expiries);
    this.#tokenClient.raisePriority(request, ticket);
  }

  async #send(
    identity: string,
    demand: TokenDemand,
    ticket: Ticket,
  ): Promise<Token | TokenFailure> {
    const response = await this.#tokenClient.ask(demand, ticket);
    if (!isTokenFailure(response)) this.#tokens.set(identity, response);
    return response;
  }
}

/** Good for a while yet. (The least time between renewals may outlast a very short token.) */
export const satisfies = (
  token: Token,
  { freshness, policy, currentToken }: Pick<TokenDemand, 'freshness' | 'policy' | 'currentToken'>,
  now: EpochMs,
): boolean =>
  token.issuedAt > freshness.newerThan &&
  !isFromTheFuture(token.issuedAt, now) &&
  Math.min(renewalDate(token, policy), token.expiresAt) > now &&
  !isExpiringEarlier(token, freshness, currentToken);

/** It would not be published as a renewal, so another one has to be asked for. */
const isExpiringEarlier = (
  token: Token,
  freshness: TokenDemand['freshness'],
  currentToken: TokenDemand['currentToken'],
): boolean =>
  freshness.newerThan > 0 &&
  !freshness.requested &&
  currentToken !== undefined &&
  token.expiresAt < currentToken.expiresAt;
