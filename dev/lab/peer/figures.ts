import { setTimeout as sleep } from 'node:timers/promises';
import { type Counts, requestsIn, shown } from '../api-counts.ts';
import type { Lab } from '../lab.ts';
import { sampleOf } from '../process-sample.ts';
import { rounded } from '../report.ts';
import type { SecretWatch } from './secret-watch.ts';

/** What one of them has needed. Undefined is what does not apply to it. */
export interface Figures {
  readonly coldSeconds: number | undefined;
  readonly coldMb: number | undefined;
  readonly perSecond: number;
  readonly apiRequests: number;
  readonly tokenRequests: number;
  readonly cpuMs: number;
  readonly serverCpuMs: number;
  readonly allCpuMs: number;
  readonly residentMb: number | undefined;
}

/** CPU milliseconds for each are CPU seconds for 1,000. */
const MEASURES: readonly (readonly [keyof Figures, string])[] = [
  ['coldSeconds', 'cold sync: from the start of the process to all targets (s)'],
  ['coldMb', 'resident memory then (MB)'],
  ['perSecond', 'renewals per second at saturation'],
  ['apiRequests', 'API requests per renewal'],
  ['tokenRequests', 'token requests per renewal'],
  ['cpuMs', 'its CPU seconds per 1,000 renewals'],
  ['serverCpuMs', 'CPU seconds of API server, etcd and identity provider per 1,000 renewals'],
  ['allCpuMs', 'CPU seconds of all of them per 1,000 renewals'],
  ['residentMb', 'resident memory after the renewals (MB)'],
];

export interface Process {
  readonly pid: number | undefined;
}

/** @param start of the process; the resources exist already */
export async function coldSync<T extends Process>(
  watch: SecretWatch,
  count: number,
  start: () => Promise<T>,
): Promise<Pick<Figures, 'coldSeconds' | 'coldMb'> & { readonly started: T }> {
  const began = Date.now();
  const started = await start();
  const done = await watch.until(count, 60 + count / 2);
  const { residentMb } = sampleOf(pidOf(started));
  return { started, coldSeconds: (done - began) / 1_000, coldMb: residentMb };
}

const TARGET_WRITE = /^(APPLY|PATCH|PUT|POST) secrets$/;

const targetWritesIn = (counts: Counts): number =>
  Object.entries(counts).reduce((sum, [kind, n]) => (TARGET_WRITE.test(kind) ? sum + n : sum), 0);

/** More is due than can be done. */
export async function saturation(
  lab: Lab,
  seconds: number,
  running: Process,
): Promise<Omit<Figures, 'coldSeconds' | 'coldMb'>> {
  lab.log(`Renewals at saturation for ${seconds} s`);
  const pid = pidOf(running);
  const look = async () => ({
    sample: sampleOf(pid),
    counts: await lab.counts(),
    tokens: await lab.provider.count(),
    servers: await lab.serverCpuSeconds(),
  });
  const a = await look();
  await sleep(seconds * 1_000);
  const b = await look();
  const counts = await lab.countsSince(a.counts);
  lab.log(`API requests: ${shown(counts)}`);
  const renewals = targetWritesIn(b.counts) - targetWritesIn(a.counts);
  const cpuMs = (b.sample.cpuMs - a.sample.cpuMs) / renewals;
  const serverCpuMs = ((b.servers - a.servers) * 1_000) / renewals;
  return {
    perSecond: (renewals * 1_000) / (b.sample.at - a.sample.at),
    apiRequests: (requestsIn(b.counts) - requestsIn(a.counts)) / renewals,
    tokenRequests: (b.tokens - a.tokens) / renewals,
    cpuMs,
    serverCpuMs,
    allCpuMs: cpuMs + serverCpuMs,
    residentMb: b.sample.residentMb,
  };
}

function pidOf({ pid }: Process): number {
  if (pid === undefined) throw new Error('it does not run');
  return pid;
}

export type Named = readonly [name: string, figures: Figures];

/** Markdown: all figures, and the peers' divided by those of the first. */
export function tableOf(all: readonly Named[], peers: readonly Named[]): string {
  const [first] = all;
  const columns = [
    ...[...all, ...peers].map(([name]) => name),
    ...peers.map(([name]) => `${name} ÷ ${first?.[0]}`),
  ];
  const rows = MEASURES.map(([key, words]) => [
    words,
    ...[...all, ...peers].map(([, figures]) => cell(figures[key])),
    ...peers.map(([, figures]) => cell(ratio(figures[key], first?.[1][key]))),
  ]);
  const lines = [['', ...columns], ['', ...columns].map(() => '---'), ...rows];
  return lines.map((cells) => `| ${cells.join(' | ')} |`).join('\n');
}

const cell = (value: number | undefined): string =>
  value === undefined ? '' : String(rounded(value));

const ratio = (value: number | undefined, one: number | undefined): number | undefined =>
  value === undefined || one === undefined ? undefined : value / one;
