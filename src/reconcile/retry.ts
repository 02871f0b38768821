import { type Failure, retryAt } from '../lib/failure.ts';
import { type Action, asError, earliestRequeue } from '../lib/time.ts';
import type { Dependencies } from './dependencies.ts';
import type { CredentialState } from './state.ts';

/** Counts a failed request to the API server, and waits longer after each in a row. */
export function retryRequest(
  { clock, random }: Pick<Dependencies, 'clock' | 'random'>,
  state: CredentialState,
  failure: Failure,
): Action {
  state.failedRequests += 1;
  return asError(earliestRequeue(retryAt(failure, state.failedRequests, clock.now(), random())));
}
