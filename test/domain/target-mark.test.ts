import { describe, expect, it } from '@jest/globals';
import * as fc from 'fast-check';
import type { TargetMark } from '../../src/domain/secret.ts';
import { MARK_ANNOTATIONS, readMark, writeMark } from '../../src/domain/target-mark.ts';

const MARK: TargetMark = {
  issuedAt: 1_790_000_000_000,
  expiresAt: 1_790_000_300_000,
  renewAt: 1_790_000_240_123,
  specHash: 'spec',
  sourceVersion: 'uid/42',
  contentHash: 'content',
  renewRequest: '',
  credential: 'loyalty',
};

const OPTIONAL: ReadonlySet<string> = new Set([
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
    fc.assert(fc.property(aMark, (mark) => expect(readMark(writeMark(mark))).toEqual(mark)));
  });

  it('writes milliseconds only where there are some', () => {
    expect(writeMark(MARK)).toMatchObject({
      'convercus.io/issued-at': '2026-09-21T14:13:20Z',
      'convercus.io/renew-at': '2026-09-21T14:17:20.123Z',
    });
  });

  it.each(Object.values(MARK_ANNOTATIONS).filter((name) => !OPTIONAL.has(name)))(
    'is absent without %s',
    (name) => {
      const { [name]: _, ...rest } = writeMark(MARK);
      expect(readMark(rest)).toBeUndefined();
      expect(readMark({ ...rest, [name]: '' })).toBeUndefined();
    },
  );

  it.each(['2026', 'yesterday', '2026-13-45T00:00:00Z', '1790000000000', '2026-09-21 14:13:20Z'])(
    'is absent when a time reads %j',
    (text) => {
      expect(readMark({ ...writeMark(MARK), 'convercus.io/renew-at': text })).toBeUndefined();
    },
  );

  it('of version 0.1.0 names no credential; who has set it may be known otherwise', () => {
    const { 'convercus.io/credential': _, ...old } = writeMark(MARK);
    const { credential: __, ...mark } = MARK;
    expect(readMark(old)).toEqual(mark);
    expect(readMark(old, 'other')?.credential).toBe('other');
    expect(readMark(writeMark(MARK), 'other')?.credential).toBe('loyalty');
  });

  it('takes a time with an offset', () => {
    const annotations = {
      ...writeMark(MARK),
      'convercus.io/issued-at': '2026-09-21T16:13:20+02:00',
    };
    expect(readMark(annotations)?.issuedAt).toBe(MARK.issuedAt);
  });

  it('sees own annotations only', () => {
    expect(readMark(Object.create(writeMark(MARK)))).toBeUndefined();
    expect(readMark(JSON.parse('{"__proto__": {"convercus.io/issued-at": "x"}}'))).toBeUndefined();
  });

  it('never throws, whatever the annotations say', () => {
    const names = fc.constantFrom<string>(...Object.values(MARK_ANNOTATIONS));
    fc.assert(
      fc.property(fc.dictionary(names, fc.string()), (annotations) => {
        readMark(annotations);
      }),
    );
  });
});
