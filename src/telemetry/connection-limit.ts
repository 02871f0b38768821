import type { Server } from 'node:http';
import type { Socket } from 'node:net';
import type { Ms } from '../lib/time.ts';

/** Time for a request to arrive on its new connection. */
const GRACE: Ms = 100;

/** For the time of GRACE up to this many times the limit may be open; beyond that new connections are refused. */
const BURST = 8;

/**
 * Of more than `limit` connections the longest idle are closed, so that clients which only hold their connections shut
 * no other client out. `server.maxConnections` alone would refuse the newest.
 */
export function limitConnections(server: Server, limit: number): void {
  server.maxConnections = BURST * limit;
  const connections = new Connections(limit);
  server.on('connection', (socket: Socket) => connections.add(socket));
  server.on('request', ({ socket }, response) => {
    connections.setBusy(socket);
    response.once('close', () => connections.setIdle(socket));
  });
}

class Connections {
  readonly #limit: number;
  readonly #open = new Set<Socket>();
  /** Without a request whose response is still to be sent; the longest idle first. */
  readonly #idleSince = new Map<Socket, Ms>();
  #isTrimDue = false;

  constructor(limit: number) {
    this.#limit = limit;
  }

  add(socket: Socket): void {
    this.#open.add(socket);
    this.setIdle(socket);
    socket.once('close', () => this.#forget(socket));
    if (this.#open.size > this.#limit) this.#trimSoon();
  }

  setBusy(socket: Socket): void {
    this.#idleSince.delete(socket);
  }

  setIdle(socket: Socket): void {
    if (this.#open.has(socket)) this.#idleSince.set(socket, performance.now());
  }

  #forget(socket: Socket): void {
    this.#open.delete(socket);
    this.#idleSince.delete(socket);
  }

  /** After the turn of the event loop that reads what has arrived until then. */
  #trimSoon(): void {
    if (this.#isTrimDue) return;
    this.#isTrimDue = true;
    const trim = (): void => {
      this.#isTrimDue = false;
      this.#trim(performance.now() - GRACE);
    };
    setTimeout(() => setImmediate(trim), GRACE).unref();
  }

  #trim(idleBefore: Ms): void {
    for (const [socket, since] of this.#idleSince) {
      if (this.#open.size <= this.#limit) return;
      if (since > idleBefore) break;
      this.#forget(socket);
      socket.destroy();
    }
    if (this.#open.size > this.#limit) this.#trimSoon();
  }
}
