import { allowClusterCredentials, OPERATOR_NAMESPACE } from '../../testbed/operator.ts';
import { secretData } from '../accounts.ts';
import { requestsIn } from '../api-counts.ts';
import { Population } from '../population.ts';
import { sampleOf } from '../process-sample.ts';
import { exactly, type Row, row } from '../report.ts';
import { type LabTestbed, NO_RATE_LIMIT, pidOf, type Size } from '../testbed.ts';

/** What fits into `spec.namespaces`. */
const MOST_NAMESPACES = 1_000;
const REST_SECONDS = 60;

interface Side {
  readonly name: string;
  readonly population: Population;
  /** Writes for each namespace in the first round, and in a renewal round. */
  readonly writes: number;
  readonly config: Readonly<Record<string, unknown>>;
}

/** The same token in many namespaces: by one ClusterConvercusCredential, and by a ConvercusCredential in each of them. */
export async function manyNamespaces(testbed: LabTestbed, { count: size }: Size): Promise<Row[]> {
  const count = Math.min(size, MOST_NAMESPACES);
  // Long enough for the whole first round
  const realm = { accessTokenLifespan: Math.max(60, count / 8) };
  const options = { count, namespaces: count, sharesClient: true, realm };
  const copies = await Population.create(testbed, options);
  const config = { tokenHosts: NO_RATE_LIMIT };
  const one = await measure(testbed, { name: 'copies', population: copies, writes: 2, config });
  await copies.delete();
  await allowClusterCredentials(testbed.controlPlane);
  const cluster = await Population.prepare(testbed, { ...options, prefix: 'xyz' });
  await createClusterCredential(testbed, cluster);
  const clusterCredentials = { enabled: true, namespace: OPERATOR_NAMESPACE };
  const other = await measure(testbed, {
    name: 'one',
    population: cluster,
    writes: 1,
    config: { ...config, clusterCredentials },
  });
  return [...one, ...other];
}

async function createClusterCredential(
  { client }: LabTestbed,
  { first, accounts, realm }: Population,
): Promise<void> {
  const metadata = { name: first.secretName, namespace: OPERATOR_NAMESPACE };
  await client.send({
    method: 'POST',
    path: `/api/v1/namespaces/${OPERATOR_NAMESPACE}/secrets`,
    body: { apiVersion: 'v1', kind: 'Secret', metadata, stringData: secretData(first) },
  });
  const spec = {
    program: 'XYZ',
    environment: 'staging',
    realm,
    clientId: first.clientId,
    credentialsSecretRef: { name: first.secretName },
    namespaces: accounts.map(({ namespace }) => namespace),
    target: { name: 'convercus-token' },
  };
  await client.send({
    method: 'POST',
    path: '/apis/convercus.io/v1alpha1/clusterconvercuscredentials',
    body: {
      apiVersion: 'convercus.io/v1alpha1',
      kind: 'ClusterConvercusCredential',
      metadata: { name: 'xyz' },
      spec,
    },
  });
}

/** A first round and a renewal round. */
async function measure(testbed: LabTestbed, side: Side): Promise<Row[]> {
  const { name, population, writes, config } = side;
  const n = population.accounts.length;
  const round = async (change: () => Promise<unknown>) => {
    const reader = await testbed.startReader();
    return testbed.requestsDuring(async (before) => {
      const began = Date.now();
      await change();
      const seconds = ((await reader.until(n, 300)) - began) / 1_000;
      await testbed.untilQuiet(before, (n * writes) / 2);
      reader.stop();
      return seconds;
    });
  };
  const first = await round(() => testbed.startOperator(config));
  const operator = testbed.operators.at(-1);
  if (operator === undefined) throw new Error('no operator runs');
  const afterFirst = sampleOf(pidOf(operator));
  const renewal = await round(() => testbed.provider.setTokenSeconds(population.realm, 3_600));
  const afterRenewal = sampleOf(pidOf(operator));
  await testbed.wait(REST_SECONDS * 1_000);
  const { residentMb } = sampleOf(pidOf(operator));
  await operator.kill();
  return [
    row(`${name}: token requests in the first round`, first.tokens, exactly(1)),
    row('  in a renewal round', renewal.tokens, exactly(1)),
    row('  from the start until all have their token (s)', first.result),
    row('  API requests in the first round, a namespace', requestsIn(first.counts) / n),
    row('  in a renewal round', requestsIn(renewal.counts) / n),
    row('  CPU of the operator from its start (ms)', afterFirst.cpuMs),
    row('  in a renewal round (ms)', afterRenewal.cpuMs - afterFirst.cpuMs),
    row(`  resident memory at rest, after ${REST_SECONDS} s (MB)`, residentMb),
    row('  at its peak (MB)', afterRenewal.peakMb),
  ];
}
