import { arch, cpus, release, totalmem } from 'node:os';

/** One line of a table. */
export interface Row {
  readonly measure: string;
  readonly value: number | string;
  readonly threshold?: string;
  readonly met?: boolean;
}

/** What a value has to be. */
export interface Threshold {
  readonly text: string;
  readonly isMet: (value: number) => boolean;
}

export const atMost = (limit: number): Threshold => ({
  text: `≤ ${limit}`,
  isMet: (value) => value <= limit,
});

export const atLeast = (limit: number): Threshold => ({
  text: `≥ ${limit}`,
  isMet: (value) => value >= limit,
});

export const exactly = (expected: number): Threshold => ({
  text: String(expected),
  isMet: (value) => value === expected,
});

/** Without a threshold the value is only shown. */
export function row(measure: string, value: number | string, threshold?: Threshold): Row {
  if (typeof value === 'string') return { measure, value };
  const shown = { measure, value: rounded(value) };
  if (threshold === undefined) return shown;
  return { ...shown, threshold: threshold.text, met: threshold.isMet(value) };
}

export const rounded = (value: number): number =>
  Number.isInteger(value) ? value : Number(value.toPrecision(3));

/** Values of several lines come after the table. */
export function table(rows: readonly Row[]): string {
  const isText = ({ value }: Row): boolean => String(value).includes('\n');
  const texts = rows.filter(isText).map(({ measure, value }) => `\n-- ${measure}\n${value}`);
  const cells = rows
    .filter((row) => !isText(row))
    .map(({ measure, value, threshold = '', met }) => [
      measure,
      String(value),
      threshold,
      met === undefined ? '' : met ? 'met' : 'MISSED',
    ]);
  const all = [['measure', 'value', 'threshold', ''], ...cells];
  const widths = [0, 1, 2].map((column) => Math.max(...all.map((row) => row[column]?.length ?? 0)));
  const lines = all.map((row) => row.map((cell, column) => cell.padEnd(widths[column] ?? 0)));
  return [...lines.map((cells) => cells.join('  ').trimEnd()), ...texts].join('\n');
}

export const missed = (rows: readonly Row[]): Row[] => rows.filter(({ met }) => met === false);

export const machine = (): string =>
  `${cpus().length} cores (${cpus()[0]?.model.trim()}), ${Math.round(totalmem() / 2 ** 30)} GiB, Linux ${release()} ${arch()}, Node ${process.version}`;
