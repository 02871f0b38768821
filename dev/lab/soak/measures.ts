import type { EventType, Seen } from './provider.ts';
import type { Held } from './target-reader.ts';

/** Sums over what was seen. Times in seconds. */

type Targets = ReadonlyMap<string, readonly Held[]>;

/** From when to when, in milliseconds since 1970. */
export type Span = readonly [from: number, to: number];

/** When targets held a token that had expired, up to now. */
export const expirations = (targets: Targets, now = Date.now()): Span[] =>
  [...targets.values()].flatMap((states) =>
    states
      .map(({ expiresAt }, index): Span => [expiresAt, states[index + 1]?.since ?? now])
      .filter(([from, to]) => to > from),
  );

/** For how long some target held an expired token, all targets together, up to now. */
export const expiredSeconds = (targets: Targets, now = Date.now()): number =>
  sum(expirations(targets, now).map(([from, to]) => to - from)) / 1_000;

/** What of these spans lies in the others, which don't overlap. */
export const sharedSeconds = (spans: readonly Span[], others: readonly Span[]): number =>
  sum(
    spans.flatMap(([from, to]) =>
      others.map(([start, end]) => Math.max(0, Math.min(to, end) - Math.max(from, start))),
    ),
  ) / 1_000;

const sum = (values: readonly number[]): number => values.reduce((all, each) => all + each, 0);

/** Each token that replaced another, with the one before. */
export function replacements(targets: Targets): { readonly old: Held; readonly next: Held }[] {
  return [...targets.values()].flatMap((states) =>
    states.slice(1).map((next, index) => ({ old: states[index] ?? next, next })),
  );
}

/** How long tokens still had when they were replaced: the least shows how near it came. */
export const leastLeft = (targets: Targets): number =>
  Math.min(...replacements(targets).map(({ old, next }) => (old.expiresAt - next.since) / 1_000));

/** From the moment at which a renewal was due to the moment at which it could be read, for those due in this time. */
export const lateness = (targets: Targets, from: number, to: number): number[] =>
  replacements(targets)
    .filter(({ old }) => old.renewAt >= from && old.renewAt < to)
    .map(({ old, next }) => (next.since - old.renewAt) / 1_000);

export function quantile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN;
}

export const count = (seen: readonly Seen[], ...types: readonly EventType[]): number =>
  seen.filter(({ type }) => types.includes(type)).length;

/** How often each answer was given, such as `LOGIN 20, REFRESH_TOKEN_ERROR (Stale token) 1`. */
export function tally(seen: readonly Seen[]): string {
  const counts = new Map<string, number>();
  for (const { type, why } of seen) {
    const kind = why === '' ? type : `${type} (${why})`;
    counts.set(kind, (counts.get(kind) ?? 0) + 1);
  }
  return [...counts].map(([kind, times]) => `${kind} ${times}`).join(', ') || 'nothing';
}

/** The shortest time between two requests of one and the same user or client. */
export function shortestGap(seen: readonly Seen[]): number {
  const last = new Map<string, number>();
  let shortest = Number.POSITIVE_INFINITY;
  for (const { who, at } of seen) {
    shortest = Math.min(shortest, at - (last.get(who) ?? Number.NEGATIVE_INFINITY));
    last.set(who, at);
  }
  return shortest / 1_000;
}

/** From one request to the next of the same user, on average. */
export function meanGap(seen: readonly Seen[]): number {
  const moments = Map.groupBy(seen, ({ who }) => who);
  let time = 0;
  let gaps = 0;
  for (const own of moments.values()) {
    time += (own.at(-1)?.at ?? 0) - (own[0]?.at ?? 0);
    gaps += own.length - 1;
  }
  return time / gaps / 1_000;
}

/** The burst that a budget of so many a second would have to allow for these moments. */
export function burstNeeded(moments: readonly number[], perSecond: number): number {
  let owed = 0;
  let most = 0;
  moments.forEach((at, index) => {
    const passed = (at - (moments[index - 1] ?? at)) / 1_000;
    owed = Math.max(0, owed - passed * perSecond) + 1;
    most = Math.max(most, owed);
  });
  return most;
}

/** Moments in order. */
export const mostInOneSecond = (moments: readonly number[]): number =>
  Math.max(
    0,
    ...moments.map((at, index) => {
      const end = moments.findIndex((later) => later >= at + 1_000);
      return (end === -1 ? moments.length : end) - index;
    }),
  );

export const rounded = (value: number, digits = 1): number => Number(value.toFixed(digits));
