import { describe, expect, it } from '@jest/globals';
import * as fc from 'fast-check';
import type { TokenAnnotations } from '../../src/credential/secret.ts';
import {
  formatTokenAnnotations,
  parseTokenAnnotations,
  TOKEN_ANNOTATIONS,
} from '../../src/credential/token-annotations.ts';

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

const OPTIONAL: ReadonlySet<string> = new Set([
  'convercus.io/data-hash',
  'convercus.io/renew-request',
  'convercus.io/credential',
]);

const aTime = fc.integer({ min: 0, max: Date.parse('9999-12-31T23:59:59.999Z') });
const someText = fc.string({ minLength: 1 });
const aMark = fc.record(
  {
    issuedAt: aTime,
    expiresAt: aTime,
    renewAt: aTime,
    specHash: someText,
    dataHash: someText,
    sourceVersion: someText,
    contentHash: someText,
    renewRequest: fc.string(),
    credential: someText,
  },
  {
    requiredKeys: ['issuedAt', 'expiresAt', 'renewAt', 'specHash', 'sourceVersion', 'contentHash'],
  },
);

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
