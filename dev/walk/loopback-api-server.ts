import { randomUUID } from 'node:crypto';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { json } from 'node:stream/consumers';
import {
  ApiServer,
  type Change,
  type Reply,
  type Request,
  targetOf,
} from '../simulation/api-server.ts';
import { type Watched, watchLine } from '../simulation/watch-line.ts';

/** The simulated API server over HTTP, on loopback and by the clock of the machine: without faults and permissions. */
export class LoopbackApiServer {
  readonly state = new ApiServer(Date.now, randomUUID);
  /** When a request came or was answered last, or an object changed; by `performance.now`. */
  lastActivity = 0;
  readonly #watches = new Map<ServerResponse, Watched>();
  readonly #server = createServer((request, response) => {
    this.#serve(request, response).catch((error: unknown) => {
      response.writeHead(404).end(String(error));
    });
  });

  async listen(): Promise<string> {
    await new Promise<void>((resolve) => this.#server.listen(0, '127.0.0.1', resolve));
    this.state.observe((change) => this.#show(change));
    const address = this.#server.address();
    if (typeof address !== 'object' || address === null) throw new Error('not listening');
    return `http://127.0.0.1:${address.port}`;
  }

  /** The paths that are watched now. */
  get watched(): string[] {
    return Array.from(this.#watches.values(), ({ path }) => path);
  }

  async close(): Promise<void> {
    const closed = new Promise((resolve) => this.#server.close(resolve));
    this.#server.closeAllConnections();
    await closed;
  }

  async #serve(incoming: IncomingMessage, response: ServerResponse): Promise<void> {
    this.#touch();
    const { method = 'GET', headers } = incoming;
    const { pathname: path, searchParams } = new URL(incoming.url ?? '', 'http://127.0.0.1');
    const query = Object.fromEntries(searchParams);
    const accept = headers.accept ?? '';
    if (query['watch'] !== undefined) return this.#watch(response, { path, query, accept });
    const body: unknown = method === 'GET' ? undefined : await json(incoming);
    const contentType = headers['content-type'] ?? '';
    this.#answer(response, { method, path, query, body, contentType }, accept);
  }

  #answer(response: ServerResponse, request: Request, accept: string): void {
    const reply = this.state.handle(request);
    const status = 'refusal' in reply ? reply.refusal.code : 200;
    const body = JSON.stringify(bodyOf(reply, accept.includes('PartialObjectMetadata')));
    response.writeHead(status, { 'Content-Type': 'application/json' }).end(body);
    this.#touch();
  }

  #watch(response: ServerResponse, watch: Required<Watched>): void {
    response.writeHead(200, { 'Content-Type': 'application/json' }).flushHeaders();
    const version = Number(watch.query['resourceVersion'] ?? this.state.version);
    const missed = this.state.changesAfter(version, targetOf(watch.path).kind) ?? [];
    this.#watches.set(response, watch);
    for (const change of missed) write(response, watch, change);
    response.once('close', () => this.#watches.delete(response));
  }

  #show(change: Change): void {
    this.#touch();
    for (const [response, watch] of this.#watches) write(response, watch, change);
  }

  #touch(): void {
    this.lastActivity = performance.now();
  }
}

function write(response: ServerResponse, watch: Watched, change: Change): void {
  const line = watchLine(watch, change);
  if (line !== undefined) response.write(`${line}\n`);
}

function bodyOf(reply: Reply, isMetadataOnly: boolean): unknown {
  if ('refusal' in reply) {
    const { causes, ...status } = reply.refusal;
    return { kind: 'Status', apiVersion: 'v1', ...status, details: { causes } };
  }
  if ('object' in reply) {
    const { metadata } = reply.object;
    return isMetadataOnly ? { kind: 'PartialObjectMetadata', metadata } : reply.object;
  }
  const { items, ...metadata } = reply.page;
  return {
    metadata,
    items: isMetadataOnly ? items.map((item) => ({ metadata: item.metadata })) : items,
  };
}
