import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { ensureControllerManager } from '../envtest/binaries.ts';
import type { ControlPlane } from '../envtest/control-plane.ts';
import { type Log, ServerProcess } from '../envtest/server-process.ts';

const CONTROLLERS = ['garbage-collector-controller', 'namespace-controller'];

/** Deletes what has no owner any more, and what is in namespaces that go: the real controllers of Kubernetes. */
export class Controllers {
  readonly #start: () => ServerProcess;
  #process: ServerProcess;
  #stopped = false;

  private constructor(start: () => ServerProcess) {
    this.#start = start;
    this.#process = start();
    this.#watch().catch(() => undefined);
  }

  static async start(controlPlane: ControlPlane, log: Log): Promise<Controllers> {
    const command = await ensureControllerManager(log);
    const args = [
      `--kubeconfig=${controlPlane.adminKubeconfig}`,
      `--controllers=${CONTROLLERS.join(',')}`,
      '--leader-elect=false',
      '--secure-port=0',
      '--kube-api-qps=200',
      '--kube-api-burst=400',
    ];
    const logFile = join(controlPlane.dir, 'kube-controller-manager.log');
    const name = 'kube-controller-manager';
    return new Controllers(() => new ServerProcess({ name, command, args, logFile }));
  }

  /**
   * With a leader election, as usual, they end when the API server is away for long, and begin with whole lists. Else
   * the garbage collector would overlook each owner that was deleted and created again before its watch was back, and
   * leave what that one owned for good.
   */
  async restart(): Promise<void> {
    await this.#process.stop(0);
  }

  async #watch(): Promise<void> {
    while (!this.#stopped) {
      await this.#process.ended;
      await sleep(1_000);
      if (!this.#stopped) this.#process = this.#start();
    }
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    await this.#process.stop(0);
  }
}
