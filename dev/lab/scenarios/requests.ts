import { eventsIn, listsIn, readsIn, requestsIn, shown, writesIn } from '../api-counts.ts';
import { mostWithin, percentile } from '../measures.ts';
import { Population } from '../population.ts';
import { atMost, exactly, type Row, row } from '../report.ts';
import { type LabTestbed, NO_RATE_LIMIT, type Size } from '../testbed.ts';
import { FIRST_SYNC_REQUESTS, RENEWAL_REQUESTS } from '../thresholds.ts';

/** From the creation of a credential to its token, one after the other. */
export async function firstToken(testbed: LabTestbed, { count }: Size): Promise<Row[]> {
  const realm = { accessTokenLifespan: 3_600 };
  const population = await Population.prepare(testbed, { count, realm });
  const reader = await testbed.startReader();
  await testbed.startOperator({ tokenHosts: NO_RATE_LIMIT });
  const latencies: number[] = [];
  for (const account of population.accounts) {
    const created = Date.now();
    await population.createCredential(account);
    latencies.push((await reader.until(latencies.length + 1, 30)) - created);
  }
  return [
    row('from creation to the token in the Secret, median (ms)', percentile(latencies, 50)),
    row('  max (ms)', Math.max(...latencies)),
  ];
}

/** Many credentials with the same client secret: one token request for all. */
export async function sharedClient(
  testbed: LabTestbed,
  { count, namespaces }: Size,
): Promise<Row[]> {
  // Long enough for a whole round before a renewal is due
  const realm = { accessTokenLifespan: Math.max(30, count / 50) };
  const options = { count, namespaces, sharesClient: true, realm };
  return twoRounds(testbed, await Population.create(testbed, options), { tokenRequests: 1 });
}

const LIMIT = { requestsPerSecond: 20, burst: 10, concurrency: 4 };
const WINDOW_SECONDS = 5;

/** As many client secrets as credentials: a token request for each, within the rate limit. */
export async function ownClients(testbed: LabTestbed, { count, namespaces }: Size): Promise<Row[]> {
  const realm = { accessTokenLifespan: Math.max(30, (count / LIMIT.requestsPerSecond) * 2) };
  const population = await Population.create(testbed, { count, namespaces, realm });
  const config = { tokenHosts: LIMIT };
  const rows = await twoRounds(testbed, population, { tokenRequests: count, config });
  const entries = await testbed.provider.call('entries');
  const times = entries.map(({ time }) => time);
  const most = mostWithin(times, WINDOW_SECONDS * 1_000);
  // Requests that left in time may arrive late
  const allowed = LIMIT.burst + WINDOW_SECONDS * LIMIT.requestsPerSecond + LIMIT.concurrency;
  return [...rows, row(`most token requests in ${WINDOW_SECONDS} s`, most, atMost(allowed))];
}

interface Round {
  /** Expected. */
  readonly tokenRequests: number;
  readonly config?: Readonly<Record<string, unknown>>;
}

/** A first sync of all, and then a renewal of all. */
async function twoRounds(
  testbed: LabTestbed,
  { accounts, realm }: Population,
  { tokenRequests, config }: Round,
): Promise<Row[]> {
  const n = accounts.length;
  const round = async (change: () => Promise<unknown>) => {
    const reader = await testbed.startReader();
    return testbed.requestsDuring(async (before) => {
      await change();
      await reader.until(n, 300);
      await testbed.untilQuiet(before, n);
      reader.stop();
    });
  };
  const first = await round(() => testbed.startOperator(config));
  const renewal = await round(() => testbed.provider.setTokenSeconds(realm, 3_600));
  const reads = readsIn(first.counts) - listsIn(first.counts);
  const [writes, events] = [writesIn(first.counts), eventsIn(first.counts)];
  return [
    row('token requests in the first round', first.tokens, exactly(tokenRequests)),
    row('token requests in a renewal round', renewal.tokens, exactly(tokenRequests)),
    row('API requests per first sync, without events', (reads + writes) / n, FIRST_SYNC_REQUESTS),
    row('  reads, writes, events of all', `${reads}, ${writes}, ${events}`),
    row('API requests per renewal', requestsIn(renewal.counts) / n, RENEWAL_REQUESTS),
    row('  as the API server counts them', shown(renewal.counts)),
  ];
}
