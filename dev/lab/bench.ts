/**
 * `npm run bench`: what the operator costs, beside a bare loop that does the same requests, with real servers.
 * `--check` runs a small size and insists on the counts, never on times.
 */
import { mkdir } from 'node:fs/promises';
import { parseArgs } from 'node:util';
import { missingForControlPlane } from '../envtest/binaries.ts';
import { bundleOperator, Lab } from './lab.ts';
import { machine, type Result, tableOf, writeJson } from './report.ts';
import { CHECK, SCENARIOS, type Scenario } from './scenarios/scenarios.ts';

const HELP = `npm run bench -- [--size 1000|10000|100000] [--only NAME,NAME] [--check] [--json FILE] [--profile DIR]

  --size N       how many credentials for what is measured by size (default 1000; 100000 takes over an hour)
  --only NAMES   of: ${Object.keys(SCENARIOS).join(', ')}
                 (peer is not in the default set: it builds External Secrets Operator first, about 4 minutes)
  --check        a small size of what can be counted; exit 1 when a count is not what it has to be
  --json FILE    the results, for programs
  --profile DIR  leave CPU profiles of the operator there`;

const OPTIONS = {
  size: { type: 'string', default: '1000' },
  only: { type: 'string' },
  check: { type: 'boolean', default: false },
  json: { type: 'string' },
  profile: { type: 'string' },
  help: { type: 'boolean', default: false },
} as const;

type Values = ReturnType<typeof parse>;
const parse = (args: string[]) => parseArgs({ args, options: OPTIONS }).values;

/** Resolves to the exit code. */
export async function bench(args: string[]): Promise<number> {
  const values = parse(args);
  if (values.help) {
    console.log(HELP);
    return 0;
  }
  const chosen = chosenScenarios(values);
  const missing = typeof chosen === 'string' ? [chosen] : await missingForControlPlane();
  if (typeof chosen === 'string' || missing.length > 0) {
    console.error(missing.join('\n'));
    return 2;
  }
  if (values.profile !== undefined) await mkdir(values.profile, { recursive: true });
  await bundleOperator();
  console.log(machine());
  const results: Result[] = [];
  for (const [name, scenario] of chosen) {
    results.push(await run(name, scenario, values));
    if (values.json !== undefined) await writeJson(values.json, results);
  }
  return values.check ? verdict(results) : 0;
}

function chosenScenarios(values: Values): [string, Scenario][] | string {
  const all = Object.entries(SCENARIOS);
  const only = values.only?.split(',');
  const unknown = only?.filter((name) => !Object.hasOwn(SCENARIOS, name)) ?? [];
  if (unknown.length > 0) return `There is no scenario ${unknown.join(', ')}\n\n${HELP}`;
  if (!/^\d+$/.test(values.size)) return `--size ${values.size}: write a number`;
  return all.filter(
    ([name, { inCheck, isOptional }]) =>
      only?.includes(name) ?? (values.check ? inCheck : isOptional !== true),
  );
}

async function run(name: string, { size, work }: Scenario, values: Values): Promise<Result> {
  const began = Date.now();
  const progress = (line: string): void =>
    console.log(`[${name} ${Math.round((Date.now() - began) / 1_000)} s] ${line}`);
  const { profile } = values;
  const nodeArguments = profile === undefined ? [] : ['--cpu-prof', `--cpu-prof-dir=${profile}`];
  const lab = await Lab.start({ log: progress, nodeArguments });
  try {
    const rows = await work(lab, values.check ? CHECK : size(Number(values.size)));
    const result = { scenario: name, rows, seconds: (Date.now() - began) / 1_000 };
    console.log(tableOf(result));
    return result;
  } finally {
    await lab.stop();
  }
}

function verdict(results: readonly Result[]): number {
  const rows = results.flatMap((result) => result.rows);
  const counted = rows.filter(({ kind, met }) => kind === 'count' && met !== undefined);
  const missed = counted.filter(({ met }) => met === false);
  console.log(`\n${counted.length - missed.length} passed, ${missed.length} failed`);
  return missed.length === 0 ? 0 : 1;
}
