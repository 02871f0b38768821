import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from '@jest/globals';
import { blocksOf, codeSpans, pagesIn, ROOT, readPage } from './markdown.ts';

/** What commands of the pages look like. */

const PAGES = [
  'README.md',
  'CONTRIBUTING.md',
  'SECURITY.md',
  ...(await pagesIn('docs')),
  ...(await pagesIn('docs/security')),
  ...(await pagesIn('docs/runbooks')),
];

const { scripts }: { scripts: Record<string, string> } = JSON.parse(
  await readFile(join(ROOT, 'package.json'), 'utf8'),
);

describe.each(PAGES)('%s', (page) => {
  const commands = async (): Promise<string[]> => {
    const markdown = await readPage(page);
    const lines = blocksOf(page, markdown).flatMap(({ text }) => text.split('\n'));
    return [...lines, ...codeSpans(markdown)];
  };

  it('puts no secret on a command line', async () => {
    expect((await commands()).filter((line) => line.includes('--from-literal'))).toEqual([]);
  });

  it('reads a secret in the command that uses it, or a pasted line is taken for the secret', async () => {
    const alone = (await commands()).filter(
      (line) => /^ *read -r/.test(line) && !line.endsWith('&&'),
    );
    expect(alone).toEqual([]);
  });

  it('reads logs by label, whatever the release is named', async () => {
    const logs = (await commands()).filter((line) => line.startsWith('kubectl logs '));
    const label = '-l app.kubernetes.io/name=convercus-operator';
    expect(logs.filter((line) => !line.includes(label))).toEqual([]);
  });

  it('names scripts of npm that exist', async () => {
    const names = [...(await commands()).join('\n').matchAll(/npm run ([\w:]+)/g)];
    const unknown = names.map(([, name = '']) => name).filter((name) => !(name in scripts));
    expect(unknown).toEqual([]);
  });

  it('writes YAML in block style', async () => {
    const blocks = blocksOf(page, await readPage(page)).filter(
      ({ language }) => language === 'yaml',
    );
    const inFlow = blocks.filter(({ text }) =>
      /^ *(?:metadata|spec|data|stringData): \{/m.test(text),
    );
    expect(inFlow.map(({ line }) => line)).toEqual([]);
  });
});
