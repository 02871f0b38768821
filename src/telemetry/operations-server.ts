import { createServer, type RequestListener, type Server, type ServerResponse } from 'node:http';
import { isIPv6 } from 'node:net';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { type Ms, seconds } from '../lib/time.ts';
import { limitConnections } from './connection-limit.ts';

/** A part that does not work while the others do: it is shown, but the check does not fail. */
export interface Degraded {
  readonly degraded: string;
}

/** The name of a check, and `true` or what is wrong. */
export type CheckResult = readonly [name: string, result: true | string | Degraded];

export interface OperationsOptions {
  /** `::` is every address, that of IPv4 alone where IPv6 is off. */
  readonly host: string;
  /** Of /metrics. 0: any free port. */
  readonly port: number;
  /** Of /livez and /readyz. Absent: the same as `port`. 0: any free port. */
  readonly probePort?: number | undefined;
  readonly readiness: () => Iterable<CheckResult>;
  readonly metrics: {
    readonly contentType: string;
    readonly chunks: () => AsyncIterable<string>;
  };
}

export interface OperationsServer {
  /** Of /metrics, such as `http://127.0.0.1:8080`. */
  readonly url: string;
  readonly port: number;
  readonly probeUrl: string;
  readonly probePort: number;
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
const MAX_CONNECTIONS = 256;
/** A response of 10,000 credentials has 6 MB, and takes 40 ms of the only thread. */
const MAX_SCRAPES = 2;
const SCRAPE_TIMEOUT: Ms = seconds(30);
/** A client that reads nothing of its response for this long is cut off. */
const IDLE_LIMIT: Ms = seconds(30);
const CLOSING_TIME: Ms = seconds(1);
const TEXT = 'text/plain; charset=utf-8';

type Route = (query: URLSearchParams, response: ServerResponse) => void | Promise<void>;
type Routes = ReadonlyMap<string, Route>;

/** /metrics, and on the same or another port /livez and /readyz. Rejects when it cannot listen. */
export async function startOperationsServer(options: OperationsOptions): Promise<OperationsServer> {
  const { host, port, probePort = port } = options;
  const isShared = options.probePort === undefined || (probePort === port && port !== 0);
  const probes = probeRoutes(options.readiness);
  const metrics: Routes = new Map([['/metrics', metricsRoute(options.metrics)]]);
  const first = await listen(isShared ? new Map([...metrics, ...probes]) : metrics, host, port);
  if (isShared) return { ...first, probeUrl: first.url, probePort: first.port };
  try {
    const second = await listen(probes, host, probePort);
    const close = async (): Promise<void> => {
      await Promise.all([first.close(), second.close()]);
    };
    return { ...first, probeUrl: second.url, probePort: second.port, close };
  } catch (error) {
    await first.close();
    throw error;
  }
}

type Listening = Pick<OperationsServer, 'url' | 'port' | 'close'>;

async function listen(routes: Routes, host: string, port: number): Promise<Listening> {
  const server = createServer(LIMITS, dispatching(routes));
  server.setTimeout(IDLE_LIMIT);
  limitConnections(server, MAX_CONNECTIONS);
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    // Without a host Node listens on ::, which takes IPv4 too, or on 0.0.0.0 where IPv6 is off
    server.listen({ port, ...(host === '::' ? {} : { host }) }, resolve);
  });
  const address = server.address();
  const bound = typeof address === 'object' && address !== null ? address : { address: host, port };
  const name = isIPv6(bound.address) ? `[${bound.address}]` : bound.address;
  return { url: `http://${name}:${bound.port}`, port: bound.port, close: () => closed(server) };
}

async function closed(server: Server): Promise<void> {
  const cut = setTimeout(() => server.closeAllConnections(), CLOSING_TIME);
  await new Promise<void>((resolve) => {
    server.close(() => resolve());
  });
  clearTimeout(cut);
}

const dispatching =
  (routes: Routes): RequestListener =>
  ({ method, url = '/' }, response) => {
    const [path = '', query] = url.split('?', 2);
    const route = routes.get(path);
    if (route === undefined) return send(response, 404, 'not found');
    if (method !== 'GET') return send(response.setHeader('allow', 'GET'), 405, 'only GET');
    run(route, new URLSearchParams(query), response).catch(() => {
      // A check or a metric threw, or the client went away
      if (response.headersSent) response.destroy();
      else send(response, 500, 'internal error');
    });
  };

const run = async (route: Route, ...args: Parameters<Route>): Promise<void> => route(...args);

/** A process that responds is alive. Connections of probes are not kept: the next probe is seconds away. */
function probeRoutes(readiness: OperationsOptions['readiness']): Routes {
  const route =
    (results: () => Iterable<CheckResult>): Route =>
    (query, response) => {
      response.shouldKeepAlive = false;
      sendHealth(response, [...results()], query.has('verbose'));
    };
  return new Map([
    ['/livez', route(() => [])],
    ['/readyz', route(readiness)],
  ]);
}

/** More scrapes at once would take the thread from renewals. */
function metricsRoute({ contentType, chunks }: OperationsOptions['metrics']): Route {
  let running = 0;
  return async (_, response) => {
    if (running >= MAX_SCRAPES) {
      return send(response.setHeader('retry-after', 1), 503, 'too many scrapes at once');
    }
    running += 1;
    try {
      response.setHeader('content-type', contentType);
      const signal = AbortSignal.timeout(SCRAPE_TIMEOUT);
      await pipeline(Readable.from(chunks()), response, { signal });
    } finally {
      running -= 1;
    }
  };
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
  response.statusCode = status;
  response.setHeader('content-type', TEXT).end(`${text}\n`);
}
