/** `npm run bench` and `npm run soak`. Each reads its own options. */
import { bench } from './bench.ts';
import { soak } from './soak.ts';

const [command = '', ...args] = process.argv.slice(2);
const COMMANDS = new Map([
  ['bench', bench],
  ['soak', soak],
]);
const run = COMMANDS.get(command);
if (run === undefined) console.error('node dev/lab/main.ts bench|soak [--help]');
process.exitCode = run === undefined ? 2 : await run(args);
