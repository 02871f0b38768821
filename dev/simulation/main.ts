import { play } from './game.ts';

const [from = 1, to = 1] = (process.argv[2] ?? '1..1').split('..').map(Number);
const trace = process.argv.includes('--trace');
const began = performance.now();
let events = 0;
for (let seed = from; seed <= to; seed += 1) {
  const result = await play({ seed, trace });
  events += result.events;
  if (trace) console.log(result.trace.join('\n'));
  if (result.violations.length > 0)
    console.log(
      `seed ${seed} [${result.faults.join(',')}] ${result.steps.length} steps: ${result.violations.join(' | ')}`,
    );
}
const took = (performance.now() - began) / 1_000;
console.log(
  `${to - from + 1} runs in ${took.toFixed(1)} s, ${((took * 1000) / (to - from + 1)).toFixed(0)} ms and ${Math.round(events / (to - from + 1))} events a run`,
);
