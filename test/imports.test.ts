import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, normalize } from 'node:path';
import { describe, expect, it } from '@jest/globals';

interface Folder {
  /** The folders whose files it may import, besides its own. */
  readonly uses: readonly string[];
  readonly packages: readonly RegExp[];
}

const BELOW = ['lib', 'oauth', 'credential'];

const FOLDERS: Readonly<Record<string, Folder>> = {
  lib: { uses: [], packages: [/^node:(crypto|net|util)$/, /^undici$/] },
  oauth: { uses: ['lib'], packages: [/^node:/, /^undici$/, /^p-retry$/, /^openid-client$/] },
  credential: { uses: ['lib', 'oauth'], packages: [/^node:crypto$/] },
  tokens: { uses: BELOW, packages: [/^node:crypto$/] },
  controller: { uses: BELOW, packages: [] },
  kubernetes: {
    uses: BELOW,
    packages: [/^node:/, /^@kubernetes\/client-node$/, /^undici$/],
  },
  telemetry: { uses: BELOW, packages: [/^node:/, /^prom-client$/, /^winston$/] },
  reconcile: { uses: [...BELOW, 'tokens', 'controller', 'kubernetes'], packages: [/^node:util$/] },
  // A program of its own, kubectl convercus: nothing imports it
  cli: {
    uses: [...BELOW, 'kubernetes'],
    packages: [/^node:/, /^@kubernetes\/client-node$/, /^commander$/, /^yaml$/],
  },
};

const PROGRAMS = ['cli'];

const LIBRARIES = Object.keys(FOLDERS).filter((folder) => !PROGRAMS.includes(folder));

/** Files at the top of src, which wire everything, and the packages that they may use. */
const TOP = [/^node:/, /^zod$/, /^yaml$/, /^commander$/];

const ROOT = join(import.meta.dirname, '..');

const filesOf = (top: string): string[] =>
  readdirSync(join(ROOT, top), { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.ts'))
    .map((file) => join(top, file));

/** What a file imports or re-exports, imports of types included: paths from the root, or names of packages. */
const importsOf = (file: string): string[] =>
  [
    ...readFileSync(join(ROOT, file), 'utf8').matchAll(
      /^(?:import|export)\s[^;]*?from '([^']+)'|^import '([^']+)'/gm,
    ),
  ]
    .map(([, from, bare]) => from ?? bare ?? '')
    .map((name) => (name.startsWith('.') ? normalize(join(dirname(file), name)) : name));

const folderOf = (file: string): string | undefined => /^src\/([^/]+)\//.exec(file)?.[1];

function violation(file: string, imported: string): string | undefined {
  const folder = folderOf(file);
  const { uses, packages } =
    folder === undefined ? { uses: LIBRARIES, packages: TOP } : (FOLDERS[folder] ?? {});
  if (uses === undefined || packages === undefined) return `${file} is in no known folder`;
  const isOurs = imported.startsWith('src/');
  const isAllowed = isOurs
    ? folderOf(imported) === folder || uses.includes(folderOf(imported) ?? '')
    : packages.some((pattern) => pattern.test(imported));
  return isAllowed ? undefined : `${file} imports ${imported}`;
}

/** A circle of imports, each file followed by one that it imports; empty when there is none. */
function circleIn(graph: ReadonlyMap<string, readonly string[]>): string[] {
  const done = new Set<string>();
  const visit = (file: string, path: readonly string[]): string[] => {
    if (path.includes(file)) return [...path.slice(path.indexOf(file)), file];
    if (done.has(file)) return [];
    for (const next of graph.get(file) ?? []) {
      const circle = visit(next, [...path, file]);
      if (circle.length > 0) return circle;
    }
    done.add(file);
    return [];
  };
  for (const file of graph.keys()) {
    const circle = visit(file, []);
    if (circle.length > 0) return circle;
  }
  return [];
}

const sources = filesOf('src');

describe('imports', () => {
  it.each(sources)('%s imports only from its own folder or one below', (file) => {
    expect(importsOf(file).flatMap((imported) => violation(file, imported) ?? [])).toEqual([]);
  });

  it('would notice an import in the wrong direction, or of a sibling', () => {
    expect(violation('src/credential/plan.ts', 'src/tokens/x.ts')).toContain('imports');
    expect(violation('src/kubernetes/cache.ts', 'src/controller/x.ts')).toContain('imports');
    expect(violation('src/controller/informer.ts', 'undici')).toContain('imports undici');
    expect(violation('src/elsewhere/x.ts', 'undici')).toContain('no known folder');
    expect(violation('src/main.ts', 'src/cli/x.ts')).toContain('imports');
    expect(violation('src/reconcile/x.ts', 'src/cli/x.ts')).toContain('imports');
  });

  it.each(['src', 'test', 'dev'])('%s has no circle, imports of types included', (top) => {
    const files = filesOf(top);
    expect(circleIn(new Map(files.map((file) => [file, importsOf(file)])))).toEqual([]);
  });

  it('would notice a circle', () => {
    const graph = { a: ['b'], b: ['c', 'd'], c: [], d: ['b'] };
    expect(circleIn(new Map(Object.entries(graph)))).toEqual(['b', 'd', 'b']);
  });

  it('keeps clocks, timers, randomness and the environment out of all but the edges', () => {
    const inner = /^src\/(credential|tokens|controller|reconcile)\//;
    const impure =
      /Date\.now\(|new Date\(\)|setTimeout\(|setInterval\(|Math\.random\(|process\.(env|exit|on)/;
    const found = sources.filter(
      (file) => inner.test(file) && impure.test(readFileSync(join(ROOT, file), 'utf8')),
    );
    expect(found).toEqual([]);
  });
});

it('the bundle has all that is imported of undici', () => {
  const bundled = readFileSync(join(ROOT, 'dev/bundle.ts'), 'utf8');
  const names = sources.flatMap((file) =>
    [...readFileSync(join(ROOT, file), 'utf8').matchAll(/^import \{([^}]*)\} from 'undici'/gm)]
      .flatMap(([, list = '']) => list.split(','))
      .map((name) => name.trim())
      .filter((name) => name !== '' && !name.startsWith('type ')),
  );
  expect(names).toContain('Agent');
  expect(names.filter((name) => !bundled.includes(`exports.${name} = `))).toEqual([]);
});
