import { eventsIn, readsIn, requestsIn, shown, writesIn } from '../api-counts.ts';
import { BUDGET_OFF, type Lab } from '../lab.ts';
import { Population } from '../population.ts';
import { atMost, count, exactly, quantile, quantity, type Row } from '../report.ts';
import { waitUntil } from '../target-tail.ts';
import { type Size, settled } from './quiet.ts';

/** From the creation of a credential to its token, one after the other. */
export async function first(lab: Lab, { count: n }: Size): Promise<Row[]> {
  const options = { count: n, namespaces: 1, secrets: 'distinct', tokenSeconds: 3_600 } as const;
  const population = await Population.prepare(lab, options);
  const tail = await lab.tail();
  await lab.startOperator({ tokenHosts: BUDGET_OFF });
  const took: number[] = [];
  for (const [i, key] of population.keys.entries()) {
    const created = Date.now();
    await population.createCredential(i);
    took.push((await tail.first(key, 30)) - created);
  }
  const responses = await answerTimes(lab, population, n);
  return [
    quantity('from creation to the token in the Secret, median (ms)', quantile(took, 0.5)),
    quantity('the same, worst (ms)', Math.max(...took)),
    quantity("the identity provider's own answer time, median (ms)", quantile(responses, 0.5)),
    quantity('the same, worst (ms)', Math.max(...responses)),
  ];
}

async function answerTimes(lab: Lab, { realm }: Population, n: number): Promise<number[]> {
  const took: number[] = [];
  for (let i = 0; i < n; i += 1) {
    const body = `grant_type=client_credentials&scope=openid&client_id=machine-${i}&client_secret=secret-of-machine-${i}`;
    const began = performance.now();
    const response = await fetch(lab.provider.tokenUrl(realm), {
      method: 'POST',
      body,
      headers: { 'content-type': 'application/x-www-form-urlencoded' },
    });
    await response.text();
    took.push(performance.now() - began);
  }
  return took;
}

/** Long enough for a whole round before anything is due. */
const tokenSecondsFor = (n: number): number => Math.max(30, n / 50);

/** Many credentials that present the same client secret: one token request for all, and what a pass costs. */
export async function sharing(lab: Lab, { count: n, namespaces }: Size): Promise<Row[]> {
  const options = {
    count: n,
    namespaces,
    secrets: 'same',
    tokenSeconds: tokenSecondsFor(n),
  } as const;
  const population = await Population.create(lab, options);
  const { rows, firstRound, renewal } = await twoRounds(lab, population, {});
  return [
    count('token requests in the first round', firstRound, exactly(1, firstRound)),
    count('token requests in a renewal round', renewal, exactly(1, renewal)),
    ...rows,
  ];
}

const BUDGET = { requestsPerSecond: 20, burst: 10, concurrency: 4 };

/** As many secrets as credentials: a token request for each, within the budget. */
export async function distinct(lab: Lab, { count: n, namespaces }: Size): Promise<Row[]> {
  const tokenSeconds = Math.max(30, (n / BUDGET.requestsPerSecond) * 2);
  const options = { count: n, namespaces, secrets: 'distinct', tokenSeconds } as const;
  const population = await Population.create(lab, options);
  const rounds = await twoRounds(lab, population, { tokenHosts: BUDGET });
  const times = (await lab.provider.requests()).map(({ time }) => time);
  const most = mostWithin(times, 5_000);
  // Those that left in time may be late on their way
  const allowed = BUDGET.burst + 5 * BUDGET.requestsPerSecond + BUDGET.concurrency;
  return [
    count('token requests in the first round', rounds.firstRound, exactly(n, rounds.firstRound)),
    count('token requests in a renewal round', rounds.renewal, exactly(n, rounds.renewal)),
    count('most token requests within any 5 s', most, atMost(allowed, most)),
    ...rounds.rows,
  ];
}

async function twoRounds(lab: Lab, population: Population, config: Record<string, unknown>) {
  const n = population.keys.length;
  const tail = await lab.tail();
  const atStart = await lab.counts();
  await lab.startOperator(config);
  await tail.until(n, 300);
  await settled(lab, atStart, n);
  const first = await lab.countsSince(atStart);
  const firstRound = await lab.provider.count();
  const atRenewal = await lab.counts();
  tail.forget();
  await population.tokenSeconds(3_600);
  await waitUntil(
    () => tail.publications.length >= n,
    300,
    () => `${tail.publications.length}`,
  );
  await settled(lab, atRenewal, n);
  const second = await lab.countsSince(atRenewal);
  const lists = first['LIST secrets'] ?? 0;
  const perSync = (requestsIn(first) - lists - (first['LIST convercuscredentials'] ?? 0)) / n;
  const perRenewal = requestsIn(second) / n;
  const rows = [
    count('API requests per first sync', perSync, atMost(4, perSync)),
    count(
      '  of them reads, writes, events',
      `${readsIn(first) - lists - (first['LIST convercuscredentials'] ?? 0)}, ${writesIn(first)}, ${eventsIn(first)}`,
    ),
    count('API requests per renewal', perRenewal, exactly(2, perRenewal)),
    count('  as the API server counts them', shown(second)),
  ];
  return { rows, firstRound, renewal: (await lab.provider.count()) - firstRound };
}

/** The most of the moments that lie in a window of that length. */
function mostWithin(times: readonly number[], length: number): number {
  let start = 0;
  return times.reduce((most, time, i) => {
    while ((times[start] ?? time) < time - length) start += 1;
    return Math.max(most, i - start + 1);
  }, 0);
}
