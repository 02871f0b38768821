import { once } from 'node:events';
import { readFile, writeFile } from 'node:fs/promises';
import { createServer } from 'node:https';
import { join } from 'node:path';
import type { ControlPlane } from '../envtest/control-plane.ts';
import { freePorts } from '../envtest/server-process.ts';

/** The credential `abc-0/c-0` with its Secrets `source-0` and `c-0-token` (metadata) from a real API server, as JSON. */
export interface Templates {
  readonly credential: string;
  readonly source: string;
  readonly target: string;
  readonly uids: readonly string[];
  /** The target has this hash of its credential in an annotation. */
  readonly specHash: (credential: string) => string;
}

interface Size {
  readonly count: number;
  readonly namespaces: number;
}

export interface FakeApiServer {
  readonly kubeconfig: string;
  /** Requests but for lists and watches. */
  readonly otherRequests: () => number;
  readonly stop: () => void;
}

/**
 * An API server with copies of one credential that has a valid token, for sizes that would take a real one an hour to
 * fill. It serves lists and watches without events; other requests are counted and answered with 500.
 */
export async function startFakeApiServer(
  { dir, caFile, url, adminKubeconfig }: ControlPlane,
  templates: Templates,
  size: Size,
): Promise<FakeApiServer> {
  let otherRequests = 0;
  const key = await readFile(join(dir, 'certificates', 'apiserver.key'));
  const server = createServer({ key, cert: await readFile(caFile) }, (request, response) => {
    const { pathname, searchParams } = new URL(request.url ?? '', url);
    if (searchParams.has('watch')) return response.writeHead(200).flushHeaders();
    const isList = request.method === 'GET' && searchParams.has('limit');
    if (!isList) otherRequests += 1;
    response.writeHead(isList ? 200 : 500, { 'content-type': 'application/json' });
    const resource = pathname.endsWith('/secrets') ? 'secrets' : 'credentials';
    response.end(isList ? page(resource, searchParams, templates, size) : '{}');
  });
  const [port = 0] = await freePorts(1);
  await once(server.listen(port, '127.0.0.1'), 'listening');
  const kubeconfig = join(dir, 'fake-api-server.kubeconfig');
  const text = await readFile(adminKubeconfig, 'utf8');
  await writeFile(kubeconfig, text.replaceAll(url, `https://127.0.0.1:${port}`));
  const stop = (): void => {
    server.close();
    server.closeAllConnections();
  };
  return { kubeconfig, stop, otherRequests: () => otherRequests };
}

/** Of Secrets: first the credentials Secrets, then the targets. */
function page(
  resource: 'credentials' | 'secrets',
  query: URLSearchParams,
  templates: Templates,
  { count, namespaces }: Size,
): string {
  const { credential, source, target, uids, specHash } = templates;
  const copy = (template: string, i: number): string =>
    uids.reduce(
      (text, uid) => text.replaceAll(uid, uid.slice(0, -12) + String(i).padStart(12, '0')),
      template
        .replaceAll(/\babc-0\b/g, `abc-${i % namespaces}`)
        .replaceAll(/\b(c|source)-0\b/g, `$1-${i}`),
    );
  const targetOf = (i: number): string =>
    copy(target, i).replaceAll(specHash(credential), specHash(copy(credential, i)));
  const secret = (i: number): string => (i < count ? copy(source, i) : targetOf(i - count));
  const from = Number(query.get('continue') ?? 0);
  const total = resource === 'secrets' ? 2 * count : count;
  const end = Math.min(from + Number(query.get('limit')), total);
  const items = Array.from({ length: end - from }, (_, offset) =>
    resource === 'secrets' ? secret(from + offset) : copy(credential, from + offset),
  );
  const next = end < total ? String(end) : '';
  return `{"metadata":{"resourceVersion":"9000000","continue":"${next}"},"items":[${items.join(',')}]}`;
}
