import { count, expirations, percentile, type Span, sharedSeconds, tally } from '../measures.ts';
import type { Provider } from '../provider.ts';
import { type Row, row } from '../report.ts';
import type { TargetReader } from '../target-reader.ts';
import type { LabTestbed } from '../testbed.ts';
import {
  type Service,
  type SoakOptions,
  serviceRows,
  shortLived,
  startService,
} from './sessions.ts';

const PERIOD_MS = 20_000;
/** From the token response to the written status. */
const RENEWAL_MS = 80;

/**
 * The operator dies every 20 s and is started again at once, as kubelet does it the first time. Every other time it dies
 * within a renewal, between token response and write, when most can be lost. Without leader election: this is about a
 * single replica, whose successor would have to wait until the Lease expires.
 */
export async function kills(testbed: LabTestbed<Provider>, options: SoakOptions): Promise<Row[]> {
  const config = { leaderElection: { enabled: false } };
  const settings = { realm: shortLived(options), config };
  const service = await startService(testbed, options, settings);
  const { reader, population } = service;
  await reader.until(options.credentials, 120);
  const before = count(await testbed.provider.events(population.realm), 'LOGIN');
  const absences = await killUntil(testbed, service, Date.now() + options.milliseconds);
  const seconds = absences.map(([from, to]) => (to - from) / 1_000);
  const expired = expirations(reader.targets);
  const rows = serviceRows(service);
  const events = await testbed.provider.events(population.realm);
  return [
    ...rows,
    row('expired seconds while no operator ran', sharedSeconds(expired, absences)),
    row('kills', absences.length),
    row('from kill to ready, median (s)', percentile(seconds, 50)),
    row('  max (s)', Math.max(...seconds)),
    row('requests that the provider saw', tally(events)),
    row('logins before the first kill', before),
    row('logins after it', count(events, 'LOGIN') - before),
    row('refreshes', count(events, 'REFRESH_TOKEN')),
    row('refreshes refused', count(events, 'REFRESH_TOKEN_ERROR')),
  ];
}

/** When no operator ran: from each kill until the next one was ready. */
async function killUntil(
  testbed: LabTestbed<Provider>,
  { operator, reader }: Service,
  end: number,
): Promise<Span[]> {
  const absences: Span[] = [];
  for (let from = Date.now(); from + PERIOD_MS <= end; from += PERIOD_MS) {
    const random = from + Math.random() * PERIOD_MS;
    const at = absences.length % 2 === 0 ? random : inRenewal(reader, random);
    await testbed.wait(at - Date.now());
    const killed = Date.now();
    await operator.kill(0);
    await operator.run();
    absences.push([killed, Date.now()]);
    await testbed.wait(from + PERIOD_MS - Date.now());
  }
  return absences;
}

/** A moment within the first renewal that is due after `from`. */
function inRenewal({ targets }: TargetReader, from: number): number {
  const due = [...targets.values()].map((publications) => publications.at(-1)?.renewAt ?? 0);
  const next = due.filter((at) => at > from).sort((a, b) => a - b)[0] ?? from;
  return next + Math.random() * RENEWAL_MS;
}
