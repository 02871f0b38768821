import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, normalize } from 'node:path';
import { describe, expect, it } from '@jest/globals';

/** Each floor and what its files may import besides their own folder. */
const FLOORS: readonly Floor[] = [
  { at: /^domain\//, mayUse: [], packages: [/^node:(crypto|util)$/] },
  { at: /^ports\.ts$/, mayUse: [/^domain\//], packages: [] },
  { at: /^reconcile\//, mayUse: [/^domain\//, /^ports\.ts$/], packages: [/^node:(crypto|util)$/] },
  { at: /^runtime\//, mayUse: [/^domain\//, /^ports\.ts$/], packages: [/^node:/] },
  {
    at: /^adapters\/kubernetes\//,
    mayUse: [/^domain\//, /^ports\.ts$/, /^adapters\/http\//],
    packages: [/^node:/, /^@kubernetes\/client-node$/, /^undici$/],
  },
  {
    at: /^adapters\/http\//,
    mayUse: [/^domain\//, /^ports\.ts$/],
    packages: [/^node:/, /^undici$/, /^p-retry$/],
  },
  {
    at: /^adapters\/keycloak\//,
    mayUse: [/^domain\//, /^ports\.ts$/, /^adapters\/http\//],
    packages: [/^openid-client$/],
  },
  {
    at: /^adapters\/legacy-login\//,
    mayUse: [/^domain\//, /^ports\.ts$/, /^adapters\/http\//],
    packages: [],
  },
  {
    at: /^adapters\/telemetry\//,
    mayUse: [/^domain\//, /^ports\.ts$/],
    packages: [/^node:/, /^prom-client$/, /^winston$/],
  },
  { at: /^adapters\/[^/]+\.ts$/, mayUse: [/^domain\//, /^ports\.ts$/], packages: [/^node:/] },
  {
    at: /^config\.ts$|^command-line\.ts$/,
    mayUse: [/^domain\//, /^command-line\.ts$/],
    packages: [/^node:/, /^zod$/, /^yaml$/, /^commander$/],
  },
  { at: /^(main|operator|term|watches)\.ts$/, mayUse: [/./], packages: [/^node:/] },
];

interface Floor {
  readonly at: RegExp;
  readonly mayUse: readonly RegExp[];
  readonly packages: readonly RegExp[];
}

const SRC = join(import.meta.dirname, '../src');

const files = readdirSync(SRC, { recursive: true, encoding: 'utf8' }).filter((file) =>
  file.endsWith('.ts'),
);

const importsOf = (file: string): string[] =>
  [
    ...readFileSync(join(SRC, file), 'utf8').matchAll(
      /^(?:import|export)\s[^;]*?from '([^']+)'|^import '([^']+)'/gm,
    ),
  ].map(([, from, bare]) => from ?? bare ?? '');

function violation(file: string, imported: string): string | undefined {
  const floor = FLOORS.find(({ at }) => at.test(file));
  if (floor === undefined) return `${file} is on no floor`;
  const isRelative = imported.startsWith('.');
  const target = isRelative ? normalize(join(dirname(file), imported)) : imported;
  const isNear = isRelative && dirname(target) === dirname(file) && dirname(file) !== '.';
  const allowed = isRelative ? floor.mayUse : floor.packages;
  return isNear || allowed.some((pattern) => pattern.test(target))
    ? undefined
    : `${file} imports ${target}`;
}

describe('the floors of the house', () => {
  it.each(files)('%s imports only from its own folder or from a lower floor', (file) => {
    expect(importsOf(file).flatMap((imported) => violation(file, imported) ?? [])).toEqual([]);
  });

  it('would notice an import in the wrong direction', () => {
    expect(violation('domain/plan.ts', '../ports.ts')).toBe('domain/plan.ts imports ports.ts');
    expect(violation('adapters/kubernetes/cluster.ts', '../keycloak/x.ts')).toContain('keycloak');
    expect(violation('adapters/http/exchange.ts', '../keycloak/x.ts')).toContain('keycloak');
    expect(violation('runtime/informer.ts', 'undici')).toBe('runtime/informer.ts imports undici');
  });

  it('keeps clocks, timers, randomness and the environment out of everything but the edges', () => {
    const inner = files.filter((file) => /^(domain|runtime|reconcile)\/|^ports\.ts$/.test(file));
    const impure =
      /Date\.now\(|new Date\(\)|setTimeout\(|setInterval\(|Math\.random\(|process\.(env|exit|on)/;
    const found = inner.filter((file) => impure.test(readFileSync(join(SRC, file), 'utf8')));
    expect(found).toEqual([]);
  });
});
