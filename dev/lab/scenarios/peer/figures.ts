import { sampleOf } from '../../process-sample.ts';
import { rounded } from '../../report.ts';
import { pidOf } from '../../testbed.ts';
import type { RenewalCost } from '../speed.ts';
import type { SecretWatch } from './secret-watch.ts';

/** What one of them needs. Undefined where a measure does not apply to it. */
export interface Figures
  extends Pick<
    RenewalCost,
    'perSecond' | 'apiRequests' | 'tokenRequests' | 'cpuMs' | 'serverCpuMs'
  > {
  readonly coldSeconds: number | undefined;
  readonly coldMb: number | undefined;
  readonly residentMb: number | undefined;
}

/** CPU milliseconds for each are CPU seconds for 1,000. */
const MEASURES: readonly (readonly [string, (figures: Figures) => number | undefined])[] = [
  ['cold sync: from the start of the process to all targets (s)', (it) => it.coldSeconds],
  ['resident memory then (MB)', (it) => it.coldMb],
  ['renewals per second at saturation', (it) => it.perSecond],
  ['API requests per renewal', (it) => it.apiRequests],
  ['token requests per renewal', (it) => it.tokenRequests],
  ['its CPU seconds per 1,000 renewals', (it) => it.cpuMs],
  [
    'CPU seconds of API server, etcd and identity provider per 1,000 renewals',
    (it) => it.serverCpuMs,
  ],
  ['CPU seconds of all of them per 1,000 renewals', (it) => it.cpuMs + it.serverCpuMs],
  ['resident memory after the renewals (MB)', (it) => it.residentMb],
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

export type Named = readonly [name: string, figures: Figures];

/** Markdown: all figures, and the peers' divided by those of the first. */
export function tableOf(all: readonly Named[], peers: readonly Named[]): string {
  const [first] = all;
  const columns = [
    ...[...all, ...peers].map(([name]) => name),
    ...peers.map(([name]) => `${name} ÷ ${first?.[0]}`),
  ];
  const rows = MEASURES.map(([text, of]) => [
    text,
    ...[...all, ...peers].map(([, figures]) => cell(of(figures))),
    ...peers.map(([, figures]) => cell(ratio(of(figures), first && of(first[1])))),
  ]);
  const lines = [['', ...columns], ['', ...columns].map(() => '---'), ...rows];
  return lines.map((cells) => `| ${cells.join(' | ')} |`).join('\n');
}

const cell = (value: number | undefined): string =>
  value === undefined ? '' : String(rounded(value));

const ratio = (value: number | undefined, one: number | undefined): number | undefined =>
  value === undefined || one === undefined ? undefined : value / one;
