import type { Write } from '../bare-loop.ts';
import { type Bound, bound } from '../bound.ts';
import type { Lab } from '../lab.ts';
import { quantity, type Row } from '../report.ts';

const SECONDS = 10;
const CONCURRENCY = 16;

const WAYS: readonly (readonly [secretBy: Write, statusBy: Write])[] = [
  ['put', 'put'],
  ['apply', 'apply'],
  ['apply', 'put'],
  ['merge', 'put'],
  ['put', 'apply'],
  ['put', 'merge'],
];

/** Which way to write is the fastest that the API server offers: the bare loop with each. */
export async function writes(lab: Lab): Promise<Row[]> {
  const rows: Row[] = [];
  for (const [secretBy, statusBy] of WAYS) {
    const result = await bound(lab, {
      seconds: SECONDS,
      concurrency: CONCURRENCY,
      secretBy,
      statusBy,
    });
    rows.push(...rowsOf(`Secret by ${secretBy}, status by ${statusBy}`, result));
  }
  return rows;
}

const rowsOf = (name: string, { perSecond, cpuMs, serverCpuMs }: Bound): Row[] => [
  quantity(`${name}: renewals per second`, perSecond),
  quantity('  CPU of the loop per renewal (ms)', cpuMs),
  quantity('  CPU of all servers per renewal (ms)', serverCpuMs),
];
