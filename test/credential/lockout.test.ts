import { describe, expect, it } from '@jest/globals';
import * as fc from 'fast-check';
import { loginAllowedAt, nextLoginAt, presentedDigest } from '../../src/credential/lockout.ts';
import { hours, minutes, seconds } from '../../src/lib/time.ts';
import { aParsedCredential, START } from '../support/builders.ts';

describe('a rejected password', () => {
  it.each([
    ['is never tried again', { count: 1, worked: false, followedRejection: false }, undefined],
    [
      'nor when it is rejected again',
      { count: 2, worked: false, followedRejection: false },
      undefined,
    ],
    [
      'is tried again after 20 minutes when it followed another rejection',
      { count: 1, worked: false, followedRejection: true },
      minutes(20),
    ],
    [
      'and after two hours when it did again',
      { count: 2, worked: false, followedRejection: true },
      hours(2),
    ],
    [
      'that had worked is tried after 20 minutes',
      { count: 1, worked: true, followedRejection: false },
      minutes(20),
    ],
    ['then after two hours', { count: 2, worked: true, followedRejection: false }, hours(2)],
    ['then every twelve hours', { count: 3, worked: true, followedRejection: false }, hours(12)],
    [
      'that something before the server may have refused is tried after 20 minutes',
      { count: 1, worked: false, followedRejection: false, isUnreadable: true },
      minutes(20),
    ],
    [
      'and every twelve hours in the end',
      { count: 3, worked: false, followedRejection: false, isUnreadable: true },
      hours(12),
    ],
    ['for ever', { count: 30, worked: true, followedRejection: true }, hours(12)],
  ])('%s', (_, evidence, wait) => {
    expect(nextLoginAt({ isUnreadable: false, ...evidence }, START, 0)).toBe(
      wait === undefined ? undefined : START + wait,
    );
  });

  it('is spread over another tenth of the wait', () => {
    const evidence = { count: 1, worked: true, followedRejection: false, isUnreadable: false };
    fc.assert(
      fc.property(fc.double({ min: 0, max: 0.999, noNaN: true }), (random) => {
        const at = nextLoginAt(evidence, START, random) ?? 0;
        return at >= START + minutes(20) && at <= START + minutes(22);
      }),
    );
  });

  const requested = { minimum: seconds(30) };
  it.each<[string, { retryIn?: number; after: number; requested?: { minimum: number } }, boolean]>([
    ['before its time', { retryIn: minutes(20), after: minutes(19) }, false],
    ['at its time', { retryIn: minutes(20), after: minutes(20) }, true],
    ['without one', { after: hours(1000) }, false],
    ['after the clock was set back', { retryIn: minutes(20), after: -hours(3) }, true],
    ['without one after the clock was set back', { after: -hours(3) }, false],
    ['at the request of a person', { after: seconds(30), requested }, true],
    ['at a request that comes too soon', { after: seconds(29), requested }, false],
  ])('may be presented %s: %j', (_, { retryIn = 0, after, requested }, expected) => {
    const retryAt = retryIn === 0 ? undefined : START + retryIn;
    const now = START + after;
    const allowedAt = loginAllowedAt({ at: START, retryAt }, now, requested) ?? Infinity;
    expect(now >= allowedAt).toBe(expected);
  });
});

describe('what is presented', () => {
  const version = 'source-uid/1';
  const password = { spec: { grantType: 'password' as const } };
  const base = presentedDigest(aParsedCredential(password), version);

  it('is another thing for another version, client or realm, and the same for another target', () => {
    const others = [
      presentedDigest(aParsedCredential(password), 'source-uid/2'),
      presentedDigest(aParsedCredential({ spec: { ...password.spec, clientId: 'x' } }), version),
      presentedDigest(aParsedCredential({ spec: { ...password.spec, realm: 'x' } }), version),
    ];
    expect(new Set([base, ...others]).size).toBe(4);
    expect(
      presentedDigest(aParsedCredential({ ...password, target: { name: 'x' } }), version),
    ).toBe(base);
  });
});
