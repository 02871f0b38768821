import { describe, expect, it } from '@jest/globals';
import { reportOf } from '../../dev/fuzz/report.ts';
import { Run } from '../../dev/fuzz/run.ts';
import { missed } from '../../dev/lab/report.ts';

const setting = {
  seed: 1,
  minutes: 0.5,
  actionsPerSecond: 20,
  log: () => undefined,
  signal: new AbortController().signal,
};

describe('the operator, given objects and responses that chance has made', () => {
  it('does not die, leak, loop, or leave a credential without a condition', async () => {
    const rows = await Run.play(setting, reportOf);
    expect(missed(rows)).toEqual([]);
    const tried = rows.find(({ measure }) => measure === 'objects and edits tried')?.value;
    const sent = rows.find(({ measure }) => measure === 'responses sent')?.value;
    expect(tried).toBeGreaterThan(100);
    expect(sent).toBeGreaterThan(20);
  }, 420_000);
});
