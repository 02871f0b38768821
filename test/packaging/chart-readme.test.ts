import { expect, it } from '@jest/globals';
import { chartReadme } from '../../dev/packaging/chart-readme.ts';

it('the README of the chart shows angle brackets of values.yaml as they are', async () => {
  const rows = (await chartReadme()).split('\n').filter((line) => line.startsWith('| `'));
  const hidden = rows.filter((row) => /(?<!\\)<\/?[a-z]/i.test(row.replace(/`[^`]*`/g, '')));
  expect(hidden).toEqual([]);
  expect(rows.find((row) => row.includes('runbookBaseUrl'))).toContain('/\\<alert>.md');
});
