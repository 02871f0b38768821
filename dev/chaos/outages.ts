import type { Span } from '../lab/measures.ts';

/** Times in which no replica can renew a token, planned in a schedule or measured in a run. In milliseconds. */

export type Replica = 0 | 1;

export interface Outage {
  readonly of: 'api-server' | 'provider' | Replica;
  readonly span: Span;
  /** The Lease may move to the other replica, which adds to the outage. */
  readonly takeover?: boolean;
}

/** The lease duration (15 s), the retry period of the standby (2.4 s), and the first reconciles of the new leader. */
export const TAKEOVER = 20_000;

/** The spans without API server, identity provider or leader, merged and in order. */
export function awaySpans(outages: readonly Outage[]): Span[] {
  const replicas = ([0, 1] as const).map((replica) =>
    outages.filter((outage) => outage.of === replica),
  );
  const [one = [], other = []] = replicas.map((each) => union(each.map(({ span }) => span)));
  const bothAway = sharedBy(one, other).map(([from, to]): Span => [from, to + TAKEOVER]);
  const whole = outages.map(({ of, span: [from, to], takeover }): Span => {
    if (of === 'api-server' || of === 'provider') return [from, to];
    return takeover === true ? [from, from + TAKEOVER] : [from, Math.min(to, from + TAKEOVER)];
  });
  return union([...whole, ...bothAway]);
}

export function union(spans: readonly Span[]): Span[] {
  const sorted = spans.filter(([from, to]) => to > from).sort(([a], [b]) => a - b);
  const apart: [number, number][] = [];
  for (const [from, to] of sorted) {
    const last = apart.at(-1);
    if (last === undefined || from > last[1]) apart.push([from, to]);
    else last[1] = Math.max(last[1], to);
  }
  return apart;
}

const sharedBy = (ones: readonly Span[], others: readonly Span[]): Span[] =>
  ones.flatMap(([from, to]) =>
    others
      .map(([start, end]): Span => [Math.max(from, start), Math.min(to, end)])
      .filter(([start, end]) => end > start),
  );

/** How much of the time from `from` to `to` the spans cover; they must not overlap. */
export const within = (spans: readonly Span[], from: number, to: number): number =>
  spans.reduce(
    (sum, [start, end]) => sum + Math.max(0, Math.min(end, to) - Math.max(start, from)),
    0,
  );

/** The maximum over all windows, which a window reaches that begins or ends with a span. */
export const mostWithin = (spans: readonly Span[], window: number): number =>
  Math.max(
    0,
    ...spans.flatMap(([from, to]) => [
      within(spans, from, from + window),
      within(spans, to - window, to),
    ]),
  );
