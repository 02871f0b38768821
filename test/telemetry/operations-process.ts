import { monitorEventLoopDelay } from 'node:perf_hooks';
import { rfc3339, seconds } from '../../src/lib/time.ts';
import { createMetrics } from '../../src/telemetry/metrics.ts';
import { startOperationsServer } from '../../src/telemetry/operations-server.ts';
import { aCredential, START } from '../support/builders.ts';
import { FakeClock } from '../support/fake-clock.ts';

/**
 * A process of its own with an operations server: `fork(FILE, [credentials, 'shared' or 'apart'])`. It tells its ports,
 * and to each message for how long 99 of 100 timers were late at most since the one before, in milliseconds.
 */

const [credentials = 0, ports] = process.argv.slice(2);
const status = { expiresAt: rfc3339(START + seconds(300)), renewAt: rfc3339(START) };
const all = Array.from({ length: Number(credentials) }, (_, at) =>
  aCredential({ metadata: { name: `credential-${at}` }, status }),
);
const clock = new FakeClock();
const metrics = createMetrics({ version: '1', workers: 16, leaseName: 'lease', clock });
metrics.leading(true);
metrics.observe({ credentials: () => all });

const { port, probePort } = await startOperationsServer({
  host: '127.0.0.1',
  port: 0,
  ...(ports === 'apart' && { probePort: 0 }),
  readiness: () => [],
  metrics,
});
const delay = monitorEventLoopDelay({ resolution: 1 });
delay.enable();
process.on('message', () => {
  process.send?.(delay.percentile(99) / 1e6);
  delay.reset();
});
process.send?.({ port, probePort });
