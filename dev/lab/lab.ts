import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { type ControlPlane, startControlPlane } from '../envtest/control-plane.ts';
import type { Log } from '../envtest/server-process.ts';
import {
  installCluster,
  localStaging,
  OPERATOR_NAMESPACE,
  OPERATOR_USER,
  Operator,
} from '../operator.ts';
import { ApiClient } from './api-client.ts';
import { type Counts, countsFrom, difference } from './api-counts.ts';
import { Provider } from './provider.ts';
import { TargetTail } from './target-tail.ts';

/** The user of the bare loop: as ordinary as the operator, but it may also replace what it wants. */
export const BARE_USER = 'bare-loop';

/** No limit on requests to the identity provider, so that it is not what is measured. */
export const BUDGET_OFF = { requestsPerSecond: 0, burst: 10_000, concurrency: 32 };

/** As the Dockerfile runs it. */
const AS_SHIPPED = {
  env: { MALLOC_ARENA_MAX: '1' },
  nodeArguments: ['--max-semi-space-size=8', '--no-parallel-scavenge'],
};

/** What the image ships: one file with all libraries. */
export async function bundleOperator(): Promise<void> {
  await promisify(execFile)(process.execPath, [join(import.meta.dirname, '../bundle.ts')]);
}

export interface LabOptions {
  readonly log: Log;
  /** For the Node that runs the operator. */
  readonly nodeArguments?: readonly string[];
}

/** A fresh API server with etcd, a fresh identity provider, and the operator when it is started. */
export class Lab {
  readonly controlPlane: ControlPlane;
  readonly provider: Provider;
  readonly client: ApiClient;
  readonly #options: LabOptions;
  readonly #operators: Operator[] = [];

  private constructor(
    controlPlane: ControlPlane,
    provider: Provider,
    client: ApiClient,
    options: LabOptions,
  ) {
    this.controlPlane = controlPlane;
    this.provider = provider;
    this.client = client;
    this.#options = options;
  }

  static async start(options: LabOptions): Promise<Lab> {
    options.log('Starting kube-apiserver, etcd and the identity provider');
    const users = [{ name: OPERATOR_USER }, { name: BARE_USER }];
    const controlPlane = await startControlPlane({ users, log: options.log });
    await installCluster(controlPlane);
    const client = await ApiClient.from(controlPlane.adminKubeconfig);
    return new Lab(controlPlane, await Provider.start(), client, options);
  }

  async stop(): Promise<void> {
    for (const operator of this.#operators) await operator.stop();
    await this.client.close();
    await this.provider.stop();
    await this.controlPlane.stop();
  }

  log(line: string): void {
    this.#options.log(line);
  }

  /** Running and ready when the promise resolves. */
  async startOperator(
    config: Readonly<Record<string, unknown>> = {},
    kubeconfig = this.controlPlane.userKubeconfig(OPERATOR_USER),
  ): Promise<Operator> {
    this.log('Starting the operator');
    const { nodeArguments = [] } = this.#options;
    const operator = await Operator.start({
      kubeconfig,
      entry: 'bundle/main.js',
      env: AS_SHIPPED.env,
      nodeArguments: [...AS_SHIPPED.nodeArguments, ...nodeArguments],
      config: {
        environments: localStaging(this.provider.url),
        renewal: { minimumSeconds: 1 },
        leaderElection: { namespace: OPERATOR_NAMESPACE },
        log: { level: 'warn' },
        ...config,
      },
    });
    this.#operators.push(operator);
    return operator;
  }

  tail(): Promise<TargetTail> {
    return TargetTail.start(this.client);
  }

  async counts(): Promise<Counts> {
    return countsFrom(await this.controlPlane.metrics());
  }

  /** Seconds of processor time that API server, etcd and identity provider say they have used so far. */
  async serverCpuSeconds(): Promise<number> {
    const etcd = await (await fetch(`${this.controlPlane.etcdUrl}/metrics`)).text();
    const texts = [await this.controlPlane.metrics(), etcd];
    const seconds = texts.map((text) =>
      Number(/^process_cpu_seconds_total (.*)$/m.exec(text)?.[1]),
    );
    return seconds.reduce((sum, each) => sum + each, await this.provider.cpuSeconds());
  }

  async countsSince(before: Counts): Promise<Counts> {
    return difference(before, await this.counts());
  }
}

export const pidOf = ({ pid }: Operator): number => {
  if (pid === undefined) throw new Error('the operator does not run');
  return pid;
};

/** One of the operator's own metrics, summed over its labels. */
export async function metricOf(operator: Operator, name: string): Promise<number> {
  const text = await operator.get('/metrics');
  const values = [...text.matchAll(new RegExp(`^${name}(?:\\{[^}]*\\})? (.*)$`, 'gm'))];
  return values.reduce((sum, [, value]) => sum + Number(value), 0);
}
