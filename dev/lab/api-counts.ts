/** Requests by `VERB resource/subresource`, as the API server itself counts them. */
export type Counts = Readonly<Record<string, number>>;

const OURS = ['secrets', 'convercuscredentials', 'events', 'leases'];
/** What External Secrets Operator reads and writes besides (`--only peer`). */
const PEERS = ['externalsecrets', 'webhooks', 'generatorstates'];
const COUNTED = new Set([...OURS, ...PEERS]);

/** @param text the API server's /metrics */
export function countsFrom(text: string): Counts {
  const counts: Record<string, number> = {};
  for (const [, labels = '', value = ''] of text.matchAll(
    /^apiserver_request_total\{(.*)\} (.*)$/gm,
  )) {
    const label = (name: string): string =>
      new RegExp(`(?:^|,)${name}="([^"]*)"`).exec(labels)?.[1] ?? '';
    if (!COUNTED.has(label('resource'))) continue;
    const part = label('subresource') === '' ? '' : `/${label('subresource')}`;
    const kind = `${label('verb')} ${label('resource')}${part}`;
    counts[kind] = (counts[kind] ?? 0) + Number(value);
  }
  return counts;
}

export const difference = (before: Counts, after: Counts): Counts =>
  Object.fromEntries(
    Object.entries(after)
      .map(([kind, count]) => [kind, count - (before[kind] ?? 0)] as const)
      .filter(([, count]) => count !== 0),
  );

const READS = /^(GET|LIST|WATCH) /;
const TARGET_WRITE = /^(APPLY|PATCH|PUT|POST) secrets$/;

/** Leases and watches are there even when there is nothing to do. */
const isWork = (kind: string): boolean => !/ leases$|^WATCH /.test(kind);

const sum = (counts: Counts, isCounted: (kind: string) => boolean): number =>
  Object.entries(counts).reduce((all, [kind, count]) => (isCounted(kind) ? all + count : all), 0);

export const requestsIn = (counts: Counts): number => sum(counts, isWork);

export const readsIn = (counts: Counts): number =>
  sum(counts, (kind) => isWork(kind) && READS.test(kind));

export const listsIn = (counts: Counts): number => sum(counts, (kind) => kind.startsWith('LIST '));

export const eventsIn = (counts: Counts): number => sum(counts, (kind) => kind.endsWith(' events'));

export const writesIn = (counts: Counts): number =>
  requestsIn(counts) - readsIn(counts) - eventsIn(counts);

export const targetWritesIn = (counts: Counts): number =>
  sum(counts, (kind) => TARGET_WRITE.test(kind));

export const shown = (counts: Counts): string =>
  Object.entries(counts)
    .map(([kind, count]) => `${count} ${kind}`)
    .sort()
    .join(', ') || 'none';
