import { imageSettings } from '../../bundled-operator.ts';
import type { Operator } from '../../testbed/operator.ts';
import { type Counts, difference, requestsIn, shown, targetWritesIn } from '../api-counts.ts';
import { type BareLoopResult, runBareLoop } from '../bare-loop.ts';
import { mean } from '../measures.ts';
import { Population } from '../population.ts';
import { idleNodeMb, sampleOf } from '../process-sample.ts';
import { atMost, exactly, type Row, row } from '../report.ts';
import { type LabTestbed, NO_RATE_LIMIT, pidOf, type Size } from '../testbed.ts';
import { CPU_RATIO, RATE_RATIO, RENEWAL_REQUESTS } from '../thresholds.ts';

export const WORKERS = 16;
const WINDOW_SECONDS = 20;
const FEW = 1_000;

/** A renewal is due after a tenth of a token's life, so none expires although more are due than can be made. */
export const RENEWAL = { percent: 10, jitterPercent: 0, minimumSeconds: 1 };

/** 2.5 times as many renewals are due as the bare loop makes, but each after a second at the soonest. */
const tokenSecondsFor = (n: number, { perSecond }: BareLoopResult): number =>
  Math.max(10, Math.ceil((4 * n) / perSecond));

/** Enough for a first sync of all and for their events, which are written one after the other. */
const firstSyncSecondsFor = (n: number, { perSecond }: BareLoopResult): number =>
  Math.max(30, Math.ceil((12 * n) / perSecond));

/** The operator keeps a token that expires after the new one: at 80 % the shorter ones of a renewal last longer. */
const FIRST_RENEWAL = { percent: 80, jitterPercent: 0, minimumSeconds: 1 };

/** A cold start, and then as many renewals as can be made, with the bare loop before and after. */
export async function speed(testbed: LabTestbed, { count: n, namespaces }: Size): Promise<Row[]> {
  const { realm } = await Population.create(testbed, { count: n, namespaces, realm: {} });
  const before = await runBareLoop(testbed);
  const { operator, cold } = await startRenewing(testbed, [realm], n, before);
  const cost = await measureRenewals(testbed, pidOf(operator));
  const { residentMb, peakMb } = sampleOf(pidOf(operator));
  await operator.kill();
  const after = await runBareLoop(testbed);
  const due = Math.round((10 * n) / tokenSecondsFor(n, before));
  const idleMb = await idleNodeMb(await imageSettings());
  return [
    ...cold,
    ...ratioRows(cost, [before, after], due),
    ...requestRows(cost),
    row('resident memory meanwhile (MB)', residentMb),
    row('  above that of an idle node (MB)', residentMb - idleMb),
    row('  at its peak (MB)', peakMb),
  ];
}

/** Whether a renewal costs more the more credentials there are: among 1,000, and then among all, in one run. */
export async function growth(testbed: LabTestbed, { count: n, namespaces }: Size): Promise<Row[]> {
  const bare = await runBareLoop(testbed);
  const create = (prefix: string, count: number) =>
    Population.create(testbed, { prefix, count, namespaces, realm: {} });
  const { realm } = await create('few', FEW);
  const few = await costAmong(testbed, [realm], FEW, bare);
  const { realm: other } = await create('many', n - FEW);
  const many = await costAmong(testbed, [realm, other], n, bare);
  const measure = `operator CPU per renewal, among ${n} ÷ among ${FEW}`;
  return [...few.rows, ...many.rows, row(measure, many.cpuMs / few.cpuMs, atMost(1.2))];
}

async function costAmong(
  testbed: LabTestbed,
  realms: readonly string[],
  n: number,
  bare: BareLoopResult,
) {
  const { operator } = await startRenewing(testbed, realms, n, bare);
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

/** Resolves when all n credentials of these realms have been synced, and then renewed once; no event is left. */
async function startRenewing(
  testbed: LabTestbed,
  realms: readonly string[],
  n: number,
  bare: BareLoopResult,
): Promise<{ readonly operator: Operator; readonly cold: Row[] }> {
  const setTokenSeconds = (seconds: number) =>
    Promise.all(realms.map((realm) => testbed.provider.setTokenSeconds(realm, seconds)));
  const limits = { tokenHosts: NO_RATE_LIMIT, workers: WORKERS };
  const firstSync = firstSyncSecondsFor(n, bare);
  await setTokenSeconds(firstSync / 0.8);
  const cold = await coldStart(testbed, n, { ...limits, renewal: FIRST_RENEWAL }, firstSync);
  await setTokenSeconds(tokenSecondsFor(n, bare));
  const reader = await testbed.startReader();
  const operator = await testbed.startOperator({ ...limits, renewal: RENEWAL });
  testbed.log('Waiting until all have been renewed');
  await reader.until(n, 2 * firstSync + 60);
  reader.stop();
  return { operator, cold };
}

async function coldStart(
  testbed: LabTestbed,
  n: number,
  config: Readonly<Record<string, unknown>>,
  seconds: number,
): Promise<Row[]> {
  const reader = await testbed.startReader();
  const before = await testbed.counts();
  const began = Date.now();
  const operator = await testbed.startOperator(config);
  const ready = Date.now();
  const done = await reader.until(n, seconds);
  const { cpuMs, residentMb } = sampleOf(pidOf(operator));
  await testbed.untilQuiet(before, n, seconds);
  await operator.kill();
  reader.stop();
  return [
    row(`cold start to the targets of ${n} credentials (s)`, (done - began) / 1_000),
    row('  from ready to all targets (s)', (done - ready) / 1_000),
    row('  CPU for each, start included (ms)', cpuMs / n),
    row('  resident memory then (MB)', residentMb),
  ];
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

/** @param due renewals per second: when hardly more are due than are made, the operator waits, and there is no bar */
function ratioRows(cost: RenewalCost, bare: readonly BareLoopResult[], due: number): Row[] {
  const perSecond = Math.max(cost.perSecond, mean(bare.map((it) => it.perSecond)));
  const isSaturated = due > 1.2 * perSecond;
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
