import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { ensureControllerManager } from '../envtest/binaries.ts';
import type { ControlPlane } from '../envtest/control-plane.ts';
import { type Log, ServerProcess } from '../envtest/server-process.ts';

const CONTROLLERS = ['garbage-collector-controller', 'namespace-controller'];

/** The garbage collector and the namespace controller of Kubernetes, as a process that is restarted when it ends. */
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
   * To be called after an outage of the API server. In a real cluster leader election ends the controllers then, and
   * they start with full lists. Without a restart the garbage collector misses owners that were deleted and created
   * again before its watch was back, and never deletes their dependents.
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
