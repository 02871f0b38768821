import { spawnSync } from 'node:child_process';
import { parseArgs } from 'node:util';
import { newestRelease } from '../envtest/binaries.ts';
import { minorOf, OLDER_RELEASES } from '../envtest/kubernetes-releases.ts';
import { type Counts, type FileCounts, printCounts, runJestByFile, WITH_SLOW } from '../jest.ts';
import { KEYCLOAK_VERSIONS, missingForKeycloak } from '../keycloak/server/distribution.ts';
import { missingForTests } from '../missing.ts';
import { CONTRACT, SUITES } from './suites.ts';
import { printTable, type Row } from './table.ts';

/**
 * `npm run matrix`: the tests to which the version of a server matters, on each Kubernetes that the chart claims, and
 * the contract of Keycloak on several Keycloaks. `--kubernetes 1.32,1.36` and `--keycloak 26.0.8` pick some; `--ends`
 * takes the lowest and the highest of both. The first run builds a kube-apiserver for each Kubernetes (3 to 11 minutes).
 * `--suites server,chart` runs some columns. Prints a table and ends with a line `N passed, N failed`.
 */

const KUBERNETES = [...OLDER_RELEASES, await newestRelease()];

const { values } = parseArgs({
  options: {
    kubernetes: { type: 'string' },
    keycloak: { type: 'string' },
    suites: { type: 'string' },
    ends: { type: 'boolean', default: false },
  },
});
const suites = Object.entries(SUITES).filter(
  ([name]) => values.suites?.split(',').includes(name) ?? true,
);
const isPart = values.kubernetes !== undefined || values.keycloak !== undefined;
const chosen = (given: string | undefined, all: readonly string[]): readonly string[] => {
  if (given !== undefined) return given.split(',');
  if (isPart) return [];
  return values.ends ? [...new Set([...all.slice(0, 1), ...all.slice(-1)])] : all;
};

const kubernetes = chosen(values.kubernetes, KUBERNETES).map(
  (wanted) => KUBERNETES.find((release) => minorOf(release) === wanted) ?? wanted,
);
const keycloaks = chosen(values.keycloak, KEYCLOAK_VERSIONS);
const missing = [
  ...(suites.length === 0 ? [`--suites takes some of: ${Object.keys(SUITES).join(', ')}`] : []),
  ...(kubernetes.length > 0 ? await missingForTests() : []),
  ...(keycloaks.length > 0 ? await missingForKeycloak() : []),
];
if (missing.length > 0) {
  console.error(missing.join('\n'));
  printCounts({ passed: 0, failed: 1 });
} else {
  const rows = [...kubernetes.map(onKubernetes), ...keycloaks.map(onKeycloak)];
  printTable(rows);
  printCounts(...rows.flatMap(({ suites }) => Object.values(suites)));
}

/** The build comes first, for the time limits of tests are not meant for it. */
function onKubernetes(version: string): Row {
  const env = { KUBERNETES_VERSION: version, KUBEBUILDER_ASSETS: '' };
  const server = `Kubernetes ${version.replace(/^v/, '')}`;
  console.log(`\n== ${server}`);
  const built = timed(() =>
    spawnSync('node', ['dev/build-servers.ts'], {
      stdio: 'inherit',
      env: { ...process.env, ...env },
    }),
  );
  const row = { server, buildMinutes: built.minutes };
  if (built.result.status !== 0) {
    return { ...row, testMinutes: 0, suites: { build: { passed: 0, failed: 1 } } };
  }
  const paths = suites.flatMap(([, paths]) => paths);
  const { result: files, minutes } = timed(() =>
    runJestByFile(['--maxWorkers=2', '--forceExit', WITH_SLOW, ...paths], env),
  );
  const counts = suites.map(([name, paths]) => [name, sumOf(files, paths)]);
  return { ...row, testMinutes: minutes, suites: Object.fromEntries(counts) };
}

function onKeycloak(version: string): Row {
  console.log(`\n== Keycloak ${version}`);
  const { result: files, minutes } = timed(() =>
    runJestByFile(['--forceExit', `--testMatch=<rootDir>/${CONTRACT}`], {
      KEYCLOAK_VERSION: version,
    }),
  );
  const suites = { contract: sumOf(files, [CONTRACT]) };
  return { server: `Keycloak ${version}`, buildMinutes: 0, testMinutes: minutes, suites };
}

/** Nothing run is a failure. */
function sumOf(files: readonly FileCounts[], paths: readonly string[]): Counts {
  const matching = files.filter((file) => paths.some((path) => file.path.includes(`/${path}`)));
  const passed = matching.reduce((sum, file) => sum + file.passed, 0);
  const failed = matching.reduce((sum, file) => sum + file.failed, 0);
  return passed + failed === 0 ? { passed, failed: 1 } : { passed, failed };
}

function timed<T>(work: () => T): { result: T; minutes: number } {
  const started = performance.now();
  const result = work();
  return { result, minutes: (performance.now() - started) / 60_000 };
}
