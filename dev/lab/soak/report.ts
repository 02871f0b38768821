import { expirations, expiredSeconds, leastLeft, rounded } from './measures.ts';
import type { TargetReader } from './target-reader.ts';

/** One line of the table. Without `met` it is only told. */
export interface Row {
  readonly measure: string;
  readonly value: number | string;
  readonly aim?: string;
  readonly met?: boolean;
}

export const told = (measure: string, value: number | string): Row => ({ measure, value });

export const atMost = (measure: string, value: number, limit: number): Row => ({
  measure,
  value,
  aim: limit === 0 ? '0' : `at most ${limit}`,
  met: value <= limit,
});

export const exactly = (measure: string, value: number, aim: number): Row => ({
  measure,
  value,
  aim: String(aim),
  met: value === aim,
});

export function table(rows: readonly Row[]): string {
  const cells = rows.map(({ measure, value, aim = '', met }) => [
    measure,
    String(value),
    aim,
    met === undefined ? '' : met ? 'met' : 'MISSED',
  ]);
  const all = [['measure', 'value', 'aim', ''], ...cells];
  const widths = [0, 1, 2].map((column) => Math.max(...all.map((row) => row[column]?.length ?? 0)));
  return all
    .map((row) =>
      row
        .map((cell, column) => cell.padEnd(widths[column] ?? 0))
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}

/** What workloads got. */
export const serviceRows = (
  { targets, unreadable }: Pick<TargetReader, 'targets' | 'unreadable'>,
  credentials: number,
): Row[] => [
  exactly('credentials that were served', targets.size, credentials),
  told('tokens published', [...targets.values()].flat().length),
  atMost('expired seconds seen by the reader', rounded(expiredSeconds(targets)), 0),
  told('tokens that expired in a target', expirations(targets).length),
  exactly('states of a target that were no token', unreadable, 0),
  told('least time that a replaced token had left (s)', rounded(leastLeft(targets))),
];
