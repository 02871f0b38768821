import { once } from 'node:events';
import { createServer, connect as dial, type Server, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';

type Mode = 'forward' | 'hold' | 'refuse';

interface Pair {
  readonly client: Socket;
  readonly server: Socket;
}

/** Forwards TCP from one loopback port to another, and can cut, hold and delay connections. */
export class Proxy {
  readonly #server: Server;
  readonly #port: number;
  readonly #random: () => number;
  readonly #pairs = new Set<Pair>();
  #mode: Mode = 'forward';
  #delay = 0;

  private constructor(port: number, random: () => number) {
    this.#port = port;
    this.#random = random;
    this.#server = createServer((client) => this.#accept(client));
  }

  /**
   * @param port the target
   * @param random uniform in [0, 1)
   */
  static async start(port: number, random = Math.random): Promise<Proxy> {
    const proxy = new Proxy(port, random);
    proxy.#server.listen(0, '127.0.0.1');
    await once(proxy.#server, 'listening');
    return proxy;
  }

  get port(): number {
    const address = this.#server.address();
    return typeof address === 'object' ? (address?.port ?? 0) : 0;
  }

  /** Resets all connections and accepts new ones. */
  cut(): void {
    for (const { client, server } of this.#pairs) {
      client.resetAndDestroy();
      server.destroy();
    }
  }

  /** Keeps connections open and accepts new ones, but forwards nothing until `forward`. */
  hold(): void {
    this.#mode = 'hold';
    for (const { client, server } of this.#pairs) {
      client.pause();
      server.pause();
    }
  }

  /** Resets all connections until `forward`. */
  refuse(): void {
    this.#mode = 'refuse';
    this.cut();
  }

  forward(): void {
    this.#mode = 'forward';
    for (const { client, server } of this.#pairs) {
      client.resume();
      server.resume();
    }
  }

  /**
   * Delays both directions by up to `milliseconds`; 0 ends the delay. Each connection has its own random delay, so a
   * response on one connection may be older than what a watch on another has shown.
   */
  delay(milliseconds: number): void {
    this.#delay = milliseconds;
  }

  async close(): Promise<void> {
    const closed = once(this.#server, 'close');
    this.#server.close();
    this.cut();
    await closed;
  }

  #accept(client: Socket): void {
    client.on('error', () => undefined);
    if (this.#mode === 'refuse') {
      client.resetAndDestroy();
      return;
    }
    const server = dial(this.#port, '127.0.0.1');
    server.on('error', () => client.resetAndDestroy());
    client.setNoDelay(true);
    server.setNoDelay(true);
    const pair = { client, server };
    this.#pairs.add(pair);
    this.#pump(client, server);
    this.#pump(server, client);
    const over = (): void => {
      this.#pairs.delete(pair);
    };
    client.once('close', over);
    if (this.#mode === 'hold') this.hold();
  }

  /** Keeps the order of bytes when the delay changes. */
  #pump(from: Socket, to: Socket): void {
    let last = Promise.resolve();
    const share = this.#random();
    const inTurn = (send: () => void): void => {
      const ms = this.#delay * share;
      last = last.then(() => (ms === 0 ? undefined : sleep(ms))).then(send);
    };
    from.on('data', (piece) => {
      if (this.#delay === 0 && to.writableLength < 1 << 20) {
        inTurn(() => to.write(piece));
        return;
      }
      from.pause();
      inTurn(() => {
        to.write(piece);
        if (this.#mode !== 'hold') from.resume();
      });
    });
    from.once('end', () => inTurn(() => to.end()));
    from.once('close', () => inTurn(() => to.destroy()));
  }
}
