import { brotliCompressSync, deflateSync, gzipSync } from 'node:zlib';
import { describe, expect, it } from '@jest/globals';
import * as fc from 'fast-check';
import { MAX_BODY, responseFrom } from '../../src/oauth/response-body.ts';
import { runs } from '../support/runs.ts';

const TEXT = '{"error":"invalid_grant"}';
const read = (body: Buffer | 'cut' | 'too-large', encoding?: string | string[]) =>
  responseFrom({ status: 401, headers: { 'content-encoding': encoding }, body });

describe('the body of a response', () => {
  it.each<[string, Buffer, string | string[] | undefined]>([
    ['as it is', Buffer.from(TEXT), undefined],
    ['as it is, which is told', Buffer.from(TEXT), 'identity'],
    ['packed', gzipSync(TEXT), 'gzip'],
    ['packed, told in capitals', gzipSync(TEXT), 'GZIP'],
    ['packed, by its old name', gzipSync(TEXT), ' x-gzip '],
  ])('is read %s', (_, body, encoding) => {
    const response = read(body, encoding);
    expect([response.text, response.bodyProblem]).toEqual([TEXT, undefined]);
  });

  it('is empty when nothing was sent, whatever its encoding should be', () => {
    const response = read(Buffer.alloc(0), 'gzip');
    expect([response.text, response.bodyProblem]).toEqual(['', undefined]);
  });

  it.each<[string, Buffer | 'cut' | 'too-large', string | string[] | undefined, string]>([
    ['was cut off', 'cut', undefined, 'was cut off'],
    ['is too large', 'too-large', undefined, 'is larger than 64 KiB'],
    ['unpacks to too much', gzipSync(Buffer.alloc(MAX_BODY + 1)), 'gzip', 'is larger than 64 KiB'],
    ['is no gzip', Buffer.from(TEXT), 'gzip', 'cannot be unpacked'],
    ['is half of a gzip', gzipSync(TEXT).subarray(0, 20), 'gzip', 'cannot be unpacked'],
    [
      'is packed by brotli',
      brotliCompressSync(TEXT),
      'br',
      'has an encoding that was not asked for',
    ],
    [
      'is packed twice',
      gzipSync(gzipSync(TEXT)),
      ['gzip', 'gzip'],
      'has an encoding that was not asked for',
    ],
  ])('is empty with a reason when it %s', (_, body, encoding, problem) => {
    const response = read(body, encoding);
    expect(response).toMatchObject({ status: 401, text: '', bodyProblem: problem });
  });

  it('never takes its status away, whatever it is', () => {
    const bytes = fc.uint8Array({ maxLength: 300 }).map((each) => Buffer.from(each));
    const packed = fc
      .tuple(bytes, fc.constantFrom(gzipSync, deflateSync, brotliCompressSync), fc.nat(300))
      .map(([body, pack, kept]) => Buffer.from(pack(body).subarray(0, kept)));
    const encoding = fc.oneof(
      fc.constantFrom(undefined, 'gzip', 'Gzip', 'deflate', 'br', 'gzip, gzip', 'identity', ''),
      fc.string(),
      fc.array(fc.string()),
    );
    const body = fc.oneof(bytes, packed, fc.constantFrom('cut' as const, 'too-large' as const));
    fc.assert(
      fc.property(fc.integer({ min: 200, max: 999 }), body, encoding, (status, sent, coding) => {
        const response = responseFrom({
          status,
          headers: { 'content-encoding': coding },
          body: sent,
        });
        expect(response.status).toBe(status);
        if (response.bodyProblem !== undefined) expect(response.text).toBe('');
      }),
      { numRuns: runs(1_000) },
    );
  });
});
