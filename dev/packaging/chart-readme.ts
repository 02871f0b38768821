import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { isMap, isScalar, type Pair, parse, parseDocument, type YAMLMap } from 'yaml';

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
  const [, ...sections] = yaml.split(/^## (?=\S)/m);
  return sections
    .map((section) => {
      const end = section.indexOf('\n');
      const rows = rowsOf(parseDocument(section.slice(end)).contents, '');
      const head = '| value | default | |\n|---|---|---|';
      return `### ${section.slice(0, end)}\n\n${head}\n${rows.join('\n')}`;
    })
    .join('\n\n');
}

function rowsOf(node: unknown, prefix: string): string[] {
  if (!isMap(node)) return [];
  return node.items.flatMap((pair, index) => {
    const path = `${prefix}${String(pair.key)}`;
    const comment = commentOf(pair, node, index);
    return comment === '' ? rowsOf(pair.value, `${path}.`) : [row(path, pair.value, comment)];
  });
}

function row(path: string, value: unknown, comment: string): string {
  const fallback = JSON.stringify(plain(value)).replaceAll('|', '\\|');
  return `| \`${path}\` | \`${fallback}\` | ${escaped(comment)} |`;
}

/** Markdown takes `<alert>` for a tag of HTML, which shows nothing, and a pipe for the end of the cell. */
const escaped = (text: string): string => text.replaceAll('|', '\\|').replaceAll('<', '\\<');

const plain = (value: unknown): unknown =>
  typeof value === 'object' && value !== null && 'toJSON' in value
    ? JSON.parse(JSON.stringify(value))
    : value;

/** The comment above the first key of a map belongs to the map. */
function commentOf({ key }: Pair, map: YAMLMap, index: number): string {
  const own = isScalar(key) ? key.commentBefore : undefined;
  const text = (index === 0 ? (map.commentBefore ?? own) : own) ?? '';
  const paragraph = text.split('\n\n').at(-1) ?? '';
  return paragraph.replace(/\n/g, ' ').trim();
}
