import { describe, expect, it } from '@jest/globals';
import * as fc from 'fast-check';
import {
  asError,
  earlierAction,
  earliestRequeue,
  hours,
  isFromTheFuture,
  minutes,
  parseTime,
  rfc3339,
  seconds,
} from '../../src/lib/time.ts';

const aTime = fc.integer({ min: 0, max: Date.parse('9999-12-31T23:59:59Z') });

describe('times', () => {
  it('are counted in milliseconds', () => {
    expect([seconds(2), minutes(2), hours(2)]).toEqual([2_000, 120_000, 7_200_000]);
  });

  it('are written in UTC with whole seconds, cut off', () => {
    expect(rfc3339(Date.parse('2026-09-21T14:00:00.999+02:00'))).toBe('2026-09-21T12:00:00Z');
  });

  it('read back as they were written, to the second', () => {
    fc.assert(
      fc.property(aTime, (at) => {
        expect(parseTime(rfc3339(at))).toBe(at - (at % 1_000));
      }),
    );
  });

  it.each([undefined, '', 'soon', '2026-13-01T00:00:00Z'])('are not read out of %j', (text) => {
    expect(parseTime(text)).toBeUndefined();
  });

  it('lie in the future only beyond what clocks differ', () => {
    expect(isFromTheFuture(minutes(1), 0)).toBe(false);
    expect(isFromTheFuture(minutes(1) + 1, 0)).toBe(true);
  });
});

describe('the earliest moment', () => {
  it('is the action', () => {
    expect(earliestRequeue(3, undefined, 2)).toEqual({ requeueAt: 2 });
  });

  it('of none is to await a change', () => {
    expect(earliestRequeue()).toBe('await-change');
    expect(earliestRequeue(undefined, undefined)).toBe('await-change');
  });

  it('may be the epoch itself', () => {
    expect(earliestRequeue(undefined, 0)).toEqual({ requeueAt: 0 });
  });
});

describe('two actions', () => {
  it('are the earlier one, and an error when one of them is', () => {
    const [soon, late] = [{ requeueAt: 1 }, { requeueAt: 2 }];
    expect(earlierAction(soon, late)).toEqual(soon);
    expect(earlierAction('await-change', late)).toEqual(late);
    expect(earlierAction(late, 'await-change')).toEqual(late);
    expect(earlierAction(asError(late), soon)).toEqual({ ...soon, isError: true });
    expect(earlierAction(soon, asError(late))).toEqual({ ...soon, isError: true });
    expect(asError('await-change')).toBe('await-change');
  });
});
