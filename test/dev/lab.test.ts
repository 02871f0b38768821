import { describe, expect, it } from '@jest/globals';
import { imageSettings } from '../../dev/bundled-operator.ts';
import {
  countsFrom,
  difference,
  eventsIn,
  listsIn,
  readsIn,
  writesIn,
} from '../../dev/lab/api-counts.ts';
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
import { idleNodeMb } from '../../dev/lab/process-sample.ts';
import type { EventType, ProviderEvent } from '../../dev/lab/provider.ts';
import { atMost, exactly, row, table } from '../../dev/lab/report.ts';
import { TargetReader } from '../../dev/lab/target-reader.ts';
import { memoryAboveIdle } from '../../dev/lab/thresholds.ts';
import { leaks } from '../../dev/testbed/leaks.ts';

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

describe('what the lab measures', () => {
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

describe('the search for leaks', () => {
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

describe('the counts of the API server', () => {
  const line = (verb: string, resource: string, subresource: string, value: number) =>
    `apiserver_request_total{code="200",resource="${resource}",subresource="${subresource}",verb="${verb}"} ${value}`;
  const before = countsFrom(line('PUT', 'secrets', '', 3));
  const after = countsFrom(
    [
      line('PUT', 'secrets', '', 5),
      line('PUT', 'convercuscredentials', 'status', 2),
      line('GET', 'secrets', '', 2),
      line('LIST', 'secrets', '', 1),
      line('WATCH', 'secrets', '', 1),
      line('PUT', 'leases', '', 9),
      line('POST', 'events', '', 2),
      line('GET', 'pods', '', 7),
    ].join('\n'),
  );

  it('are told apart by reads, lists, writes and events; Leases and watches are none of them', () => {
    const counts = difference(before, after);
    expect(counts['PUT secrets']).toBe(2);
    expect(counts['GET pods']).toBeUndefined();
    expect([readsIn, listsIn, writesIn, eventsIn].map((of) => of(counts))).toEqual([3, 1, 4, 2]);
  });
});

describe('the reader of targets', () => {
  const secret = (version: string, issuedAt: string) => ({
    type: 'MODIFIED',
    object: {
      metadata: {
        namespace: 'a',
        resourceVersion: version,
        labels: { 'convercus.io/credential': 'x' },
        annotations: {
          'convercus.io/issued-at': issuedAt,
          'convercus.io/renew-at': '2026-01-01T00:04:00Z',
          'convercus.io/expires-at': '2026-01-01T00:05:00Z',
        },
      },
    },
  });

  it('notes each token once, and watches on from the last version when a watch ends', async () => {
    const first = [secret('8', '2026-01-01T00:00:00Z'), secret('9', '2026-01-01T00:00:00Z')];
    const second = [secret('10', '2026-01-01T00:01:00Z')];
    const watches = [first, second];
    const paths: string[] = [];
    const client = {
      send: async () => '{"metadata":{"resourceVersion":"7"}}',
      async *lines(path: string, _: string, signal: AbortSignal) {
        paths.push(path.replace(/.*&/, ''));
        for (const event of watches.shift() ?? []) yield JSON.stringify(event);
        if (paths.length === 3)
          await new Promise((resolve) => signal.addEventListener('abort', resolve));
      },
    };
    const reader = await TargetReader.start(client, 'metadata');
    await reader.until(1, 5);
    while (paths.length < 3) await new Promise((resolve) => setImmediate(resolve));
    reader.stop();
    expect(paths).toEqual(['resourceVersion=7', 'resourceVersion=9', 'resourceVersion=10']);
    expect(reader.targets.get('a/x')?.map(({ token }) => token)).toEqual([
      '2026-01-01T00:00:00Z',
      '2026-01-01T00:01:00Z',
    ]);
    expect(reader.targets.get('a/x')?.[0]?.renewAt).toBe(Date.parse('2026-01-01T00:04:00Z'));
  });
});

describe('the memory bar', () => {
  it('compares with a node that has the flags of the image and does nothing', async () => {
    const image = await imageSettings();
    expect(image.nodeArguments).not.toEqual([]);
    expect(image.nodeArguments.every((argument) => argument.startsWith('--'))).toBe(true);
    expect(image.env).toHaveProperty('MALLOC_ARENA_MAX');
    const idle = await idleNodeMb(image);
    expect(idle).toBeGreaterThan(10);
    expect(idle).toBeLessThan(100);
  });

  it.each([
    [100, '≤ 50'],
    [1_000, undefined],
    [10_000, '≤ 110'],
    [100_000, '≤ 440'],
  ])('for %i credentials is %s', (count, text) => {
    expect(memoryAboveIdle(count)?.text).toBe(text);
  });
});
