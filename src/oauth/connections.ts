import { X509Certificate } from 'node:crypto';
import { readFile } from 'node:fs/promises';
// Node 20 lacks getCACertificates: by name, the import would fail before anything can say which Node is needed.
import tls, { createSecureContext } from 'node:tls';
import { type Dispatcher, EnvHttpProxyAgent } from 'undici';
import type { Clock } from '../lib/clock.ts';
import { Failure } from '../lib/failure.ts';
import { Sockets } from '../lib/http.ts';
import { type Ms, minutes, seconds } from '../lib/time.ts';
import type { Environment } from './environment.ts';
import { exceptionsFor, type ProxySettings } from './proxy.ts';

export interface ConnectionOptions {
  readonly timeouts: { readonly connect: Ms; readonly total: Ms };
  /** Connections to one host, and so requests that it gets at once. */
  readonly perHost: number;
  readonly clock: Clock;
  readonly proxy: ProxySettings;
}

interface Pool {
  readonly dispatcher: Dispatcher;
  /** The extra certificates that it trusts (PEM). */
  readonly trust: string;
  /** By the monotonic clock. */
  checkedAt: Ms;
}

const CA_FILE_CHECK_INTERVAL = minutes(1);

/** Kept-alive connections, apart for each environment because each may trust other certificates. */
export class Connections {
  readonly #options: ConnectionOptions;
  readonly #pools = new Map<string, Pool>();
  /** Replaced ones too: requests that began before may still use them. A certificate changes every few months. */
  readonly #opened: Dispatcher[] = [];
  readonly #sockets = new Sockets();

  constructor(options: ConnectionOptions) {
    this.#options = options;
  }

  /** Follows changes of the environment's `caFile`; a file that cannot be used leaves the last good one in force. */
  async dispatcherFor(environment: Environment): Promise<Dispatcher | Failure> {
    const known = this.#pools.get(environment.name);
    const now = this.#options.clock.monotonic();
    if (known !== undefined && !isDue(environment, known, now)) return known.dispatcher;
    if (known !== undefined) known.checkedAt = now;
    const trust = environment.caFile === '' ? '' : await readTrust(environment);
    // Others may have been here while the file was read
    const current = this.#pools.get(environment.name);
    if (trust instanceof Failure) return current?.dispatcher ?? trust;
    if (current?.trust === trust) return current.dispatcher;
    const dispatcher = this.#open(environment, trust);
    this.#pools.set(environment.name, { dispatcher, trust, checkedAt: now });
    return dispatcher;
  }

  /** Ends all connections, requests in flight included. */
  async close(): Promise<void> {
    this.#pools.clear();
    await Promise.all(this.#opened.splice(0).map((dispatcher) => dispatcher.destroy()));
    this.#sockets.destroy();
  }

  #open(environment: Environment, trust: string): Dispatcher {
    const { timeouts, proxy, perHost } = this.#options;
    const tls = { ...(trust !== '' && trusting(trust)), timeout: timeouts.connect };
    const dispatcher = new EnvHttpProxyAgent({
      httpProxy: '',
      httpsProxy: proxy.https,
      noProxy: exceptionsFor(environment, proxy.except),
      connections: perHost,
      allowH2: false,
      keepAliveTimeout: seconds(30),
      keepAliveMaxTimeout: seconds(60),
      headersTimeout: timeouts.total,
      bodyTimeout: timeouts.total,
      connectTimeout: timeouts.connect,
      connect: this.#sockets.connector({ ...tls, allowH2: false }),
      clientFactory: this.#sockets.pool,
      requestTls: tls,
      proxyTls: tls,
    });
    this.#opened.push(dispatcher);
    return dispatcher;
  }
}

const isDue = (environment: Environment, pool: Pool, now: Ms): boolean =>
  environment.caFile !== '' && now - pool.checkedAt >= CA_FILE_CHECK_INTERVAL;

/** Made once and not for each connection: reading the default certificates takes a while. */
const trusting = (pem: string) => ({
  secureContext: createSecureContext({ ca: [...tls.getCACertificates('default'), pem] }),
});

async function readTrust({ name, caFile }: Environment): Promise<string | Failure> {
  try {
    const pem = await readFile(caFile, 'utf8');
    // Unlike this constructor, a secure context takes a text without any certificate in silence
    void new X509Certificate(pem);
    return pem;
  } catch {
    return new Failure(
      'TLSError',
      `caFile of the environment "${name}" is no readable PEM certificate. Ask the administrator of the operator.`,
    );
  }
}
