import { registerHooks } from 'node:module';
import { fileURLToPath } from 'node:url';
import { sourceText } from '../simulation/source-text.ts';
import {
  type Insertion,
  type SyntaxNode,
  visitNodes,
  withInsertions,
} from '../simulation/syntax.ts';

/** Calls of named functions in their order, by a call that is written at the beginning of each; V8 only counts them. */

export interface Entry {
  /** Path from the folder of the sources. */
  readonly file: string;
  readonly name: string;
}

/** The first call into each file since the last `takeEntries`. */
const entered = new Map<string, Entry>();

export function takeEntries(): Entry[] {
  const entries = [...entered.values()];
  entered.clear();
  return entries;
}

function enter(file: string, name: string): void {
  if (!entered.has(file)) entered.set(file, { file, name });
}

/** @param sources folder with a slash at the end */
export function countEntries(sources: string): void {
  Object.assign(globalThis, { __enter: enter });
  registerHooks({
    load(url, context, nextLoad) {
      const loaded = nextLoad(url, context);
      const path = url.startsWith('file:') ? fileURLToPath(url) : '';
      if (!path.startsWith(sources) || !path.endsWith('.ts')) return loaded;
      const source = marked(sourceText(loaded.source), path.slice(sources.length));
      return { ...loaded, source };
    },
  });
}

export function marked(source: string, file: string): string {
  const insertions: Insertion[] = [];
  visitNodes(source, (node, place) => {
    const found = namedFunction(node);
    if (found === undefined) return;
    const call = `globalThis.__enter(${JSON.stringify(file)}, ${JSON.stringify(found.name)})`;
    const [start, end] = place(found.body);
    if (found.body.type === 'FunctionBody') insertions.push({ at: start + 1, text: `${call};` });
    else insertions.push({ at: start, text: `(${call}, ` }, { at: end, text: ')' });
  });
  return withInsertions(source, insertions);
}

/** Nodes of swc that name a function, and what else their members mean here. */
interface Definition extends SyntaxNode {
  readonly identifier?: Name | null;
  readonly id?: Name;
  readonly key?: Name;
  /** Of a method, a getter and a setter. */
  readonly function?: { readonly body?: SyntaxNode | null };
  readonly body?: SyntaxNode | null;
  /** Of a variable, and of a member. */
  readonly init?: Definition | null;
  readonly value?: Definition | null;
}

interface Name {
  readonly value?: unknown;
}

interface NamedFunction {
  readonly name: string;
  readonly body: SyntaxNode;
}

function namedFunction(node: Definition): NamedFunction | undefined {
  const body = bodyOf(node);
  const name = nameOf(node);
  return body && name !== undefined ? { name, body } : undefined;
}

const WITH_BODY = new Set(['FunctionDeclaration', 'Constructor', 'MethodProperty']);
const WITH_VALUE = new Set([
  'VariableDeclarator',
  'KeyValueProperty',
  'ClassProperty',
  'PrivateProperty',
]);

function bodyOf(node: Definition): SyntaxNode | null | undefined {
  const { type = '' } = node;
  if (WITH_BODY.has(type)) return node.body;
  return WITH_VALUE.has(type) ? bodyOfExpression(node.init ?? node.value) : node.function?.body;
}

const bodyOfExpression = (expression: Definition | null | undefined) =>
  expression?.type === 'ArrowFunctionExpression' || expression?.type === 'FunctionExpression'
    ? expression.body
    : undefined;

function nameOf({ type, identifier, id, key }: Definition): string | undefined {
  if (type === 'Constructor') return 'constructor';
  const name = (identifier ?? id ?? key)?.value;
  return typeof name === 'string' ? name : undefined;
}
