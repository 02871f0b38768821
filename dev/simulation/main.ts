import { parseArgs } from 'node:util';
import { FAULTS, type FaultName } from './faults.ts';
import { type GameOptions, play, type Result } from './game.ts';
import { mutantNames, withMutant } from './mutants/mutants.ts';
import { playInProcesses } from './processes.ts';
import { shrink } from './shrink.ts';

const USAGE = `npm run simulate -- --seeds A..B [options]

  --seeds A..B       which runs, both ends included; one number for one run
  --faults a,b       what may break: ${Object.keys(FAULTS).join(', ')}, or none; default: what the seed draws
  --jobs N           processes at once (default: the number of cores)
  --trace            print what happened, line by line
  --shrink           make a failing run as short as it goes on failing
  --mutant NAME      put a known bug back first: ${mutantNames().join(', ')}
  --awaits           tell at which awaits of the operator it was crashed, and how often
  --crash-at a,b     with --awaits: at these alone, such as src/reconcile/sessions.ts:290
  --until-failure    stop at the first run that fails
`;

const { values } = parseArgs({
  options: {
    seeds: { type: 'string' },
    faults: { type: 'string' },
    jobs: { type: 'string' },
    trace: { type: 'boolean', default: false },
    shrink: { type: 'boolean', default: false },
    mutant: { type: 'string' },
    awaits: { type: 'boolean', default: false },
    'crash-at': { type: 'string' },
    'until-failure': { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
});
process.exitCode = await main();

async function main(): Promise<number> {
  const range = rangeOf(values.seeds);
  const faults = faultsOf(values.faults);
  if (values.help || range === undefined || faults === 'unknown') {
    (values.help ? process.stdout : process.stderr).write(USAGE);
    return values.help ? 0 : 2;
  }
  const { mutant, jobs, shrink: isShrunk } = values;
  if (values.trace || isShrunk) {
    if (mutant !== undefined) return withMutant(mutant, process.argv.slice(1));
    return explain({ seed: range[0], trace: true, ...(faults && { faults }) }, isShrunk);
  }
  return playInProcesses({
    range,
    jobs: jobs === undefined ? undefined : Number(jobs),
    mutant,
    faults,
    awaits: values.awaits,
    crashAt: values['crash-at']?.split(','),
    untilFailure: values['until-failure'],
  });
}

async function explain(options: GameOptions, isShrunk: boolean): Promise<number> {
  const whole = await play(options);
  const result = isShrunk && whole.violations.length > 0 ? await shrink(options, whole) : whole;
  console.log(result.trace.join('\n'));
  console.log(summaryOf(result));
  return result.violations.length === 0 ? 0 : 1;
}

function summaryOf({ seed, faults, steps, violations, settledAfter }: Result): string {
  const lines = [
    `seed ${seed}: faults ${faults.join(', ') || 'none'}; ${steps.length} steps: ${steps.map(({ number, name }) => `${number} ${name}`).join(', ')}`,
    `as it should be ${Math.round(settledAfter / 1_000)} s after the last fault and edit`,
    ...violations.map((violation) => `VIOLATION ${violation}`),
  ];
  return lines.join('\n');
}

function rangeOf(text = ''): [from: number, to: number] | undefined {
  const [, from, to = from] = /^(\d+)(?:\.\.(\d+))?$/.exec(text) ?? [];
  return from === undefined ? undefined : [Number(from), Number(to)];
}

function faultsOf(text: string | undefined): FaultName[] | undefined | 'unknown' {
  if (text === undefined) return undefined;
  const names = text === 'none' ? [] : text.split(',');
  return names.every((name): name is FaultName => name in FAULTS) ? names : 'unknown';
}
