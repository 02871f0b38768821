import type { RequiredFreshness } from '../credential/plan.ts';
import type { RenewalPolicy } from '../credential/renewal.ts';
import { type CurrentToken, Failure } from '../lib/failure.ts';
import type { EpochMs, Ms } from '../lib/time.ts';
import { type TokenRequest, urlOf } from '../oauth/grants.ts';
import type { LoginHistory } from './rejected-logins.ts';

/** What one credential asks for. */
export interface TokenDemand<Request extends TokenRequest = TokenRequest> {
  readonly request: Request;
  /** Of the credential: requests of new credentials are sent for each namespace in turn. */
  readonly namespace: string;
  readonly freshness: RequiredFreshness;
  readonly policy: RenewalPolicy;
  /** The present token; undefined when there is none. */
  readonly currentToken: CurrentToken | undefined;
  /** The smallest goes first. */
  readonly deadline: EpochMs;
  /** How long to wait for a response before that is reported as `Throttled`. */
  readonly maxWait: Ms;
  readonly loginHistory: LoginHistory;
}

/** No token for now, and when it makes sense to ask again (undefined: not before something changes). */
export interface TokenFailure {
  readonly failure: Failure;
  readonly retryAt: EpochMs | undefined;
  /** How often in a row what was presented has been refused, and when last. */
  readonly attempts?: number;
  readonly at?: EpochMs;
  /** A rejected password had been accepted before. */
  readonly hadWorked?: boolean;
  /** An earlier failure that is still in force: nothing was sent this time. */
  readonly isCached?: boolean;
}

/**
 * When a renew request was not answered with regard to its password: from when on that may be presented. What is
 * terminal for the request, as a wrong client secret, says nothing of the password.
 */
export const passwordAllowedFrom = ({ failure, at, retryAt }: TokenFailure): EpochMs | undefined =>
  failure.isTerminal ? at : retryAt;

export const isTokenFailure = (outcome: object): outcome is TokenFailure => 'failure' in outcome;

/** No response yet: the key is enqueued when it is in. */
export interface Pending {
  /** By then the wait is long enough to be reported: reconcile again. */
  readonly reportAt: EpochMs;
}

export const isPending = (outcome: object): outcome is Pending => 'reportAt' in outcome;

export const hostOf = (request: TokenRequest): string => new URL(urlOf(request)).host;

export function throttled(host: string): Failure {
  return new Failure(
    'Throttled',
    `Waiting for a turn at ${host}: the request budget of that host is used up, or the host or the realm is paused or unreachable`,
  );
}
