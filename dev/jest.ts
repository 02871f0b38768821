import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** NODE_OPTIONS for jest: the tests are ES modules. */
export const JEST_NODE_OPTIONS = '--experimental-vm-modules --disable-warning=ExperimentalWarning';

export interface Counts {
  readonly passed: number;
  readonly failed: number;
}

/** From the report of `jest --json`. A file that can't be loaded counts as one failure. */
export function jestCounts(report: string): Counts {
  const { numPassedTests, numFailedTests, numRuntimeErrorTestSuites } = JSON.parse(
    readFileSync(report, 'utf8'),
  );
  return { passed: numPassedTests, failed: numFailedTests + numRuntimeErrorTestSuites };
}

/** Runs jest in this terminal. A run that fails without a failed test, such as by its coverage, counts as one failure. */
export function runJest(
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
): Counts {
  const scratch = mkdtempSync(join(tmpdir(), 'jest-report-'));
  const report = join(scratch, 'jest.json');
  const { status } = spawnSync('jest', [...args, '--json', `--outputFile=${report}`], {
    stdio: 'inherit',
    env: { ...process.env, NODE_OPTIONS: JEST_NODE_OPTIONS, ...env },
  });
  const { passed, failed } = existsSync(report) ? jestCounts(report) : { passed: 0, failed: 0 };
  rmSync(scratch, { recursive: true });
  return { passed, failed: failed === 0 && status !== 0 ? 1 : failed };
}

/** The last line of every run, which CI adds up. Sets the exit code. */
export function printCounts(...all: readonly Counts[]): void {
  const sum = (pick: (counts: Counts) => number): number =>
    all.reduce((total, counts) => total + pick(counts), 0);
  const failed = sum((counts) => counts.failed);
  console.log(`\n${sum((counts) => counts.passed)} passed, ${failed} failed`);
  process.exitCode = failed === 0 ? 0 : 1;
}
