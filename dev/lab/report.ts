import { writeFile } from 'node:fs/promises';
import { arch, cpus, release, totalmem } from 'node:os';

/** One line of the result. */
export interface Row {
  readonly measure: string;
  readonly reached: number | string;
  /** What is aimed at, in words. */
  readonly bar?: string;
  readonly met?: boolean;
  /** Counts are the same on every machine, so `--check` insists on their bars; times and sizes are not. */
  readonly kind: 'count' | 'quantity';
}

export const count = (measure: string, reached: number | string, bar?: Bar): Row => ({
  measure,
  reached: rounded(reached),
  kind: 'count',
  ...(bar === undefined ? {} : { bar: bar[0], met: bar[1] }),
});

export const quantity = (measure: string, reached: number | string, bar?: Bar): Row => ({
  ...count(measure, reached, bar),
  kind: 'quantity',
});

/** The bar in words, and whether it was reached. */
export type Bar = readonly [words: string, met: boolean];

export const atMost = (limit: number, value: number, unit = ''): Bar => [
  `≤ ${limit}${unit}`,
  value <= limit,
];

export const exactly = (wanted: number, value: number): Bar => [String(wanted), value === wanted];

export interface Result {
  readonly scenario: string;
  readonly rows: readonly Row[];
  readonly seconds: number;
}

/** Whole texts come after the table. */
export function tableOf({ scenario, rows, seconds }: Result): string {
  const isText = ({ reached }: Row): boolean => String(reached).includes('\n');
  const texts = rows.filter(isText).map(({ measure, reached }) => `\n-- ${measure}\n${reached}`);
  const cells = rows
    .filter((row) => !isText(row))
    .map(({ measure, reached, bar = '', met }) => [
      measure,
      String(reached),
      bar,
      met === undefined ? '' : met ? 'met' : 'MISSED',
    ]);
  const all = [['measure', 'reached', 'bar', ''], ...cells];
  const width = (column: number): number => Math.max(...all.map((row) => row[column]?.length ?? 0));
  const line = (row: readonly string[]): string =>
    row
      .map((cell, column) => cell.padEnd(column === 3 ? 0 : width(column)))
      .join('  ')
      .trimEnd();
  return [`\n== ${scenario} (${Math.round(seconds)} s)`, ...all.map(line), ...texts].join('\n');
}

export const machine = (): string =>
  `${cpus().length} cores (${cpus()[0]?.model.trim()}), ${Math.round(totalmem() / 2 ** 30)} GiB, Linux ${release()} ${arch()}, Node ${process.version}`;

export async function writeJson(path: string, results: readonly Result[]): Promise<void> {
  const report = { at: new Date().toISOString(), machine: machine(), results };
  await writeFile(path, `${JSON.stringify(report, undefined, 2)}\n`);
}

export const rounded = (value: number | string): number | string =>
  typeof value === 'string' || Number.isInteger(value) ? value : Number(value.toPrecision(3));

/** @param share 0.5 for the median */
export function quantile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(Math.floor(sorted.length * share), sorted.length - 1)] ?? Number.NaN;
}
