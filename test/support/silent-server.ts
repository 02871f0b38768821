import { once } from 'node:events';
import { createServer, type Socket } from 'node:net';

/** Accepts connections and sends nothing, so that a TLS handshake with it hangs. */
export async function startSilentServer() {
  const open = new Set<Socket>();
  const server = createServer((socket) => {
    open.add(socket.on('error', () => undefined).resume());
    socket.on('close', () => open.delete(socket));
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  return {
    port: typeof address === 'object' ? (address?.port ?? 0) : 0,
    /** Connections that the client has not closed. */
    connections: () => open.size,
    [Symbol.asyncDispose]: async (): Promise<void> => {
      server.close();
      for (const socket of open) socket.destroy();
    },
  };
}
