import { fork } from 'node:child_process';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import type { FaultName } from './faults.ts';
import { mutantArguments } from './mutants/mutants.ts';

export interface Campaign {
  readonly range: readonly [from: number, to: number];
  readonly jobs: number | undefined;
  readonly mutant: string | undefined;
  readonly faults: readonly FaultName[] | undefined;
  readonly awaits: boolean;
  /** `file:line` of awaits. */
  readonly crashAt: readonly string[] | undefined;
  readonly untilFailure: boolean;
}

/** The task of a process, which sends one Report per block of runs. */
export interface Task {
  readonly from: number;
  readonly to: number;
  readonly step: number;
  readonly faults: readonly FaultName[] | undefined;
  readonly awaits: boolean;
  readonly crashAt: readonly string[] | undefined;
}

export interface Report {
  readonly played: number;
  readonly failures: readonly { readonly seed: number; readonly text: string }[];
  readonly events: number;
  readonly lostSessions: number;
  readonly settledAfter: readonly number[];
  /** `file:line` of each await, and how often a replica crashed while it waited there. */
  readonly awaits: Readonly<Record<string, number>>;
}

/** Runs the seeds in one process per core, prints each failing run and a summary. */
export async function playInProcesses(campaign: Campaign): Promise<number> {
  const { range, untilFailure } = campaign;
  const [from, to] = range;
  const jobs = Math.min(campaign.jobs ?? availableParallelism(), to - from + 1);
  const began = performance.now();
  const total = { played: 0, failed: 0, events: 0, lostSessions: 0 };
  const settled: number[] = [];
  const awaits = new Map<string, number>();
  const children = Array.from({ length: jobs }, (_, number) =>
    start(campaign, { from: from + number, step: jobs }),
  );
  const take = (report: Report): void => {
    total.played += report.played;
    total.failed += report.failures.length;
    total.events += report.events;
    total.lostSessions += report.lostSessions;
    settled.push(...report.settledAfter);
    for (const [place, count] of Object.entries(report.awaits))
      awaits.set(place, (awaits.get(place) ?? 0) + count);
    for (const { text } of report.failures) console.log(text);
    if (untilFailure && report.failures.length > 0) for (const child of children) child.kill();
  };
  const codes = await Promise.all(
    children.map((child) => {
      child.on('message', take);
      return new Promise<number | null>((resolve) => child.on('exit', resolve));
    }),
  );
  for (const [place, count] of [...awaits].sort(([a], [b]) => (a < b ? -1 : 1)))
    console.log(`${String(count).padStart(7)}  ${place}`);
  const took = (performance.now() - began) / 1_000;
  const [median = 0, worst = 0] = [0.5, 1].map(
    (share) => settled.sort((a, b) => a - b)[Math.ceil(share * settled.length) - 1],
  );
  console.log(
    `Seeds ${from} to ${to}: ${total.played} runs in ${took.toFixed(0)} s, ${total.events} events; ` +
      `settled after ${median / 1_000} s (median), ${worst / 1_000} s (worst); ` +
      `sessions lost with a crash or a message: ${total.lostSessions}`,
  );
  console.log(`\n${total.played - total.failed} passed, ${total.failed} failed`);
  const isWhole = codes.every((code) => code === 0) && total.played === to - from + 1;
  return total.failed === 0 && isWhole ? 0 : 1;
}

function start(
  { range, mutant, faults, awaits, crashAt }: Campaign,
  { from, step }: { from: number; step: number },
) {
  const task: Task = { from, to: range[1], step, faults, awaits, crashAt };
  const execArgv = [
    ...mutantArguments(mutant),
    ...(awaits ? ['--import', join(import.meta.dirname, 'awaits-hook.ts')] : []),
  ];
  const child = fork(join(import.meta.dirname, 'process.ts'), [JSON.stringify(task)], { execArgv });
  return child;
}
