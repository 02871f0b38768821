import { describe, expect, it } from '@jest/globals';
import * as fc from 'fast-check';
import {
  FAILURE_KINDS,
  Failure,
  type FailureKind,
  isFailure,
  RETRY_RULES,
  retryAt,
  retryBeforeExpiry,
  TOKEN_FAILURES,
} from '../../src/lib/failure.ts';
import { hours, minutes, seconds } from '../../src/lib/time.ts';
import { anyCharacter } from '../support/arbitraries.ts';
import { KINDS } from '../support/builders.ts';

const aKind = fc.constantFrom(...KINDS);
const anAttempt = fc.integer({ min: 1, max: 10_000 });
const aRandom = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true });
const NOW = Date.parse('2026-09-21T12:00:00Z');

const waitAfter = (kind: FailureKind, attempts: number, random = 0.5) => {
  const at = retryAt(new Failure(kind, ''), attempts, NOW, random);
  return at === undefined ? undefined : at - NOW;
};

describe('the message of a failure', () => {
  it('holds no control or format character, and at most 1,000 characters', () => {
    fc.assert(
      fc.property(
        fc.string({ unit: anyCharacter, maxLength: 3_000 }),
        fc.nat(2_000),
        (text, length) => {
          const { message } = new Failure(
            'InvalidSpec',
            `${text}\u001b\u202e${'x'.repeat(length)}`,
          );
          expect(message).not.toMatch(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/u);
          expect(message.length).toBeLessThanOrEqual(1_000);
          expect(message.isWellFormed()).toBe(true);
        },
      ),
    );
  });
});

describe('the wait after a failure', () => {
  it.each<[FailureKind, number, number, number | undefined]>([
    ['NetworkError', 1, 0.5, seconds(1)],
    ['NetworkError', 1, 0, seconds(1)],
    ['NetworkError', 4, 0.5, seconds(8)],
    ['NetworkError', 100, 0.5, minutes(2.5)],
    ['TLSError', 1, 0.5, minutes(1)],
    ['TLSError', 3, 0.5, minutes(4)],
    ['TLSError', 9, 0.5, minutes(15)],
    ['TLSError', 1, 0, seconds(54)],
    ['ClientSecretRejected', 1, 0.5, minutes(15)],
    ['ClientSecretRejected', 2, 0.5, minutes(30)],
    ['ClientSecretRejected', 50, 0.5, hours(1)],
    ['RealmNotFound', 1, 0.5, hours(1)],
    ['RealmNotFound', 50, 0.5, hours(1)],
    ['CredentialsRejected', 1, 0.5, undefined],
    ['InvalidSpec', 7, 0.5, undefined],
  ])('of the kind %s, number %d (random %d) is %p ms', (kind, attempts, random, expected) => {
    expect(waitAfter(kind, attempts, random)).toBe(expected);
  });

  it('is never shorter than half a second and never longer than the longest of its rule by 10 %', () => {
    fc.assert(
      fc.property(aKind, anAttempt, aRandom, (kind, attempts, random) => {
        const rule = RETRY_RULES[FAILURE_KINDS[kind].retry];
        const wait = waitAfter(kind, attempts, random);
        if (rule === undefined) {
          expect(wait).toBeUndefined();
          return;
        }
        expect(wait).toBeGreaterThanOrEqual(seconds(0.5));
        expect(wait).toBeLessThanOrEqual(rule.longest * 1.1 + 1);
      }),
    );
  });

  it('never gets shorter with the number of failures', () => {
    fc.assert(
      fc.property(aKind, anAttempt, aRandom, (kind, attempts, random) => {
        const [now = 0, then = 0] = [attempts, attempts + 1].map((n) => waitAfter(kind, n, random));
        expect(then).toBeGreaterThanOrEqual(now);
      }),
    );
  });

  it('honours what the server asked for, whatever the kind, and a little more', () => {
    const asked = fc.integer({ min: 1, max: hours(1) });
    fc.assert(
      fc.property(aKind, anAttempt, aRandom, asked, (kind, attempts, random, retryAfter) => {
        const at = retryAt(new Failure(kind, '', { retryAfter }), attempts, NOW, random) ?? 0;
        expect(at - NOW).toBeGreaterThanOrEqual(retryAfter);
        expect(at - NOW).toBeLessThanOrEqual(retryAfter * 1.1 + 1);
      }),
    );
  });
});

describe('a failure', () => {
  it('of what people wrote needs a person and waits for a change', () => {
    for (const kind of ['InvalidSpec', 'InputMissing', 'InputInvalid', 'TargetNotOurs'] as const) {
      expect(new Failure(kind, '').isTerminal).toBe(true);
      expect(FAILURE_KINDS[kind].retry).toBe('on-change');
    }
  });

  it('that a server has answered with is tried again some time, but for a rejected password', () => {
    const responses = KINDS.filter((kind) => TOKEN_FAILURES.has(kind));
    const givenUp = responses.filter((kind) => waitAfter(kind, 1) === undefined);
    expect(givenUp).toEqual(['CredentialsRejected']);
  });

  it('that passes needs no person and is always tried again', () => {
    for (const kind of KINDS.filter((kind) => !FAILURE_KINDS[kind].isTerminal)) {
      expect(new Failure(kind, '').isTerminal).toBe(false);
      expect(waitAfter(kind, 1)).toBeDefined();
    }
  });

  it('has a name that can be a condition reason', () => {
    for (const kind of KINDS) expect(kind).toMatch(/^[A-Z][A-Za-z]*$/);
  });

  it('is told from everything else', () => {
    expect(isFailure(new Failure('InternalError', ''))).toBe(true);
    expect(isFailure({ kind: 'InternalError', message: '' })).toBe(false);
    expect(isFailure(undefined)).toBe(false);
  });

  it('keeps the code that the other side gave', () => {
    expect(new Failure('NetworkError', 'no', { code: 'ECONNREFUSED' }).code).toBe('ECONNREFUSED');
  });
});

describe('while a token is in place', () => {
  const LEAST = seconds(30);
  const rejected = new Failure('ClientSecretRejected', '');
  const maxWait = new Failure('RateLimited', '', { retryAfter: hours(1) });
  const heldFor = (left: number) => ({
    failingSince: NOW,
    expiresAt: NOW + left,
    minInterval: LEAST,
  });

  it.each([
    ['half of its time is waited', rejected, minutes(20), minutes(10)],
    ['no longer than otherwise', rejected, hours(3), hours(1)],
    ['nor less than the least time between requests', rejected, seconds(59), LEAST],
    ['nothing is hurried for less than that', rejected, LEAST, hours(1)],
    ['nor for one that has expired', rejected, -minutes(5), hours(1)],
    ['what the server asks for is granted in time', maxWait, minutes(61), hours(1)],
    ['but not past the expiry', maxWait, minutes(60), minutes(30)],
  ])('%s', (_, failure, left, wait) => {
    expect(retryBeforeExpiry(failure, NOW + hours(1), NOW, heldFor(left))).toBe(NOW + wait);
  });

  it('what waits for a change goes on waiting', () => {
    const failure = new Failure('InputMissing', '');
    expect(retryBeforeExpiry(failure, undefined, NOW, heldFor(hours(1)))).toBeUndefined();
  });

  it('a password that may be locked is left alone for as long as a lock may last', () => {
    const failure = new Failure('CredentialsRejected', '');
    const lock = NOW + minutes(20);
    expect(retryBeforeExpiry(failure, lock, NOW, heldFor(minutes(20)))).toBe(lock);
  });

  it('everything else is tried again in time, six times on account of the token at most', () => {
    const others = KINDS.filter((kind) => waitAfter(kind, 1) !== undefined);
    const aTime = fc.integer({ min: seconds(62), max: hours(24) });
    fc.assert(
      fc.property(fc.constantFrom(...others), aTime, (kind, left) => {
        const currentToken = heldFor(left);
        const late = currentToken.expiresAt + hours(1);
        const tries: number[] = [];
        for (let at = NOW; at < late; ) {
          const again = retryBeforeExpiry(new Failure(kind, ''), late, at, currentToken) ?? late;
          expect(again - at).toBeGreaterThanOrEqual(LEAST);
          if (again < currentToken.expiresAt) tries.push(again);
          at = again;
        }
        expect(tries.length).toBeGreaterThanOrEqual(1);
        expect(tries.length).toBeLessThanOrEqual(6);
        const last = tries.at(-1) ?? NOW;
        expect(currentToken.expiresAt - last).toBeLessThanOrEqual(Math.max(LEAST, left / 32));
      }),
    );
  });
});
