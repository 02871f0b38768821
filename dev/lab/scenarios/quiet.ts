import { setTimeout as sleep } from 'node:timers/promises';
import type { Operator } from '../../operator.ts';
import { eventsIn, requestsIn, shown, writesIn } from '../api-counts.ts';
import { BUDGET_OFF, type Lab, metricOf } from '../lab.ts';
import { Population } from '../population.ts';
import { atMost, count, exactly, quantity, type Row } from '../report.ts';
import { waitUntil } from '../target-tail.ts';

export interface Size {
  readonly count: number;
  readonly namespaces: number;
  /** How long an idle cluster, or one with a wrong secret, is looked at. */
  readonly idleSeconds: number;
  readonly wrongSeconds: number;
  readonly sustainedSeconds: number;
}

/** Everything that belongs to n passes has arrived: no request for half a second, and n statuses at least. */
export async function settled(lab: Lab, since: Record<string, number>, n: number): Promise<void> {
  let before = -1;
  await waitUntil(
    async () => {
      const counts = await lab.countsSince(since);
      const now = requestsIn(counts);
      const isQuiet = now === before && writesIn(counts) >= 2 * n;
      before = now;
      await sleep(500);
      return isQuiet;
    },
    120,
    () => 'the API server is not quiet',
  );
}

/** No renewal is due, and then the operator starts again. */
export async function quiet(lab: Lab, { count: n, namespaces, idleSeconds }: Size): Promise<Row[]> {
  const options = { count: n, namespaces, secrets: 'distinct', tokenSeconds: 36_000 } as const;
  await Population.create(lab, options);
  const tail = await lab.tail();
  const atStart = await lab.counts();
  const operator = await lab.startOperator({ tokenHosts: BUDGET_OFF });
  await tail.until(n, 600);
  await settled(lab, atStart, n);
  return [...(await idle(lab, idleSeconds)), ...(await restart(lab, operator, n))];
}

export async function idle(lab: Lab, seconds: number): Promise<Row[]> {
  lab.log(`An idle time of ${seconds} s`);
  const tokensBefore = await lab.provider.count();
  const before = await lab.counts();
  await sleep(seconds * 1_000);
  const counts = await lab.countsSince(before);
  const tokens = (await lab.provider.count()) - tokensBefore;
  const requests = requestsIn(counts);
  return [
    count(`token requests in ${seconds} idle seconds`, tokens, exactly(0, tokens)),
    count('  API requests but for Lease and watches', requests, exactly(0, requests)),
    count('  all API requests', shown(counts)),
  ];
}

/** With all tokens valid. */
export async function restart(lab: Lab, operator: Operator, n: number): Promise<Row[]> {
  lab.log('A restart');
  const tokensBefore = await lab.provider.count();
  const before = await lab.counts();
  await operator.kill();
  const began = Date.now();
  await operator.run();
  const ready = Date.now() - began;
  const passes = (): Promise<number> => metricOf(operator, 'controller_runtime_reconcile_total');
  await waitUntil(
    async () => (await passes()) >= n,
    120,
    () => 'not all are scheduled',
  );
  const scheduled = Date.now() - began;
  await sleep(1_000);
  const counts = await lab.countsSince(before);
  const tokens = (await lab.provider.count()) - tokensBefore;
  const writes = writesIn(counts) + eventsIn(counts);
  return [
    count('restart: token requests', tokens, exactly(0, tokens)),
    count('  writes', writes, exactly(0, writes)),
    count('  all API requests', shown(counts)),
    quantity('  from the start of the process to ready (ms)', ready),
    quantity('  to ready and all scheduled (ms)', scheduled, atMost(3_000, scheduled)),
  ];
}
