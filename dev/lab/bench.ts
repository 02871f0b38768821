/**
 * `npm run bench`: what the operator costs, beside a bare loop that makes the same requests, with real servers.
 * `--check` runs a small size and fails when a count is not as expected; times are never checked.
 */
import { mkdir, writeFile } from 'node:fs/promises';
import { parseArgs } from 'node:util';
import { bundleOperator, imageSettings } from '../bundled-operator.ts';
import { missingForControlPlane } from '../envtest/binaries.ts';
import { writeMethods } from './bare-loop.ts';
import { BuiltInProvider } from './built-in-provider.ts';
import { machine, missed, type Row, table } from './report.ts';
import { idle } from './scenarios/idle.ts';
import { bigTenant, FAIRNESS_LIMIT, hangingHost, shortTokens } from './scenarios/lateness.ts';
import { manyNamespaces } from './scenarios/many-namespaces.ts';
import { memory } from './scenarios/memory.ts';
import { peer } from './scenarios/peer/peer.ts';
import { firstToken, ownClients, sharedClient } from './scenarios/requests.ts';
import { scrape } from './scenarios/scrape.ts';
import { growth, speed } from './scenarios/speed.ts';
import { wrongSecret } from './scenarios/wrong-secret.ts';
import { LabTestbed, type Size } from './testbed.ts';
import { requireAll, UsageError } from './usage.ts';

interface Scenario {
  readonly run: (testbed: LabTestbed, size: Size) => Promise<Row[]>;
  /** Default: what `--size` says. */
  readonly count?: number;
  /** Whether `--check` runs it. */
  readonly isCheck?: boolean;
  /** It runs only when `--only` names it. */
  readonly isOptional?: boolean;
}

/** In the order in which they run. */
export const BENCH_SCENARIOS: Readonly<Record<string, Scenario>> = {
  first: { run: firstToken, count: 100, isCheck: true },
  sharing: { run: sharedClient, count: 500, isCheck: true },
  distinct: { run: ownClients, count: 500, isCheck: true },
  quiet: { run: idle, count: 500, isCheck: true },
  'wrong-secret': {
    run: (testbed, { wrongSeconds }) =>
      wrongSecret(testbed, {
        credentials: 1,
        grant: 'client_credentials',
        milliseconds: wrongSeconds * 1_000,
        restarts: 0,
      }),
    isCheck: true,
  },
  writes: { run: writeMethods },
  speed: { run: speed },
  growth: { run: growth },
  memory: { run: memory },
  'sharing-all': { run: sharedClient },
  'quiet-all': { run: idle },
  'hanging-host': {
    run: (testbed, { count, namespaces }) =>
      hangingHost(testbed, {
        count: count / 2,
        namespaces: namespaces / 2,
        grant: 'client_credentials',
        tokenSeconds: 30,
        windowMs: 60_000,
        config: { tokenHosts: FAIRNESS_LIMIT },
      }),
    count: 1_000,
  },
  'big-tenant': { run: bigTenant, count: 1_000 },
  sustained: { run: shortTokens },
  scrape: { run: scrape },
  'many-namespaces': { run: manyNamespaces, isOptional: true },
  peer: { run: peer, isOptional: true },
};

const SIZE = { namespaces: 20, idleSeconds: 60, wrongSeconds: 300, renewalSeconds: 600 };
export const CHECK_SIZE: Size = {
  count: 40,
  namespaces: 4,
  idleSeconds: 5,
  wrongSeconds: 10,
  renewalSeconds: 10,
};

const HELP = `npm run bench -- [--size 1000|10000|100000] [--only NAME,NAME] [--check] [--json FILE] [--profile DIR]

  --size N       how many credentials for what is measured by size (default 1000; 100000 takes over an hour)
  --only NAMES   of: ${Object.keys(BENCH_SCENARIOS).join(', ')}
                 (not in the default set: peer, which builds External Secrets Operator first, about 4 minutes;
                 many-namespaces, of at most 1,000)
  --check        a small size of what can be counted; exit 1 when a count is not what it has to be
  --json FILE    the results, for programs
  --profile DIR  leave CPU profiles of the operator there`;

const parse = (args: string[]) =>
  parseArgs({
    args,
    options: {
      size: { type: 'string', default: '1000' },
      only: { type: 'string' },
      check: { type: 'boolean', default: false },
      json: { type: 'string' },
      profile: { type: 'string' },
      help: { type: 'boolean', default: false },
    },
  }).values;

type Values = ReturnType<typeof parse>;

interface Result {
  readonly scenario: string;
  readonly rows: readonly Row[];
  readonly seconds: number;
}

/** Resolves to the exit code. */
export async function bench(args: string[]): Promise<number> {
  const values = parse(args);
  if (values.help) {
    console.log(HELP);
    return 0;
  }
  const chosen = chosenScenarios(values);
  requireAll(await missingForControlPlane());
  if (values.profile !== undefined) await mkdir(values.profile, { recursive: true });
  await bundleOperator();
  console.log(machine());
  const results: Result[] = [];
  for (const [name, scenario] of chosen) {
    results.push(await run(name, scenario, values));
    if (values.json !== undefined) await writeJson(values.json, results);
  }
  return verdict(results) || !values.check ? 0 : 1;
}

function chosenScenarios(values: Values): [string, Scenario][] {
  const all = Object.entries(BENCH_SCENARIOS);
  const only = values.only?.split(',');
  const unknown = only?.filter((name) => !Object.hasOwn(BENCH_SCENARIOS, name)) ?? [];
  if (unknown.length > 0)
    throw new UsageError(`There is no scenario ${unknown.join(', ')}\n\n${HELP}`);
  if (!/^\d+$/.test(values.size)) throw new UsageError(`--size ${values.size}: write a number`);
  return all.filter(
    ([name, { isCheck, isOptional }]) =>
      only?.includes(name) ?? (values.check ? isCheck : !isOptional),
  );
}

async function run(scenario: string, { run, count }: Scenario, values: Values): Promise<Result> {
  const began = Date.now();
  const seconds = (): number => Math.round((Date.now() - began) / 1_000);
  const { profile } = values;
  const { env, nodeArguments } = await imageSettings();
  const profiling =
    profile === undefined
      ? []
      : ['--allow-fs-write=*', '--allow-inspector', '--cpu-prof', `--cpu-prof-dir=${profile}`];
  await using testbed = await LabTestbed.start({
    startProvider: () => BuiltInProvider.start(),
    log: (line) => console.log(`[${scenario} ${seconds()} s] ${line}`),
    image: { env, nodeArguments: [...nodeArguments, ...profiling] },
  });
  const size = { ...SIZE, count: count ?? Number(values.size) };
  const rows = await run(testbed, values.check ? CHECK_SIZE : size);
  console.log(`\n== ${scenario} (${seconds()} s)\n${table(rows)}`);
  return { scenario, rows, seconds: seconds() };
}

async function writeJson(path: string, results: readonly Result[]): Promise<void> {
  const report = { at: new Date().toISOString(), machine: machine(), results };
  await writeFile(path, `${JSON.stringify(report, undefined, 2)}\n`);
}

/** Whether all thresholds are met. */
function verdict(results: readonly Result[]): boolean {
  const rows = results.flatMap((result) => result.rows).filter(({ met }) => met !== undefined);
  const failed = missed(rows).length;
  console.log(`\n${rows.length - failed} passed, ${failed} failed`);
  return failed === 0;
}
