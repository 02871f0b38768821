import { loadavg } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Bound, bound } from '../bound.ts';
import { BUDGET_OFF, type Lab } from '../lab.ts';
import { Population } from '../population.ts';
import { count, type Row } from '../report.ts';
import { type Size, settled } from '../scenarios/quiet.ts';
import { RENEWAL } from '../scenarios/speed.ts';
import { ExternalSecretPopulation, removeAll } from './external-secret-population.ts';
import {
  ExternalSecrets,
  ensureExternalSecrets,
  installExternalSecrets,
} from './external-secrets.ts';
import { coldSync, type Figures, saturation, tableOf } from './figures.ts';
import { SecretWatch } from './secret-watch.ts';

const WORKERS = 16;
const BOUND = { seconds: 10, concurrency: WORKERS };
const WINDOW_SECONDS = 30;
const LIMITS = { tokenHosts: BUDGET_OFF, workers: WORKERS };

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
export async function peer(lab: Lab, size: Size): Promise<Row[]> {
  const release = await ensureExternalSecrets((line) => lab.log(line));
  const kubeconfig = await installExternalSecrets(lab.controlPlane, release);
  const load = [loadavg()];
  const before = await bound(lab, BOUND);
  const operator = await operatorFigures(lab, size);
  const run = (prefix: string, flags: readonly string[]) =>
    peerFigures(lab, { ...size, prefix }, (): Promise<ExternalSecrets> => {
      lab.log(`Starting External Secrets Operator ${release.version} ${flags.join(' ')}`);
      return ExternalSecrets.start({ program: release.program, kubeconfig, flags });
    });
  const plain = await run('plain', []);
  const tuned = await run('tuned', TUNED);
  const bounds = [before, await bound(lab, BOUND)];
  load.push(loadavg());
  const table = tableOf(
    [
      ['operator', operator],
      ['bare loop', figuresOf(bounds)],
    ],
    [
      ['ESO', plain],
      ['ESO tuned', tuned],
    ],
  );
  return [
    count('External Secrets Operator', release.version),
    count(
      'load average (1 min), before and after',
      load.map(([one = 0]) => one.toFixed(1)).join(', '),
    ),
    count(
      'bare loop: renewals per second, before and after',
      bounds.map(({ perSecond }) => perSecond.toFixed(0)).join(', '),
    ),
    count('failed syncs of ESO, of ESO tuned', `${plain.failedSyncs}, ${tuned.failedSyncs}`),
    count(`${size.count} resources of one client`, `\n${table}`),
  ];
}

async function operatorFigures(lab: Lab, size: Size): Promise<Figures> {
  const { count: n } = size;
  const options = {
    ...size,
    secrets: 'same',
    tokenSeconds: firstLifeFor(n),
    prefix: 'own',
  } as const;
  const population = await Population.create(lab, options);
  const atStart = await lab.counts();
  const { started, ...cold } = await coldSync(await watchOurs(lab), n, () =>
    lab.startOperator(LIMITS),
  );
  await settled(lab, atStart, n);
  await started.kill();
  await population.tokenSeconds(lifeFor(n));
  const watch = await watchOurs(lab);
  const operator = await lab.startOperator({ ...LIMITS, renewal: RENEWAL });
  lab.log('All are renewed, and then again and again');
  await watch.until(n, 60 + firstLifeFor(n) + n / 2);
  const renewals = await saturation(lab, WINDOW_SECONDS, operator);
  await operator.kill();
  const namespaces = [...new Set(population.keys.map((key) => key.replace(/\/.*/, '')))];
  await removeAll(lab, namespaces, 'convercus.io/v1alpha1', 'convercuscredentials');
  return { ...cold, ...renewals };
}

const watchOurs = ({ client }: Lab): Promise<SecretWatch> =>
  SecretWatch.start(client, 'app.kubernetes.io/managed-by=convercus-operator');

async function peerFigures(
  lab: Lab,
  size: Size & { readonly prefix: string },
  start: () => Promise<ExternalSecrets>,
): Promise<Figures & { readonly failedSyncs: number }> {
  const population = await ExternalSecretPopulation.create(lab, size);
  const watch = await SecretWatch.start(lab.client, 'reconcile.external-secrets.io/managed=true');
  const { started, ...cold } = await coldSync(watch, size.count, start);
  await population.refreshEvery(REFRESH_INTERVAL);
  await sleep(WARM_UP_SECONDS * 1_000);
  const renewals = await saturation(lab, WINDOW_SECONDS, started);
  const failedSyncs = await started.failedSyncs();
  await started.stop();
  await population.remove();
  return { ...cold, ...renewals, failedSyncs };
}

function figuresOf(bounds: readonly Bound[]): Figures {
  const mean = (of: (bound: Bound) => number): number =>
    bounds.reduce((sum, each) => sum + of(each), 0) / bounds.length;
  return {
    coldSeconds: undefined,
    coldMb: undefined,
    perSecond: mean((it) => it.perSecond),
    apiRequests: 2,
    tokenRequests: 1,
    cpuMs: mean((it) => it.cpuMs),
    serverCpuMs: mean((it) => it.serverCpuMs),
    allCpuMs: mean((it) => it.cpuMs + it.serverCpuMs),
    residentMb: undefined,
  };
}
