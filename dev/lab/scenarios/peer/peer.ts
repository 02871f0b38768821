import { loadavg } from 'node:os';
import { type BareLoopResult, runBareLoop } from '../../bare-loop.ts';
import { mean } from '../../measures.ts';
import { Population } from '../../population.ts';
import { sampleOf } from '../../process-sample.ts';
import { type Row, row } from '../../report.ts';
import { type LabTestbed, NO_RATE_LIMIT, pidOf, type Size } from '../../testbed.ts';
import { measureRenewals, RENEWAL, WORKERS } from '../speed.ts';
import { ExternalSecretPopulation } from './external-secret-population.ts';
import {
  ExternalSecrets,
  ensureExternalSecrets,
  installExternalSecrets,
} from './external-secrets.ts';
import { coldSync, type Figures, type Process, tableOf } from './figures.ts';
import { SecretWatch } from './secret-watch.ts';

const WINDOW_SECONDS = 30;
const LIMITS = { tokenHosts: NO_RATE_LIMIT, workers: WORKERS };

/** Long enough for a first round before anything is due: a renewal makes no event, so that all belong to that round. */
const firstLifeFor = (n: number): number => Math.max(n * 0.12, 60);

/** Due again after a tenth of it: more than 300 a second would have to be renewed, and at 33 a second none expires. */
const lifeFor = (n: number): number => Math.max(n * 0.03, 20);

/**
 * Sooner than ESO can refresh 1,000, but longer than one refresh takes: a resource that is overdue at its end would go
 * through the rate limiter for retries, 10 per second.
 */
const REFRESH_INTERVAL = '5s';
const WARM_UP_SECONDS = 20;

const TUNED = [`--concurrent=${WORKERS}`, '--client-qps=10000', '--client-burst=10000'];

/** The operator beside External Secrets Operator, whose Webhook generator asks the same token endpoint. */
export async function peer(testbed: LabTestbed, size: Size): Promise<Row[]> {
  const release = await ensureExternalSecrets((line) => testbed.log(line));
  const kubeconfig = await installExternalSecrets(testbed.controlPlane, release);
  const load = [loadavg()];
  const before = await runBareLoop(testbed);
  const operator = await operatorFigures(testbed, size);
  const run = (prefix: string, flags: readonly string[]) =>
    peerFigures(testbed, { ...size, prefix }, (): Promise<ExternalSecrets> => {
      testbed.log(`Starting External Secrets Operator ${release.version} ${flags.join(' ')}`);
      return ExternalSecrets.start({ program: release.program, kubeconfig, flags });
    });
  const plain = await run('plain', []);
  const tuned = await run('tuned', TUNED);
  const bareLoops = [before, await runBareLoop(testbed)];
  load.push(loadavg());
  const table = tableOf(
    [
      ['operator', operator],
      ['bare loop', figuresOf(bareLoops)],
    ],
    [
      ['ESO', plain],
      ['ESO tuned', tuned],
    ],
  );
  return [
    row('External Secrets Operator', release.version),
    row(
      'load average (1 min), before and after',
      load.map(([one = 0]) => one.toFixed(1)).join(', '),
    ),
    row(
      'bare loop: renewals per second, before and after',
      bareLoops.map(({ perSecond }) => perSecond.toFixed(0)).join(', '),
    ),
    row('failed syncs of ESO, of ESO tuned', `${plain.failedSyncs}, ${tuned.failedSyncs}`),
    row(`${size.count} resources of one client`, `\n${table}`),
  ];
}

async function operatorFigures(testbed: LabTestbed, size: Size): Promise<Figures> {
  const { count: n, namespaces } = size;
  const realm = { accessTokenLifespan: firstLifeFor(n) };
  const options = { count: n, namespaces, sharesClient: true, prefix: 'own', realm };
  const population = await Population.create(testbed, options);
  const before = await testbed.counts();
  const { started, ...cold } = await coldSync(await watchOurs(testbed), n, () =>
    testbed.startOperator(LIMITS),
  );
  await testbed.untilQuiet(before, n);
  await started.kill();
  await testbed.provider.setTokenSeconds(population.realm, lifeFor(n));
  const watch = await watchOurs(testbed);
  const operator = await testbed.startOperator({ ...LIMITS, renewal: RENEWAL });
  testbed.log('All are renewed, and then again and again');
  await watch.until(n, 60 + firstLifeFor(n) + n / 2);
  const renewals = await renewalFigures(testbed, operator);
  await operator.kill();
  await population.delete();
  return { ...cold, ...renewals };
}

async function renewalFigures(testbed: LabTestbed, running: Process) {
  const cost = await measureRenewals(testbed, pidOf(running), WINDOW_SECONDS);
  return { ...cost, residentMb: sampleOf(pidOf(running)).residentMb };
}

const watchOurs = ({ client }: LabTestbed): Promise<SecretWatch> =>
  SecretWatch.start(client, 'app.kubernetes.io/managed-by=convercus-operator');

async function peerFigures(
  testbed: LabTestbed,
  size: Size & { readonly prefix: string },
  start: () => Promise<ExternalSecrets>,
): Promise<Figures & { readonly failedSyncs: number }> {
  const population = await ExternalSecretPopulation.create(testbed, size);
  const watch = await SecretWatch.start(
    testbed.client,
    'reconcile.external-secrets.io/managed=true',
  );
  const { started, ...cold } = await coldSync(watch, size.count, start);
  await population.refreshEvery(REFRESH_INTERVAL);
  await testbed.wait(WARM_UP_SECONDS * 1_000);
  const renewals = await renewalFigures(testbed, started);
  const failedSyncs = await started.failedSyncs();
  await started.stop();
  await population.delete();
  return { ...cold, ...renewals, failedSyncs };
}

function figuresOf(bareLoops: readonly BareLoopResult[]): Figures {
  const meanOf = (of: (result: BareLoopResult) => number): number => mean(bareLoops.map(of));
  return {
    coldSeconds: undefined,
    coldMb: undefined,
    perSecond: meanOf((it) => it.perSecond),
    apiRequests: 2,
    tokenRequests: 1,
    cpuMs: meanOf((it) => it.cpuMs),
    serverCpuMs: meanOf((it) => it.serverCpuMs),
    residentMb: undefined,
  };
}
