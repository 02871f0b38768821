import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** NODE_OPTIONS for jest: the tests are ES modules. */
export const JEST_NODE_OPTIONS = '--experimental-vm-modules --disable-warning=ExperimentalWarning';

/** Argument for jest: files of `npm test` and slow ones. */
export const WITH_SLOW = '--testMatch=<rootDir>/test/**/*.{test,slow}.ts';

/** Where Node keeps the compiled code of processes that tests start: half of their processor time until they serve. */
const COMPILE_CACHE = join(import.meta.dirname, '../node_modules/.cache/node-compile-cache');

export interface Counts {
  readonly passed: number;
  readonly failed: number;
}

/** What one test file came to. */
export interface FileCounts extends Counts {
  readonly path: string;
}

interface Report {
  readonly numPassedTests: number;
  readonly numFailedTests: number;
  readonly numRuntimeErrorTestSuites: number;
  readonly testResults: readonly {
    readonly name: string;
    readonly status: string;
    readonly assertionResults: readonly { readonly status: string }[];
  }[];
}

/** From the report of `jest --json`. A file that can't be loaded counts as one failure. */
export function jestCounts(report: string): Counts {
  const { numPassedTests, numFailedTests, numRuntimeErrorTestSuites }: Report = JSON.parse(
    readFileSync(report, 'utf8'),
  );
  return { passed: numPassedTests, failed: numFailedTests + numRuntimeErrorTestSuites };
}

/** Runs jest in this terminal. A run that fails without a failed test, such as by its coverage, counts as one failure. */
export function runJest(
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
): Counts {
  return withReport(args, env, (report, status) => {
    const { passed, failed } = existsSync(report) ? jestCounts(report) : { passed: 0, failed: 0 };
    return { passed, failed: failed === 0 && status !== 0 ? 1 : failed };
  });
}

/** The same, file by file. A file that can't be loaded counts as one failure; without a report there is no file. */
export function runJestByFile(
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
): FileCounts[] {
  return withReport(args, env, (report) => {
    if (!existsSync(report)) return [];
    const { testResults }: Report = JSON.parse(readFileSync(report, 'utf8'));
    return testResults.map(({ name, status, assertionResults }) => {
      const count = (wanted: string): number =>
        assertionResults.filter((each) => each.status === wanted).length;
      const failed = count('failed');
      return {
        path: name,
        passed: count('passed'),
        failed: failed === 0 && status === 'failed' ? 1 : failed,
      };
    });
  });
}

function withReport<T>(
  args: readonly string[],
  env: Readonly<Record<string, string>>,
  read: (report: string, status: number | null) => T,
): T {
  const scratch = mkdtempSync(join(tmpdir(), 'jest-report-'));
  const report = join(scratch, 'jest.json');
  try {
    const { status } = spawnSync('jest', [...args, '--json', `--outputFile=${report}`], {
      stdio: 'inherit',
      env: {
        ...process.env,
        NODE_OPTIONS: JEST_NODE_OPTIONS,
        NODE_COMPILE_CACHE: COMPILE_CACHE,
        ...env,
      },
    });
    return read(report, status);
  } finally {
    rmSync(scratch, { recursive: true });
  }
}

/** The last line of every run, which CI adds up. Sets the exit code. */
export function printCounts(...all: readonly Counts[]): void {
  const sum = (pick: (counts: Counts) => number): number =>
    all.reduce((total, counts) => total + pick(counts), 0);
  const failed = sum((counts) => counts.failed);
  console.log(`\n${sum((counts) => counts.passed)} passed, ${failed} failed`);
  process.exitCode = failed === 0 ? 0 : 1;
}
