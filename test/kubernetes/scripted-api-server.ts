import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { createRestClient, type RestClient } from '../../src/kubernetes/rest-client.ts';

export interface Asked {
  readonly method: string;
  readonly path: string;
  readonly query: Readonly<Record<string, string>>;
  readonly headers: IncomingMessage['headers'];
  readonly body: string;
}

/** An answer as JSON, or a function that writes it by hand. */
export type Answer =
  | { readonly status?: number; readonly headers?: Record<string, string>; readonly body?: unknown }
  | ((response: ServerResponse, request: IncomingMessage) => void);

/** An API server that says what the test tells it to. */
export interface ScriptedApiServer extends AsyncDisposable {
  readonly restClient: RestClient;
  readonly kubeconfigPath: string;
  readonly host: string;
  /** `METHOD host code` of each request, as the transport reports them. */
  readonly reported: string[];
  connections(): number;
  /** Changes the token file that the kubeconfig names. */
  setToken(token: string): Promise<void>;
}

export async function startScriptedApiServer(
  answer: (asked: Asked) => Answer,
): Promise<ScriptedApiServer> {
  let connections = 0;
  const respond = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const url = new URL(request.url ?? '', 'http://localhost');
    const said = answer({
      method: request.method ?? '',
      path: url.pathname,
      query: Object.fromEntries(url.searchParams),
      headers: request.headers,
      body: await text(request),
    });
    if (typeof said === 'function') return said(response, request);
    response.writeHead(said.status ?? 200, {
      'content-type': 'application/json',
      ...said.headers,
    });
    response.end(JSON.stringify(said.body ?? {}));
  };
  const server = createServer((request, response) => {
    respond(request, response).catch((error: unknown) => response.destroy(toError(error)));
  });
  server.on('connection', () => {
    connections += 1;
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  const host = `127.0.0.1:${typeof address === 'object' ? address?.port : ''}`;
  const dir = await mkdtemp(join(tmpdir(), 'scripted-api-server-'));
  const setToken = (token: string): Promise<void> => writeFile(join(dir, 'token'), `${token}\n`);
  await setToken('first');
  const kubeconfigPath = join(dir, 'kubeconfig');
  await writeFile(kubeconfigPath, kubeconfig(host, join(dir, 'token')));
  const reported: string[] = [];
  const restClient = createRestClient({
    kubeconfigPath,
    userAgent: 'convercus-operator/test',
    onRequest: (...report) => reported.push(report.join(' ')),
  });
  return {
    restClient,
    kubeconfigPath,
    host,
    reported,
    connections: () => connections,
    setToken,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await restClient.close();
      await new Promise((resolve) => server.close(resolve));
      await rm(dir, { recursive: true });
    },
  };
}

const toError = (error: unknown): Error =>
  error instanceof Error ? error : new Error(String(error));

const kubeconfig = (host: string, tokenFile: string): string =>
  JSON.stringify({
    clusters: [
      { name: 'c', cluster: { server: `http://${host}`, 'insecure-skip-tls-verify': true } },
    ],
    users: [{ name: 'u', user: { 'auth-provider': { name: 'file', config: { tokenFile } } } }],
    contexts: [{ name: 'x', context: { cluster: 'c', user: 'u' } }],
    'current-context': 'x',
  });

/** A meta/v1 Status. */
export const status = (code: number, reason: string, rest: object = {}): Answer => ({
  status: code,
  body: { kind: 'Status', apiVersion: 'v1', code, reason, ...rest },
});
