import { describe, expect, it } from '@jest/globals';
import { leaks } from '../../dev/lab/soak/canary.ts';
import {
  burstNeeded,
  expirations,
  expiredSeconds,
  lateness,
  leastLeft,
  meanGap,
  mostInOneSecond,
  quantile,
  sharedSeconds,
  shortestGap,
  tally,
} from '../../dev/lab/soak/measures.ts';
import type { Seen } from '../../dev/lab/soak/provider.ts';
import { atMost, exactly, table, told } from '../../dev/lab/soak/report.ts';

const held = (since: number, expiresAt: number, renewAt = expiresAt) => ({
  since: since * 1_000,
  token: `token of ${since}`,
  expiresAt: expiresAt * 1_000,
  renewAt: renewAt * 1_000,
});

const seen = (at: number, who: string, type: Seen['type'] = 'LOGIN', why = ''): Seen => ({
  at: at * 1_000,
  who,
  type,
  why,
});

describe('what the soak runs measure', () => {
  const targets = new Map([
    ['a', [held(0, 20, 16), held(17, 37, 33), held(40, 60, 56)]],
    ['b', [held(5, 25, 21), held(22, 42, 38)]],
  ]);

  it('counts the seconds for which a target held an expired token, also the latest', () => {
    expect(expiredSeconds(targets, 41_000)).toBe(3);
    expect(expiredSeconds(targets, 50_000)).toBe(3 + 8);
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
    expect(lateness(targets, 0, 100_000)).toEqual([1, 7, 1]);
    expect(lateness(targets, 20_000, 30_000)).toEqual([1]);
  });

  it('takes quantiles from the sorted values', () => {
    expect(quantile([3, 1, 2, 10], 0.5)).toBe(3);
    expect(quantile([3, 1, 2, 10], 1)).toBe(10);
  });

  it('sees a crowd of logins', () => {
    const moments = [0, 0.1, 0.2, 5, 6, 7].map((at) => at * 1_000);
    expect(mostInOneSecond(moments)).toBe(3);
    expect(burstNeeded(moments, 1)).toBeCloseTo(2.8);
    expect(burstNeeded([0, 1_000, 2_000], 1)).toBe(1);
  });

  it('looks for the shortest time between requests of one user, not of two', () => {
    expect(shortestGap([seen(0, 'a'), seen(1, 'b'), seen(7, 'a'), seen(20, 'b')])).toBe(7);
  });

  it('takes the mean time between requests over all users', () => {
    const requests = [seen(0, 'a'), seen(1, 'b'), seen(10, 'a'), seen(20, 'a'), seen(26, 'b')];
    expect(meanGap(requests)).toBe((20 + 25) / 3);
  });

  it('tells apart why requests were refused', () => {
    const refused = seen(1, 'a', 'REFRESH_TOKEN_ERROR', 'Stale token');
    expect(tally([seen(0, 'a'), seen(1, 'b'), refused])).toBe(
      'LOGIN 2, REFRESH_TOKEN_ERROR (Stale token) 1',
    );
  });

  it('shows aims that were met and missed', () => {
    expect(table([told('logins', 20), exactly('reuse', 1, 0), atMost('late', 2, 3)])).toBe(
      [
        'measure  value  aim',
        'logins   20',
        'reuse    1      0          MISSED',
        'late     2      at most 3  met',
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
