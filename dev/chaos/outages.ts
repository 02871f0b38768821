import type { Span } from '../lab/measures.ts';

/** When no replica could renew a token: planned in a schedule, and measured in a run. Times in milliseconds. */

export type Replica = 0 | 1;

export interface Outage {
  readonly of: 'api-server' | 'provider' | Replica;
  readonly span: Span;
  /** The Lease may pass to the other replica, which takes its time. */
  readonly takeover?: boolean;
}

/** The lease (15 s), the latest look of a standby after it (2.4 s), and the first passes of a new leader. */
export const TAKEOVER = 20_000;

/** Without API server, without identity provider, or without any leader. In order, and apart from each other. */
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

/** How much of the time from `from` to `to` lies in spans that don't overlap. */
export const within = (spans: readonly Span[], from: number, to: number): number =>
  spans.reduce(
    (sum, [start, end]) => sum + Math.max(0, Math.min(end, to) - Math.max(start, from)),
    0,
  );

/** The most of any such window: it is reached where a window begins with a span or ends with one. */
export const mostWithin = (spans: readonly Span[], window: number): number =>
  Math.max(
    0,
    ...spans.flatMap(([from, to]) => [
      within(spans, from, from + window),
      within(spans, to - window, to),
    ]),
  );
