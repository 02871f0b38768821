import { expect, it } from '@jest/globals';
import { mutantNames } from '../../../dev/simulation/mutants/mutants.ts';
import { simulate } from './simulate.ts';

it.each(mutantNames())('the mutant %s runs', async (name) => {
  const { out, err } = await simulate('--seeds', '1', '--faults', 'none', '--mutant', name);
  expect(err).toBe('');
  expect(out).toContain('Seeds 1 to 1: 1 runs');
  expect(out).not.toContain('the simulation itself failed');
});
