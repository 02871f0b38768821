import { setTimeout as sleep } from 'node:timers/promises';
import { localStaging, type Operator } from '../../operator.ts';
import { eventsIn, requestsIn, shown } from '../api-counts.ts';
import { type Bound, bound } from '../bound.ts';
import { BUDGET_OFF, type Lab, pidOf } from '../lab.ts';
import { Population } from '../population.ts';
import { ConnectionWatch, sampleOf } from '../process-sample.ts';
import { atMost, type Bar, count, quantity, type Row } from '../report.ts';
import { waitUntil } from '../target-tail.ts';
import { memoryBar } from './memory.ts';
import { idle, restart, type Size, settled } from './quiet.ts';

const WORKERS = 16;
const BOUND = { seconds: 10, concurrency: WORKERS };
const WINDOW_SECONDS = 20;
const HOUR = 3_600;
/** Memory is given back within a minute. */
const REST_SECONDS = 70;

/** A tenth of a token's life is sooner than anybody could renew so many, and yet none expires. */
export const RENEWAL = { percent: 10, jitterPercent: 0, minimumSeconds: 1 };
export const lifeFor = (n: number): number => Math.max(n * 0.02, 20);

/** All that depends on how many credentials there are, beside the bare loop before and after it. */
export async function speed(lab: Lab, size: Size): Promise<Row[]> {
  const { count: n, namespaces, idleSeconds } = size;
  const options = { count: n, namespaces, secrets: 'distinct', tokenSeconds: 10 * HOUR } as const;
  const population = await Population.create(lab, options);
  const before = await bound(lab, BOUND);
  const cold = await coldSync(lab, n);
  await population.tokenSeconds(lifeFor(n));
  // The same server under another name is another spec: everybody gets a token at once, and then again and again
  const operator = await startRenewing(lab, n, lab.provider.url.replace('127.0.0.1', 'localhost'));
  const { rows: saturated, window } = await saturation(lab, operator);
  const steady = await atRest(lab, operator, population);
  const peak = sampleOf(pidOf(operator)).peakMb;
  const quietRows = [...(await idle(lab, idleSeconds)), ...(await restart(lab, operator, n))];
  await operator.kill();
  const after = await bound(lab, BOUND);
  return [
    ...cold,
    ...compared(window, [before, after]),
    ...saturated,
    quantity('resident memory at rest (MB)', steady, memoryBar(n, steady)),
    quantity('  at its peak (MB)', peak),
    ...quietRows,
  ];
}

async function coldSync(lab: Lab, n: number): Promise<Row[]> {
  const tail = await lab.tail();
  const atStart = await lab.counts();
  const began = Date.now();
  const operator = await lab.startOperator({ tokenHosts: BUDGET_OFF, workers: WORKERS });
  const ready = Date.now();
  const done = await tail.until(n, 60 + n / 20);
  const { cpuMs, residentMb } = sampleOf(pidOf(operator));
  await settled(lab, atStart, n);
  await operator.kill();
  tail.stop();
  const seconds = (done - began) / 1_000;
  const bar: Bar | undefined = n === 1_000 ? atMost(5, seconds, ' s') : undefined;
  return [
    quantity(`${n} credentials from the start of the process to all targets (s)`, seconds, bar),
    quantity('  from ready to all targets (s)', (done - ready) / 1_000),
    quantity('  CPU for each, start included (ms)', cpuMs / n),
    quantity('  resident memory then (MB)', residentMb),
  ];
}

/** All n need a token, and then again and again; resolves when the first round is over. */
export async function startRenewing(
  lab: Lab,
  n: number,
  providerUrl = lab.provider.url,
): Promise<Operator> {
  const tail = await lab.tail();
  const atStart = await lab.counts();
  const operator = await lab.startOperator({
    environments: localStaging(providerUrl),
    tokenHosts: BUDGET_OFF,
    workers: WORKERS,
    renewal: RENEWAL,
  });
  lab.log('All get a token');
  await tail.until(n, 60 + n / 20);
  tail.stop();
  let told = -1;
  const isQuiet = async (): Promise<boolean> => {
    const before = told;
    told = eventsIn(await lab.countsSince(atStart));
    await sleep(1_000);
    return told === before;
  };
  await waitUntil(isQuiet, 60 + n / 20, () => 'events still come');
  return operator;
}

interface Window {
  readonly perSecond: number;
  readonly cpuMs: number;
  readonly serverCpuMs: number;
}

/** More is due than can be done. */
export async function saturation(
  lab: Lab,
  operator: Operator,
): Promise<{ readonly rows: Row[]; readonly window: Window }> {
  lab.log(`Renewals at saturation for ${WINDOW_SECONDS} s`);
  const pid = pidOf(operator);
  const toApi = new ConnectionWatch(pid, Number(new URL(lab.controlPlane.url).port));
  const toProvider = new ConnectionWatch(pid, Number(new URL(lab.provider.url).port));
  const look = async () => ({
    sample: sampleOf(pid),
    counts: await lab.counts(),
    tokens: await lab.provider.count(),
    servers: await lab.serverCpuSeconds(),
  });
  const a = await look();
  await sleep(WINDOW_SECONDS * 1_000);
  const b = await look();
  const counts = await lab.countsSince(a.counts);
  const targets = (from: typeof a.counts): number =>
    Object.entries(from).reduce((sum, [kind, n]) => (TARGET_WRITE.test(kind) ? sum + n : sum), 0);
  const renewals = targets(b.counts) - targets(a.counts);
  const requests = requestsIn(b.counts) - requestsIn(a.counts);
  const perRenewal = Math.round((requests / renewals) * 100) / 100;
  const tokensPerRenewal = Math.round(((b.tokens - a.tokens) / renewals) * 100) / 100;
  const window = {
    perSecond: (renewals * 1_000) / (b.sample.at - a.sample.at),
    cpuMs: (b.sample.cpuMs - a.sample.cpuMs) / renewals,
    serverCpuMs: ((b.servers - a.servers) * 1_000) / renewals,
  };
  const rows = [
    quantity('API requests per renewal', perRenewal, atMost(2, perRenewal)),
    count('  as the API server counts them', shown(counts)),
    // Some were sent before the window whose token is written in it, and the other way round
    quantity('token requests per renewal', tokensPerRenewal, atMost(1.02, tokensPerRenewal)),
    quantity('bytes on the wire per renewal', (b.sample.bytes - a.sample.bytes) / renewals),
    count(
      'connections to the API server, to the identity provider',
      `${toApi.stop()}, ${toProvider.stop()}`,
    ),
  ];
  return { rows, window };
}

const TARGET_WRITE = /^(APPLY|PATCH|PUT|POST) secrets$/;

/** The resident memory when all tokens are good for long and some time has passed. */
async function atRest(lab: Lab, operator: Operator, population: Population): Promise<number> {
  lab.log('Coming to rest');
  const n = population.keys.length;
  const tail = await lab.tail();
  await population.tokenSeconds(10 * HOUR);
  await waitUntil(
    () => tail.longLived(HOUR * 1_000) >= n,
    60 + n / 20,
    () => 'not all tokens are long',
  );
  tail.stop();
  await sleep(REST_SECONDS * 1_000);
  return sampleOf(pidOf(operator)).residentMb;
}

function compared(window: Window, bounds: readonly Bound[]): Row[] {
  const mean = (of: (bound: Bound) => number): number =>
    bounds.reduce((sum, bound) => sum + of(bound), 0) / bounds.length;
  const perSecond = mean((it) => it.perSecond);
  const cpuMs = mean((it) => it.cpuMs);
  const allMs = mean((it) => it.cpuMs + it.serverCpuMs);
  const rate = window.perSecond / perSecond;
  const cpu = window.cpuMs / cpuMs;
  const all = allMs / (window.cpuMs + window.serverCpuMs);
  return [
    quantity('renewals per second at saturation', window.perSecond),
    quantity(
      '  of the bare loop, before and after',
      bounds.map((it) => it.perSecond.toFixed(0)).join(', '),
    ),
    quantity('  ratio', rate, atLeast(0.8, rate)),
    quantity('  ratio by processor time of all processes', all, atLeast(0.8, all)),
    quantity('operator CPU per renewal (ms)', window.cpuMs),
    quantity(
      '  of the bare loop, before and after',
      bounds.map((it) => it.cpuMs.toFixed(2)).join(', '),
    ),
    quantity('  ratio', cpu, atMost(1.5, cpu)),
    quantity('CPU of all servers per renewal (ms)', window.serverCpuMs),
    quantity(
      '  for the bare loop, before and after',
      bounds.map((it) => it.serverCpuMs.toFixed(2)).join(', '),
    ),
  ];
}

const atLeast = (limit: number, value: number): Bar => [`≥ ${limit}`, value >= limit];
