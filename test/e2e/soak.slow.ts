import { describe, expect, it } from '@jest/globals';
import { silent } from '../../dev/envtest/server-process.ts';
import { runSoak, SOAK_SCENARIOS } from '../../dev/lab/soak.ts';

/**
 * Short soak runs with few credentials; `npm run soak` has the long ones. Tokens of 80 s are renewed 16 s before they
 * expire, which leaves a busy machine time to restart the operator.
 */
describe.each([
  ['steady', 4, 40, 45],
  ['kills', 4, 80, 125],
  ['wrong-password', 1, 40, 12],
])('%s in short', (name, credentials, tokenSeconds, seconds) => {
  it(
    'meets its aims',
    async () => {
      const scenario = SOAK_SCENARIOS[name];
      if (scenario === undefined) throw new Error(`there is no scenario ${name}`);
      const rows = await runSoak(scenario, {
        milliseconds: seconds * 1_000,
        credentials,
        tokenSeconds,
        grant: 'password',
        provider: 'built-in',
        log: silent,
        signal: new AbortController().signal,
      });
      expect(rows.filter(({ met }) => met === true).length).toBeGreaterThan(3);
      expect(rows.filter(({ met }) => met === false)).toEqual([]);
    },
    (seconds + 300) * 1_000,
  );
});
