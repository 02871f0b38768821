import { inspect } from 'node:util';
import { crashedAwaits, crashOnlyAt } from './awaits.ts';
import { play, type Result } from './game.ts';
import type { Report, Task } from './processes.ts';

/** One process of a campaign: runs its share of the seeds and reports after each block of runs. */

const BLOCK = 25;

const { from, to, step, faults, crashAt }: Task = JSON.parse(process.argv[2] ?? '{}');
if (crashAt !== undefined) crashOnlyAt(crashAt);
let results: Result[] = [];
let crashes: Report['failures'][number][] = [];
/** Each of these would end an operator. */
const unhandled: unknown[] = [];
process.on('unhandledRejection', (error) => {
  unhandled.push(error);
});
for (let seed = from; seed <= to; seed += step) {
  try {
    const result = await play({ seed, ...(faults && { faults }) });
    const [cause] = unhandled.splice(0);
    if (cause !== undefined) throw new Error('a rejected promise was not handled', { cause });
    results.push(result);
  } catch (error) {
    crashes.push({ seed, text: `seed ${seed}: the simulation itself failed: ${inspect(error)}` });
  }
  if (results.length + crashes.length >= BLOCK) report();
}
report();
process.disconnect?.();

function report(): void {
  const failures = results
    .filter(({ violations }) => violations.length > 0)
    .map((result) => ({ seed: result.seed, text: textOf(result) }));
  const sum = (of: (result: Result) => number): number =>
    results.reduce((total, result) => total + of(result), 0);
  const whole: Report = {
    played: results.length + crashes.length,
    failures: [...failures, ...crashes],
    events: sum(({ events }) => events),
    lostSessions: sum(({ lostSessions }) => lostSessions),
    settledAfter: results.map(({ settledAfter }) => settledAfter),
    awaits: crashedAwaits(),
  };
  process.send?.(whole);
  results = [];
  crashes = [];
}

function textOf({ seed, faults, steps, violations }: Result): string {
  return `seed ${seed} [${faults.join(',')}] ${steps.length} steps: ${violations.join(' | ')}`;
}
