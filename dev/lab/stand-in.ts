import { readFile, writeFile } from 'node:fs/promises';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer, type Server } from 'node:https';
import { join } from 'node:path';
import type { ControlPlane } from '../envtest/control-plane.ts';

/** Objects as a real API server shows them, from which many are made. Secrets as metadata only. */
export interface Originals {
  readonly credential: string;
  readonly source: string;
  readonly target: string;
  /** The namespace without its number, which is as evenly spread as in a population. */
  readonly namespace: string;
  /** What has to differ from one copy to the next: names without their number, and uids. */
  readonly names: readonly string[];
  readonly uids: readonly string[];
  /** The digest in the target's annotations that covers its name: of a copy of the credential. */
  readonly specHash: (credential: string) => string;
}

interface Size {
  readonly count: number;
  readonly namespaces: number;
}

/**
 * An API server that has so many credentials with valid tokens, for sizes that would take a real one an hour to fill.
 * It serves lists, silent watches and one Lease; whatever else is asked is counted and refused.
 */
export class StandIn {
  readonly kubeconfig: string;
  readonly #server: Server;
  readonly #originals: Originals;
  readonly #count: number;
  readonly #namespaces: number;
  #lease: Record<string, unknown> | undefined;
  #others = 0;

  private constructor(
    server: Server,
    kubeconfig: string,
    originals: Originals,
    { count, namespaces }: Size,
  ) {
    this.#server = server;
    this.kubeconfig = kubeconfig;
    this.#originals = originals;
    this.#count = count;
    this.#namespaces = namespaces;
    server.on('request', (request: IncomingMessage, response: ServerResponse) => {
      this.#serve(request, response).catch(() => response.destroy());
    });
  }

  /** With the certificate of a control plane, which is for this machine. */
  static async start(
    { dir, caFile }: ControlPlane,
    originals: Originals,
    size: Size,
  ): Promise<StandIn> {
    const key = await readFile(join(dir, 'certificates', 'apiserver.key'));
    const server = createServer({ key, cert: await readFile(caFile) });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const address = server.address();
    const port = typeof address === 'object' ? address?.port : undefined;
    const kubeconfig = join(dir, 'stand-in.kubeconfig');
    const cluster = { server: `https://127.0.0.1:${port}`, 'certificate-authority': caFile };
    await writeFile(kubeconfig, JSON.stringify(kubeconfigFor(cluster)));
    return new StandIn(server, kubeconfig, originals, size);
  }

  /** Requests that were neither lists, nor watches, nor for the Lease. */
  get others(): number {
    return this.#others;
  }

  stop(): void {
    this.#server.close();
    this.#server.closeAllConnections();
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { pathname, searchParams } = new URL(request.url ?? '', 'https://stand-in');
    const say = (status: number, text: string): void => {
      response.writeHead(status, { 'content-type': 'application/json' }).end(text);
    };
    if (pathname.includes('/leases')) return this.#serveLease(request, say);
    if (searchParams.has('watch')) return response.writeHead(200).flushHeaders();
    const isList = request.method === 'GET' && searchParams.has('limit');
    if (isList) return say(200, this.#page(pathname.endsWith('/secrets'), searchParams));
    this.#others += 1;
    say(500, '{"kind":"Status","reason":"InternalError"}');
  }

  async #serveLease(
    request: IncomingMessage,
    say: (status: number, text: string) => void,
  ): Promise<void> {
    const body = (await request.toArray()).join('');
    if (body !== '') {
      const lease: { metadata: object } = JSON.parse(body);
      this.#lease = { ...lease, metadata: { ...lease.metadata, resourceVersion: `${Date.now()}` } };
    }
    if (this.#lease === undefined) say(404, '{"kind":"Status","reason":"NotFound"}');
    else say(request.method === 'POST' ? 201 : 200, JSON.stringify(this.#lease));
  }

  /** Secrets: all sources, then all targets. */
  #page(isSecrets: boolean, query: URLSearchParams): string {
    const { credential, source } = this.#originals;
    const from = Number(query.get('continue') ?? 0);
    const total = isSecrets ? 2 * this.#count : this.#count;
    const end = Math.min(from + Number(query.get('limit')), total);
    const items = Array.from({ length: end - from }, (_, offset) => {
      const i = from + offset;
      if (!isSecrets) return this.#copy(credential, i);
      return i < this.#count ? this.#copy(source, i) : this.#target(i - this.#count);
    });
    const next = end < total ? String(end) : '';
    return `{"metadata":{"resourceVersion":"9000000","continue":"${next}"},"items":[${items.join(',')}]}`;
  }

  #target(i: number): string {
    const { credential, target, specHash } = this.#originals;
    const hash = specHash(this.#copy(credential, i));
    return this.#copy(target, i).replaceAll(specHash(credential), hash);
  }

  #copy(original: string, i: number): string {
    const number = String(i).padStart(12, '0');
    const { namespace, names, uids } = this.#originals;
    const placed = numbered(original, namespace, i % this.#namespaces);
    const named = names.reduce((text, name) => numbered(text, name, i), placed);
    return uids.reduce((text, uid) => text.replaceAll(uid, `${uid.slice(0, -12)}${number}`), named);
  }
}

/** `c-0` is no part of the name `abc-0`. */
const numbered = (text: string, name: string, i: number): string =>
  text.replaceAll(new RegExp(`\\b${name}0\\b`, 'g'), `${name}${i}`);

const kubeconfigFor = (cluster: object): object => ({
  apiVersion: 'v1',
  kind: 'Config',
  clusters: [{ name: 'stand-in', cluster }],
  users: [{ name: 'operator', user: { token: 'none' } }],
  contexts: [{ name: 'stand-in', context: { cluster: 'stand-in', user: 'operator' } }],
  'current-context': 'stand-in',
});
