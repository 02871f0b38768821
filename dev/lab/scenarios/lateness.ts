import { localStaging } from '../../testbed/operator.ts';
import type { Grant } from '../accounts.ts';
import { BuiltInProvider } from '../built-in-provider.ts';
import { expiredSeconds, lateness, percentile, type Span } from '../measures.ts';
import { Population } from '../population.ts';
import { sampleOf } from '../process-sample.ts';
import type { Provider } from '../provider.ts';
import { atMost, exactly, type Row, row } from '../report.ts';
import type { TargetReader, Targets } from '../target-reader.ts';
import { type LabTestbed, pidOf, type Size } from '../testbed.ts';

const SHORT_TOKEN_SECONDS = 60;
/** A renewal is due after 80 % of a token's life, so the first ones are as evenly spread as the creations. */
const ROUND_SECONDS = 48;
const SHORT_TOKENS_LIMIT = { requestsPerSecond: 500, burst: 100, concurrency: 16 };

/** Whether each of many short tokens is renewed in time. */
export async function shortTokens(testbed: LabTestbed, size: Size): Promise<Row[]> {
  const { count: n, namespaces, renewalSeconds } = size;
  const realm = { accessTokenLifespan: SHORT_TOKEN_SECONDS };
  const population = await Population.prepare(testbed, { count: n, namespaces, realm });
  const reader = await testbed.startReader();
  const operator = await testbed.startOperator({ tokenHosts: SHORT_TOKENS_LIMIT });
  testbed.log(`Creating ${n} credentials within ${ROUND_SECONDS} s`);
  const began = Date.now();
  for (const [i, account] of population.accounts.entries()) {
    void population.createCredential(account);
    const due = began + (i / n) * ROUND_SECONDS * 1_000;
    if (due > Date.now()) await testbed.wait(due - Date.now());
  }
  await reader.until(n, 300);
  await testbed.wait(ROUND_SECONDS * 1_000);
  const before = sampleOf(pidOf(operator));
  const result = await observe(testbed, reader, renewalSeconds * 1_000);
  const after = sampleOf(pidOf(operator));
  return [
    ...rowsOf(`${n} credentials in ${renewalSeconds} s`, result),
    row('operator CPU per renewal (ms)', (after.cpuMs - before.cpuMs) / result.renewals),
    row('resident memory (MB)', after.residentMb),
  ];
}

/** As in `hangingHost`, in the bench. */
export const FAIRNESS_LIMIT = { requestsPerSecond: 100, burst: 10, concurrency: 4 };
const FAIRNESS_TOKEN_SECONDS = 30;
const FAIRNESS_WINDOW_MS = 60_000;

/** One tenant adds nine times as many credentials at once as all others have, at the same host. */
export async function bigTenant(
  testbed: LabTestbed,
  { count: n, namespaces }: Size,
): Promise<Row[]> {
  const realm = { accessTokenLifespan: FAIRNESS_TOKEN_SECONDS };
  await Population.create(testbed, { count: n / 10, namespaces, realm });
  const reader = await testbed.startReader();
  await testbed.startOperator({ tokenHosts: FAIRNESS_LIMIT });
  await reader.until(n / 10, 120);
  await testbed.wait(FAIRNESS_TOKEN_SECONDS * 1_000);
  const ofOthers = () => observe(testbed, reader, FAIRNESS_WINDOW_MS, 'abc-');
  const before = await ofOthers();
  const big = await Population.prepare(testbed, { count: (n * 9) / 10, prefix: 'big', realm });
  const [during] = await Promise.all([ofOthers(), big.createCredentials()]);
  return [
    ...rowsOf('the others before', before),
    ...rowsOf('while one tenant adds 90 % of all', during),
    ...rowsOf('afterwards', await ofOthers()),
  ];
}

export interface HangingHostOptions {
  /** At each of the two hosts. */
  readonly count: number;
  readonly namespaces: number;
  readonly grant: Grant;
  readonly tokenSeconds: number;
  /** Before the host hangs, and again while it hangs. */
  readonly windowMs: number;
  readonly config?: Readonly<Record<string, unknown>>;
}

/** One of two hosts accepts connections and never responds: are renewals at the other one later than before? */
export async function hangingHost(
  testbed: LabTestbed<Provider>,
  options: HangingHostOptions,
): Promise<Row[]> {
  const { tokenSeconds, windowMs, config, ...accounts } = options;
  await using cleanUps = new AsyncDisposableStack();
  const host = cleanUps.adopt(await BuiltInProvider.start(), (it) => it.stop());
  const realm = { accessTokenLifespan: tokenSeconds };
  await Population.create(testbed, { ...accounts, realm });
  const hanging = { prefix: 'hanging', environment: 'hanging', provider: host };
  await Population.create(testbed, { ...accounts, realm, ...hanging });
  const reader = await testbed.startReader('data');
  const { staging } = localStaging(host.url);
  const environments = {
    ...localStaging(testbed.provider.url),
    hanging: { ...staging, realm: '{program}-staging' },
  };
  await testbed.startOperator({ environments, ...config });
  await reader.until(2 * options.count, 120);
  await testbed.wait(tokenSeconds * 1_000);
  const before = await observe(testbed, reader, windowMs, 'abc-');
  const hangsFrom = Date.now();
  await host.call('addFault', { kind: 'hang' });
  const during = await observe(testbed, reader, windowMs, 'abc-');
  const entries = await host.call('entries');
  const unanswered = entries.filter(({ time, status }) => time > hangsFrom && status === 0);
  return [
    row('requests that got no response', unanswered.length),
    ...rowsOf('other host, before', before),
    ...rowsOf('other host, while one hangs', during),
    row('median lateness meanwhile ÷ before', during.median / before.median, atMost(1.25)),
    row('p99 meanwhile less p99 before (ms)', during.p99 - before.p99, atMost(100)),
  ];
}

/** Lateness in milliseconds. */
interface Observation {
  readonly renewals: number;
  readonly median: number;
  readonly p99: number;
  readonly max: number;
  readonly expiredSeconds: number;
}

/** @param prefix of the keys of the credentials that count */
async function observe(
  testbed: LabTestbed<Provider>,
  { targets }: TargetReader,
  milliseconds: number,
  prefix = '',
): Promise<Observation> {
  testbed.log(`Reading targets for ${milliseconds / 1_000} s`);
  const from = Date.now();
  await testbed.wait(milliseconds);
  const span: Span = [from, Date.now()];
  const own: Targets = new Map([...targets].filter(([key]) => key.startsWith(prefix)));
  const late = lateness(own, span);
  return {
    renewals: late.length,
    median: percentile(late, 50),
    p99: percentile(late, 99),
    max: Math.max(...late),
    expiredSeconds: expiredSeconds(own, span),
  };
}

const rowsOf = (when: string, it: Observation): Row[] => [
  row(`${when}: renewals`, it.renewals),
  row('  lateness, median (ms)', it.median),
  row('  p99 (ms)', it.p99),
  row('  max (ms)', it.max),
  row('  expired seconds', it.expiredSeconds, exactly(0)),
];
