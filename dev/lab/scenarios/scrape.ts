import type { Operator } from '../../testbed/operator.ts';
import { percentile } from '../measures.ts';
import { Population } from '../population.ts';
import { type Row, row } from '../report.ts';
import type { LabTestbed, Size } from '../testbed.ts';

const SCRAPES = 20;

/** What Prometheus gets from a leader and from a standby. */
export async function scrape(testbed: LabTestbed, { count, namespaces }: Size): Promise<Row[]> {
  const realm = { accessTokenLifespan: 3_600 };
  await Population.create(testbed, { count, namespaces, sharesClient: true, realm });
  const reader = await testbed.startReader();
  const leader = await testbed.startOperator();
  const standby = await testbed.startOperator();
  await reader.until(count, 900);
  await testbed.wait(2_000);
  return [...(await rowsOf('leader', leader)), ...(await rowsOf('standby', standby))];
}

async function rowsOf(who: string, operator: Operator): Promise<Row[]> {
  const durations: number[] = [];
  let text = '';
  for (let n = 0; n < SCRAPES; n += 1) {
    const began = performance.now();
    text = await operator.get('/metrics');
    durations.push(performance.now() - began);
  }
  const series = text.split('\n').filter((line) => line !== '' && !line.startsWith('#'));
  const ofCredentials = series.filter((line) => line.startsWith('convercus_credential_'));
  return [
    row(`series of a ${who}`, series.length),
    row('  of them for single credentials', ofCredentials.length),
    row('  size of /metrics (kB)', Buffer.byteLength(text) / 1_000),
    row('  duration of a scrape, median (ms)', percentile(durations, 50)),
    row('  max (ms)', Math.max(...durations)),
  ];
}
