import type { RequiredFreshness } from '../credential/plan.ts';
import type { RenewalPolicy } from '../credential/renewal.ts';
import type { Clock } from '../lib/clock.ts';
import { type CurrentToken, Failure } from '../lib/failure.ts';
import type { EpochMs, Ms } from '../lib/time.ts';
import { type TokenRequest, urlOf } from '../oauth/grants.ts';
import type { Token } from '../oauth/token.ts';
import type { LoginHistory } from './rejected-logins.ts';

/** No token for now, and when it makes sense to ask again (undefined: not before something changes). */
export interface TokenFailure {
  readonly failure: Failure;
  readonly retryAt: EpochMs | undefined;
  /** How often in a row what was presented has been refused, and when last. */
  readonly attempts?: number;
  readonly at?: EpochMs;
  /** A rejected password had been accepted before. */
  readonly hadWorked?: boolean;
  /** An earlier refusal that still stands: nothing was sent this time. */
  readonly isCached?: boolean;
}

export const isTokenFailure = (response: Token | TokenFailure): response is TokenFailure =>
  'failure' in response;

/** What one credential asks for. */
export interface TokenDemand<Request extends TokenRequest = TokenRequest> {
  readonly request: Request;
  readonly freshness: RequiredFreshness;
  readonly policy: RenewalPolicy;
  /** The present token; undefined when there is none. */
  readonly currentToken: CurrentToken | undefined;
  /** The smallest goes first. */
  readonly deadline: EpochMs;
  /** When to stop waiting for a turn and say so. */
  readonly maxWait: Ms;
  readonly loginHistory: LoginHistory;
}

export const hostOf = (request: TokenRequest): string => new URL(urlOf(request)).host;

/**
 * Whoever waits longer than its patience is told so; the request stays where it is in the queue.
 * @throws the signal's reason when the caller's signal fires
 */
export function withMaxWait(
  asked: Promise<Token | TokenFailure>,
  { request, maxWait }: TokenDemand,
  clock: Clock,
  signal: AbortSignal,
): Promise<Token | TokenFailure> {
  return new Promise((resolve, reject) => {
    const leave = () => {
      settle();
      reject(signal.reason);
    };
    const giveUp = clock.after(maxWait, () => {
      settle();
      resolve({ failure: throttled(hostOf(request)), retryAt: clock.now() });
    });
    const settle = () => {
      giveUp();
      signal.removeEventListener('abort', leave);
    };
    signal.addEventListener('abort', leave, { once: true });
    asked.finally(settle).then(resolve, reject);
  });
}

export function throttled(host: string): Failure {
  return new Failure(
    'Throttled',
    `Waiting for a turn at ${host}: the request budget of that host is used up, or the host is paused or unreachable`,
  );
}
