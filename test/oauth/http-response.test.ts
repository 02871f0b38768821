import { describe, expect, it } from '@jest/globals';
import * as fc from 'fast-check';
import { hours, seconds } from '../../src/lib/time.ts';
import { clockSkewOf, type HttpResponse, retryAfterOf } from '../../src/oauth/http-response.ts';
import { runs } from '../support/runs.ts';

const NOW = Date.parse('2026-03-01T12:00:00Z');
const responseWith = (headers: Pick<HttpResponse, 'retryAfter' | 'date'>): HttpResponse => ({
  status: 429,
  contentType: '',
  text: '',
  ...headers,
});

/** What a server may write: dates of any year, numbers of any length, and anything else. */
const aDate = fc
  .date({ noInvalidDate: true })
  .map((date) => date.toUTCString())
  .filter((text) => text.endsWith('GMT'));
const aHeader = fc.oneof(
  aDate,
  fc.stringMatching(/^\d{1,400}$/),
  fc.constantFrom(
    '',
    '-1',
    '1e9',
    '0x10',
    'GMT',
    '0 GMT',
    '1 Jan 1900 GMT',
    '99999999 GMT',
    'Infinity',
  ),
  fc.string(),
);

describe('Retry-After', () => {
  it('that can not be read asks for no wait, whatever the date of the response', () => {
    const response = responseWith({ retryAfter: 'soon', date: 'Mon, 01 Jan 1900 00:00:00 GMT' });
    expect(retryAfterOf(response, NOW)).toBeUndefined();
  });

  it('is a wait of up to an hour or none, for any two headers', () => {
    fc.assert(
      fc.property(aHeader, fc.option(aHeader, { nil: undefined }), (retryAfter, date) => {
        const headers = date === undefined ? { retryAfter } : { retryAfter, date };
        const wait = retryAfterOf(responseWith(headers), NOW) ?? 1;
        expect(wait).toBeGreaterThan(0);
        expect(wait).toBeLessThanOrEqual(hours(1));
      }),
      { numRuns: runs(2_000) },
    );
  });
});

describe('the clock of the server', () => {
  it('is ahead or behind by a number, for any date', () => {
    fc.assert(
      fc.property(aHeader, (date) => {
        const skew = clockSkewOf(responseWith({ date }), NOW) ?? seconds(31);
        expect(Number.isFinite(skew)).toBe(true);
        expect(Math.abs(skew)).toBeGreaterThan(seconds(30));
      }),
      { numRuns: runs(1_000) },
    );
  });
});
