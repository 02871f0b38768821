import { createMetrics } from '../../src/telemetry/metrics.ts';
import { startOperationsServer } from '../../src/telemetry/operations-server.ts';
import { FakeClock } from '../support/fake-clock.ts';

/** A process of its own with an operations server: `fork(FILE, ['shared' or 'apart'])`. It tells its ports. */

const clock = new FakeClock();
const { port, probePort } = await startOperationsServer({
  host: '127.0.0.1',
  port: 0,
  ...(process.argv[2] === 'apart' && { probePort: 0 }),
  readiness: () => [],
  metrics: createMetrics({ version: '1', workers: 16, leaseName: 'lease', clock }),
});
process.send?.({ port, probePort });
