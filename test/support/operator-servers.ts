import type { ConvercusCredential } from '../../src/credential/api.ts';
import { ApiError } from '../../src/kubernetes/api-error.ts';
import type {
  ApiRequest,
  ApiResponse,
  RestClient,
  StreamRequest,
} from '../../src/kubernetes/rest-client.ts';
import type { Clock } from '../../src/lib/clock.ts';
import type { EpochMs, Ms } from '../../src/lib/time.ts';
import type { Exchange, HttpClient } from '../../src/oauth/http-client.ts';
import { aCredential, CANARY } from './builders.ts';

/** The servers of an operator that is wired in this process: no network, and no answer but the scripted ones. */

interface SourceSecret {
  readonly metadata: object;
  readonly data: Readonly<Record<string, string>>;
}

const SOURCE: SourceSecret = {
  metadata: { name: 'convercus-abc', namespace: 'shop', uid: 'source', resourceVersion: '1' },
  data: { client_secret: Buffer.from(`${CANARY}-good`).toString('base64') },
};

/** Another tenant, of the same program. */
const ELSEWHERE = { namespace: 'elsewhere', uid: 'elsewhere' };

export const CREDENTIALS_IN = '/apis/convercus.io/v1alpha1/namespaces';

const never = (signal: AbortSignal): Promise<never> =>
  new Promise((_, reject) => {
    const abort = (): void => reject(signal.reason);
    if (signal.aborted) abort();
    signal.addEventListener('abort', abort, { once: true });
  });

/** Credentials in two namespaces with their Secrets, a Lease, and whatever is written. */
export class ApiServer implements RestClient {
  readonly #objects = new Map<string, unknown>();
  readonly #journal: string[];
  #version = 1;
  /** Requests and streams that have not ended. */
  open = 0;
  isClosed = false;
  /** Accepts requests and never responds. */
  isFrozen = false;
  /** Paths that may not be read. */
  readonly forbidden = new Set<string>();
  /** The paths of all requests. */
  readonly asked: string[] = [];
  credential: ConvercusCredential = aCredential();
  /** Watched only when the configuration lists its namespace. */
  credentialElsewhere: ConvercusCredential = aCredential({ metadata: ELSEWHERE });
  sourceElsewhere: SourceSecret = { ...SOURCE, metadata: { ...SOURCE.metadata, ...ELSEWHERE } };

  /** @param journal gets a line for each request that succeeds, and for the end */
  constructor(journal: string[] = []) {
    this.#journal = journal;
  }

  lease(): unknown {
    return this.#objects.get('lease');
  }

  get #leaseVersion(): string {
    return Object(this.lease()).metadata.resourceVersion;
  }

  /** Another replica takes the Lease. */
  takeLease(holder: string, at: EpochMs): void {
    const { metadata, spec } = Object(this.lease());
    this.#version += 1;
    const now = new Date(at).toISOString().replace('Z', '000Z');
    this.#objects.set('lease', {
      metadata: { ...metadata, resourceVersion: `${this.#version}` },
      spec: { ...spec, holderIdentity: holder, acquireTime: now, renewTime: now },
    });
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
    if (this.forbidden.has(request.path)) return forbidden(request);
    const response = request.method === 'GET' ? this.#read(request.path) : this.#write(request);
    if (!(response instanceof ApiError)) this.#journal.push(lineOf(request));
    return response;
  }

  async *stream({ signal }: StreamRequest): AsyncGenerator {
    await this.#opened(never(signal));
    yield undefined;
  }

  async close(): Promise<void> {
    this.isClosed = true;
    this.#journal.push('close the API server');
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
    const list = (items: readonly unknown[]) => ({ metadata: { resourceVersion: '1' }, items });
    const { credential, credentialElsewhere, sourceElsewhere } = this;
    const known: Readonly<Record<string, unknown>> = {
      '/apis/convercus.io/v1alpha1/convercuscredentials': list([credential]),
      '/api/v1/secrets': list([{ metadata: SOURCE.metadata }]),
      '/api/v1/namespaces/shop/secrets/convercus-abc': SOURCE,
      [`${CREDENTIALS_IN}/shop/convercuscredentials`]: list([credential]),
      [`${CREDENTIALS_IN}/elsewhere/convercuscredentials`]: list([credentialElsewhere]),
      '/api/v1/namespaces/shop/secrets': list([{ metadata: SOURCE.metadata }]),
      '/api/v1/namespaces/elsewhere/secrets': list([{ metadata: sourceElsewhere.metadata }]),
      '/api/v1/namespaces/elsewhere/secrets/convercus-abc': sourceElsewhere,
    };
    const body = path.includes('/leases/') ? this.lease() : known[path];
    return body === undefined ? new ApiError(404, { reason: 'NotFound' }) : { status: 200, body };
  }

  #write({ method, path, body }: ApiRequest): ApiResponse | ApiError {
    const key = path.includes('/leases') ? 'lease' : path;
    const { metadata = {} } = Object(body);
    if (key === 'lease' && method === 'PUT' && metadata.resourceVersion !== this.#leaseVersion)
      return new ApiError(409, { reason: 'Conflict' });
    this.#version += 1;
    const stored = {
      ...Object(body),
      metadata: { uid: `uid-of-${key}`, ...Object(metadata), resourceVersion: `${this.#version}` },
    };
    this.#objects.set(key, stored);
    return { status: 200, body: stored };
  }
}

const VERBS: Readonly<Record<string, string>> = { POST: 'create', PUT: 'update', PATCH: 'patch' };

/** A write without the words of RBAC would be one that an admission plug-in refuses. */
function forbidden({ method }: ApiRequest): ApiError {
  const verb = VERBS[method];
  const message = verb === undefined ? {} : { message: `cannot ${verb} resource` };
  return new ApiError(403, { reason: 'Forbidden', ...message });
}

/** Such as `write secrets`, or `write lease of me`. */
function lineOf({ method, path, body }: ApiRequest): string {
  const verb = method === 'GET' ? 'read' : 'write';
  const [, plural = ''] = /\/(convercuscredentials|secrets|events|leases)\b/.exec(path) ?? [];
  const holder = Object(Object(body).spec).holderIdentity ?? '';
  const rest = path.endsWith('/status') ? ' status' : '';
  return `${verb} ${plural}${rest}${holder === '' ? '' : ` of ${holder}`}`;
}

/** Token hosts that all do the same. */
export class TokenServers implements HttpClient {
  readonly #clock: Clock;
  readonly #journal: string[];
  response: 'token' | 'too many' | 'hangs' = 'token';
  takes: Ms = 0;
  /** Of the realm, as it stands in each token response. */
  notBefore: EpochMs = 0;
  /** The servers' clocks minus the operator's. */
  skew: Ms = 0;
  requests = 0;
  isClosed = false;

  /** @param journal gets a line for each request, and for the end */
  constructor(clock: Clock, journal: string[] = []) {
    this.#clock = clock;
    this.#journal = journal;
  }

  async send(_: unknown, __: unknown, signal: AbortSignal): Promise<Exchange> {
    this.requests += 1;
    this.#journal.push('token request');
    const requestedAt = this.#clock.now();
    if (this.response === 'hangs') await never(signal);
    if (this.takes > 0)
      await new Promise<void>((resolve) => this.#clock.after(this.takes, resolve));
    const common = {
      contentType: 'application/json',
      date: new Date(this.#clock.now() + this.skew).toUTCString(),
    };
    const response =
      this.response === 'token'
        ? { ...common, status: 200, text: this.#token() }
        : { ...common, status: 429, text: '{}', retryAfter: '300' };
    return { response, requestedAt, receivedAt: this.#clock.now() };
  }

  async close(): Promise<void> {
    this.isClosed = true;
    this.#journal.push('close the token hosts');
  }

  #token(): string {
    return JSON.stringify({
      access_token: `${CANARY}-token`,
      token_type: 'Bearer',
      expires_in: 1_800,
      'not-before-policy': this.notBefore / 1_000,
    });
  }
}
