import { readFile, writeFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Span } from '../lab/measures.ts';
import { Operator, type OperatorOptions } from '../testbed/operator.ts';
import { Proxy } from './proxy.ts';

/** How a replica ended after SIGTERM. */
export interface Termination {
  readonly replica: string;
  readonly code: number | null;
  readonly seconds: number;
}

/** Seconds from SIGTERM to SIGKILL, as in the chart. */
const GRACE = 30;

/** One of the two operators, with its own proxy to the API server. It is restarted when it ends. */
export class Replica {
  readonly name: string;
  readonly proxy: Proxy;
  readonly operator: Operator;
  readonly terminations: Termination[] = [];
  /** How often it ended without a signal from this program. */
  readonly failures: string[] = [];
  /** Stops, kills and freezes run one after the other. */
  #turn: Promise<unknown> = Promise.resolve();
  #expected = false;

  private constructor(name: string, proxy: Proxy, operator: Operator) {
    this.name = name;
    this.proxy = proxy;
    this.operator = operator;
    this.#watch();
  }

  static async start(
    name: string,
    { kubeconfig, config }: Pick<OperatorOptions, 'kubeconfig' | 'config'>,
  ): Promise<Replica> {
    const text = await readFile(kubeconfig, 'utf8');
    const [, port = ''] = /https:\/\/127\.0\.0\.1:(\d+)/.exec(text) ?? [];
    const proxy = await Proxy.start(Number(port));
    const own = kubeconfig.replace(/\.kubeconfig$/, `.${name}.kubeconfig`);
    await writeFile(own, text.replace(`:${port}`, `:${proxy.port}`), { mode: 0o600 });
    const env = { POD_NAME: name };
    const operator = await Operator.start({ kubeconfig: own, config, env, startedWhen: '/livez' });
    return new Replica(name, proxy, operator);
  }

  /** SIGKILL, then a start after the delay. @returns the time without a ready process */
  kill(away: number): Promise<Span> {
    return this.#inTurn(async () => {
      const from = Date.now();
      this.#expected = true;
      await this.operator.kill(0);
      await this.#runAfter(away);
      return [from, Date.now()];
    });
  }

  terminate(away: number): Promise<Span> {
    return this.#inTurn(async () => {
      const from = Date.now();
      this.#expected = true;
      const { ended } = this.operator;
      await this.operator.kill(GRACE);
      const code = (await ended)?.code ?? null;
      this.terminations.push({ replica: this.name, code, seconds: (Date.now() - from) / 1_000 });
      await this.#runAfter(away);
      return [from, Date.now()];
    });
  }

  freeze(ms: number): Promise<Span> {
    return this.#inTurn(async () => {
      const from = Date.now();
      this.operator.signal('SIGSTOP');
      await sleep(ms);
      this.operator.signal('SIGCONT');
      return [from, Date.now()];
    });
  }

  async stop(): Promise<void> {
    await this.#turn;
    this.#expected = true;
    await this.operator.stop();
    await this.proxy.close();
  }

  #inTurn<T>(act: () => Promise<T>): Promise<T> {
    const mine = this.#turn.then(act);
    this.#turn = mine.catch(() => undefined);
    return mine;
  }

  async #runAfter(ms: number): Promise<void> {
    await sleep(ms);
    await this.operator.run();
    this.#expected = false;
    this.#watch();
  }

  #watch(): void {
    const { ended } = this.operator;
    ended
      ?.then(({ code, signal }) => {
        if (this.#expected) return undefined;
        const at = new Date().toISOString();
        this.failures.push(`${this.name} ended by itself at ${at}: ${signal ?? code}`);
        return this.#inTurn(() => this.#runAfter(1_000));
      })
      .catch((error: unknown) => {
        this.failures.push(`${this.name} could not be started: ${String(error)}`);
      });
  }
}
