import { stringify } from 'yaml';
import { cleanText } from '../lib/sensitive.ts';
import { type EpochMs, type Ms, rfc3339 } from '../lib/time.ts';

export type Format = 'text' | 'json' | 'yaml';

/** What a command has to tell: once as data for `--output`, once as text. Without data it has told all before. */
export interface Result {
  readonly data: unknown;
  readonly text: string;
  readonly exitCode?: 0 | 1 | 3 | 4;
}

export function printed({ data, text }: Result, format: Format): string {
  if (data === undefined) return text;
  if (format === 'json') return `${JSON.stringify(data, undefined, 2)}\n`;
  if (format === 'yaml') return stringify(data, { lineWidth: 0 });
  return text === '' ? '' : `${text.trimEnd()}\n`;
}

type Colour = 'red' | 'green' | 'yellow' | 'bold';

const CODES: Readonly<Record<Colour, number>> = { bold: 1, red: 31, green: 32, yellow: 33 };

export type Paint = (colour: Colour, text: string) => string;

export const painter =
  (isColoured: boolean): Paint =>
  (colour, text) =>
    isColoured ? `\u001b[${CODES[colour]}m${text}\u001b[0m` : text;

/** Foreign text in one line, without what a terminal would obey. */
export const plain = (text: string, longest = 600): string => cleanText(text, longest);

const PAINTED = new RegExp(`${String.fromCodePoint(27)}\\[\\d+m`, 'g');
const widthOf = (text: string): number => text.replaceAll(PAINTED, '').length;

/** Columns two spaces apart, as those of kubectl. */
export function table(header: readonly string[], rows: readonly (readonly string[])[]): string {
  const all = [header, ...rows];
  const widths = header.map((_, column) =>
    Math.max(...all.map((row) => widthOf(row[column] ?? ''))),
  );
  return all
    .map((row) =>
      row
        .map((cell, column) => cell + ' '.repeat((widths[column] ?? 0) - widthOf(cell)))
        .join('   ')
        .trimEnd(),
    )
    .join('\n');
}

const LABEL_WIDTH = 12;

/** `label`, then lines that stand under each other. */
export const field = (label: string, lines: readonly string[]): string =>
  lines.map((line, at) => (at === 0 ? label : '').padEnd(LABEL_WIDTH) + line).join('\n');

/** `11m20s`, the two largest units, as kubectl tells ages. */
export function duration(time: Ms): string {
  const total = Math.round(Math.abs(time) / 1_000);
  const parts = [
    [Math.floor(total / 86_400), 'd'],
    [Math.floor(total / 3_600) % 24, 'h'],
    [Math.floor(total / 60) % 60, 'm'],
    [total % 60, 's'],
  ] as const;
  const first = parts.findIndex(([count]) => count > 0);
  if (first < 0) return '0s';
  return parts
    .slice(first, first + 2)
    .filter(([count]) => count > 0)
    .map(([count, unit]) => `${count}${unit}`)
    .join('');
}

export const until = (at: EpochMs, now: EpochMs): string =>
  at >= now ? `in ${duration(at - now)}` : `${duration(now - at)} ago`;

/** `12:30:00Z`, with the date when that is not today's. */
export function clockTime(at: EpochMs, now: EpochMs): string {
  const text = rfc3339(at);
  return text.slice(0, 10) === rfc3339(now).slice(0, 10) ? text.slice(11) : text;
}

const TEXT_WIDTH = 100;

/** Lines of at most 100 columns; a longer word has a line of its own. */
export function wrapped(text: string): string[] {
  const lines: string[] = [];
  let line = '';
  for (const word of text.split(' ')) {
    if (line !== '' && line.length + 1 + word.length > TEXT_WIDTH) {
      lines.push(line);
      line = word;
    } else {
      line = line === '' ? word : `${line} ${word}`;
    }
  }
  return [...lines, line];
}

const UNITS: Readonly<Record<string, Ms>> = { s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/** Of `90s`, `5m` or `1h30m`; undefined for anything else. */
export function parseDuration(text: string): Ms | undefined {
  if (!/^(\d+[smhd])+$/.test(text)) return undefined;
  return [...text.matchAll(/(\d+)([smhd])/g)]
    .map(([, count, unit = '']) => Number(count) * (UNITS[unit] ?? 0))
    .reduce((sum, each) => sum + each, 0);
}
