import { registerHooks } from 'node:module';
import { relative, sep } from 'node:path';
import { fileURLToPath } from 'node:url';
import { sourceText } from './source-text.ts';
import { type Insertion, visitNodes, withInsertions } from './syntax.ts';

/** Wraps each await of the operator's sources; see awaits.ts. For `node --import`. */

const ROOT = `${import.meta.dirname.split(`${sep}dev${sep}`)[0]}${sep}`;

/** All awaits of the modules loaded so far. */
const found = new Set<string>();
Object.assign(globalThis, { __awaitPlaces: found });

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
  const insertions: Insertion[] = [];
  visitNodes(source, (node, place) => {
    if (node.type !== 'AwaitExpression') return;
    const [start, end] = place(node);
    const line = bytes.subarray(0, start).toString().split('\n').length;
    const name = `${file}:${line}`;
    found.add(name);
    const text = ` globalThis.__await(${JSON.stringify(name)},`;
    insertions.push({ at: start + 'await'.length, text }, { at: end, text: ')' });
  });
  return withInsertions(source, insertions);
}
