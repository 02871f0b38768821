import { ApiError } from '../../src/kubernetes/api-error.ts';
import type { StreamRequest } from '../../src/kubernetes/rest-client.ts';
import { type Ms, minutes, seconds } from '../../src/lib/time.ts';
import { type ApiNetwork, errorFor, type OpenWatch } from './api-network.ts';
import { type Change, targetOf } from './api-server.ts';
import { latency } from './conditions.ts';
import { API_VERSIONS } from './objects.ts';
import type { Replica } from './replica.ts';
import { watchLine } from './watch-line.ts';

/** About the interval of bookmarks of a real server. */
const BOOKMARK_EVERY: Ms = minutes(1);

type Line = Buffer | { readonly end: true } | { readonly error: ApiError };

/** A watch: the server's side, lines on their way, and lines that arrived and were not read. Lines stay in order. */
export class WatchConnection implements OpenWatch {
  readonly #replica: Replica;
  readonly #network: ApiNetwork;
  readonly #request: StreamRequest;
  /** On their way, or arrived and not read. */
  readonly #onTheWay: Line[] = [];
  readonly #arrived: Line[] = [];
  #wake: () => void = () => undefined;
  #lastArrival: Ms = 0;
  #sentUpTo: number;
  #isOpen = false;
  #isOver = false;
  readonly #abort = (): void => {
    this.#isOver = true;
    this.#wake();
  };

  constructor(replica: Replica, network: ApiNetwork, request: StreamRequest) {
    this.#replica = replica;
    this.#network = network;
    this.#request = request;
    this.#sentUpTo = Number(request.query?.['resourceVersion'] ?? network.server.version);
    request.signal.addEventListener('abort', this.#abort, { once: true });
    const { conditions, dice, scheduler } = network;
    if (conditions.api.down) this.#push({ error: ApiError.network('ECONNREFUSED') });
    else scheduler.after(latency(dice, conditions), () => this.#open());
  }

  /** The next line; undefined when the server has ended the watch. @throws ApiError, or the signal's reason */
  async next(): Promise<Buffer | undefined> {
    while (this.#arrived.length === 0) {
      this.#request.signal.throwIfAborted();
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
    this.#request.signal.throwIfAborted();
    const line = this.#arrived.shift();
    if (line === undefined || 'end' in line) return undefined;
    if ('error' in line) throw line.error;
    return line;
  }

  /** The client closed the watch. */
  close(): void {
    this.#isOver = true;
    this.#request.signal.removeEventListener('abort', this.#abort);
  }

  /** The connection breaks; lines on their way are lost. */
  cut(): void {
    if (this.#isOver || !this.#isOpen) return;
    this.#isOpen = false;
    this.#onTheWay.length = 0;
    this.#network.trace.add(this.#replica.name, () => `watch of ${this.#kind} is cut`);
    this.#push({ error: ApiError.network('ECONNRESET') });
  }

  /** A change has been stored. */
  offer(change: Change): void {
    if (!this.#isOpen || this.#isOver || this.#replica.isDead) return;
    if (change.kind !== this.#kind || change.version <= this.#sentUpTo) return;
    const { conditions, dice } = this.#network;
    if (dice.chance(conditions.watch.cut)) return this.cut();
    this.#sentUpTo = change.version;
    const line = watchLine(this.#request, change);
    if (line !== undefined) this.#push(Buffer.from(line));
  }

  get #kind() {
    return targetOf(this.#request.path).kind;
  }

  #open(): void {
    if (this.#isOver || this.#replica.isDead) return;
    const { server, conditions, scheduler } = this.#network;
    const { path, query = {} } = this.#request;
    if (conditions.api.down) return this.#push({ error: ApiError.network('ECONNRESET') });
    const permission = server.handle({ method: 'GET', path, query: { limit: '1' } });
    if ('refusal' in permission) return this.#push({ error: errorFor(permission.refusal) });
    const missed = server.changesAfter(this.#sentUpTo, this.#kind);
    if (missed === undefined) return this.#refuseAsGone();
    this.#isOpen = true;
    for (const change of missed) this.offer(change);
    const timeout = seconds(Number(query['timeoutSeconds'] ?? 600));
    scheduler.after(timeout, () => this.#end());
    if (query['allowWatchBookmarks'] !== undefined)
      scheduler.after(BOOKMARK_EVERY, () => this.#bookmark());
  }

  /** As an HTTP status or as an event in the stream: a real server does either. */
  #refuseAsGone(): void {
    const status = { kind: 'Status', code: 410, reason: 'Expired' };
    if (this.#network.dice.chance(0.5)) return this.#push({ error: new ApiError(410, status) });
    this.#push(Buffer.from(JSON.stringify({ type: 'ERROR', object: status })));
    this.#push({ end: true });
  }

  #end(): void {
    if (!this.#isOpen || this.#isOver) return;
    this.#isOpen = false;
    this.#push({ end: true });
  }

  #bookmark(): void {
    if (!this.#isOpen || this.#isOver || this.#replica.isDead) return;
    const { server, scheduler } = this.#network;
    if (server.version >= this.#sentUpTo) {
      this.#sentUpTo = server.version;
      const [apiVersion, kind] = API_VERSIONS[this.#kind];
      const metadata = { resourceVersion: String(server.version) };
      this.#push(
        Buffer.from(JSON.stringify({ type: 'BOOKMARK', object: { kind, apiVersion, metadata } })),
      );
    }
    scheduler.after(BOOKMARK_EVERY, () => this.#bookmark());
  }

  #push(line: Line): void {
    const { conditions, dice, scheduler } = this.#network;
    const stall = conditions.watch.stall === 0 ? 0 : dice.between(0, conditions.watch.stall);
    this.#onTheWay.push(line);
    this.#lastArrival = Math.max(
      scheduler.now + latency(dice, conditions) + stall,
      this.#lastArrival,
    );
    this.#replica.after(this.#lastArrival - scheduler.now, () => this.#arrive());
  }

  #arrive(): void {
    const line = this.#onTheWay.shift();
    if (line === undefined || this.#isOver) return;
    this.#arrived.push(line);
    this.#wake();
  }
}
