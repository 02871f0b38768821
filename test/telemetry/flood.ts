import { connect } from 'node:net';

/**
 * A process of its own: `node flood.ts PORT CONNECTIONS PATH MILLISECONDS` keeps connections open, sends a valid request
 * on each every so many milliseconds (0: as soon as the last one has its response), and connects again when it is cut.
 */

const [port = 0, connections = 0, path = '/', every = 0] = process.argv
  .slice(2)
  .map((argument) => (argument.startsWith('/') ? argument : Number(argument)));

const REQUEST = `GET ${path} HTTP/1.1\r\nHost: operator\r\n\r\n`;
/** Of every response, and not of metrics. */
const END = /\n(?:ok|failed|not found|too many scrapes at once|0\r\n\r)\n$/;

function open(): void {
  const socket = connect(Number(port), '127.0.0.1');
  const send = (): boolean => socket.write(REQUEST);
  socket.once('connect', send);
  if (every === 0) {
    socket.on('data', (data) => END.test(data.toString().slice(-40)) && send());
  } else {
    const timer = setInterval(send, Number(every));
    socket.resume().once('close', () => clearInterval(timer));
  }
  socket.on('error', () => undefined).once('close', () => setTimeout(open, 20));
}

for (let n = 0; n < Number(connections); n += 1) open();
process.stdout.write('flooding\n');
