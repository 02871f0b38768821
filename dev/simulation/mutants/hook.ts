import { readFileSync } from 'node:fs';
import { registerHooks } from 'node:module';
import { join, sep } from 'node:path';
import { fileURLToPath } from 'node:url';
import { sourceText } from '../source-text.ts';
import type { Mutant } from './mutants.ts';

/** Loads the mutant that SIMULATION_MUTANT names. For `node --import`. */

const ROOT = `${import.meta.dirname.split(`${sep}dev${sep}`)[0]}${sep}`;
const name = process.env['SIMULATION_MUTANT'] ?? '';
const { edits }: Mutant = JSON.parse(
  readFileSync(join(import.meta.dirname, `${name}.json`), 'utf8'),
);

registerHooks({
  load(url, context, nextLoad) {
    const loaded = nextLoad(url, context);
    const path = url.startsWith('file:') ? fileURLToPath(url) : '';
    const concerned = edits.filter(({ file }) => path === join(ROOT, file));
    if (concerned.length === 0) return loaded;
    let source = sourceText(loaded.source);
    for (const { file, find, replace } of concerned) {
      if (!source.includes(find)) throw new Error(`mutant ${name}: ${file} has no ${find}`);
      source = source.replace(find, () => replace);
    }
    return { ...loaded, source };
  },
});
