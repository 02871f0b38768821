import { beforeEach, describe, expect, it } from '@jest/globals';
import { type Config, parseConfig } from '../src/config.ts';
import type { Readiness } from '../src/informers.ts';
import { ApiError } from '../src/kubernetes/api-error.ts';
import type {
  ApiRequest,
  ApiResponse,
  RestClient,
  StreamRequest,
} from '../src/kubernetes/rest-client.ts';
import type { Clock } from '../src/lib/clock.ts';
import { type Ms, minutes, seconds } from '../src/lib/time.ts';
import type { Exchange, HttpClient } from '../src/oauth/http-client.ts';
import { runOperator } from '../src/operator.ts';
import { createMetrics, type Metrics } from '../src/telemetry/metrics.ts';
import { aCredential, CANARY } from './support/builders.ts';
import { FakeClock } from './support/fake-clock.ts';

const SOURCE = {
  metadata: { name: 'convercus-abc', namespace: 'shop', uid: 'source', resourceVersion: '1' },
  data: { client_secret: Buffer.from(CANARY).toString('base64') },
};

/** Another tenant, of the same program. */
const ELSEWHERE = { metadata: { namespace: 'elsewhere', uid: 'elsewhere' } };

const sourceElsewhere = { ...SOURCE, metadata: { ...SOURCE.metadata, ...ELSEWHERE.metadata } };
const CREDENTIALS_IN = '/apis/convercus.io/v1alpha1/namespaces';

/** Real turns of the event loop, for what passes through streams and compression. */
const settle = async (): Promise<void> => {
  for (let turn = 0; turn < 20; turn += 1) await new Promise((resolve) => setImmediate(resolve));
};

const never = (signal: AbortSignal): Promise<never> =>
  new Promise((_, reject) => {
    const abort = (): void => reject(signal.reason);
    if (signal.aborted) abort();
    signal.addEventListener('abort', abort, { once: true });
  });

/** One credential with its Secret, a Lease, and whatever is written; knows what is still open. */
class ApiServer implements RestClient {
  readonly #objects = new Map<string, unknown>();
  #version = 1;
  /** Requests and streams that have not ended. */
  open = 0;
  isClosed = false;
  /** Accepts requests and never answers. */
  isFrozen = false;
  /** Paths that may not be read. */
  readonly forbidden = new Set<string>();
  /** All that was asked for. */
  readonly asked: string[] = [];

  lease(): unknown {
    return this.#objects.get('lease');
  }

  get written(): string[] {
    return [...this.#objects.keys()];
  }

  async request(request: ApiRequest): Promise<ApiResponse | ApiError> {
    if (this.isFrozen) return this.#opened(never(request.signal));
    request.signal.throwIfAborted();
    await Promise.resolve();
    request.beforeSend?.();
    this.asked.push(request.path);
    if (this.forbidden.has(request.path)) return new ApiError(403, { reason: 'Forbidden' });
    return request.method === 'GET' ? this.#read(request.path) : this.#write(request);
  }

  async *stream({ signal }: StreamRequest): AsyncGenerator {
    await this.#opened(never(signal));
    yield undefined;
  }

  async close(): Promise<void> {
    this.isClosed = true;
  }

  async #opened<T>(response: Promise<T>): Promise<T> {
    this.open += 1;
    try {
      return await response;
    } finally {
      this.open -= 1;
    }
  }

  #read(path: string): ApiResponse | ApiError {
    const list = { metadata: { resourceVersion: '1' } };
    const known: Readonly<Record<string, unknown>> = {
      '/apis/convercus.io/v1alpha1/convercuscredentials': { ...list, items: [aCredential()] },
      '/api/v1/secrets': { ...list, items: [{ metadata: SOURCE.metadata }] },
      '/api/v1/namespaces/shop/secrets/convercus-abc': SOURCE,
      [`${CREDENTIALS_IN}/shop/convercuscredentials`]: { ...list, items: [aCredential()] },
      [`${CREDENTIALS_IN}/elsewhere/convercuscredentials`]: {
        ...list,
        items: [aCredential(ELSEWHERE)],
      },
      '/api/v1/namespaces/shop/secrets': { ...list, items: [{ metadata: SOURCE.metadata }] },
      '/api/v1/namespaces/elsewhere/secrets': { ...list, items: [sourceElsewhere] },
      '/api/v1/namespaces/elsewhere/secrets/convercus-abc': sourceElsewhere,
    };
    const body = path.includes('/leases/') ? this.lease() : known[path];
    return body === undefined ? new ApiError(404, { reason: 'NotFound' }) : { status: 200, body };
  }

  #write({ path, body }: ApiRequest): ApiResponse {
    const key = path.includes('/leases') ? 'lease' : path;
    const { metadata = {} } = Object(body);
    this.#version += 1;
    const stored = {
      ...Object(body),
      metadata: { uid: `uid-of-${key}`, ...Object(metadata), resourceVersion: `${this.#version}` },
    };
    this.#objects.set(key, stored);
    return { status: 200, body: stored };
  }
}

/** Token hosts that all do the same. */
class TokenHosts implements HttpClient {
  readonly #clock: Clock;
  response: 'token' | 'too many' | 'hangs' = 'token';
  takes: Ms = 0;
  requests = 0;
  isClosed = false;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  async send(_: unknown, __: unknown, signal: AbortSignal): Promise<Exchange> {
    this.requests += 1;
    const requestedAt = this.#clock.now();
    if (this.response === 'hangs') await never(signal);
    if (this.takes > 0)
      await new Promise<void>((resolve) => this.#clock.after(this.takes, resolve));
    const token = { access_token: `${CANARY}-token`, token_type: 'Bearer', expires_in: 1_800 };
    const contentType = 'application/json';
    const response =
      this.response === 'token'
        ? { status: 200, contentType, text: JSON.stringify(token) }
        : { status: 429, contentType, text: '{}', retryAfter: '300' };
    return { response, requestedAt, receivedAt: this.#clock.now() };
  }

  async close(): Promise<void> {
    this.isClosed = true;
  }
}

describe('the operator', () => {
  let clock: FakeClock;
  let api: ApiServer;
  let hosts: TokenHosts;
  let stop: AbortController;
  let lines: string[];
  let readiness: Readiness;
  /** What ended it when it is neither of the two. */
  let ended: unknown;

  beforeEach(() => {
    clock = new FakeClock();
    api = new ApiServer();
    hosts = new TokenHosts(clock);
    stop = new AbortController();
    lines = [];
    readiness = new Map();
    ended = 'running';
  });

  async function run(more: Partial<Metrics> = {}, settings = ''): Promise<void> {
    const note = (message: string): void => {
      lines.push(message);
    };
    const metrics = createMetrics({ version: '1', workers: 4, leaseName: 'lease', clock });
    const around = {
      config: configOf(settings),
      identity: 'me',
      userAgent: 'test',
      clock,
      random: () => 0.5,
      digestKey: 'key',
      restClient: api,
      client: hosts,
      log: { debug: note, info: note, warn: note, error: note },
      metrics: { ...metrics, ...more },
      readiness,
    };
    try {
      await runOperator(around, stop.signal);
      ended = 'stopped';
    } catch (error) {
      ended = error;
    }
  }

  async function passes(time: Ms): Promise<void> {
    const end = clock.monotonic() + time;
    while (clock.monotonic() < end) {
      await settle();
      await clock.advance(Math.min(100, end - clock.monotonic()));
    }
    await settle();
  }

  const everything = () => ({
    timers: clock.timers,
    requests: api.open,
    isClosed: [api.isClosed, hosts.isClosed],
  });
  const NOTHING_OPEN = { timers: 0, requests: 0, isClosed: [true, true] };

  it('leaves nothing open after a stop, and gives the Lease back', async () => {
    void run();
    await passes(minutes(1));
    expect(api.written).toContain('/api/v1/namespaces/shop/secrets');
    expect(api.lease()).toMatchObject({ spec: { holderIdentity: 'me' } });
    stop.abort();
    await settle();
    expect(ended).toBe('stopped');
    expect(everything()).toEqual(NOTHING_OPEN);
    expect(api.lease()).toMatchObject({ spec: { holderIdentity: '' } });
    expect(lines).toContain('Stopped');
  });

  it('ends at once while a host is paused after a 429', async () => {
    hosts.response = 'too many';
    void run();
    await passes(seconds(5));
    expect(hosts.requests).toBe(1);
    stop.abort();
    await settle();
    expect(ended).toBe('stopped');
    expect(everything()).toEqual(NOTHING_OPEN);
  });

  it('waits for the answer to a token request and writes down what came of it', async () => {
    hosts.takes = seconds(9);
    void run();
    await passes(seconds(1));
    stop.abort();
    await passes(seconds(8.5));
    expect(ended).toBe('stopped');
    expect(api.written.filter((path) => path !== 'lease')).toEqual([
      '/api/v1/namespaces/shop/secrets',
      '/apis/convercus.io/v1alpha1/namespaces/shop/convercuscredentials/loyalty/status',
      '/apis/events.k8s.io/v1/namespaces/shop/events',
    ]);
    expect(everything()).toEqual(NOTHING_OPEN);
  });

  it('cuts a token request that hangs after 12 s, and then gives the Lease back', async () => {
    hosts.response = 'hangs';
    void run();
    await passes(seconds(1));
    stop.abort();
    await passes(seconds(11.5));
    expect(ended).toBe('running');
    await passes(seconds(1));
    expect(ended).toBe('stopped');
    expect(everything()).toEqual(NOTHING_OPEN);
    expect(api.lease()).toMatchObject({ spec: { holderIdentity: '' } });
  });

  it('needs no more than 3 s when the API server does not answer', async () => {
    void run();
    await passes(seconds(3));
    api.isFrozen = true;
    await passes(seconds(3));
    stop.abort();
    await passes(seconds(3));
    expect(ended).toBe('stopped');
    expect(everything()).toEqual(NOTHING_OPEN);
  });

  it('needs no more than 15 s when both sides hang', async () => {
    hosts.response = 'hangs';
    void run();
    await passes(seconds(2.5));
    api.isFrozen = true;
    stop.abort();
    await passes(seconds(15));
    expect(ended).toBe('stopped');
    expect(everything()).toEqual(NOTHING_OPEN);
  });

  it('ends at once before the Lease was reached and the first list was complete', async () => {
    api.isFrozen = true;
    void run();
    await passes(seconds(2));
    stop.abort();
    await settle();
    expect(ended).toBe('stopped');
    expect(everything()).toEqual(NOTHING_OPEN);
  });

  it('closes everything after an error that it did not foresee, and gives the Lease back', async () => {
    const bug = new TypeError('a bug');
    void run({
      observe: ({ queue }) => {
        if (queue !== undefined) throw bug;
      },
    });
    await passes(seconds(1));
    expect(ended).toBe(bug);
    expect(everything()).toEqual(NOTHING_OPEN);
    expect(api.lease()).toMatchObject({ spec: { holderIdentity: '' } });
    expect(lines).not.toContain('Stopped');
  });

  describe('for listed namespaces of which one may not be read', () => {
    const watch = 'watch: {namespaces: [shop, elsewhere]}';
    const message = expect.stringContaining('may not list secrets in namespace "elsewhere"');
    const SECRETS = '/api/v1/namespaces/elsewhere/secrets';
    const CREDENTIALS = `${CREDENTIALS_IN}/elsewhere/convercuscredentials`;
    const targetsIn = () => api.written.filter((path) => path.endsWith('/secrets'));

    it.each([SECRETS, CREDENTIALS])('serves the others, whether it is by %s', async (path) => {
      api.forbidden.add(path);
      void run({}, watch);
      await passes(seconds(5));
      expect(targetsIn()).toEqual(['/api/v1/namespaces/shop/secrets']);
      expect(readiness.get('secrets in shop')).toBe(true);
    });

    it('takes nothing there for absent, says so, and serves it as soon as it may be read', async () => {
      api.forbidden.add(SECRETS);
      void run({}, watch);
      await passes(minutes(2));
      const asked = new Set(api.asked.filter((path) => path.includes('elsewhere')));
      expect(asked).toEqual(new Set([CREDENTIALS, SECRETS]));
      expect(readiness.get('secrets in elsewhere')).toEqual({ degraded: message });
      expect(lines).toContainEqual(message);
      api.forbidden.clear();
      await passes(minutes(1));
      expect(targetsIn()).toEqual(['/api/v1/namespaces/shop/secrets', SECRETS]);
      expect(readiness.get('secrets in elsewhere')).toBe(true);
    });

    it('is not ready as long as none has been listed', async () => {
      api.forbidden.add(SECRETS).add('/api/v1/namespaces/shop/secrets');
      void run({}, watch);
      await passes(minutes(1));
      expect(readiness.get('secrets in elsewhere')).toEqual(message);
      api.forbidden.delete('/api/v1/namespaces/shop/secrets');
      await passes(minutes(1));
      expect(readiness.get('secrets in elsewhere')).toEqual({ degraded: message });
      expect(targetsIn()).toEqual(['/api/v1/namespaces/shop/secrets']);
    });
  });
});

function configOf(settings: string): Config {
  const config = parseConfig(settings, { readFile: () => '' });
  if (Array.isArray(config)) throw new Error(config.join('\n'));
  return config;
}
