import { createSocket } from 'node:dgram';

/** The address of a Service; undefined when there is none. */
export type Lookup = (namespace: string, service: string) => Promise<string | undefined>;

const SERVICE = /^([a-z0-9-]+)\.([a-z0-9-]+)\.svc\.cluster\.local$/;
const HEADER = 12;
const TYPE_A = 1;
const NO_ERROR = 0x8180;
const NX_DOMAIN = 0x8183;

/** Replaces CoreDNS: resolves the full names of Services only. @returns how to stop it */
export async function serveDns(address: string, lookUp: Lookup, port = 53): Promise<() => void> {
  const socket = createSocket('udp4');
  socket.on('message', (query, from) => {
    const send = (message: Buffer): void => socket.send(message, from.port, from.address);
    response(query, lookUp).then(send, console.error);
  });
  await new Promise<void>((resolve, reject) => {
    socket.once('error', reject).bind(port, address, resolve);
  });
  return () => void socket.close();
}

async function response(query: Buffer, lookUp: Lookup): Promise<Buffer> {
  const { name, type, end } = questionOf(query);
  const [, service = '', namespace = ''] = SERVICE.exec(name) ?? [];
  const address = service === '' ? undefined : await lookUp(namespace, service);
  const isAnswered = address !== undefined && type === TYPE_A;
  const header = Buffer.alloc(HEADER);
  query.copy(header, 0, 0, 2);
  header.writeUInt16BE(address === undefined ? NX_DOMAIN : NO_ERROR, 2);
  header.writeUInt16BE(1, 4);
  header.writeUInt16BE(isAnswered ? 1 : 0, 6);
  const question = query.subarray(HEADER, end);
  return Buffer.concat([header, question, ...(isAnswered ? [recordOf(address)] : [])]);
}

/** The only question of the query; `end` is the offset after it. */
function questionOf(query: Buffer): { name: string; type: number; end: number } {
  const labels: string[] = [];
  let at = HEADER;
  for (let length = query.readUInt8(at); length > 0; length = query.readUInt8(at)) {
    labels.push(query.toString('ascii', at + 1, at + 1 + length));
    at += 1 + length;
  }
  return { name: labels.join('.').toLowerCase(), type: query.readUInt16BE(at + 1), end: at + 5 };
}

/** A record of type A for the name in the question, with a TTL of 5 s. */
function recordOf(address: string): Buffer {
  const start = Buffer.from([0xc0, HEADER, 0, TYPE_A, 0, 1, 0, 0, 0, 5, 0, 4]);
  return Buffer.concat([start, Buffer.from(address.split('.').map(Number))]);
}
