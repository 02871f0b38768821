import { execFile, spawnSync } from 'node:child_process';
import { availableParallelism } from 'node:os';
import { promisify } from 'node:util';
import { type Counts, printCounts, runJest } from './jest.ts';
import { missingForTests } from './missing.ts';

/**
 * `npm test`: every check, then every test, whatever fails before. Arguments go to jest: `npm test -- test/credential`
 * runs a part, without the checks. `npm run test:unit`: the tests that listen on no socket, start no process and play no
 * load. `npm run coverage`: all tests that start no process; counts as one test, and fails where they run less of `src`
 * than `jest.config.js` asks for. Ends with a line `N passed, N failed`.
 */

const CHECKS: readonly (readonly [title: string, command: string, ...args: string[]])[] = [
  ['types', 'tsc', '--noEmit'],
  ['lint', 'oxlint', '--type-aware', '--deny-warnings', 'src', 'test', 'dev'],
  ['format', 'biome', 'check'],
  ['generated files', 'node', 'dev/generate.ts', '--check'],
];

/** Patterns of paths: of tests that start no process. */
const IN_PROCESS = [
  'test/(lib|oauth|credential|tokens|controller|kubernetes|telemetry|reconcile)/',
  'test/(config|imports|informers|informers-of-clusters|operator|readiness)\\.test\\.ts',
];

/** Among these, the ones that listen on a socket or play thousands of requests. */
const NO_UNIT_TESTS = [
  'oauth/(connections|http-client|identity-provider|legacy-login|logout|token-endpoint)\\.test',
  'kubernetes/(client|lease|list-watch|rest-client|rest-config)\\.test',
  '(reconcile/provider-responses|telemetry/operations-server|tokens/[a-z-]+-load)\\.test',
];

const args = process.argv.slice(2);
if (args[0] === '--unit') printCounts(runUnit(args.slice(1)));
else if (args[0] === '--coverage') printCounts(runCoverage());
else if (args.some((arg) => !arg.startsWith('-'))) printCounts(runJest(args));
else printCounts(...(await runChecksAndTests()));

/** What is missing is told before anything starts, and counts as one failure. */
async function runChecksAndTests(): Promise<Counts[]> {
  const missing = await missingForTests();
  if (missing.length > 0) {
    console.error(missing.join('\n'));
    return [{ passed: 0, failed: 1 }];
  }
  return [...(await Promise.all(CHECKS.map(check))), buildServers(), runJest(args)];
}

function runUnit(jestArguments: readonly string[]): Counts {
  const ignored = NO_UNIT_TESTS.map((pattern) => `--testPathIgnorePatterns=${pattern}`);
  return runInProcess([...jestArguments, ...ignored]);
}

/** Properties get a tenth of their runs. */
function runInProcess(jestArguments: readonly string[]): Counts {
  const workers = `--maxWorkers=${availableParallelism()}`;
  return runJest([workers, ...IN_PROCESS, ...jestArguments], { RUNS_SHARE: '0.1' });
}

/** Apart from `npm test`: code that counts its lines takes half as much processor time again. */
function runCoverage(): Counts {
  const { failed } = runInProcess(['--coverage', '--coverageReporters=text']);
  return failed === 0 ? { passed: 1, failed } : { passed: 0, failed };
}

/** Before the tests, whose time limits are not meant for it. Takes minutes when the cache is empty. */
function buildServers(): Counts {
  const { status } = spawnSync('node', ['dev/build-servers.ts'], { stdio: 'inherit' });
  return status === 0 ? { passed: 1, failed: 0 } : { passed: 0, failed: 1 };
}

/** Runs beside the others, so what it printed comes all at once. */
async function check([title, command, ...args]: (typeof CHECKS)[number]): Promise<Counts> {
  const ran = promisify(execFile)(command, args, { maxBuffer: 64 << 20 });
  const { stdout, stderr, code } = await ran.then(
    (output) => ({ ...output, code: 0 }),
    (error: { stdout?: string; stderr?: string; message: string }) => ({
      stdout: error.stdout ?? '',
      stderr: error.stderr ?? error.message,
      code: 1,
    }),
  );
  console.log(`\n== ${title}: ${command} ${args.join(' ')}\n${stdout}${stderr}`.trimEnd());
  if (code !== 0) console.log(`== ${title}: failed`);
  return { passed: code === 0 ? 1 : 0, failed: code };
}
