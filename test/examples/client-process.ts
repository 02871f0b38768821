import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';

/** A client that runs, and calls when it is told to. */
export class ClientProcess {
  readonly #child: ChildProcess;
  readonly #lines: AsyncIterator<string>;
  #errors = '';

  constructor(command: string, args: readonly string[], env: Readonly<Record<string, string>>) {
    const { PATH, HOME } = process.env;
    this.#child = spawn(command, args, { env: { PATH, HOME, ...env } });
    this.#child.stderr?.on('data', (chunk) => {
      this.#errors += String(chunk);
    });
    if (this.#child.stdout === null) throw new Error('no standard output');
    this.#lines = createInterface({ input: this.#child.stdout })[Symbol.asyncIterator]();
  }

  /** @returns the status that the client took for the result */
  async call(): Promise<number> {
    this.#child.stdin?.write('/calls\n');
    const { value, done } = await this.#lines.next();
    if (done === true) throw new Error(`the client ended: ${this.#errors}`);
    return Number.parseInt(value, 10);
  }

  async stop(): Promise<void> {
    const closed = once(this.#child, 'close');
    this.#child.stdin?.end();
    await closed;
  }
}
