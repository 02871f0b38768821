/** `npm run bench` and `npm run soak`: each has options of its own. */
import { bench } from './bench.ts';
import { soak } from './soak.ts';
import { UsageError } from './usage.ts';

const [command, ...args] = process.argv.slice(2);

try {
  if (command === 'bench') process.exitCode = await bench(args);
  else if (command === 'soak') process.exitCode = await soak(args);
  else throw new UsageError('node dev/lab/main.ts bench|soak [--help]');
} catch (error) {
  if (!(error instanceof UsageError)) throw error;
  console.error(error.message);
  process.exitCode = 2;
}
