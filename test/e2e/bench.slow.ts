import { beforeAll, describe, expect, it } from '@jest/globals';
import { bundleOperator, imageSettings } from '../../dev/bundled-operator.ts';
import { silent } from '../../dev/envtest/server-process.ts';
import { BENCH_SCENARIOS, CHECK_SIZE } from '../../dev/lab/bench.ts';
import { BuiltInProvider } from '../../dev/lab/built-in-provider.ts';
import { LabTestbed } from '../../dev/lab/testbed.ts';

/** `npm run bench -- --check`: counts, which are the same on every machine. */
describe('the counts of npm run bench', () => {
  beforeAll(() => bundleOperator(), 300_000);

  it.each(['sharing', 'quiet'])(
    'are what they have to be: %s',
    async (name) => {
      await using testbed = await LabTestbed.start({
        startProvider: () => BuiltInProvider.start(),
        log: silent,
        image: await imageSettings(),
      });
      const rows = (await BENCH_SCENARIOS[name]?.run(testbed, CHECK_SIZE)) ?? [];
      const counted = rows.filter(({ met }) => met !== undefined);
      expect(counted.length).toBeGreaterThan(3);
      expect(counted.filter(({ met }) => met === false)).toEqual([]);
    },
    600_000,
  );
});
