import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { createInterface } from 'node:readline/promises';
import { OPERATOR_USER } from '../testbed/operator.ts';
import type { BareLoopInput, BareLoopOutput, WriteMethod } from './bare-loop-process.ts';
import { Population } from './population.ts';
import { type Row, row } from './report.ts';
import type { LabTestbed } from './testbed.ts';

const SECONDS = 10;
const CONCURRENCY = 16;
const CREDENTIALS = 60 * CONCURRENCY;
let runs = 0;

export interface BareLoopResult extends BareLoopOutput {
  /** Processor time of API server, etcd and identity provider per renewal. */
  readonly serverCpuMs: number;
}

/**
 * Runs the bare loop in a process of its own, as the operator's user, on credentials of its own, which are deleted
 * afterwards. No operator may run meanwhile. Default: by PUT, the cheapest writes (`npm run bench -- --only writes`).
 */
export async function runBareLoop(
  testbed: LabTestbed,
  secretBy: WriteMethod = 'put',
  statusBy: WriteMethod = 'put',
): Promise<BareLoopResult> {
  runs += 1;
  const prefix = `bare${runs}`;
  const realm = { accessTokenLifespan: 300 };
  const options = { count: CREDENTIALS, prefix, sharesClient: true, realm };
  const population = await Population.create(testbed, options);
  const { namespace, clientId, clientSecret } = population.first;
  testbed.log(`Bare loop for ${SECONDS} s`);
  const result = await run(testbed, {
    kubeconfig: testbed.controlPlane.userKubeconfig(OPERATOR_USER),
    tokenUrl: testbed.provider.tokenUrl(population.realm),
    clientId,
    clientSecret,
    namespace,
    concurrency: CONCURRENCY,
    seconds: SECONDS,
    secretBy,
    statusBy,
  });
  await population.delete();
  return result;
}

async function run(testbed: LabTestbed, input: BareLoopInput): Promise<BareLoopResult> {
  const script = join(import.meta.dirname, 'bare-loop-process.ts');
  const child = spawn(process.execPath, [script], { stdio: ['pipe', 'pipe', 'inherit'] });
  child.stdin.end(JSON.stringify(input));
  let before = 0;
  for await (const line of createInterface({ input: child.stdout })) {
    if (line === 'begin') {
      before = testbed.serverCpuMs();
      continue;
    }
    const output: BareLoopOutput = JSON.parse(line);
    return { ...output, serverCpuMs: (testbed.serverCpuMs() - before) / output.renewals };
  }
  throw new Error('the bare loop failed');
}

const METHODS: readonly (readonly [secretBy: WriteMethod, statusBy: WriteMethod])[] = [
  ['put', 'put'],
  ['apply', 'apply'],
  ['apply', 'put'],
  ['merge', 'put'],
  ['put', 'apply'],
  ['put', 'merge'],
];

/** The bare loop with each way to write that the API server offers. */
export async function writeMethods(testbed: LabTestbed): Promise<Row[]> {
  const rows: Row[] = [];
  for (const [secretBy, statusBy] of METHODS) {
    const { perSecond, cpuMs, serverCpuMs } = await runBareLoop(testbed, secretBy, statusBy);
    rows.push(
      row(`Secret by ${secretBy}, status by ${statusBy}: renewals per second`, perSecond),
      row('  CPU of the loop per renewal (ms)', cpuMs),
      row('  CPU of all servers per renewal (ms)', serverCpuMs),
    );
  }
  return rows;
}
