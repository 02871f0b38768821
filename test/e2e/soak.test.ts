import { describe, expect, it } from '@jest/globals';
import { silent } from '../../dev/envtest/server-process.ts';
import { SCENARIOS } from '../../dev/lab/soak/scenarios.ts';

/**
 * The soak runs in short, with few credentials: `npm run soak` has the long ones. Tokens of 40 s are renewed 8 s before
 * they expire, in which a busy machine starts the operator again.
 */
describe.each([
  ['steady', 4, 45],
  ['kills', 4, 61],
  ['wrong-password', 1, 12],
])('%s in short', (name, credentials, seconds) => {
  it(
    'meets its aims',
    async () => {
      const rows = await SCENARIOS[name]?.play({
        milliseconds: seconds * 1_000,
        credentials,
        tokenSeconds: 40,
        grant: 'password',
        provider: 'built-in',
        log: silent,
        signal: new AbortController().signal,
      });
      expect(rows?.filter(({ met }) => met === true).length).toBeGreaterThan(3);
      expect(rows?.filter(({ met }) => met === false)).toEqual([]);
    },
    (seconds + 300) * 1_000,
  );
});
