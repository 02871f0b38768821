import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { isIPv6 } from 'node:net';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { type Ms, seconds } from '../lib/time.ts';

/** A part that does not work while the others do: it is shown, but the check does not fail. */
export interface Degraded {
  readonly degraded: string;
}

/** The name of a check, and `true` or what is wrong. */
export type CheckResult = readonly [name: string, result: true | string | Degraded];

export interface OperationsOptions {
  readonly host: string;
  /** 0: any free port. */
  readonly port: number;
  readonly readiness: () => Iterable<CheckResult>;
  readonly metrics: {
    readonly contentType: string;
    readonly chunks: () => AsyncIterable<string>;
  };
}

export interface OperationsServer {
  /** Such as `http://127.0.0.1:8080`. */
  readonly url: string;
  readonly port: number;
  /** Lets responses in flight end, for 1 s. */
  readonly close: () => Promise<void>;
}

const LIMITS = {
  headersTimeout: seconds(5),
  requestTimeout: seconds(10),
  connectionsCheckingInterval: seconds(1),
  keepAliveTimeout: seconds(5),
  maxHeaderSize: 8 * 1024,
};
/** A client that reads nothing of its response for this long is cut off. */
const IDLE_LIMIT: Ms = seconds(30);
const CLOSING_TIME: Ms = seconds(1);
const TEXT = 'text/plain; charset=utf-8';

/** /livez, /readyz and /metrics. Rejects when it cannot listen. */
export async function startOperationsServer(options: OperationsOptions): Promise<OperationsServer> {
  const server = createServer(LIMITS, (request, response) => {
    handle(options, request, response).catch(() => fail(response));
  });
  server.setTimeout(IDLE_LIMIT);
  server.maxConnections = 256;
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(options.port, options.host, resolve);
  });
  const address = server.address();
  const port = typeof address === 'object' && address !== null ? address.port : options.port;
  const host = isIPv6(options.host) ? `[${options.host}]` : options.host;
  const close = async (): Promise<void> => {
    const cut = setTimeout(() => server.closeAllConnections(), CLOSING_TIME);
    await new Promise<void>((resolve) => {
      server.close(() => resolve());
    });
    clearTimeout(cut);
  };
  return { url: `http://${host}:${port}`, port, close };
}

/** A check or a metric threw, or the client went away. */
function fail(response: ServerResponse): void {
  if (response.headersSent) response.destroy();
  else send(response, 500, 'internal error');
}

async function handle(
  { readiness, metrics }: OperationsOptions,
  { method, url = '/' }: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const [path, query] = url.split('?', 2);
  const isVerbose = new URLSearchParams(query).has('verbose');
  if (path !== '/livez' && path !== '/readyz' && path !== '/metrics') {
    return send(response, 404, 'not found');
  }
  if (method !== 'GET') return send(response.setHeader('allow', 'GET'), 405, 'only GET');
  if (path === '/livez') return sendHealth(response, [], isVerbose); // a process that responds is alive
  if (path === '/readyz') return sendHealth(response, [...readiness()], isVerbose);
  response.setHeader('content-type', metrics.contentType);
  await pipeline(Readable.from(metrics.chunks()), response);
}

function sendHealth(
  response: ServerResponse,
  results: readonly CheckResult[],
  isVerbose: boolean,
): void {
  const lines = results.filter(([, result]) => isVerbose || result !== true).map(lineOf);
  const isHealthy = results.every(([, result]) => typeof result !== 'string');
  send(response, isHealthy ? 200 : 503, [...lines, isHealthy ? 'ok' : 'failed'].join('\n'));
}

function lineOf([name, result]: CheckResult): string {
  if (result === true) return `[+] ${name}`;
  return typeof result === 'string' ? `[-] ${name}: ${result}` : `[!] ${name}: ${result.degraded}`;
}

function send(response: ServerResponse, status: number, text: string): void {
  response.writeHead(status, { 'content-type': TEXT }).end(`${text}\n`);
}
