/**
 * `npm run alerts` (7 minutes): three faults on a real kube-apiserver, watched by a real Prometheus with the chart's
 * rules as they are, scrapes and evaluations every 5 s. Prints the alerts of each fault and when they fired.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { proxies } from '../keycloak/dialect/faults.ts';
import { eventually } from '../testbed/objects.ts';
import { Testbed } from '../testbed/testbed.ts';
import { type Alert, Prometheus } from './prometheus.ts';

/** Renewals are due after a minute; a token has four more minutes then. */
const TOKEN_SECONDS = 300;
const RENEWAL = { percent: 20, jitterPercent: 0 };
const CREDENTIALS = 6;

type IsOfFault = (alert: Alert) => boolean;

const nameOf = ({ labels }: Alert): string => labels['alertname'] ?? '';

await using testbed = await Testbed.start({ operators: [{ log: { level: 'info' } }] });
await using prometheus = await Prometheus.start(testbed.operator.url, '5s');
const wrong = await testbed.tenant({ accessTokenLifespan: TOKEN_SECONDS });
const down = await testbed.tenant({ accessTokenLifespan: TOKEN_SECONDS });
await wrong.credential('loyalty', { renewal: RENEWAL });
for (let n = 0; n < CREDENTIALS; n += 1) {
  await down.secret(`source-${n}`, { client_secret: down.clientSecret });
  const credentialsSecretRef = { name: `source-${n}` };
  await down.credential(`loyalty-${n}`, { credentialsSecretRef, renewal: RENEWAL });
}
await wrong.ready('loyalty');
await down.kubectl('wait', '--for=condition=Ready', 'convcred', '--all', '--timeout=90s');
// A rate needs some scrapes
await sleep(30_000);

testbed.provider.faults.add({ realm: down.realm, ...proxies.badGateway });
const outage = watch(
  'provider down',
  ({ labels }) => 'host' in labels || labels['namespace'] === down.namespace,
);
await wrong.secret('source', { client_secret: 'that-of-production' });
const rejection = watch(
  'client secret replaced by a wrong one',
  ({ labels }) => labels['namespace'] === wrong.namespace,
);
await Promise.all([outage, rejection]);

await testbed.operator.kill(0);
await watch('release dead', (alert) => nameOf(alert) === 'ConvercusOperatorDown');

/** Prints the first alert of the fault that begins now. */
async function watch(fault: string, isOfFault: IsOfFault): Promise<void> {
  const began = Date.now();
  const alerts = await eventually(
    async () => (await prometheus.firing()).filter(isOfFault),
    (firing) => firing.length > 0,
    600,
  );
  const seconds = Math.round((Date.now() - began) / 1_000);
  const names = new Set(alerts.map(nameOf));
  if (names.size === 0) throw new Error(`no alert in 10 minutes: ${fault}`);
  console.log(`${fault}: ${[...names].join(', ')} after ${seconds} s`);
}
