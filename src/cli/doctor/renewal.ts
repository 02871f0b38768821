import type { EpochMs } from '../../lib/time.ts';
import { fixFor } from '../fixes.ts';
import type { Shown } from '../kind.ts';
import { clockTime, plain, until } from '../output.ts';
import { stateOf } from '../state.ts';
import { type Check, fail, failure, ok, skip } from './check.ts';

/**
 * What the operator has reported of its last renewal; none while it has not seen the spec.
 * @param found by this program itself, which says more
 */
export function renewalChecks(credential: Shown, found: readonly Check[], now: EpochMs): Check[] {
  const { renewal, reason, message, failingSince = now, renewAt = now } = stateOf(credential, now);
  switch (renewal) {
    case 'ok':
      return [ok('Renewal', `the next one is due ${until(renewAt, now)}`)];
    case 'suspended':
      return [skip('Renewal', 'suspended, by spec.suspend')];
    case 'overdue':
      return [fail('Renewal', `was due ${until(renewAt, now)}, and nothing was reported since`)];
    case 'failing': {
      const since = `failing since ${clockTime(failingSince, now)}: ${plain(reason, 60)}`;
      const told = found.find((check) => check.reason === reason);
      if (told !== undefined)
        return [failure('Renewal', reason, `${since}; see ${told.name} below`)];
      const fix = fixFor(reason, { credential, source: 'unknown' });
      return [failure('Renewal', reason, `${since}. ${plain(message)}`, fix)];
    }
    case 'pending':
    case 'not seen yet':
      return [];
  }
}
