import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from '@jest/globals';

const ROOT = join(import.meta.dirname, '../..');

const EXPORT = /^export (?:async )?(?:function\*?|const|class|let) (\w+)/gm;
/** Made from the CRD, with a type for each part of it. */
const GENERATED = 'src/credential/api.ts';

const files = ['src', 'test', 'dev']
  .flatMap((folder) =>
    readdirSync(join(ROOT, folder), { recursive: true, encoding: 'utf8' }).map(
      (file) => `${folder}/${file}`,
    ),
  )
  .filter((file) => file.endsWith('.ts') && file !== GENERATED);

const words = new Map<string, number>();
const exported: string[] = [];
for (const file of files) {
  const text = readFileSync(join(ROOT, file), 'utf8');
  for (const [, name = ''] of text.matchAll(EXPORT)) exported.push(`${file}: ${name}`);
  for (const word of text.match(/[\w$]+/g) ?? []) words.set(word, (words.get(word) ?? 0) + 1);
}

it('nothing is exported that is used nowhere', () => {
  const unused = exported.filter((each) => words.get(each.split(': ')[1] ?? '') === 1);
  expect(unused).toEqual([]);
  expect(exported.length).toBeGreaterThan(500);
});
