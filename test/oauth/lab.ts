import { createServer, type IncomingMessage, type RequestListener } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { Server } from 'node:net';
import { Sensitive } from '../../src/lib/sensitive.ts';
import type { ConnectionOptions } from '../../src/oauth/connections.ts';
import type { Environment } from '../../src/oauth/environment.ts';
import type { ClientCredentialsRequest, EndpointRequest } from '../../src/oauth/grants.ts';
import { createHttpClient } from '../../src/oauth/http-client.ts';
import { createTokenSource } from '../../src/oauth/token-endpoint.ts';
import {
  type RequestReport,
  type TokenHostOptions,
  TokenHosts,
} from '../../src/oauth/token-hosts.ts';

const cleanUps: (() => Promise<unknown>)[] = [];

/** Frees whatever a test opened, last first. For `afterEach`. */
export async function freeEverything(): Promise<void> {
  for (const cleanUp of cleanUps.splice(0).reverse()) await cleanUp();
}

export const later = (cleanUp: () => Promise<unknown>): void => {
  cleanUps.push(cleanUp);
};

/** Listens on a free loopback port, cut off at the end of the test. */
export async function listening(server: Server & { closeAllConnections(): void }): Promise<number> {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  later(async () => {
    const closed = new Promise((resolve) => server.close(resolve));
    server.closeAllConnections();
    await closed;
  });
  const address = server.address();
  return typeof address === 'object' ? (address?.port ?? 0) : 0;
}

type Script = (...exchange: Parameters<RequestListener>) => unknown;

/** A scripted server; `requests` and `connections` count what reached it. */
export async function serve(script: Script, tls?: { key: string; cert: string }) {
  const seen = { requests: 0, connections: 0 };
  const listener: RequestListener = (request, response) => {
    seen.requests += 1;
    void script(request, response);
  };
  const server = tls ? createTlsServer(tls, listener) : createServer(listener);
  server.on('connection', () => {
    seen.connections += 1;
  });
  const port = await listening(server);
  const tokenUrl = `${tls ? 'https' : 'http'}://127.0.0.1:${port}/realms/abc-staging/token`;
  return { seen, port, tokenUrl };
}

export async function formOf(request: IncomingMessage): Promise<URLSearchParams> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk);
  return new URLSearchParams(Buffer.concat(chunks).toString());
}

export const GOOD = JSON.stringify({ access_token: 'abc', token_type: 'Bearer', expires_in: 1800 });
export const respondWith =
  (status: number, body: string, headers: Record<string, string> = {}): RequestListener =>
  (_request, response) => {
    response.writeHead(status, { 'Content-Type': 'application/json', ...headers }).end(body);
  };

export const anEnvironment = (changes: Partial<Environment> = {}): Environment => ({
  name: 'staging',
  realm: '{program}-staging',
  tokenUrl: 'https://auth.test/realms/{realm}/token',
  loginUrl: 'https://api.test/auth/login',
  apiUrl: 'https://api.test',
  insecureHttp: true,
  caFile: '',
  ...changes,
});

/** With a label of more than 63 letters: refused without a request to a name server, or for the lack of one. */
export const UNKNOWN_NAME = `${'x'.repeat(64)}.test`;

export const aRequest = (
  tokenUrl: string,
  changes: Partial<ClientCredentialsRequest> = {},
): ClientCredentialsRequest => ({
  grantType: 'client_credentials',
  environment: 'staging',
  realm: 'abc-staging',
  tokenUrl,
  clientId: 'machine-2-machine',
  scope: 'openid',
  clientSecret: new Sensitive('correct horse'),
  ...changes,
});

export type HostOptions = ConnectionOptions & TokenHostOptions;

/** Hosts whose clock stands still until `passTime`, and what they reported. */
export function someHosts(
  environment: Partial<Environment> = {},
  options: Partial<HostOptions> = {},
) {
  const reports: RequestReport[] = [];
  const time = { now: Date.parse('2026-03-01T12:00:00Z') };
  const clock = { now: () => time.now, monotonic: () => time.now, after: () => () => {} };
  const client = createHttpClient({
    timeouts: { connect: 2_000, total: 10_000 },
    perHost: 4,
    clock,
    proxy: { https: '', except: '' },
    ...options,
  });
  later(() => client.close());
  const hosts = new TokenHosts({
    environments: new Map([['staging', anEnvironment(environment)]]),
    client,
    clock,
    random: () => 0.75,
    userAgent: 'convercus-operator/test',
    onRequest: (report) => reports.push(report),
    ...options,
  });
  return { hosts, client, reports, time };
}

/** A token source over such hosts. */
export function aSource(
  environment: Partial<Environment> = {},
  options: Partial<HostOptions> = {},
) {
  const { hosts, reports, time } = someHosts(environment, options);
  const source = createTokenSource(hosts);
  const never = new AbortController().signal;
  return {
    obtain: (request: EndpointRequest, signal = never) => source(request, signal),
    reports,
    time,
    passTime: (ms: number) => {
      time.now += ms;
    },
  };
}
