import { access, readdir, readFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { describe, expect, it } from '@jest/globals';
import { ROOT } from './render.ts';

const FOLDER = 'docs/security';
const THREAT_MODEL = `${FOLDER}/threat-model.md`;

const pages = [
  'SECURITY.md',
  ...(await readdir(join(ROOT, FOLDER))).map((it) => `${FOLDER}/${it}`),
].filter((page) => page.endsWith('.md'));

const read = (path: string): Promise<string> => readFile(join(ROOT, path), 'utf8');

async function missing(paths: readonly string[]): Promise<string[]> {
  const exist = await Promise.all(
    paths.map((path) =>
      access(join(ROOT, path)).then(
        () => true,
        () => false,
      ),
    ),
  );
  return paths.filter((_, at) => !exist[at]);
}

describe('the pages on security', () => {
  it.each(pages)('%s links to files that exist', async (page) => {
    const links = [...(await read(page)).matchAll(/\]\(([^)#:]+)(?:#[^)]*)?\)/g)];
    const paths = links.map(([, link = '']) => join(dirname(page), link));
    expect(await missing(paths)).toEqual([]);
  });

  it('name tests that exist', async () => {
    for (const page of pages) {
      const names = (await read(page)).match(/\b(?:test|dev)\/[\w./-]+\.ts\b/g) ?? [];
      expect({ page, missing: await missing(names) }).toEqual({ page, missing: [] });
    }
  });

  it('have a test or a reason for every threat', async () => {
    const rows = (await read(THREAT_MODEL)).split('\n').filter((line) => /^\| T\d+ \|/.test(line));
    const without = rows.filter((row) => {
      const cells = row.split(' | ');
      const [proof = ''] = cells.slice(-2);
      return !/(?:test|dev)\/|^–/.test(proof);
    });
    expect(without).toEqual([]);
    expect(rows.length).toBeGreaterThan(30);
  });

  it('number the threats once each', async () => {
    const numbers = [...(await read(THREAT_MODEL)).matchAll(/^\| (T\d+) \|/gm)].map(([, it]) => it);
    expect(new Set(numbers).size).toBe(numbers.length);
  });
});
