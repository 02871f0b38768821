import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { valueSections } from './chart-values.ts';

const CHART = join(import.meta.dirname, '../../charts/convercus-operator');

interface Schema {
  description?: string;
  properties?: Record<string, Schema>;
}

/** values.schema.json with the comments of values.yaml as descriptions, which editors and Artifact Hub show. */
export async function chartSchema(): Promise<string> {
  const schema: Schema = JSON.parse(await readFile(join(CHART, 'values.schema.json'), 'utf8'));
  const values = await readFile(join(CHART, 'values.yaml'), 'utf8');
  for (const { path, comment } of valueSections(values).flatMap((section) => section.values)) {
    describe(schema, path, comment);
  }
  return formatted(schema);
}

function describe(schema: Schema, path: readonly string[], description: string): void {
  const [key, ...rest] = path;
  if (key === undefined) {
    schema.description = description;
    return;
  }
  const property = schema.properties?.[key];
  if (property === undefined) throw new Error(`values.schema.json has no ${path.join('.')}`);
  describe(property, rest, description);
}

/** Arrays of scalars are on one line. */
function formatted(schema: Schema): string {
  const text = JSON.stringify(schema, null, 2);
  const flat = text.replace(
    /\[\n\s+([^[\]{}]*?)\n\s+\]/g,
    (_, items: string) => `[${items.replace(/\n\s+/g, ' ')}]`,
  );
  return `${flat}\n`;
}
