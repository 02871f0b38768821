import { type Failure, retryAt } from '../lib/failure.ts';
import { splitKey } from '../lib/key.ts';
import { type Action, asError, earliestRequeue } from '../lib/time.ts';
import type { Dependencies } from './dependencies.ts';
import type { CredentialState, Unparsed } from './state.ts';

/** Counted apart, for each begins again when its own work succeeds. */
type Counter = 'failedRequests' | 'failedReleases' | 'failedRemovals' | 'failedCleanups';

/** Counts a failed request to the API server, and waits longer after each in a row. */
export function retryRequest(
  { clock, random }: Pick<Dependencies, 'clock' | 'random'>,
  state: CredentialState,
  failure: Failure,
  counter: Counter,
): Action {
  const attempts = (state[counter] ?? 0) + 1;
  state[counter] = attempts;
  return asError(earliestRequeue(retryAt(failure, attempts, clock.now(), random())));
}

/** The same, for work that no status tells of. */
export function retryAndLog(
  deps: Pick<Dependencies, 'clock' | 'random' | 'log'>,
  { key, state }: Pick<Unparsed, 'key' | 'state'>,
  failure: Failure,
  counter: Counter,
): Action {
  const action = retryRequest(deps, state, failure, counter);
  const { kind: reason, code } = failure;
  deps.log.warn(failure.message, { ...splitKey(key), reason, code, attempts: state[counter] });
  return action;
}
