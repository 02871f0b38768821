import { once } from 'node:events';
import { createServer, type Server, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Canaries } from './canary.ts';
import { anyResponse, type Presented, type ResponseDraft, rightResponse } from './responses.ts';
import type { Samples } from './samples.ts';

/** The realm that always gets right responses: that of the bystander. */
export const BYSTANDER_REALM = 'bystander';

export interface SeenRequest {
  readonly at: number;
  /** Path and presented secret: what one credential sends again and again. */
  readonly identity: string;
}

/** Token endpoint and login in one. Below HTTP, since most of what it sends is none. */
export class FuzzProvider implements AsyncDisposable {
  readonly requests: SeenRequest[] = [];
  /** Responses by kind. */
  readonly sent = new Map<string, number>();
  /** From now on every response is a right one. */
  isCalm = false;
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  readonly #samples: Samples;
  readonly #canaries: Canaries;

  private constructor(samples: Samples, canaries: Canaries) {
    this.#samples = samples;
    this.#canaries = canaries;
    this.#server = createServer((socket) => this.#serve(socket));
  }

  static async start(samples: Samples, canaries: Canaries): Promise<FuzzProvider> {
    const provider = new FuzzProvider(samples, canaries);
    provider.#server.listen(0, '127.0.0.1');
    await once(provider.#server, 'listening');
    return provider;
  }

  get url(): string {
    const address = this.#server.address();
    if (address === null || typeof address === 'string') throw new Error('the provider is closed');
    return `http://127.0.0.1:${address.port}`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const closed = once(this.#server, 'close');
    this.#server.close();
    for (const socket of this.#sockets) socket.destroy();
    await closed;
  }

  #serve(socket: Socket): void {
    this.#sockets.add(socket);
    socket.on('close', () => this.#sockets.delete(socket));
    socket.on('error', () => undefined);
    let received = Buffer.alloc(0);
    socket.on('data', (chunk: Buffer) => {
      received = Buffer.concat([received, chunk]);
      const request = wholeRequest(received);
      if (request === undefined) return;
      received = Buffer.alloc(0);
      void this.#respond(socket, request);
    });
  }

  async #respond(socket: Socket, { path, body }: Request): Promise<void> {
    const isLogin = !path.startsWith('/realms/');
    const secret = isLogin ? passwordIn(body) : secretIn(body);
    this.requests.push({ at: Date.now(), identity: `${path} ${secret}` });
    const draft = this.#draftFor(path);
    this.sent.set(draft.kind, (this.sent.get(draft.kind) ?? 0) + 1);
    await sleep(draft.delayMs);
    send(socket, draft, { secret, canary: this.#canaries.in(body), isLogin });
  }

  #draftFor(path: string): ResponseDraft {
    const isRight = this.isCalm || path.startsWith(`/realms/${BYSTANDER_REALM}/`);
    return this.#samples.next(isRight ? rightResponse : anyResponse);
  }
}

function send(socket: Socket, draft: ResponseDraft, presented: Presented): void {
  if (socket.destroyed) return;
  const bytes = draft.render(presented).subarray(0, draft.cutAt);
  switch (draft.afterwards) {
    case 'keep':
    case 'hang':
      socket.write(bytes);
      return;
    case 'close':
      socket.end(bytes);
      return;
    case 'reset':
      socket.write(bytes, () => socket.resetAndDestroy());
  }
}

interface Request {
  readonly path: string;
  readonly body: string;
}

/** The operator sends one request at a time over a connection, with a Content-Length. */
function wholeRequest(received: Buffer): Request | undefined {
  const end = received.indexOf('\r\n\r\n');
  if (end < 0) return undefined;
  const head = received.subarray(0, end).toString('latin1');
  const length = Number(/^content-length: *(\d+)/im.exec(head)?.[1] ?? 0);
  const body = received.subarray(end + 4);
  if (body.length < length) return undefined;
  return { path: head.split(' ')[1] ?? '', body: body.toString() };
}

function secretIn(form: string): string {
  const fields = new URLSearchParams(form);
  return fields.get('password') ?? fields.get('refresh_token') ?? fields.get('client_secret') ?? '';
}

function passwordIn(body: string): string {
  try {
    const { password }: { password?: unknown } = JSON.parse(body);
    return typeof password === 'string' ? password : '';
  } catch {
    return '';
  }
}
