import { readFileSync } from 'node:fs';

/** What every run of jest here needs, for tests are ES modules. */
export const JEST_NODE_OPTIONS = '--experimental-vm-modules --disable-warning=ExperimentalWarning';

/** From the report of `jest --json`. Failed suites count too: a file that can't be loaded runs no test. */
export function jestCounts(report: string): { passed: number; failed: number } {
  const { numPassedTests, numFailedTests, numRuntimeErrorTestSuites } = JSON.parse(
    readFileSync(report, 'utf8'),
  );
  return { passed: numPassedTests, failed: numFailedTests + numRuntimeErrorTestSuites };
}
