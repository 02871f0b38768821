import { createHash } from 'node:crypto';
import type { RequestOptions } from 'node:https';
import type { KubeConfig } from '@kubernetes/client-node';
import { Agent, type Dispatcher, ProxyAgent } from 'undici';
import { Sockets } from '../lib/http.ts';
import { systemClock } from '../lib/system-clock.ts';
import { type Ms, minutes, seconds } from '../lib/time.ts';

/** client-go looks at token and certificate files as often as this. */
const FRESH_FOR: Ms = minutes(1);

/** After a refusal the credentials are read again at once, but not for each of many refusals. */
const RELOAD_PAUSE: Ms = seconds(10);

/** What a request needs: connections with the right certificates, and the headers that authenticate. */
export interface ApiConnection {
  readonly dispatcher: Dispatcher;
  readonly headers: Readonly<Record<string, string>>;
}

/** Connections and credentials of one API server, read again as they rotate. */
export class RestConfig {
  readonly origin: string;
  readonly host: string;
  /** Path in front of every request, for servers behind a gateway. */
  readonly basePath: string;
  readonly #load: () => KubeConfig;
  readonly #now: () => Ms;
  #config: KubeConfig;
  #reading: Promise<ApiConnection> | undefined;
  #known: ApiConnection | undefined;
  #readAt = Number.NEGATIVE_INFINITY;
  #reloadedAt = Number.NEGATIVE_INFINITY;
  #current: { readonly fingerprint: string; readonly dispatcher: Dispatcher } | undefined;
  /** Among them are replaced ones whose last requests have not ended yet. */
  readonly #open = new Set<Dispatcher>();
  readonly #sockets = new Sockets();

  /**
   * @param now the monotonic clock
   * @throws Error when there is no usable kubeconfig
   */
  constructor(load: () => KubeConfig, now = (): Ms => systemClock.monotonic()) {
    this.#load = load;
    this.#now = now;
    this.#config = load();
    const server = this.#config.getCurrentCluster()?.server;
    if (!server) throw new Error('the kubeconfig names no current cluster');
    const url = new URL(server);
    this.origin = url.origin;
    this.host = url.host;
    this.basePath = url.pathname.replace(/\/+$/, '');
  }

  /** What is known and not too old; else `get` it. */
  get current(): ApiConnection | undefined {
    return this.#isFresh ? this.#known : undefined;
  }

  /** Rejects when a file cannot be read or a credential plugin fails. */
  get(): Promise<ApiConnection> {
    return this.#reading !== undefined && this.#isFresh ? this.#reading : this.#readAgain();
  }

  get #isFresh(): boolean {
    return this.#now() - this.#readAt <= FRESH_FOR;
  }

  /** After a refusal: everything is to be read again, unless it was just read. Returns whether it is. */
  reload(): boolean {
    if (this.#now() - this.#reloadedAt < RELOAD_PAUSE) return false;
    this.#reloadedAt = this.#now();
    try {
      this.#config = this.#load();
    } catch {
      return false; // half-written file: what we have is as good
    }
    this.#reading = undefined;
    this.#known = undefined;
    return true;
  }

  /** Ends all connections, requests in flight included. */
  async close(): Promise<void> {
    await Promise.all([...this.#open].map((dispatcher) => dispatcher.destroy()));
    this.#sockets.destroy();
  }

  #readAgain(): Promise<ApiConnection> {
    this.#readAt = this.#now();
    const reading = this.#read();
    this.#reading = reading;
    this.#known = undefined;
    const settle = (access: ApiConnection | undefined): void => {
      if (this.#reading !== reading) return;
      this.#known = access;
      if (access === undefined) this.#reading = undefined;
    };
    reading.then(settle, () => settle(undefined));
    return reading;
  }

  async #read(): Promise<ApiConnection> {
    const options: RequestOptions = {};
    await this.#config.applyToHTTPSOptions(options);
    // One that was begun later has ended before: its connections must stay open
    if (this.#known !== undefined) return this.#known;
    return { dispatcher: this.#dispatcherFor(options), headers: headersOf(options) };
  }

  #dispatcherFor(options: RequestOptions): Dispatcher {
    const { ca, cert, key, passphrase, rejectUnauthorized, servername } = options;
    const given = { ca, cert, key, passphrase, rejectUnauthorized, servername };
    const tls = Object.fromEntries(
      Object.entries(given).filter(([, value]) => value !== undefined && value !== null),
    );
    const proxy = this.#config.getCurrentCluster()?.proxyUrl;
    const fingerprint = createHash('sha256')
      .update(JSON.stringify([tls, proxy]))
      .digest('hex');
    if (this.#current?.fingerprint === fingerprint) return this.#current.dispatcher;
    if (this.#current !== undefined) this.#retire(this.#current.dispatcher);
    const dispatcher = connect(tls, proxy, this.#sockets);
    this.#current = { fingerprint, dispatcher };
    this.#open.add(dispatcher);
    return dispatcher;
  }

  /** Its requests may end. */
  #retire(dispatcher: Dispatcher): void {
    const forget = () => this.#open.delete(dispatcher);
    dispatcher.close().then(forget, forget);
  }
}

/** HTTP/1.1, so no watch shares a connection. Idle connections are closed before a load balancer drops them (60 s). */
function connect(tls: object, proxy: string | undefined, sockets: Sockets): Dispatcher {
  const pool = { allowH2: false, keepAliveTimeout: seconds(30), keepAliveMaxTimeout: seconds(50) };
  const socket = { keepAlive: true, keepAliveInitialDelay: seconds(30), timeout: seconds(10) };
  if (proxy === undefined) {
    const connect = sockets.connector({ ...socket, ...tls, allowH2: false });
    return new Agent({ ...pool, connect });
  }
  if (!/^https?:/.test(proxy)) throw new Error('proxy-url of the kubeconfig must be http or https');
  return new ProxyAgent({
    ...pool,
    uri: proxy,
    clientFactory: sockets.pool,
    factory: sockets.pool,
    proxyTls: socket,
    requestTls: { ...socket, ...tls },
  });
}

function headersOf(options: RequestOptions): Record<string, string> {
  const headers: Record<string, string> = {};
  for (const [name, value] of Object.entries(options.headers ?? {})) {
    headers[name.toLowerCase()] = String(value).trim();
  }
  if (typeof options.auth === 'string') {
    headers['authorization'] = `Basic ${Buffer.from(options.auth).toString('base64')}`;
  }
  return headers;
}
