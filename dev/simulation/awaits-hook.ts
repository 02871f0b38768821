import { registerHooks } from 'node:module';
import { relative, sep } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseSync } from '@swc/core';
import { sourceText } from './source-text.ts';

/** Makes each await of the operator's sources countable; see awaits.ts. For `node --import`. */

const ROOT = `${import.meta.dirname.split(`${sep}dev${sep}`)[0]}${sep}`;

/** All awaits of the modules loaded so far. */
const found = new Set<string>();
Object.assign(globalThis, { __awaitPlaces: found });

interface Node {
  readonly type?: string;
  readonly span?: { readonly start: number; readonly end: number };
}

registerHooks({
  load(url, context, nextLoad) {
    const loaded = nextLoad(url, context);
    if (!url.startsWith('file:') || !fileURLToPath(url).startsWith(`${ROOT}src${sep}`))
      return loaded;
    const source = sourceText(loaded.source);
    return { ...loaded, source: marked(source, relative(ROOT, fileURLToPath(url))) };
  },
});

function marked(source: string, file: string): string {
  const bytes = Buffer.from(source);
  // Positions go on from file to file and begin at the first token: an empty statement in front gives the beginning
  const module = parseSync(`;${source}`, { syntax: 'typescript', target: 'es2024' });
  const base = module.span.start + 1;
  const insertions: { at: number; text: string }[] = [];
  visit(module, (node) => {
    if (node.type !== 'AwaitExpression' || node.span === undefined) return;
    const [start, end] = [node.span.start - base, node.span.end - base];
    const line = bytes.subarray(0, start).toString().split('\n').length;
    const place = `${file}:${line}`;
    found.add(place);
    insertions.push({
      at: start + 'await'.length,
      text: ` globalThis.__await(${JSON.stringify(place)},`,
    });
    insertions.push({ at: end, text: ')' });
  });
  let result = '';
  let from = 0;
  for (const { at, text } of insertions.sort((a, b) => a.at - b.at)) {
    result += bytes.subarray(from, at).toString() + text;
    from = at;
  }
  return result + bytes.subarray(from).toString();
}

function visit(node: unknown, look: (node: Node) => void): void {
  if (typeof node !== 'object' || node === null) return;
  look(node);
  for (const inner of Object.values(node)) visit(inner, look);
}
