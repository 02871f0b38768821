import { parseArgs } from 'node:util';
import { missingForControlPlane } from './binaries.ts';
import { startControlPlane } from './control-plane.ts';

/** `node dev/envtest/main.ts [--data DIR] [--user NAME]…`: an API server to try things on, until Ctrl-C. */

const { values } = parseArgs({
  options: { data: { type: 'string' }, user: { type: 'string', multiple: true, default: [] } },
});
const missing = await missingForControlPlane();
if (missing.length > 0) {
  console.error(missing.join('\n'));
  process.exit(1);
}
const interrupted = new Promise<void>((resolve) => {
  process.once('SIGINT', () => resolve()).once('SIGTERM', () => resolve());
});

const controlPlane = await startControlPlane({
  log: console.log,
  users: values.user.map((name) => ({ name })),
  ...(values.data === undefined ? {} : { dataDir: values.data }),
});
console.log(`export KUBECONFIG=${controlPlane.adminKubeconfig}`);
for (const name of values.user) console.log(`# ${name}: ${controlPlane.userKubeconfig(name)}`);
console.log('# Ctrl-C stops it.');
await interrupted;
await controlPlane.stop();
