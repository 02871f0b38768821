import { connect } from 'node:net';

/**
 * A process of its own: `node flood.ts PORT CONNECTIONS PATH MILLISECONDS` keeps connections open, sends a valid request
 * on each every so many milliseconds, and connects again when it is cut.
 */

const [port, connections, path, every] = process.argv.slice(2);
const REQUEST = `GET ${path} HTTP/1.1\r\nHost: operator\r\n\r\n`;

function open(): void {
  const socket = connect(Number(port), '127.0.0.1');
  const send = (): boolean => socket.write(REQUEST);
  socket.once('connect', send);
  const timer = setInterval(send, Number(every));
  socket.resume().once('close', () => clearInterval(timer));
  socket.on('error', () => undefined).once('close', () => setTimeout(open, 20));
}

for (let n = 0; n < Number(connections); n += 1) open();
process.stdout.write('flooding\n');
