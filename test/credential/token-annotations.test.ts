import { describe, expect, it } from '@jest/globals';
import * as fc from 'fast-check';
import { renewalDate } from '../../src/credential/renewal.ts';
import type { TokenAnnotations } from '../../src/credential/secret.ts';
import {
  formatTokenAnnotations,
  parseTokenAnnotations,
  TOKEN_ANNOTATIONS,
} from '../../src/credential/token-annotations.ts';
import { hours, minutes } from '../../src/lib/time.ts';

const MARK: TokenAnnotations = {
  issuedAt: 1_790_000_000_000,
  expiresAt: 1_790_000_300_000,
  renewAt: 1_790_000_240_123,
  specHash: 'spec',
  dataHash: 'data',
  sourceVersion: 'uid/42',
  contentHash: 'content',
  renewRequest: '',
  credential: 'loyalty',
};

/** The same token at another time. */
const shiftedTo = (at: number): Pick<TokenAnnotations, 'issuedAt' | 'expiresAt' | 'renewAt'> => ({
  issuedAt: at,
  expiresAt: at + MARK.expiresAt - MARK.issuedAt,
  renewAt: at + MARK.renewAt - MARK.issuedAt,
});

const OPTIONAL: ReadonlySet<string> = new Set([
  'convercus.io/data-hash',
  'convercus.io/renew-request',
  'convercus.io/credential',
]);

const someText = fc.string({ minLength: 1 });
const someTexts = fc.record(
  {
    specHash: someText,
    dataHash: someText,
    sourceVersion: someText,
    contentHash: someText,
    renewRequest: fc.string(),
    credential: someText,
  },
  { requiredKeys: ['specHash', 'sourceVersion', 'contentHash'] },
);

/** As `renewalDate` sets them. */
const theDates = fc
  .record({
    issuedAt: fc.integer({ min: 0, max: Date.parse('9999-12-30T00:00:00Z') }),
    validity: fc.integer({ min: 0, max: hours(24) }),
    jitter: fc.double({ min: -1, max: 1, noNaN: true }),
    policy: fc.record({
      percent: fc.integer({ min: 10, max: 95 }),
      jitterPercent: fc.integer({ min: 0, max: 20 }),
      minimum: fc.integer({ min: 1, max: minutes(10) }),
    }),
  })
  .map(({ issuedAt, validity, jitter, policy }) => {
    const expiresAt = issuedAt + validity;
    return { issuedAt, expiresAt, renewAt: renewalDate({ issuedAt, expiresAt, jitter }, policy) };
  });

const aMark = fc.tuple(theDates, someTexts).map(([dates, texts]) => ({ ...dates, ...texts }));

describe('the mark on a target', () => {
  it('reads back as it was written', () => {
    fc.assert(
      fc.property(aMark, (tokenAnnotations) =>
        expect(parseTokenAnnotations(formatTokenAnnotations(tokenAnnotations))).toEqual(
          tokenAnnotations,
        ),
      ),
    );
  });

  it('writes milliseconds only where there are some', () => {
    expect(formatTokenAnnotations(MARK)).toMatchObject({
      'convercus.io/issued-at': '2026-09-21T14:13:20Z',
      'convercus.io/renew-at': '2026-09-21T14:17:20.123Z',
    });
  });

  it.each(Object.values(TOKEN_ANNOTATIONS).filter((name) => !OPTIONAL.has(name)))(
    'is absent without %s',
    (name) => {
      const { [name]: _, ...rest } = formatTokenAnnotations(MARK);
      expect(parseTokenAnnotations(rest)).toBeUndefined();
      expect(parseTokenAnnotations({ ...rest, [name]: '' })).toBeUndefined();
    },
  );

  it.each(['2026', 'yesterday', '2026-13-45T00:00:00Z', '1790000000000', '2026-09-21 14:13:20Z'])(
    'is absent when a time reads %j',
    (text) => {
      expect(
        parseTokenAnnotations({ ...formatTokenAnnotations(MARK), 'convercus.io/renew-at': text }),
      ).toBeUndefined();
    },
  );

  const DAY = hours(24);
  const { issuedAt, expiresAt, renewAt } = MARK;

  it.each<[string, Partial<TokenAnnotations>, 'kept' | 'absent']>([
    ['it is valid for 24 hours', { expiresAt: issuedAt + DAY }, 'kept'],
    ['it is valid for more', { expiresAt: issuedAt + DAY + 2 }, 'absent'],
    ['it expires in 2099', { expiresAt: Date.parse('2099-01-01T00:00:00Z') }, 'absent'],
    ['it expires before its issue', { expiresAt: issuedAt - 1 }, 'absent'],
    ['its renewal is due at its expiry', { renewAt: expiresAt }, 'kept'],
    ['its renewal is due after its expiry', { renewAt: expiresAt + 2 }, 'absent'],
    ['its renewal was due before its issue', { renewAt: issuedAt - 2 }, 'absent'],
    [
      'it is so short that the least time between renewals outlasts it',
      { expiresAt: issuedAt + 1_000, renewAt: issuedAt + 30_000 },
      'kept',
    ],
    [
      'it is short, and its renewal is due later than that',
      { expiresAt: issuedAt + 1_000, renewAt: issuedAt + 30_002 },
      'absent',
    ],
    ['all of its dates lie in 2099', shiftedTo(Date.parse('2099-01-01T00:00:00Z')), 'kept'],
  ])('whose dates say that %s, is %s', (_, change, expected) => {
    const found = parseTokenAnnotations(formatTokenAnnotations({ ...MARK, ...change }));
    expect(found === undefined ? 'absent' : 'kept').toBe(expected);
    expect(renewAt).toBeLessThan(expiresAt);
  });

  it('with any dates is absent or due for renewal within a day of its issue', () => {
    const aTime = fc.integer({ min: 0, max: Date.parse('9999-12-31T23:59:59.999Z') });
    const near = fc.integer({ min: -hours(30), max: hours(30) });
    const dates = fc.oneof(
      fc.tuple(aTime, aTime, aTime),
      fc
        .tuple(near, near, near)
        .map(([a, b, c]) => [issuedAt + a, issuedAt + b, issuedAt + c] as const),
    );
    fc.assert(
      fc.property(dates, ([from, to, renew]) => {
        const dated = { ...MARK, issuedAt: from, expiresAt: to, renewAt: renew };
        const found = parseTokenAnnotations(formatTokenAnnotations(dated));
        if (found === undefined) return;
        expect(found.expiresAt - found.issuedAt).toBeLessThanOrEqual(DAY + 1);
        expect(found.renewAt - found.issuedAt).toBeLessThanOrEqual(DAY + 1);
      }),
    );
  });

  it('keeps a digest of a renew request of more than 64 characters', () => {
    const read = (renewRequest: string) =>
      parseTokenAnnotations(formatTokenAnnotations({ ...MARK, renewRequest }))?.renewRequest;
    expect(read('x'.repeat(64))).toBe('x'.repeat(64));
    expect(read('x'.repeat(65))).toMatch(/^[\w-]{22}$/);
    expect(read('x'.repeat(65))).not.toBe(read('x'.repeat(66)));
  });

  it('of version 0.1.0 names no credential; who has set it may be known otherwise', () => {
    const { 'convercus.io/credential': _, ...old } = formatTokenAnnotations(MARK);
    const { credential: __, ...tokenAnnotations } = MARK;
    expect(parseTokenAnnotations(old)).toEqual(tokenAnnotations);
    expect(parseTokenAnnotations(old, 'other')?.credential).toBe('other');
    expect(parseTokenAnnotations(formatTokenAnnotations(MARK), 'other')?.credential).toBe(
      'loyalty',
    );
  });

  it('takes a time with an offset', () => {
    const annotations = {
      ...formatTokenAnnotations(MARK),
      'convercus.io/issued-at': '2026-09-21T16:13:20+02:00',
    };
    expect(parseTokenAnnotations(annotations)?.issuedAt).toBe(MARK.issuedAt);
  });

  it('sees own annotations only', () => {
    expect(parseTokenAnnotations(Object.create(formatTokenAnnotations(MARK)))).toBeUndefined();
    expect(
      parseTokenAnnotations(JSON.parse('{"__proto__": {"convercus.io/issued-at": "x"}}')),
    ).toBeUndefined();
  });

  it('never throws, whatever the annotations say', () => {
    const names = fc.constantFrom<string>(...Object.values(TOKEN_ANNOTATIONS));
    fc.assert(
      fc.property(fc.dictionary(names, fc.string()), (annotations) => {
        parseTokenAnnotations(annotations);
      }),
    );
  });
});
