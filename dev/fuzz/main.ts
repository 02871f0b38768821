/**
 * `npm run fuzz -- --minutes M --seed S`: the operator against a real API server, while tenants write objects and the
 * identity provider sends responses that nothing but chance has made. README.md tells what counts as a violation.
 * Exits 1 when there is one.
 */
import { cp } from 'node:fs/promises';
import { parseArgs } from 'node:util';
import { missingForControlPlane } from '../envtest/binaries.ts';
import { missed, table } from '../lab/report.ts';
import { reportOf } from './report.ts';
import { Run } from './run.ts';

const HELP = `npm run fuzz -- [--seed N] [--minutes N] [--rate N] [--keep-log FILE]

  --seed N         makes objects and responses (default 1)
  --minutes N      how long tenants edit (default 10); up to 2 minutes are added for the end
  --rate N         actions of tenants in a second (default 10)
  --keep-log FILE  keeps the operator's log`;

const { values } = parseArgs({
  options: {
    seed: { type: 'string', default: '1' },
    minutes: { type: 'string', default: '10' },
    rate: { type: 'string', default: '10' },
    'keep-log': { type: 'string' },
    help: { type: 'boolean', default: false },
  },
});

async function main(): Promise<number> {
  const [seed, minutes, rate] = [values.seed, values.minutes, values.rate].map(Number);
  if (values.help || !seed || !minutes || !rate) {
    console.log(HELP);
    return values.help ? 0 : 2;
  }
  const missing = await missingForControlPlane();
  if (missing.length > 0) {
    console.error(missing.join('\n'));
    return 1;
  }
  const ended = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => ended.abort());
  const setting = {
    seed,
    minutes,
    actionsPerSecond: rate,
    log: console.log,
    signal: ended.signal,
  };
  const rows = await Run.play(setting, async (run) => {
    const log = values['keep-log'];
    if (log !== undefined) await cp(run.testbed.operator.logFile, log);
    return reportOf(run);
  });
  const violations = missed(rows).length;
  console.log(`\nseed ${seed}, ${minutes} minutes\n\n${table(rows)}\n`);
  console.log(violations === 0 ? 'no violation' : `${violations} kinds of violations`);
  return violations === 0 ? 0 : 1;
}

process.exitCode = await main();
