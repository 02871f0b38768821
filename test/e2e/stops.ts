import { expect } from '@jest/globals';
import { eventually } from '../../dev/testbed/objects.ts';
import type { Operator, OperatorOptions } from '../../dev/testbed/operator.ts';
import { Testbed } from '../../dev/testbed/testbed.ts';

/** Seconds for an idle operator. 1 s is promised and printed; on a busy machine the last write of the Lease takes longer. */
export const AT_ONCE = 5;
/** Seconds when servers are slow or away. Kubernetes kills after 30 s. */
export const IN_TIME = 25;

const STOPPED = { level: 'info', message: 'Stopped', timestamp: expect.any(String) };

/** Starts operators, ends them by a signal, and measures how long that takes. */
export class Stops {
  readonly testbed: Testbed;
  readonly #measured: string[] = [];
  readonly #undo: (() => unknown)[] = [];

  private constructor(testbed: Testbed) {
    this.testbed = testbed;
  }

  /** No operator runs when the promise resolves. */
  static async prepare(): Promise<Stops> {
    const testbed = await Testbed.start();
    await testbed.operator.kill();
    return new Stops(testbed);
  }

  /** After each test: what was started is gone, what was frozen goes on. */
  async reset(): Promise<void> {
    for (const undo of this.#undo.splice(0)) await undo();
    this.testbed.provider.faults.clear();
  }

  async end(): Promise<void> {
    await this.testbed.stop();
    process.stdout.write(`${this.#measured.join('\n')}\n`);
  }

  later(undo: () => unknown): void {
    this.#undo.push(undo);
  }

  /** The first operator, which leads when the promise resolves. */
  async startLeader(): Promise<Operator> {
    const { operator } = this.testbed;
    await operator.run();
    this.later(() => this.testbed.crash());
    await eventually(
      async () => [await this.testbed.leader(), await identityOf(operator)],
      ([holder, identity]) => holder === identity,
    );
    return operator;
  }

  async startAnother(options: Partial<OperatorOptions>): Promise<Operator> {
    const operator = await this.testbed.startOperator({ startedWhen: '/livez', ...options });
    this.later(() => operator.stop());
    return operator;
  }

  /** SIGSTOP: the kernel accepts connections, and no response is sent. */
  freezeApiServer(): void {
    const [, pid = 0] = this.testbed.controlPlane.pids;
    process.kill(pid, 'SIGSTOP');
    this.#undo.unshift(() => process.kill(pid, 'SIGCONT'));
  }

  /** Expects exit code 0 within `limit` seconds. @returns the last line of the log */
  async ends(
    operator: Operator,
    limit: number,
    signal: 'SIGTERM' | 'SIGINT' = 'SIGTERM',
  ): Promise<Record<string, unknown>> {
    const began = performance.now();
    if (operator.pid !== undefined) process.kill(operator.pid, signal);
    const ending = await operator.ended;
    const seconds = (performance.now() - began) / 1_000;
    const { currentTestName = '' } = expect.getState();
    this.#measured.push(`${seconds.toFixed(2)} s, exit code ${ending?.code}: ${currentTestName}`);
    expect(ending).toEqual({ code: 0, signal: null });
    expect(seconds).toBeLessThan(limit);
    return JSON.parse((await operator.log()).trimEnd().split('\n').at(-1) ?? '{}');
  }

  /** Nothing is open at the end: else there would be another line, and the process would not end by itself. */
  async stops(operator: Operator, limit: number, signal?: 'SIGTERM' | 'SIGINT'): Promise<void> {
    expect(await this.ends(operator, limit, signal)).toEqual(STOPPED);
  }
}

/** Of its last start. */
async function identityOf(operator: Operator): Promise<string | undefined> {
  const starts = (await operator.log()).split('\n').filter((line) => line.includes('"Starting"'));
  return JSON.parse(starts.at(-1) ?? '{}').identity;
}
