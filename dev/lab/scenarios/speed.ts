import { localStaging, type Operator } from '../../testbed/operator.ts';
import {
  type Counts,
  difference,
  eventsIn,
  requestsIn,
  shown,
  targetWritesIn,
} from '../api-counts.ts';
import { type BareLoopResult, runBareLoop } from '../bare-loop.ts';
import { mean } from '../measures.ts';
import { Population } from '../population.ts';
import { idleNodeMb, sampleOf } from '../process-sample.ts';
import { atMost, exactly, type Row, row } from '../report.ts';
import { waitUntil } from '../target-reader.ts';
import { imageSettings, type LabTestbed, NO_RATE_LIMIT, pidOf, type Size } from '../testbed.ts';
import { CPU_RATIO, RATE_RATIO, RENEWAL_REQUESTS } from '../thresholds.ts';

export const WORKERS = 16;
const WINDOW_SECONDS = 20;
const FEW = 1_000;

/** A renewal is due after a tenth of a token's life, so none expires although more are due than can be made. */
export const RENEWAL = { percent: 10, jitterPercent: 0, minimumSeconds: 1 };

/** Twice as many renewals are due as the bare loop makes, but each after a second at the soonest. */
const tokenSecondsFor = (n: number, { perSecond }: BareLoopResult): number =>
  Math.max(10, Math.ceil((5 * n) / perSecond));

/** A cold start, and then as many renewals as can be made, with the bare loop before and after. */
export async function speed(testbed: LabTestbed, { count: n, namespaces }: Size): Promise<Row[]> {
  const realm = { accessTokenLifespan: 36_000 };
  const population = await Population.create(testbed, { count: n, namespaces, realm });
  const before = await runBareLoop(testbed);
  const cold = await coldStart(testbed, n);
  const tokenSeconds = tokenSecondsFor(n, before);
  await testbed.provider.setTokenSeconds(population.realm, tokenSeconds);
  // The same server under another name is a changed spec: each credential gets a new token at once
  const url = testbed.provider.url.replace('127.0.0.1', 'localhost');
  const operator = await startRenewing(testbed, n, url);
  const cost = await measureRenewals(testbed, pidOf(operator));
  const { residentMb, peakMb } = sampleOf(pidOf(operator));
  await operator.kill();
  const after = await runBareLoop(testbed);
  const idleMb = await idleNodeMb(await imageSettings());
  return [
    ...cold,
    ...ratioRows(cost, [before, after], Math.round((10 * n) / tokenSeconds)),
    ...requestRows(cost),
    row('resident memory meanwhile (MB)', residentMb),
    row('  above that of an idle node (MB)', residentMb - idleMb),
    row('  at its peak (MB)', peakMb),
  ];
}

/** Whether a renewal costs more the more credentials there are: among 1,000, and then among all, in one run. */
export async function growth(testbed: LabTestbed, { count: n, namespaces }: Size): Promise<Row[]> {
  const create = (prefix: string, count: number, accessTokenLifespan: number) =>
    Population.create(testbed, { prefix, count, namespaces, realm: { accessTokenLifespan } });
  const bare = await runBareLoop(testbed);
  const { realm } = await create('few', FEW, tokenSecondsFor(FEW, bare));
  const few = await costAmong(testbed, FEW);
  await testbed.provider.setTokenSeconds(realm, tokenSecondsFor(n, bare));
  await create('many', n - FEW, tokenSecondsFor(n, bare));
  const many = await costAmong(testbed, n);
  const measure = `operator CPU per renewal, among ${n} ÷ among ${FEW}`;
  return [...few.rows, ...many.rows, row(measure, many.cpuMs / few.cpuMs, atMost(1.2))];
}

async function costAmong(testbed: LabTestbed, n: number) {
  const operator = await startRenewing(testbed, n);
  const cost = await measureRenewals(testbed, pidOf(operator));
  const { residentMb } = sampleOf(pidOf(operator));
  await operator.kill();
  const rows = [
    row(`among ${n}: renewals per second at saturation`, cost.perSecond),
    row('  operator CPU per renewal (ms)', cost.cpuMs),
    row('  CPU of all servers per renewal (ms)', cost.serverCpuMs),
    row('  resident memory of the operator meanwhile (MB)', residentMb),
    ...requestRows(cost),
  ];
  return { rows, cpuMs: cost.cpuMs };
}

async function coldStart(testbed: LabTestbed, n: number): Promise<Row[]> {
  const reader = await testbed.startReader();
  const before = await testbed.counts();
  const began = Date.now();
  const operator = await testbed.startOperator({ tokenHosts: NO_RATE_LIMIT, workers: WORKERS });
  const ready = Date.now();
  const done = await reader.until(n, 60 + n / 20);
  const { cpuMs, residentMb } = sampleOf(pidOf(operator));
  await testbed.untilQuiet(before, n);
  await operator.kill();
  reader.stop();
  return [
    row(
      `${n} credentials from the start of the process to all targets (s)`,
      (done - began) / 1_000,
    ),
    row('  from ready to all targets (s)', (done - ready) / 1_000),
    row('  CPU for each, start included (ms)', cpuMs / n),
    row('  resident memory then (MB)', residentMb),
  ];
}

/** All n are renewed, and then again and again. Resolves when the first round is over. */
async function startRenewing(
  testbed: LabTestbed,
  n: number,
  providerUrl = testbed.provider.url,
): Promise<Operator> {
  const reader = await testbed.startReader();
  const before = await testbed.counts();
  const operator = await testbed.startOperator({
    environments: localStaging(providerUrl),
    tokenHosts: NO_RATE_LIMIT,
    workers: WORKERS,
    renewal: RENEWAL,
  });
  testbed.log('All get a token');
  await reader.until(n, 60 + n / 20);
  reader.stop();
  let last = -1;
  const eventsAreWritten = async (): Promise<boolean> => {
    const previous = last;
    last = eventsIn(await testbed.countsSince(before));
    await testbed.wait(1_000);
    return last === previous;
  };
  await waitUntil(eventsAreWritten, 60 + n / 20, () => 'events are still written');
  return operator;
}

/** What a renewal costs while more are due than can be made. */
export interface RenewalCost {
  readonly perSecond: number;
  /** Processor time of the operator. */
  readonly cpuMs: number;
  /** Processor time of API server, etcd and identity provider. */
  readonly serverCpuMs: number;
  readonly apiRequests: number;
  readonly tokenRequests: number;
  readonly bytes: number;
  readonly counts: Counts;
}

export async function measureRenewals(
  testbed: LabTestbed,
  pid: number,
  seconds = WINDOW_SECONDS,
): Promise<RenewalCost> {
  testbed.log(`Renewals at saturation for ${seconds} s`);
  const read = async () => ({
    sample: sampleOf(pid),
    serverCpuMs: testbed.serverCpuMs(),
    counts: await testbed.counts(),
    tokens: await testbed.provider.call('countRequests'),
  });
  const before = await read();
  await testbed.wait(seconds * 1_000);
  const after = await read();
  const counts = difference(before.counts, after.counts);
  const renewals = targetWritesIn(counts);
  return {
    perSecond: (renewals * 1_000) / (after.sample.at - before.sample.at),
    cpuMs: (after.sample.cpuMs - before.sample.cpuMs) / renewals,
    serverCpuMs: (after.serverCpuMs - before.serverCpuMs) / renewals,
    apiRequests: requestsIn(counts) / renewals,
    tokenRequests: (after.tokens - before.tokens) / renewals,
    bytes: (after.sample.bytes - before.sample.bytes) / renewals,
    counts,
  };
}

/** Renewals that cross an end of the window are counted in part, hence a request more or less in a hundred. */
const requestRows = (cost: RenewalCost): Row[] => [
  row('API requests per renewal', Math.round(cost.apiRequests * 10) / 10, RENEWAL_REQUESTS),
  row('  as the API server counts them', shown(cost.counts)),
  row('token requests per renewal', Math.round(cost.tokenRequests * 10) / 10, exactly(1)),
  row('bytes on the wire per renewal', Math.round(cost.bytes)),
];

/** @param due renewals per second: with fewer than the bare loop makes, the operator waits, and there is no bar */
function ratioRows(cost: RenewalCost, bare: readonly BareLoopResult[], due: number): Row[] {
  const isSaturated = due > mean(bare.map((it) => it.perSecond));
  const perCpuSecond = (each: { cpuMs: number; serverCpuMs: number }): number =>
    1_000 / (each.cpuMs + each.serverCpuMs);
  const ofBareLoop = (of: (result: BareLoopResult) => number, digits = 0): Row =>
    row(
      '  of the bare loop, before and after',
      bare.map((it) => of(it).toFixed(digits)).join(', '),
    );
  const rate = perCpuSecond(cost) / mean(bare.map(perCpuSecond));
  const cpu = cost.cpuMs / mean(bare.map((it) => it.cpuMs));
  return [
    row(`renewals per second, of ${due} that are due`, cost.perSecond),
    ofBareLoop((it) => it.perSecond),
    row('renewals per CPU second of all processes', perCpuSecond(cost)),
    ofBareLoop(perCpuSecond),
    row('  ratio', rate, isSaturated ? RATE_RATIO : undefined),
    row('operator CPU per renewal (ms)', cost.cpuMs),
    ofBareLoop((it) => it.cpuMs, 2),
    row('  ratio', cpu, isSaturated ? CPU_RATIO : undefined),
    row('CPU of all servers per renewal (ms)', cost.serverCpuMs),
    ofBareLoop((it) => it.serverCpuMs, 2),
  ];
}
