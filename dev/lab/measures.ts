import type { EventType, ProviderEvent } from './provider.ts';
import type { Publication, Targets } from './target-reader.ts';

/** From when to when, in milliseconds since 1970. */
export type Span = readonly [from: number, to: number];

const sum = (values: readonly number[]): number => values.reduce((all, value) => all + value, 0);

const tenths = (seconds: number): number => Math.round(seconds * 10) / 10;

/** @param percent 50 for the median */
export function percentile(values: readonly number[], percent: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  const index = Math.floor((sorted.length * percent) / 100);
  return sorted[Math.min(index, sorted.length - 1)] ?? Number.NaN;
}

/** When targets held a token that had expired, until now. */
export const expirations = (targets: Targets, now = Date.now()): Span[] =>
  [...targets.values()].flatMap((publications) =>
    publications
      .map(({ expiresAt }, index): Span => [expiresAt, publications[index + 1]?.at ?? now])
      .filter(([from, to]) => to > from),
  );

/** For how long targets held an expired token, all together: in seconds, to a tenth. */
export const expiredSeconds = (targets: Targets, [from, to]: Span = [0, Date.now()]): number =>
  tenths(sharedSeconds(expirations(targets, to), [[from, to]]));

/** What of these spans lies in the others, which don't overlap. */
export const sharedSeconds = (spans: readonly Span[], others: readonly Span[]): number =>
  sum(
    spans.flatMap(([from, to]) =>
      others.map(([start, end]) => Math.max(0, Math.min(to, end) - Math.max(from, start))),
    ),
  ) / 1_000;

interface Replacement {
  readonly old: Publication;
  readonly next: Publication;
}

/** Each token that replaced another, with the one before. */
export const replacements = (targets: Targets): Replacement[] =>
  [...targets.values()].flatMap((publications) =>
    publications.slice(1).map((next, index) => ({ old: publications[index] ?? next, next })),
  );

/** The least number of seconds that a replaced token still had. */
export const leastLeft = (targets: Targets): number =>
  Math.min(...replacements(targets).map(({ old, next }) => (old.expiresAt - next.at) / 1_000));

/** Milliseconds from the moment at which a renewal was due until it could be read, for those that came in this time. */
export const lateness = (targets: Targets, [from, to]: Span): number[] =>
  replacements(targets)
    .filter(({ next }) => next.at >= from && next.at < to)
    .map(({ old, next }) => next.at - old.renewAt);

export const count = (events: readonly ProviderEvent[], ...types: readonly EventType[]): number =>
  events.filter(({ type }) => types.includes(type)).length;

/** How often each response was given, such as `LOGIN 20, REFRESH_TOKEN_ERROR (Stale token) 1`. */
export function tally(events: readonly ProviderEvent[]): string {
  const counts = new Map<string, number>();
  for (const { type, error } of events) {
    const kind = error === '' ? type : `${type} (${error})`;
    counts.set(kind, (counts.get(kind) ?? 0) + 1);
  }
  return [...counts].map(([kind, times]) => `${kind} ${times}`).join(', ') || 'none';
}

/** Seconds between two requests of the same user or client. */
export const gaps = (events: readonly ProviderEvent[]): number[] =>
  [...Map.groupBy(events, ({ principal }) => principal).values()].flatMap((own) =>
    own.slice(1).map(({ at }, index) => (at - (own[index]?.at ?? at)) / 1_000),
  );

export const mean = (values: readonly number[]): number => sum(values) / values.length;

/** The burst that a rate limiter would have to allow for these moments at so many permits a second. */
export function burstNeeded(moments: readonly number[], perSecond: number): number {
  let used = 0;
  let most = 0;
  moments.forEach((at, index) => {
    const passed = (at - (moments[index - 1] ?? at)) / 1_000;
    used = Math.max(0, used - passed * perSecond) + 1;
    most = Math.max(most, used);
  });
  return most;
}

/** The most of these moments, in order, that lie in a window of so many milliseconds. */
export function mostWithin(moments: readonly number[], milliseconds: number): number {
  let start = 0;
  return moments.reduce((most, at, index) => {
    while ((moments[start] ?? at) <= at - milliseconds) start += 1;
    return Math.max(most, index - start + 1);
  }, 0);
}
