import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { setTimeout as pause } from 'node:timers/promises';
import { admin } from './admin.ts';
import type { ExtraEndpoint } from './extra-endpoint.ts';
import { applyEffects, type FaultEffect, Faults, hugeBody } from './faults.ts';
import type { Realm } from './realm.ts';
import { Realms } from './realms.ts';
import { type ParsedRequest, parseRequest, readBody } from './request.ts';
import { RequestLog, sha256 } from './request-log.ts';
import type { EndpointResponse } from './response.ts';
import { discovery, methodError, routingError } from './routes.ts';
import {
  type KeycloakVersion,
  logoutEndpoint,
  revokeEndpoint,
  tokenEndpoint,
} from './token-endpoint.ts';
import { sessionIdIn } from './tokens.ts';

export type IdentityProviderOptions = {
  /** 0, the default, takes any free port. */
  port?: number;
  host?: string;
  /** PEM; with it the server speaks HTTPS only. */
  tls?: { key: string; cert: string };
  /** Default: 26.6. */
  version?: KeycloakVersion;
  /** Endpoints besides Keycloak's. */
  extras?: readonly ExtraEndpoint[];
  /** Milliseconds since 1970. */
  clock?: () => number;
  /** Serve /admin/… to steer a server in another process. */
  admin?: boolean;
  /** Log entries to keep. Default: 100,000. */
  logLimit?: number;
};

/** An HTTP server with the token, logout and revocation endpoints of Keycloak 26.7, and faults. */
export class IdentityProvider implements AsyncDisposable {
  readonly realms: Realms;
  readonly faults = new Faults();
  readonly log: RequestLog;
  readonly #clock: () => number;
  readonly #options: IdentityProviderOptions;
  readonly #server: ReturnType<typeof createServer | typeof createTlsServer>;
  readonly #closing = new AbortController();
  #url = '';
  #inFlight = 0;
  #date = { second: -1, text: '' };

  constructor(options: IdentityProviderOptions) {
    this.#options = options;
    this.#clock = options.clock ?? Date.now;
    this.realms = new Realms(this.#clock);
    this.log = new RequestLog(options.logLimit ?? 100_000);
    const serve = (request: IncomingMessage, response: ServerResponse): void => {
      this.#inFlight += 1;
      void this.#serve(request, response)
        .catch(() => response.destroy())
        .finally(() => {
          this.#inFlight -= 1;
        });
    };
    this.#server = options.tls ? createTlsServer(options.tls, serve) : createServer(serve);
  }

  get url(): string {
    return this.#url;
  }

  /** Requests that are being worked at, or delayed by a fault. */
  get inFlight(): number {
    return this.#inFlight;
  }

  tokenUrl(realm: string): string {
    return `${this.#url}/realms/${realm}/protocol/openid-connect/token`;
  }

  async listen(): Promise<void> {
    const { port = 0, host = '127.0.0.1', tls } = this.#options;
    await new Promise<void>((resolve, reject) => {
      this.#server.once('error', reject);
      this.#server.listen(port, host, resolve);
    });
    const address = this.#server.address();
    const taken = typeof address === 'object' ? address?.port : undefined;
    this.#url = `${tls ? 'https' : 'http'}://${host}:${taken}`;
  }

  /** Stops listening and closes all connections. */
  async close(): Promise<void> {
    this.#closing.abort();
    const closed = new Promise((resolve) => this.#server.close(resolve));
    this.#server.closeAllConnections();
    await closed;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #serve(incoming: IncomingMessage, outgoing: ServerResponse): Promise<void> {
    const request = parseRequest(incoming, await readBody(incoming), this.#options.extras ?? []);
    if (this.#options.admin && request.path.startsWith('/admin/')) {
      return this.#send(outgoing, admin(this, request), 0);
    }
    const effects = this.faults.effectsFor({
      endpoint: request.endpoint,
      realm: request.realm,
      grantType: request.form.fields.get('grant_type') ?? '',
    });
    await this.#delay(effects);
    const silence = effects.find((effect) => effect.kind === 'hang' || effect.kind === 'reset');
    const works = silence === undefined || silence.afterWork;
    const response = works ? this.#respond(incoming, request, effects) : undefined;
    const lost = response !== undefined && withholdsResponse(effects);
    this.#record(request, response, { silent: silence !== undefined, lost });
    if (silence?.kind === 'reset') incoming.socket.resetAndDestroy();
    if (silence || !response) return;
    await this.#deliver(outgoing, response, effects);
  }

  async #delay(effects: readonly FaultEffect[]): Promise<void> {
    for (const effect of effects) {
      if (effect.kind !== 'delay') continue;
      await pause(effect.milliseconds, undefined, { signal: this.#closing.signal });
    }
  }

  #respond(
    incoming: IncomingMessage,
    request: ParsedRequest,
    effects: readonly FaultEffect[],
  ): EndpointResponse {
    const proxy = effects.find((effect) => effect.kind === 'response');
    if (proxy)
      return { status: proxy.status, headers: proxy.headers ?? {}, body: proxy.body ?? '' };
    const { extra, body } = request;
    const skewSeconds = skewOf(effects);
    const response = extra
      ? (methodError(request.method, 'POST') ?? extra.respond(body, skewSeconds))
      : this.#respondAsKeycloak(incoming, request, skewSeconds);
    return effects.length === 0 ? response : applyEffects(response, effects, request.secrets);
  }

  #respondAsKeycloak(
    { headers, socket }: IncomingMessage,
    { method, path, endpoint, form, realm: name }: ParsedRequest,
    skewSeconds: number,
  ): EndpointResponse {
    const accept = headers.accept ?? '';
    const realm = this.realms.find(name);
    const error = routingError(method, path, accept, realm !== undefined);
    if (error) return error;
    const issuer = `${this.#url}/realms/${name}`;
    if (endpoint === 'discovery' || !realm) return discovery(issuer);
    return OAUTH_ENDPOINTS[endpoint === 'logout' || endpoint === 'revoke' ? endpoint : 'token']({
      realm,
      form,
      authorization: headers.authorization,
      accept,
      secureEnough: this.#isSecureEnough(realm, socket.remoteAddress ?? ''),
      version: this.#options.version ?? '26.6',
      issuer,
      skewSeconds,
    });
  }

  #isSecureEnough(realm: Realm, address: string): boolean {
    if (this.#options.tls || realm.settings.sslRequired === 'none') return true;
    return realm.settings.sslRequired === 'external' && PRIVATE_ADDRESS.test(address);
  }

  #record(
    request: ParsedRequest,
    response: EndpointResponse | undefined,
    { silent, lost }: { readonly silent: boolean; readonly lost: boolean },
  ): void {
    const { endpoint, realm, username, secrets, form } = request;
    const sent = silent ? undefined : response;
    this.log.add({
      time: this.#clock(),
      endpoint,
      realm,
      grantType: form.fields.get('grant_type') ?? '',
      clientId: form.fields.get('client_id') ?? '',
      username,
      status: sent?.status ?? 0,
      error: sent ? errorOf(sent) : '',
      credential: sha256(secrets[0] ?? ''),
      session: sessionOf(request, response),
      lost,
    });
  }

  async #deliver(
    outgoing: ServerResponse,
    response: EndpointResponse,
    effects: readonly FaultEffect[],
  ): Promise<void> {
    const huge = effects.find((effect) => effect.kind === 'huge-body');
    if (huge) {
      outgoing.writeHead(200, { 'Content-Type': 'application/json' });
      return pipeline(Readable.from(hugeBody(huge.bytes)), outgoing, {
        signal: this.#closing.signal,
      });
    }
    if (!effects.some(({ kind }) => kind === 'cut-body'))
      return this.#send(outgoing, response, skewOf(effects));
    outgoing.writeHead(response.status, {
      ...response.headers,
      'Content-Length': Buffer.byteLength(response.body),
    });
    outgoing.write(response.body.slice(0, response.body.length / 2), () => outgoing.destroy());
  }

  #send(outgoing: ServerResponse, response: EndpointResponse, skewSeconds: number): void {
    response.headers['Date'] = this.#dateText(skewSeconds);
    if (response.status !== 204)
      response.headers['Content-Length'] = String(Buffer.byteLength(response.body));
    outgoing.writeHead(response.status, response.headers).end(response.body);
  }

  /** Keycloak sends no Date; the proxies in front of it do. */
  #dateText(skewSeconds: number): string {
    const second = Math.floor(this.#clock() / 1000) + skewSeconds;
    if (second !== this.#date.second)
      this.#date = { second, text: new Date(second * 1000).toUTCString() };
    return this.#date.text;
  }
}

/** Starts a server without realms: see `realms.add`. */
export async function startIdentityProvider(
  options: IdentityProviderOptions = {},
): Promise<IdentityProvider> {
  const provider = new IdentityProvider(options);
  await provider.listen();
  return provider;
}

const OAUTH_ENDPOINTS = { token: tokenEndpoint, logout: logoutEndpoint, revoke: revokeEndpoint };
const PRIVATE_ADDRESS =
  /^(::ffff:)?(127\.|10\.|192\.168\.|169\.254\.|172\.(1[6-9]|2\d|3[01])\.)|^(::1$|f[cde])/i;
function skewOf(effects: readonly FaultEffect[]): number {
  return effects.find((effect) => effect.kind === 'clock-skew')?.seconds ?? 0;
}

const withholdsResponse = (effects: readonly FaultEffect[]): boolean =>
  effects.some(({ kind }) => kind === 'hang' || kind === 'reset' || kind === 'cut-body');

function sessionOf(
  { form: { fields } }: ParsedRequest,
  response: EndpointResponse | undefined,
): string {
  const opened = /"session_state":"([^"]*)"/.exec(response?.body ?? '')?.[1];
  return opened ?? sessionIdIn(fields.get('refresh_token') ?? '');
}

function errorOf({ status, body }: EndpointResponse): string {
  return status < 400 ? '' : (/^\{"error":"([^"]*)"/.exec(body)?.[1] ?? '');
}
