import { describe, expect, it } from '@jest/globals';
import * as fc from 'fast-check';
import { isPlausible, renewalDate } from '../../src/credential/renewal.ts';
import { hours, minutes, seconds } from '../../src/lib/time.ts';
import { START } from '../support/builders.ts';

const aPolicy = fc.record({
  percent: fc.integer({ min: 1, max: 99 }),
  jitterPercent: fc.integer({ min: 0, max: 50 }),
  minimum: fc.integer({ min: 0, max: minutes(10) }),
});
const aValidity = fc.integer({ min: 1, max: hours(24) });
const aJitter = fc.double({ min: -1, max: 1, noNaN: true });
const aToken = (validity: number, jitter: number) => ({
  issuedAt: START,
  expiresAt: START + validity,
  jitter,
});

describe('the date of renewal', () => {
  it.each<[number, number, number, number, number]>([
    // validity s, percent, jitterPercent, jitter, expected s
    [300, 80, 5, 0, 240],
    [300, 80, 5, -1, 225],
    [300, 80, 5, 1, 255],
    [300, 99, 20, 1, 297],
    [300, 1, 20, -1, 30],
    [3_600, 1, 20, -1, 180],
    [20, 80, 5, 0, 30],
    [0, 80, 5, 0, 30],
  ])('of %d s at %d ± %d %% (jitter %d) is %d s after the issue', (...row) => {
    const [validity, percent, jitterPercent, jitter, expected] = row;
    const policy = { percent, jitterPercent, minimum: seconds(30) };
    expect(renewalDate(aToken(seconds(validity), jitter), policy)).toBe(START + seconds(expected));
  });

  it.each<[number, number, number]>([
    // validity s, minimum s, expected s
    [300, 290, 290],
    [300, 298, 240],
    [300, 86_400, 240],
    [40, 86_400, 32],
    [32, 86_400, 30],
    [20, 86_400, 30],
    [20, 5, 16],
  ])('of %d s with a minimum of %d s is %d s after the issue', (validity, minimum, expected) => {
    const policy = { percent: 80, jitterPercent: 5, minimum: seconds(minimum) };
    expect(renewalDate(aToken(seconds(validity), 0), policy)).toBe(START + seconds(expected));
  });

  it('is a whole millisecond within the validity, or at 30 s, or at a smaller minimum', () => {
    fc.assert(
      fc.property(aValidity, aJitter, aPolicy, (validity, jitter, policy) => {
        const at = renewalDate(aToken(validity, jitter), policy);
        expect(Number.isInteger(at)).toBe(true);
        const minInterval = Math.min(policy.minimum, seconds(30));
        expect(at).toBeGreaterThanOrEqual(START + minInterval);
        expect(at).toBeLessThanOrEqual(START + Math.max(minInterval, validity));
      }),
    );
  });

  it('lies within the jitter window wherever that lies within the validity', () => {
    fc.assert(
      fc.property(aValidity, aJitter, (validity, jitter) => {
        const policy = { percent: 60, jitterPercent: 10, minimum: 0 };
        const after = renewalDate(aToken(validity, jitter), policy) - START;
        expect(after).toBeGreaterThanOrEqual(Math.floor(validity * 0.5));
        expect(after).toBeLessThanOrEqual(Math.ceil(validity * 0.7));
      }),
    );
  });

  it('is plausible for every token and policy', () => {
    fc.assert(
      fc.property(aValidity, aJitter, aPolicy, (validity, jitter, policy) => {
        const token = aToken(validity, jitter);
        expect(isPlausible({ ...token, renewAt: renewalDate(token, policy) })).toBe(true);
      }),
    );
  });

  it('is never earlier for a token that is valid for longer, or for a higher percentage', () => {
    fc.assert(
      fc.property(aValidity, aValidity, aJitter, aPolicy, (one, other, jitter, policy) => {
        const [less, more] = [Math.min(one, other), Math.max(one, other)];
        const dateOf = (validity: number, percent = policy.percent) =>
          renewalDate(aToken(validity, jitter), { ...policy, percent });
        expect(dateOf(less)).toBeLessThanOrEqual(dateOf(more));
        expect(dateOf(one)).toBeLessThanOrEqual(dateOf(one, policy.percent + 1));
      }),
    );
  });
});
