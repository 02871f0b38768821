import { readFile } from 'node:fs/promises';
import { Agent } from 'undici';
import { parse } from 'yaml';

/** Accepts metadata only. */
export const METADATA = 'application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1';

interface Kubeconfig {
  readonly clusters: readonly [
    { readonly cluster: { readonly server: string; readonly 'certificate-authority': string } },
  ];
  readonly users: readonly [{ readonly user: { readonly token: string } }];
}

export interface ApiRequest {
  readonly method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
  readonly path: string;
  readonly body?: unknown;
  readonly contentType?: string;
  readonly accept?: string;
  readonly signal?: AbortSignal;
}

/** A client for thousands of requests: kubectl takes 100 ms for each. */
export class ApiClient {
  readonly url: string;
  readonly #token: string;
  readonly #dispatcher: Agent;

  private constructor(url: string, token: string, ca: string) {
    this.url = url;
    this.#token = token;
    this.#dispatcher = new Agent({
      allowH2: false,
      connections: 32,
      bodyTimeout: 0,
      connect: { ca },
    });
  }

  /** @param path of a kubeconfig as dev/envtest writes it */
  static async from(path: string): Promise<ApiClient> {
    const { clusters, users }: Kubeconfig = parse(await readFile(path, 'utf8'));
    const { cluster } = clusters[0];
    const ca = await readFile(cluster['certificate-authority'], 'utf8');
    return new ApiClient(cluster.server, users[0].user.token, ca);
  }

  /** @throws for every status but 2xx */
  async send(sent: ApiRequest): Promise<string> {
    const { statusCode, body } = await this.#request(sent);
    const text = await body.text();
    if (statusCode < 300) return text;
    throw new Error(`${sent.method} ${sent.path} answered ${statusCode}: ${text.slice(0, 500)}`);
  }

  /** The lines of a watch. */
  async *lines(path: string, accept: string, signal: AbortSignal): AsyncGenerator<string> {
    const { body } = await this.#request({ method: 'GET', path, accept, signal });
    let rest = '';
    body.setEncoding('utf8');
    for await (const chunk of body) {
      const lines = (rest + chunk).split('\n');
      rest = lines.pop() ?? '';
      yield* lines;
    }
  }

  close(): Promise<void> {
    return this.#dispatcher.destroy();
  }

  #request({ method, path, body, contentType, accept = 'application/json', signal }: ApiRequest) {
    return this.#dispatcher.request({
      origin: this.url,
      path,
      method,
      headers: {
        authorization: `Bearer ${this.#token}`,
        accept,
        'content-type': contentType ?? 'application/json',
      },
      body: body === undefined ? null : JSON.stringify(body),
      ...(signal === undefined ? {} : { signal }),
    });
  }
}

/** Calls `work` with every item, at most `limit` at a time. */
export async function eachLimit<T>(
  items: readonly T[],
  limit: number,
  work: (item: T) => Promise<unknown>,
): Promise<void> {
  const left = items[Symbol.iterator]();
  const worker = async (): Promise<void> => {
    for (const item of left) await work(item);
  };
  await Promise.all(Array.from({ length: limit }, worker));
}
