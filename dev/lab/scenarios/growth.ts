import { type Lab, pidOf } from '../lab.ts';
import { Population } from '../population.ts';
import { sampleOf } from '../process-sample.ts';
import { atMost, quantity, type Row } from '../report.ts';
import type { Size } from './quiet.ts';
import { lifeFor, saturation, startRenewing } from './speed.ts';

const FEW = 1_000;

/** Does a renewal cost more the more credentials there are? Among 1,000, and then among so many, in one run. */
export async function growth(lab: Lab, { count: n, namespaces }: Size): Promise<Row[]> {
  const common = { namespaces, secrets: 'distinct' } as const;
  const first = { ...common, prefix: 'few', count: FEW, tokenSeconds: lifeFor(FEW) };
  const population = await Population.create(lab, first);
  const few = await costAmong(lab, FEW);
  await population.tokenSeconds(lifeFor(n));
  const rest = { ...common, prefix: 'many', count: n - FEW, tokenSeconds: lifeFor(n) };
  await Population.create(lab, rest);
  const many = await costAmong(lab, n);
  const ratio = many.cpuMs / few.cpuMs;
  return [
    ...shown(`${FEW}`, few),
    ...shown(`${n}`, many),
    quantity(`operator CPU per renewal, among ${n} ÷ among ${FEW}`, ratio, atMost(1.2, ratio)),
  ];
}

interface Cost {
  readonly perSecond: number;
  readonly cpuMs: number;
  readonly serverCpuMs: number;
  readonly residentMb: number;
  readonly rows: readonly Row[];
}

async function costAmong(lab: Lab, n: number): Promise<Cost> {
  const operator = await startRenewing(lab, n);
  const { rows, window } = await saturation(lab, operator);
  const { residentMb } = sampleOf(pidOf(operator));
  await operator.kill();
  return { ...window, residentMb, rows };
}

const shown = (n: string, { perSecond, cpuMs, serverCpuMs, residentMb, rows }: Cost): Row[] => [
  quantity(`among ${n}: renewals per second at saturation`, perSecond),
  quantity('  operator CPU per renewal (ms)', cpuMs),
  quantity('  CPU of all servers per renewal (ms)', serverCpuMs),
  quantity('  resident memory of the operator meanwhile (MB)', residentMb),
  ...rows,
];
