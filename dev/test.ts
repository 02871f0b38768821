/**
 * `npm test`: every check and every test, one after the other, whatever fails before.
 * Arguments go to jest: `npm test -- test/credential` runs a part. Ends with a line `N passed, N failed`.
 */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { JEST_NODE_OPTIONS, jestCounts } from './jest.ts';

const jestArguments = process.argv.slice(2);
const isPart = jestArguments.some((argument) => !argument.startsWith('-'));
const scratch = mkdtempSync(join(tmpdir(), 'convercus-test-'));
const report = join(scratch, 'jest.json');

const checks: [title: string, command: string, ...args: string[]][] = [
  ['types', 'tsc', '--noEmit'],
  ['lint', 'oxlint', '--type-aware', '--deny-warnings', 'src', 'test', 'dev'],
  ['format', 'biome', 'check'],
  // Before the tests, whose time limits are not meant for it
  ['servers and tools', 'node', 'dev/build-servers.ts'],
  ['generated files', 'node', 'dev/generate.ts', '--check'],
];

function run(title: string, [command, ...args]: string[], env: NodeJS.ProcessEnv = {}): boolean {
  console.log(`\n== ${title}: ${command} ${args.join(' ')}`);
  const { status, error } = spawnSync(command ?? '', args, {
    stdio: 'inherit',
    env: { ...process.env, ...env },
  });
  if (error !== undefined) console.error(error.message);
  if (status !== 0) console.log(`== ${title}: failed`);
  return status === 0;
}

const passedChecks = isPart ? [] : checks.map(([title, ...command]) => run(title, command));
const coverage = isPart ? [] : ['--coverage', '--coverageReporters=text'];
const jest = ['jest', ...coverage, '--json', `--outputFile=${report}`, ...jestArguments];
const jestPassed = run('tests', jest, {
  NODE_OPTIONS: JEST_NODE_OPTIONS,
});
const { passed, failed } = jestCounts(report);
rmSync(scratch, { recursive: true });

const failedChecks = passedChecks.filter((ok) => !ok).length;
const failures = failed + failedChecks + (failed === 0 && !jestPassed ? 1 : 0);
console.log(`\n${passed + passedChecks.length - failedChecks} passed, ${failures} failed`);
process.exitCode = failures === 0 ? 0 : 1;
