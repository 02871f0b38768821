import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parse } from 'yaml';
import { type ChartValue, valueSections } from './chart-values.ts';

/** The README of the chart: chart-readme.md with a table of all values from values.yaml. */

const CHART = join(import.meta.dirname, '../../charts/convercus-operator');

export async function chartReadme(): Promise<string> {
  const frame = await readFile(join(import.meta.dirname, 'chart-readme.md'), 'utf8');
  const values = await readFile(join(CHART, 'values.yaml'), 'utf8');
  const { version, appVersion } = parse(await readFile(join(CHART, 'Chart.yaml'), 'utf8'));
  return frame
    .replaceAll('{{version}}', version)
    .replaceAll('{{appVersion}}', appVersion)
    .replace('{{values}}', valueTables(values));
}

/** A table for each heading `## …`, with a row for each key that has a comment. */
function valueTables(yaml: string): string {
  return valueSections(yaml)
    .map(({ title, values }) => {
      const head = '| value | default | |\n|---|---|---|';
      return `### ${title}\n\n${head}\n${values.map(row).join('\n')}`;
    })
    .join('\n\n');
}

function row({ path, value, comment }: ChartValue): string {
  const fallback = JSON.stringify(value).replaceAll('|', '\\|');
  return `| \`${path.join('.')}\` | \`${fallback}\` | ${escaped(comment)} |`;
}

/** Markdown takes `<alert>` for a tag of HTML, which shows nothing, and a pipe for the end of the cell. */
const escaped = (text: string): string => text.replaceAll('|', '\\|').replaceAll('<', '\\<');
