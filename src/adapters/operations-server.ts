import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { isIPv6 } from 'node:net';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { type Ms, seconds } from '../domain/time.ts';

/** Named checks; what is not true says what is wrong. */
export type Checks = Readonly<Record<string, () => true | string>>;

export interface OperationsOptions {
  readonly host: string;
  /** 0: any that is free. */
  readonly port: number;
  readonly live: Checks;
  readonly ready: Checks;
  readonly metrics: {
    readonly contentType: string;
    readonly chunks: () => AsyncIterable<string>;
  };
}

export interface OperationsServer {
  /** Such as `http://127.0.0.1:8080`. */
  readonly url: string;
  readonly port: number;
  /** Lets answers under way end, within a short time. */
  close(): Promise<void>;
}

const LIMITS = {
  headersTimeout: seconds(5),
  requestTimeout: seconds(10),
  connectionsCheckingInterval: seconds(1),
  keepAliveTimeout: seconds(5),
  maxHeaderSize: 8 * 1024,
};
/** For a client that takes nothing of its answer. */
const IDLE_LIMIT: Ms = seconds(30);
const CLOSING_TIME: Ms = seconds(2);
const TEXT = 'text/plain; charset=utf-8';

/** /livez, /readyz and /metrics. Rejects when it cannot listen. */
export async function startOperationsServer(options: OperationsOptions): Promise<OperationsServer> {
  const server = createServer(LIMITS, (request, response) => {
    answer(options, request, response).catch(() => response.destroy());
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

async function answer(
  { live, ready, metrics }: OperationsOptions,
  { method, url = '/' }: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const [path, query] = url.split('?', 2);
  const isVerbose = new URLSearchParams(query).has('verbose');
  if (path !== '/livez' && path !== '/readyz' && path !== '/metrics') {
    return say(response, 404, 'not found');
  }
  if (method !== 'GET') return say(response.setHeader('allow', 'GET'), 405, 'only GET');
  if (path === '/livez') return sayHealth(response, live, isVerbose);
  if (path === '/readyz') return sayHealth(response, ready, isVerbose);
  response.setHeader('content-type', metrics.contentType);
  await pipeline(Readable.from(metrics.chunks()), response);
}

function sayHealth(response: ServerResponse, checks: Checks, isVerbose: boolean): void {
  const results = Object.entries(checks).map(([name, check]) => ({ name, result: outcome(check) }));
  const lines = results
    .filter(({ result }) => isVerbose || result !== true)
    .map(({ name, result }) => (result === true ? `[+] ${name}` : `[-] ${name}: ${result}`));
  const isHealthy = results.every(({ result }) => result === true);
  say(response, isHealthy ? 200 : 503, [...lines, isHealthy ? 'ok' : 'failed'].join('\n'));
}

function outcome(check: () => true | string): true | string {
  try {
    return check();
  } catch {
    return 'the check itself failed';
  }
}

function say(response: ServerResponse, status: number, text: string): void {
  response.writeHead(status, { 'content-type': TEXT }).end(`${text}\n`);
}
