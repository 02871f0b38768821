import { beforeAll, describe, expect, it } from '@jest/globals';
import { bundleOperator, Lab } from '../../dev/lab/lab.ts';
import { CHECK, SCENARIOS } from '../../dev/lab/scenarios/scenarios.ts';

/** `npm run bench -- --check` in the tests: what can be counted is the same on every machine. */
describe('the counts of npm run bench', () => {
  beforeAll(() => bundleOperator(), 300_000);

  it.each(['sharing', 'quiet'])(
    'are what they have to be: %s',
    async (name) => {
      const lab = await Lab.start({ log: () => undefined });
      try {
        const rows = (await SCENARIOS[name]?.work(lab, CHECK)) ?? [];
        const counted = rows.filter(({ kind, met }) => kind === 'count' && met !== undefined);
        expect(counted.length).toBeGreaterThan(3);
        expect(counted.filter(({ met }) => met === false)).toEqual([]);
      } finally {
        await lab.stop();
      }
    },
    600_000,
  );
});
