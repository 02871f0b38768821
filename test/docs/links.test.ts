import { execFileSync } from 'node:child_process';
import { existsSync, globSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { describe, expect, it } from '@jest/globals';
import { anchorsOf, blocksOf, codeSpans, ROOT, readPage, withoutBlocks } from './markdown.ts';

const PAGES = execFileSync('git', ['ls-files', '*.md'], { cwd: ROOT, encoding: 'utf8' })
  .trim()
  .split('\n');

/** Folders of the repository: a `path` that begins with one of them is a file or a folder in it. */
const FOLDERS = 'bundle|charts|crds|deploy|dev|docs|examples|src|test|\\.ci|\\.github';
const PATH = new RegExp(`^(?:${FOLDERS})/[\\w./*-]*$`);

/** A page that is part of another one: its links are of that folder. */
const PART_OF: Readonly<Record<string, string>> = {
  'dev/packaging/chart-readme.md': 'charts/convercus-operator/README.md',
};

/** A decision names files of its day. */
const isDecision = (page: string): boolean => page.startsWith('docs/adr/');

/** Made by `npm run bundle` and `npm run build`. */
const BUILT = /^(bundle|dist)\//;

describe.each(PAGES)('%s', (page) => {
  it('links to files and headings that exist', async () => {
    const links = withoutBlocks(await readPage(page)).matchAll(/\]\(([^)\s]+)\)/g);
    const broken: string[] = [];
    for (const [, link = ''] of links) {
      if (!/^[a-z]+:/.test(link) && !(await leadsSomewhere(page, link))) broken.push(link);
    }
    expect(broken).toEqual([]);
  });

  it('names files that exist', async () => {
    if (isDecision(page)) return;
    const paths = codeSpans(await readPage(page)).filter(
      (span) => PATH.test(span) && !BUILT.test(span),
    );
    expect(paths.filter((path) => globSync(path, { cwd: ROOT }).length === 0)).toEqual([]);
  });

  it('names the language of each block, for its colours', async () => {
    const blocks = blocksOf(page, await readPage(page));
    const without = blocks.filter(({ language }) => language === '');
    expect(without.map(({ line }) => line)).toEqual([]);
  });
});

async function leadsSomewhere(page: string, link: string): Promise<boolean> {
  const [path = '', anchor] = link.split('#');
  const target = path === '' ? page : join(dirname(PART_OF[page] ?? page), path);
  if (!existsSync(join(ROOT, target))) return false;
  return anchor === undefined || anchorsOf(await readPage(target)).has(anchor);
}
