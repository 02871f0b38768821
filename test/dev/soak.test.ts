import { describe, expect, it } from '@jest/globals';
import { leaks } from '../../dev/lab/leaks.ts';
import {
  burstNeeded,
  expirations,
  expiredSeconds,
  gaps,
  lateness,
  leastLeft,
  mean,
  mostWithin,
  percentile,
  sharedSeconds,
  tally,
} from '../../dev/lab/measures.ts';
import type { EventType, ProviderEvent } from '../../dev/lab/provider.ts';
import { atMost, exactly, row, table } from '../../dev/lab/report.ts';

const held = (since: number, expiresAt: number, renewAt = expiresAt) => ({
  at: since * 1_000,
  token: `token of ${since}`,
  expiresAt: expiresAt * 1_000,
  renewAt: renewAt * 1_000,
});

const seen = (
  at: number,
  principal: string,
  type: EventType = 'LOGIN',
  error = '',
): ProviderEvent => ({ at: at * 1_000, principal, type, error });

describe('what the soak runs measure', () => {
  const targets = new Map([
    ['a', [held(0, 20, 16), held(17, 37, 33), held(40, 60, 56)]],
    ['b', [held(5, 25, 21), held(22, 42, 38)]],
  ]);

  it('counts the seconds for which a target held an expired token, also the latest', () => {
    expect(expiredSeconds(targets, [0, 41_000])).toBe(3);
    expect(expiredSeconds(targets, [0, 50_000])).toBe(3 + 8);
    expect(expiredSeconds(targets, [39_000, 44_000])).toBe(1 + 2);
    expect(expirations(targets, 50_000)).toEqual([
      [37_000, 40_000],
      [42_000, 50_000],
    ]);
  });

  it('tells which of them fell into the absence of the operator', () => {
    const absences = [
      [38_000, 39_500],
      [45_000, 70_000],
    ] as const;
    expect(sharedSeconds(expirations(targets, 50_000), absences)).toBe(1.5 + 5);
  });

  it('knows how near a replacement came to the expiry, and how late it was', () => {
    expect(leastLeft(targets)).toBe(-3);
    expect(lateness(targets, [0, 100_000])).toEqual([1_000, 7_000, 1_000]);
    expect(lateness(targets, [20_000, 30_000])).toEqual([1_000]);
  });

  it('takes percentiles from the sorted values', () => {
    expect(percentile([3, 1, 2, 10], 50)).toBe(3);
    expect(percentile([3, 1, 2, 10], 100)).toBe(10);
  });

  it('sees a crowd of logins', () => {
    const moments = [0, 0.1, 0.2, 5, 6, 7].map((at) => at * 1_000);
    expect(mostWithin(moments, 1_000)).toBe(3);
    expect(burstNeeded(moments, 1)).toBeCloseTo(2.8);
    expect(burstNeeded([0, 1_000, 2_000], 1)).toBe(1);
  });

  it('takes the times between requests of one user, not of two', () => {
    expect(gaps([seen(0, 'a'), seen(1, 'b'), seen(7, 'a'), seen(20, 'b')])).toEqual([7, 19]);
  });

  it('takes the mean time between requests over all users', () => {
    const requests = [seen(0, 'a'), seen(1, 'b'), seen(10, 'a'), seen(20, 'a'), seen(26, 'b')];
    expect(mean(gaps(requests))).toBe((20 + 25) / 3);
  });

  it('tells apart why requests were refused', () => {
    const refused = seen(1, 'a', 'REFRESH_TOKEN_ERROR', 'Stale token');
    expect(tally([seen(0, 'a'), seen(1, 'b'), refused])).toBe(
      'LOGIN 2, REFRESH_TOKEN_ERROR (Stale token) 1',
    );
  });

  it('shows thresholds that were met and missed', () => {
    const rows = [row('logins', 20), row('reuse', 1, exactly(0)), row('late', 2.3456, atMost(3))];
    expect(table(rows)).toBe(
      [
        'measure  value  threshold',
        'logins   20',
        'reuse    1      0          MISSED',
        'late     2.35   ≤ 3        met',
      ].join('\n'),
    );
  });
});

describe('the canary test', () => {
  const places = (log: string) => new Map([['log', log]]);
  const secret = 'canary-4b1f"+/&';

  it.each([
    ['as it is', `… password=${secret} …`],
    ['in base64', Buffer.from(secret).toString('base64')],
    ['encoded as in a form', new URLSearchParams({ secret }).toString()],
    ['escaped as in JSON', JSON.stringify({ secret })],
  ])('finds a secret %s', (_, log) => {
    expect(leaks(places(log), ['other-secret', secret])).toEqual([{ place: 'log', secret: 1 }]);
  });

  it('finds a token by its signature', () => {
    expect(leaks(places('at c2lnbmF0dXJl'), ['aGVhZA.Ym9keQ.c2lnbmF0dXJl'])).toHaveLength(1);
  });

  it('is content with what is not secret', () => {
    expect(leaks(places('namespace shop, name loyalty'), [secret])).toEqual([]);
  });
});
