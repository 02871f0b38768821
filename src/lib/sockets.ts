import { Socket } from 'node:net';
import { buildConnector, type Dispatcher, Pool } from 'undici';

/**
 * The open sockets of a client. Needed because undici's `destroy` leaves open what is still connecting. An AbortSignal
 * for all of them would do that too, but Node keeps each socket that it was given for as long as the signal exists.
 */
export class Sockets {
  readonly #open = new Set<Socket>();
  #isDestroyed = false;

  /** For the option `connect` of an Agent. */
  connector(options: buildConnector.BuildOptions): buildConnector.connector {
    return this.#tracked(buildConnector(options));
  }

  /** For the options `clientFactory` and `factory` of a ProxyAgent, which takes no connector to its proxy. */
  readonly pool = (origin: URL, options: Pool.Options): Dispatcher => {
    const { connect } = options;
    const isConnector = typeof connect === 'function';
    return new Pool(
      origin,
      isConnector ? { ...options, connect: this.#tracked(connect) } : options,
    );
  };

  /** Whatever connects after that is destroyed at once. */
  destroy(): void {
    this.#isDestroyed = true;
    for (const socket of this.#open) socket.destroy(new Error('closed'));
  }

  #tracked(connect: buildConnector.connector): buildConnector.connector {
    return (options, callback) => {
      // The socket, as undici's documentation says; its types say nothing
      const socket: unknown = connect(options, callback);
      if (socket instanceof Socket) this.#track(socket);
    };
  }

  #track(socket: Socket): void {
    this.#open.add(socket);
    socket.once('close', () => this.#open.delete(socket));
    if (this.#isDestroyed) socket.destroy(new Error('closed'));
  }
}
