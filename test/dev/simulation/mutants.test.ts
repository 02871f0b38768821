import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from '@jest/globals';
import { type Mutant, mutantNames } from '../../../dev/simulation/mutants/mutants.ts';

const ROOT = join(import.meta.dirname, '../../..');

/** mutants.slow.ts plays them. */
describe.each(mutantNames())('the mutant %s', (name) => {
  const file = join(ROOT, `dev/simulation/mutants/${name}.json`);
  const { what, edits }: Mutant = JSON.parse(readFileSync(file, 'utf8'));

  it('says what it is, and each of its texts is there once', () => {
    expect(what).toMatch(/^[A-Z].*\.$/);
    for (const { file, find, replace } of edits) {
      expect(readFileSync(join(ROOT, file), 'utf8').split(find)).toHaveLength(2);
      expect(replace).not.toBe(find);
    }
  });
});
