import { setTimeout as sleep } from 'node:timers/promises';
import { type ControlPlane, startControlPlane } from '../envtest/control-plane.ts';
import type { Log } from '../envtest/server-process.ts';
import { OPERATOR, OPERATOR_USER, type Operator } from '../testbed/operator.ts';
import { Testbed } from '../testbed/testbed.ts';
import { ApiClient } from './api-client.ts';
import { type Counts, countsFrom, difference, requestsIn, writesIn } from './api-counts.ts';
import type { BuiltInProvider } from './built-in-provider.ts';
import { type NodeSettings, sampleOf } from './process-sample.ts';
import type { Provider } from './provider.ts';
import { TargetReader, waitUntil } from './target-reader.ts';

/** No limit on requests to the identity provider, so that it is not what is measured. */
export const NO_RATE_LIMIT = { requestsPerSecond: 0, burst: 10_000, concurrency: 32 };

/** How much a scenario of the bench measures. */
export interface Size {
  readonly count: number;
  readonly namespaces: number;
  readonly idleSeconds: number;
  /** For how long a client secret is wrong. */
  readonly wrongSeconds: number;
  /** For how long short tokens are renewed. */
  readonly renewalSeconds: number;
}

export interface TestbedOptions<P extends Provider> {
  readonly startProvider: () => Promise<P>;
  readonly log: Log;
  /** The bundle, as the image runs it; otherwise the sources. */
  readonly image?: NodeSettings;
  /** Of the operator; default: `warn`. */
  readonly logLevel?: string;
  /** Ends `wait`. */
  readonly signal?: AbortSignal;
}

/** A testbed with readers of its targets and counts of its requests. Its operators start one by one. */
export class LabTestbed<P extends Provider = BuiltInProvider> implements AsyncDisposable {
  readonly client: ApiClient;
  readonly readers: TargetReader[] = [];
  /** What may be in Secrets only. */
  readonly secrets = new Set<string>();
  readonly #servers: Testbed<P>;
  readonly #options: TestbedOptions<P>;
  readonly #cleanUps: AsyncDisposableStack;

  private constructor(
    options: TestbedOptions<P>,
    servers: Testbed<P>,
    client: ApiClient,
    cleanUps: AsyncDisposableStack,
  ) {
    this.#options = options;
    this.#servers = servers;
    this.client = client;
    this.#cleanUps = cleanUps;
  }

  static async start<P extends Provider>(options: TestbedOptions<P>): Promise<LabTestbed<P>> {
    await using cleanUps = new AsyncDisposableStack();
    const { log } = options;
    log('Starting kube-apiserver, etcd and the identity provider');
    const servers = await Testbed.start({
      controlPlane: () => startControlPlane({ users: [OPERATOR], log }),
      provider: options.startProvider,
      operators: [],
    });
    cleanUps.use(servers);
    const client = await ApiClient.from(servers.controlPlane.adminKubeconfig);
    cleanUps.defer(() => client.close());
    return new LabTestbed(options, servers, client, cleanUps.move());
  }

  get controlPlane(): ControlPlane {
    return this.#servers.controlPlane;
  }

  get provider(): P {
    return this.#servers.provider;
  }

  /** All that were started, also those that have ended. */
  get operators(): readonly Operator[] {
    return this.#servers.operators;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#cleanUps.disposeAsync();
  }

  log(line: string): void {
    this.#options.log(line);
  }

  wait(milliseconds: number): Promise<void> {
    const { signal } = this.#options;
    return sleep(Math.max(0, milliseconds), undefined, signal === undefined ? {} : { signal });
  }

  /** Running and ready when the promise resolves. */
  async startOperator(
    config: Readonly<Record<string, unknown>> = {},
    kubeconfig = this.controlPlane.userKubeconfig(OPERATOR_USER),
  ): Promise<Operator> {
    this.log('Starting the operator');
    const { image, logLevel = 'warn' } = this.#options;
    return this.#servers.startOperator({
      kubeconfig,
      ...(image === undefined ? {} : { ...image, entry: 'bundle/main.js' }),
      config: { log: { level: logLevel }, ...config },
    });
  }

  async startReader(content: 'metadata' | 'data' = 'metadata'): Promise<TargetReader> {
    const reader = await TargetReader.start(this.client, content);
    this.#cleanUps.defer(() => reader.stop());
    this.readers.push(reader);
    return reader;
  }

  /** Of the API server. */
  async counts(): Promise<Counts> {
    return countsFrom(await this.controlPlane.metrics());
  }

  async countsSince(before: Counts): Promise<Counts> {
    return difference(before, await this.counts());
  }

  /** The token requests, and the requests to the API server, that `work` causes. */
  async requestsDuring<T>(this: LabTestbed, work: (before: Counts) => Promise<T>) {
    const tokensBefore = await this.provider.call('countRequests');
    const before = await this.counts();
    const result = await work(before);
    const counts = await this.countsSince(before);
    const tokens = (await this.provider.call('countRequests')) - tokensBefore;
    return { result, counts, tokens };
  }

  /** Processor time of API server, etcd and identity provider since their start. */
  serverCpuMs(this: LabTestbed): number {
    const pids = [...this.controlPlane.pids, this.provider.pid];
    return pids.reduce((sum, pid) => sum + sampleOf(pid).cpuMs, 0);
  }

  /** Resolves when the writes of n reconciles are done: no request for half a second, and 2 n writes at least. */
  async untilQuiet(since: Counts, n: number, seconds = 120): Promise<void> {
    let before = -1;
    const isQuiet = async (): Promise<boolean> => {
      const counts = await this.countsSince(since);
      const now = requestsIn(counts);
      const quiet = now === before && writesIn(counts) >= 2 * n;
      before = now;
      await sleep(500);
      return quiet;
    };
    await waitUntil(isQuiet, seconds, () => 'the API server is still at work');
  }
}

export const pidOf = ({ pid }: { readonly pid: number | undefined }): number => {
  if (pid === undefined) throw new Error('the process does not run');
  return pid;
};

/** One of the operator's own metrics, summed over its labels. */
export async function metricOf(operator: Operator, name: string): Promise<number> {
  const text = await operator.get('/metrics');
  const values = [...text.matchAll(new RegExp(`^${name}(?:\\{[^}]*\\})? (.*)$`, 'gm'))];
  return values.reduce((sum, [, value]) => sum + Number(value), 0);
}
