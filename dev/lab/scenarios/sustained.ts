import { setTimeout as sleep } from 'node:timers/promises';
import { type Lab, pidOf } from '../lab.ts';
import { Population } from '../population.ts';
import { sampleOf } from '../process-sample.ts';
import { atMost, exactly, quantile, quantity, type Row } from '../report.ts';
import type { TargetTail } from '../target-tail.ts';
import type { Size } from './quiet.ts';

const TOKEN_SECONDS = 60;
/** The renewals of one round come as evenly as the credentials were made. */
const ROUND_SECONDS = 48;
const BUDGET = { requestsPerSecond: 500, burst: 100, concurrency: 16 };

/** Short tokens, for long: is every one renewed in time? */
export async function sustained(lab: Lab, size: Size): Promise<Row[]> {
  const { count: n, namespaces, sustainedSeconds } = size;
  const options = {
    count: n,
    namespaces,
    secrets: 'distinct',
    tokenSeconds: TOKEN_SECONDS,
  } as const;
  const population = await Population.prepare(lab, options);
  const tail = await lab.tail();
  const operator = await lab.startOperator({ tokenHosts: BUDGET });
  lab.log(`Creating ${n} credentials within ${ROUND_SECONDS} s`);
  const began = Date.now();
  for (const [i] of population.keys.entries()) {
    void population.createCredential(i);
    const due = began + (i / n) * ROUND_SECONDS * 1_000;
    if (due > Date.now()) await sleep(due - Date.now());
  }
  await tail.until(n, 300);
  await sleep(ROUND_SECONDS * 1_000);
  lab.log(`Watching for ${sustainedSeconds} s`);
  const from = Date.now();
  const before = sampleOf(pidOf(operator));
  await sleep(sustainedSeconds * 1_000);
  const after = sampleOf(pidOf(operator));
  const { renewals, late, expired } = punctuality(tail, from);
  const p99 = quantile(late, 0.99);
  return [
    quantity(`renewals of ${n} credentials in ${sustainedSeconds} s`, renewals),
    quantity('lateness, median (ms)', quantile(late, 0.5)),
    quantity('  p99 (ms)', p99, atMost(1_000, p99)),
    quantity('  worst (ms)', Math.max(...late)),
    quantity('expired seconds in sum', expired, exactly(0, expired)),
    quantity('operator CPU per renewal (ms)', (after.cpuMs - before.cpuMs) / renewals),
    quantity('resident memory (MB)', after.residentMb),
  ];
}

/** Of those credentials whose key begins so. */
export function punctuality(tail: TargetTail, from: number, prefix = '') {
  const seen = tail.since(from).filter(({ key }) => key.startsWith(prefix));
  const late = seen.flatMap((publication) => publication.late ?? []);
  const expired = seen.reduce((sum, publication) => sum + publication.expired, 0) / 1_000;
  return { renewals: late.length, late, expired };
}
