/**
 * `npm run scorecard`: what the review counts, as a table. Exit 1 when a bar is missed.
 * What the linter checks (complexity, depth, parameters, `any`, `!`, unsafe `as`) is the linter's word.
 */
import { spawnSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

const ROOT = join(import.meta.dirname, '..');

interface Source {
  readonly path: string;
  readonly lines: readonly string[];
}

interface Check {
  readonly name: string;
  readonly found: string | number;
  readonly bar: string;
  readonly met: boolean;
}

const GENERATED = /domain\/api\.ts$/;

function sourcesIn(dir: string): Source[] {
  return readdirSync(join(ROOT, dir), { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.ts') && !GENERATED.test(file))
    .map((file) => join(dir, file))
    .map((path) => ({ path, lines: readFileSync(join(ROOT, path), 'utf8').trimEnd().split('\n') }));
}

const src = sourcesIn('src');
const test = sourcesIn('test');

/** Lines that hold code: neither blank nor comment. */
const codeOf = ({ lines }: Source): number =>
  lines.filter((line) => !/^\s*($|\/\/|\/\*|\*)/.test(line)).length;

const sum = (numbers: readonly number[]): number => numbers.reduce((all, each) => all + each, 0);

const commentsOf = ({ lines }: Source): number =>
  lines.filter((line) => /^\s*(\/\/|\/\*|\*)/.test(line)).length;

function quantile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(Math.floor(sorted.length * share), sorted.length - 1)] ?? 0;
}

/**
 * The lengths of functions and methods with a body of their own lines. The formatter closes a body at the indentation
 * at which its function began, so lines tell without a parser.
 */
function functionsOf({ path, lines }: Source): { place: string; length: number }[] {
  const begins =
    /^\s*(export )?(default )?(async )?(function\b|((static|async|get|set|override) )*[#\w]+(<.*>)?\(.*\{$|const \w+.*=> \{$|.*\bfunction\*? \w+)/;
  const isControl = /^\s*(\} )?(if|for|while|switch|catch|else|do|return)\b/;
  return lines.flatMap((line, i) => {
    if (!begins.test(line) || isControl.test(line)) return [];
    const indent = /^\s*/.exec(line)?.[0] ?? '';
    const end = lines.findIndex(
      (other, j) =>
        j > i && new RegExp(`^${indent}\\}`).test(other) && !/^\s*\}[,)].*\{$/.test(other),
    );
    return end < 0 ? [] : [{ place: `${path}:${i + 1}`, length: end - i + 1 }];
  });
}

function lint(): number {
  const args = ['--type-aware', '--deny-warnings', 'src'];
  return spawnSync('oxlint', args, { cwd: ROOT, stdio: 'ignore' }).status ?? 1;
}

const matches = (pattern: RegExp, sources: readonly Source[]): string[] =>
  sources.flatMap(({ path, lines }) =>
    lines.flatMap((line, i) => (pattern.test(line) ? [`${path}:${i + 1}`] : [])),
  );

const none = (name: string, found: readonly string[]): Check => ({
  name,
  found: found.length === 0 ? 0 : `${found.length}: ${found.slice(0, 3).join(', ')}`,
  bar: '0',
  met: found.length === 0,
});

const atMost = (name: string, value: number, limit: number, where = ''): Check => ({
  name,
  found: where === '' ? value : `${value} (${where})`,
  bar: `≤ ${limit}`,
  met: value <= limit,
});

const FENCES: readonly (readonly [sdk: RegExp, home: RegExp])[] = [
  [/from '@kubernetes\/client-node'/, /adapters\/kubernetes\//],
  [/from 'openid-client'/, /adapters\/keycloak\//],
  [/from 'undici'/, /adapters\/(kubernetes|keycloak|http|legacy-login)\//],
  [/from '(prom-client|winston)'/, /adapters\/telemetry\//],
  [/from '(zod|yaml)'/, /config(-\w+)?\.ts$/],
];

function checks(): Check[] {
  const longest = [...src].sort((a, b) => b.lines.length - a.lines.length)[0];
  const functions = src.flatMap(functionsOf).sort((a, b) => b.length - a.length);
  const lengths = functions.map(({ length }) => length);
  const code = sum(src.map(codeOf));
  const ratio = Math.round((sum(test.map(codeOf)) / code) * 100) / 100;
  const comments = Math.round(
    (100 * sum(src.map(commentsOf))) / sum(src.map(({ lines }) => lines.length)),
  );
  const inner = src.filter(({ path }) => /^src\/(domain|runtime|reconcile|ports)/.test(path));
  const notMain = src.filter(({ path }) => !/(main|command-line|config)\.ts$/.test(path));
  const lintFails = lint();
  return [
    atMost('longest file (lines)', longest?.lines.length ?? 0, 200, longest?.path),
    atMost('longest function (lines)', functions[0]?.length ?? 0, 50, functions[0]?.place),
    {
      name: 'functions: median, p90',
      found: `${quantile(lengths, 0.5)}, ${quantile(lengths, 0.9)}`,
      bar: '10, 30',
      met: quantile(lengths, 0.5) <= 10 && quantile(lengths, 0.9) <= 30,
    },
    {
      name: 'complexity 10, depth 3, parameters 4, no any, !, unsafe as (lint)',
      found: lintFails === 0 ? 'clean' : 'fails',
      bar: 'clean',
      met: lintFails === 0,
    },
    none(
      'clock, timers, randomness in the inner floors',
      matches(/Date\.now\(|new Date\(\)|setTimeout\(|setInterval\(|Math\.random\(/, inner),
    ),
    none('process.env outside configuration and main', matches(/process\.env/, notMain)),
    none('lint rules switched off without a reason', matches(/oxlint-disable(?!.* -- )/, src)),
    {
      name: 'lint rules switched off with a reason',
      found: matches(/oxlint-disable.* -- /, src).length,
      bar: 'few',
      met: true,
    },
    none(
      'SDK imports outside their fence',
      FENCES.flatMap(([sdk, home]) =>
        matches(
          sdk,
          src.filter(({ path }) => !home.test(path)),
        ),
      ),
    ),
    none(
      'mutable module state',
      matches(/^(export )?let |^(export )?const \w+ = new (Map|Set|WeakMap)\(\);/, src),
    ),
    none(
      'mocks in domain tests',
      matches(
        /jest\.(mock|fn|spyOn)/,
        test.filter(({ path }) => path.startsWith('test/domain')),
      ),
    ),
    { name: 'test : code lines', found: ratio, bar: '1.5 to 2.3', met: ratio >= 1.5 },
    { name: 'comment lines (%)', found: comments, bar: 'about 10 to 15', met: comments <= 20 },
    {
      name: 'src: files, lines of code',
      found: `${src.length}, ${code}`,
      bar: 'about 2,000 for one grant',
      met: true,
    },
  ];
}

const rows = checks();
const width = Math.max(...rows.map(({ name }) => name.length));
for (const { name, found, bar, met } of rows) {
  console.log(`${met ? 'met   ' : 'MISSED'}  ${name.padEnd(width)}  ${found}  (${bar})`);
}
console.log('The floors are checked by test/floors.test.ts.');
process.exitCode = rows.every(({ met }) => met) ? 0 : 1;
