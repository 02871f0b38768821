import type { Operator } from '../../testbed/operator.ts';
import { eventsIn, requestsIn, shown, writesIn } from '../api-counts.ts';
import { Population } from '../population.ts';
import { exactly, type Row, row } from '../report.ts';
import { waitUntil } from '../target-reader.ts';
import { type LabTestbed, metricOf, NO_RATE_LIMIT, type Size } from '../testbed.ts';

/** No renewal is due, and then the operator starts again with all tokens valid. */
export async function idle(testbed: LabTestbed, size: Size): Promise<Row[]> {
  const { count, namespaces, idleSeconds } = size;
  await Population.create(testbed, { count, namespaces, realm: { accessTokenLifespan: 36_000 } });
  const reader = await testbed.startReader();
  const before = await testbed.counts();
  const operator = await testbed.startOperator({ tokenHosts: NO_RATE_LIMIT });
  await reader.until(count, 600);
  await testbed.untilQuiet(before, count);
  testbed.log(`An idle time of ${idleSeconds} s`);
  const atRest = await testbed.requestsDuring(() => testbed.wait(idleSeconds * 1_000));
  testbed.log('A restart');
  await operator.kill();
  const start = () => operator.run().then(() => operator);
  const restart = await testbed.requestsDuring(async () => {
    const times = await timesOfStart(start, count);
    await testbed.wait(1_000);
    return times;
  });
  return [
    row(`token requests in ${idleSeconds} idle seconds`, atRest.tokens, exactly(0)),
    row('  API requests but for Lease and watches', requestsIn(atRest.counts), exactly(0)),
    row('  all API requests', shown(atRest.counts)),
    row('restart: token requests', restart.tokens, exactly(0)),
    row('  writes', writesIn(restart.counts) + eventsIn(restart.counts), exactly(0)),
    row('  all API requests', shown(restart.counts)),
    row('  from the start of the process to ready (ms)', restart.result.readyMs),
    row('  to ready and all reconciled (ms)', restart.result.reconciledMs),
  ];
}

interface Start {
  readonly operator: Operator;
  /** From the start of the process. */
  readonly readyMs: number;
  /** All n credentials, ready included. */
  readonly reconciledMs: number;
}

export async function timesOfStart(start: () => Promise<Operator>, n: number): Promise<Start> {
  const began = Date.now();
  const operator = await start();
  const readyMs = Date.now() - began;
  const isReconciled = async (): Promise<boolean> =>
    (await metricOf(operator, 'controller_runtime_reconcile_total')) >= n;
  await waitUntil(isReconciled, 300, () => 'not all credentials are reconciled');
  return { operator, readyMs, reconciledMs: Date.now() - began };
}
