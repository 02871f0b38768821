import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';

export const ROOT = join(import.meta.dirname, '../..');

/** A fenced block of a page. */
export interface Block {
  readonly page: string;
  /** Of the opening fence, from 1. */
  readonly line: number;
  /** Such as `sh`; empty when the fence names none. */
  readonly language: string;
  readonly text: string;
  /** From `<!-- not run: REASON -->` in front of the block. */
  readonly excuse: string | undefined;
}

const FENCE = /^( *)```(\S*)$/;
const EXCUSE = /^ *<!-- not run: (.+) -->$/;

export const readPage = (page: string): Promise<string> => readFile(join(ROOT, page), 'utf8');

/** The Markdown files in a folder, as paths from the root. */
export async function pagesIn(folder: string): Promise<string[]> {
  const names = await readdir(join(ROOT, folder));
  return names
    .filter((name) => name.endsWith('.md'))
    .map((name) => join(folder, name))
    .sort();
}

/** The fenced blocks, without their indentation. */
export function blocksOf(page: string, markdown: string): Block[] {
  const lines = markdown.split('\n');
  const blocks: Block[] = [];
  for (let at = 0; at < lines.length; at += 1) {
    const [, indent = '', language = ''] = FENCE.exec(lines[at] ?? '') ?? [undefined];
    if (!FENCE.test(lines[at] ?? '')) continue;
    const end = lines.indexOf(`${indent}\`\`\``, at + 1);
    const text = lines.slice(at + 1, end).map((line) => line.slice(indent.length));
    const [, excuse] = EXCUSE.exec(lines[at - 1] ?? '') ?? [];
    blocks.push({ page, line: at + 1, language, text: `${text.join('\n')}\n`, excuse });
    at = end;
  }
  return blocks;
}

/** The page with its fenced blocks emptied, so that lines keep their numbers. */
export function withoutBlocks(markdown: string): string {
  let inside = false;
  const kept = markdown.split('\n').map((line) => {
    const isFence = /^ *```/.test(line);
    if (isFence) inside = !inside;
    return inside || isFence ? '' : line;
  });
  return kept.join('\n');
}

/** `code` in running text and in tables, each once; a pipe in a table is written `\|`. */
export function codeSpans(markdown: string): string[] {
  const spans = withoutBlocks(markdown).matchAll(/(`+)(.+?)\1/g);
  return [...new Set([...spans].map(([, , code = '']) => code.trim().replaceAll('\\|', '|')))];
}

/** What GitHub makes of the headings. */
export function anchorsOf(markdown: string): Set<string> {
  const anchors = new Set<string>();
  for (const [, heading = ''] of withoutBlocks(markdown).matchAll(/^#+ (.+)$/gm)) {
    const text = heading.replace(/\[([^\]]*)\]\([^)]*\)/g, '$1').toLowerCase();
    const slug = text.replace(/[^\p{L}\p{N} _-]/gu, '').replaceAll(' ', '-');
    const count = [...anchors].filter((each) => each.replace(/-\d+$/, '') === slug).length;
    anchors.add(count === 0 ? slug : `${slug}-${count}`);
  }
  return anchors;
}
