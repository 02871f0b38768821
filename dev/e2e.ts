import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { cp, readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { ensureBinaries } from './envtest/binaries.ts';
import type { ImageStore } from './envtest/cluster/image-store.ts';
import { imagesOf, NODE_IMAGE } from './envtest/cluster/images.ts';
import type { Isolation } from './envtest/cluster/isolation.ts';
import { CLUSTER_DIR, withIsolation } from './envtest/cluster/prepare.ts';
import {
  type Counts,
  JEST_NODE_OPTIONS,
  jestCounts,
  printCounts,
  runJest,
  WITH_SLOW,
} from './jest.ts';
import { ensureKeycloak } from './keycloak/server/distribution.ts';
import { missingForEndToEnd } from './missing.ts';
import { operatorImage } from './operator-image.ts';
import { ensureAllTools, ensureTool } from './packaging/tools.ts';
import { ON_ANY_CLUSTER } from './testbed/any-cluster.ts';

/**
 * `npm run e2e`: first what takes too long for `npm test` (`*.slow.ts`: a real Keycloak, bundles, the commands of the
 * docs, soak runs, waits of a minute), then the image, the chart, the alerts and high availability on a real cluster
 * (`*.cluster.ts`, about 12 minutes), and `npm run chaos` in short, which counts as one test.
 * `--nodes` tests the failure of nodes instead, on a cluster of three (`*.nodes.ts`, about 6 minutes).
 * `E2E_KUBECONFIG` names a cluster: then only the tests run that need neither a node nor an API server of ours, on it.
 * `--long` measures longer and with the alerts' own waiting times. `--json FILE` keeps the figures. `--no-cluster`
 * leaves the cluster out, which needs Linux and root. Other arguments go to jest, and then there is no chaos.
 * Ends with a line `N passed, N failed`.
 */

/** The second image is built from scratch too and differs only in its labels. */
const IMAGES = ['first', 'second'].map(operatorImage);

const jestArguments = process.argv.slice(2);
const isLong = takeFlag('--long');
const hasCluster = !takeFlag('--no-cluster');
const isOfNodes = takeFlag('--nodes');
const figures = takeOption('--json');
const isPart = jestArguments.length > 0;
if (isPart) jestArguments.push('--passWithNoTests');

printCounts(...(await runParts()));

/**
 * What is missing is told before anything starts. Where only the cluster lacks something, such as root, the rest runs,
 * and the cluster counts as one failure.
 */
async function runParts(): Promise<Counts[]> {
  if (process.env['E2E_KUBECONFIG']) return [onAnyCluster()];
  const missing = await missingForEndToEnd(hasCluster);
  if (missing.length > 0) console.error(missing.join('\n'));
  if ((await missingForEndToEnd(false)).length > 0) return [{ passed: 0, failed: 1 }];
  const counts = isOfNodes ? [] : [await slow()];
  if (hasCluster) counts.push(missing.length === 0 ? await onCluster() : { passed: 0, failed: 1 });
  if (!isPart && !isOfNodes) counts.push(await chaos());
  return counts;
}

/** One file after the other, for all install the operator. */
function onAnyCluster(): Counts {
  return runJest(['--runInBand', WITH_SLOW, ...(isPart ? jestArguments : ON_ANY_CLUSTER)]);
}

async function slow(): Promise<Counts> {
  await ensureBinaries(console.log);
  await ensureAllTools(console.log);
  await ensureKeycloak(console.log);
  return runJest([...jestArguments, '--testMatch=<rootDir>/test/**/*.slow.ts']);
}

async function onCluster(): Promise<Counts> {
  const counts = { passed: 0, failed: 0 };
  const code = await withIsolation(IMAGES, async (isolation, store) => {
    const { code, report } = await testInside(isolation, store);
    Object.assign(counts, jestCounts(report));
    return code;
  }).catch((error: unknown) => {
    console.error(error);
    return 1;
  });
  return code !== 0 && counts.failed === 0 ? { ...counts, failed: 1 } : counts;
}

/** Tokens live half the usual time, so each of them is renewed within a minute and a half. */
async function chaos(): Promise<Counts> {
  const main = join(import.meta.dirname, 'chaos/main.ts');
  const sizes = ['--seed=8', '--minutes=1.5', '--credentials=30', '--token-seconds=150'];
  const [code] = await once(
    spawn(process.execPath, [main, ...sizes], { stdio: 'inherit' }),
    'exit',
  );
  return code === 0 ? { passed: 1, failed: 0 } : { passed: 0, failed: 1 };
}

async function testInside(isolation: Isolation, store: ImageStore) {
  await ensureTool('helm', console.log);
  await ensureTool('prometheus', console.log);
  await describeImages(isolation.dir, store);
  const report = join(isolation.dir, 'jest.json');
  // Servers and watches still run when the tests are over; they end with the isolation.
  const files = [
    '--runInBand',
    '--forceExit',
    `--testMatch=<rootDir>/test/cluster/**/*.${isOfNodes ? 'nodes' : 'cluster'}.ts`,
  ];
  const jest = join(import.meta.dirname, '../node_modules/jest/bin/jest.js');
  const args = [jest, ...files, '--json', `--outputFile=${report}`, ...jestArguments];
  const code = await isolation.run(process.execPath, args, {
    env: {
      [CLUSTER_DIR]: isolation.dir,
      CONVERCUS_E2E: isLong ? 'long' : 'short',
      NODE_OPTIONS: JEST_NODE_OPTIONS,
      ...(figures === undefined ? {} : { CONVERCUS_E2E_FIGURES: figures }),
    },
  });
  if (code !== 0) await keepLogs(isolation.dir, `${isolation.dir}-logs`);
  return { code, report };
}

/** For the tests, which can't build or inspect images inside the isolation. */
async function describeImages(dir: string, store: ImageStore): Promise<void> {
  const base = { name: NODE_IMAGE, size: await store.sizeOf(NODE_IMAGE) };
  const images = IMAGES.map(async ({ name }) => {
    const size = await store.sizeOf(name);
    return { name, size, ...(await store.facts(name)) };
  });
  const facts = { base, operator: await Promise.all(images) };
  await writeFile(join(imagesOf(dir), 'facts.json'), JSON.stringify(facts));
}

async function keepLogs(dir: string, kept: string): Promise<void> {
  const logs = (await readdir(dir)).filter((name) => name.endsWith('.log') || name === 'pod-logs');
  for (const log of logs) await cp(join(dir, log), join(kept, log), { recursive: true });
  console.log(`The servers' and pods' logs are in ${kept}.`);
}

function takeFlag(name: string): boolean {
  const at = jestArguments.indexOf(name);
  if (at >= 0) jestArguments.splice(at, 1);
  return at >= 0;
}

function takeOption(name: string): string | undefined {
  const at = jestArguments.indexOf(name);
  return at < 0 ? undefined : jestArguments.splice(at, 2)[1];
}
