import { parseSync } from '@swc/core';

/** A node of the syntax tree; `span` in bytes since the first file that was parsed. */
export interface SyntaxNode {
  readonly type?: string;
  readonly span?: { readonly start: number; readonly end: number };
}

/** Calls `look` for each node of a module, with a function that gives the position of a span in its source. */
export function visitNodes(
  source: string,
  look: (
    node: SyntaxNode,
    place: (node: SyntaxNode) => readonly [start: number, end: number],
  ) => void,
): void {
  // Positions continue from file to file and start at the first token; an empty statement in front marks the start
  const module = parseSync(`;${source}`, { syntax: 'typescript', target: 'es2024' });
  const base = module.span.start + 1;
  visit(module, (node) =>
    look(node, ({ span = { start: base, end: base } }) => [span.start - base, span.end - base]),
  );
}

function visit(node: unknown, look: (node: SyntaxNode) => void): void {
  if (typeof node !== 'object' || node === null) return;
  look(node);
  for (const inner of Object.values(node)) visit(inner, look);
}

/** `at`: in bytes. */
export interface Insertion {
  readonly at: number;
  readonly text: string;
}

export function withInsertions(source: string, insertions: readonly Insertion[]): string {
  const bytes = Buffer.from(source);
  let result = '';
  let from = 0;
  for (const { at, text } of insertions.toSorted((a, b) => a.at - b.at)) {
    result += bytes.subarray(from, at).toString() + text;
    from = at;
  }
  return result + bytes.subarray(from).toString();
}
