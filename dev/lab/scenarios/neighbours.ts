import { setTimeout as sleep } from 'node:timers/promises';
import { localStaging } from '../../operator.ts';
import { each } from '../api-client.ts';
import type { Lab } from '../lab.ts';
import { Population } from '../population.ts';
import { Provider } from '../provider.ts';
import { quantile, quantity, type Row } from '../report.ts';
import type { TargetTail } from '../target-tail.ts';
import type { Size } from './quiet.ts';
import { punctuality } from './sustained.ts';

const TOKEN_SECONDS = 30;
const BUDGET = { requestsPerSecond: 100, burst: 10, concurrency: 4 };
const WATCH_SECONDS = 60;

/** A host with half of all credentials hangs: are the others later than before? */
export async function hangingHost(lab: Lab, { count: n, namespaces }: Size): Promise<Row[]> {
  const other = await Provider.start();
  try {
    const half = { count: n / 2, namespaces: namespaces / 2, secrets: 'distinct' } as const;
    const options = { ...half, tokenSeconds: TOKEN_SECONDS };
    const hanging = { ...options, prefix: 'hanging', environment: 'hanging', provider: other };
    await Population.create(lab, options);
    await Population.create(lab, hanging);
    const environments = {
      ...localStaging(lab.provider.url),
      hanging: { ...localStaging(other.url).staging, realm: '{program}-staging' },
    };
    const tail = await lab.tail();
    await lab.startOperator({ environments, tokenHosts: BUDGET });
    await tail.until(n, 120);
    await sleep(TOKEN_SECONDS * 1_000);
    const before = await lateness(lab, tail, 'abc-');
    lab.log('One host hangs from now on');
    await other.fault({ kind: 'hang' });
    await sleep(TOKEN_SECONDS * 1_000);
    const during = await lateness(lab, tail, 'abc-');
    return [...shown('both hosts answer', before), ...shown('the other host hangs', during)];
  } finally {
    await other.stop();
  }
}

/** One tenant adds nine times as many credentials at once as all others have, at the same host. */
export async function bigTenant(lab: Lab, { count: n, namespaces }: Size): Promise<Row[]> {
  const some = {
    count: n / 10,
    namespaces,
    secrets: 'distinct',
    tokenSeconds: TOKEN_SECONDS,
  } as const;
  await Population.create(lab, some);
  const tail = await lab.tail();
  await lab.startOperator({ tokenHosts: BUDGET });
  await tail.until(n / 10, 120);
  await sleep(TOKEN_SECONDS * 1_000);
  const before = await lateness(lab, tail, 'abc-');
  const many = { ...some, count: (n * 9) / 10, namespaces: 1, prefix: 'big' } as const;
  const big = await Population.prepare(lab, many);
  lab.log(`One tenant adds ${many.count} credentials`);
  const [during] = await Promise.all([
    lateness(lab, tail, 'abc-'),
    each([...big.keys.keys()], 16, (i) => big.createCredential(i)),
  ]);
  const after = await lateness(lab, tail, 'abc-');
  return [
    ...shown('before', before),
    ...shown('while one tenant adds 90 % of all', during),
    ...shown('afterwards', after),
  ];
}

type Punctuality = ReturnType<typeof punctuality>;

async function lateness(lab: Lab, tail: TargetTail, prefix: string): Promise<Punctuality> {
  lab.log(`Watching for ${WATCH_SECONDS} s`);
  const from = Date.now();
  await sleep(WATCH_SECONDS * 1_000);
  return punctuality(tail, from, prefix);
}

const shown = (when: string, { late, expired, renewals }: Punctuality): Row[] => [
  quantity(`${when}: renewals of the others`, renewals),
  quantity('  lateness, median (ms)', quantile(late, 0.5)),
  quantity('  p99 (ms)', quantile(late, 0.99)),
  quantity('  worst (ms)', Math.max(...late)),
  quantity('  expired seconds', expired),
];
