import { isMap, isScalar, type Pair, parseDocument, type YAMLMap } from 'yaml';

/** A key of values.yaml that has a comment; keys within it have none of their own. */
export interface ChartValue {
  readonly path: readonly string[];
  readonly value: unknown;
  readonly comment: string;
}

/** The values under each heading `## …`. */
export function valueSections(yaml: string): { title: string; values: ChartValue[] }[] {
  const [, ...sections] = yaml.split(/^## (?=\S)/m);
  return sections.map((section) => {
    const end = section.indexOf('\n');
    const values = valuesOf(parseDocument(section.slice(end)).contents, []);
    return { title: section.slice(0, end), values };
  });
}

function valuesOf(node: unknown, prefix: readonly string[]): ChartValue[] {
  if (!isMap(node)) return [];
  return node.items.flatMap((pair, index) => {
    const path = [...prefix, String(pair.key)];
    const comment = commentOf(pair, node, index);
    return comment === ''
      ? valuesOf(pair.value, path)
      : [{ path, value: plain(pair.value), comment }];
  });
}

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
