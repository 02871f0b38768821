import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { setTimeout as pause } from 'node:timers/promises';
import { admin } from './admin.ts';
import type { Answer } from './answer.ts';
import { distorted, type FaultEffect, Faults, hugeBody } from './faults.ts';
import { LegacyLogin } from './legacy-login.ts';
import type { Realm } from './realm.ts';
import { Realms } from './realms.ts';
import { type Asked, bodyOf, secretsOf, understood } from './request.ts';
import { RequestLog, sha256 } from './request-log.ts';
import { discovery, misrouted } from './routes.ts';
import { type Era, logoutEndpoint, revokeEndpoint, tokenEndpoint } from './token-endpoint.ts';
import { sessionIdIn } from './tokens.ts';

export type IdentityProviderOptions = {
  /** 0, the default, takes any free port. */
  port?: number;
  host?: string;
  /** PEM; with it the server speaks HTTPS only. */
  tls?: { key: string; cert: string };
  era?: Era;
  /** Milliseconds since 1970. */
  clock?: () => number;
  /** Serve /admin/…: for a demo whose server runs in another process. */
  admin?: boolean;
  /** Log entries to keep. */
  logLimit?: number;
};

/** A server that speaks the token-endpoint dialect of Keycloak 26.7, and the Convercus legacy login. */
export class IdentityProvider {
  readonly realms: Realms;
  readonly legacy: LegacyLogin;
  readonly faults = new Faults();
  readonly log: RequestLog;
  readonly #clock: () => number;
  readonly #options: IdentityProviderOptions;
  readonly #server: ReturnType<typeof createServer | typeof createTlsServer>;
  readonly #closing = new AbortController();
  #url = '';
  #date = { second: -1, text: '' };

  constructor(options: IdentityProviderOptions) {
    this.#options = options;
    this.#clock = options.clock ?? Date.now;
    this.realms = new Realms(this.#clock);
    this.legacy = new LegacyLogin(this.#clock);
    this.log = new RequestLog(options.logLimit ?? 100_000);
    const serve = (request: IncomingMessage, response: ServerResponse): void => {
      this.#serve(request, response).catch(() => response.destroy());
    };
    this.#server = options.tls ? createTlsServer(options.tls, serve) : createServer(serve);
  }

  get url(): string {
    return this.#url;
  }

  get loginUrl(): string {
    return `${this.#url}/auth/login`;
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

  /** Stops listening and cuts all connections, hanging ones too. */
  async close(): Promise<void> {
    this.#closing.abort();
    const closed = new Promise((resolve) => this.#server.close(resolve));
    this.#server.closeAllConnections();
    await closed;
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const asked = understood(request, await bodyOf(request));
    if (this.#options.admin && asked.path.startsWith('/admin/')) {
      const answer = admin(this, {
        method: request.method ?? '',
        path: asked.path,
        body: asked.body,
      });
      return this.#send(response, answer, 0);
    }
    const effects = this.faults.meet({
      endpoint: asked.endpoint,
      realm: asked.realm,
      grantType: asked.form.fields.get('grant_type') ?? '',
    });
    await this.#delay(effects);
    const silence = effects.find((effect) => effect.kind === 'hang' || effect.kind === 'reset');
    const works = silence === undefined || silence.afterWork;
    const answer = works ? this.#answer(request, asked, effects) : undefined;
    const lost = answer !== undefined && hidesAnswer(effects);
    this.#record(asked, answer, { silent: silence !== undefined, lost });
    if (silence?.kind === 'reset') request.socket.resetAndDestroy();
    if (silence || !answer) return;
    await this.#deliver(response, answer, effects);
  }

  async #delay(effects: readonly FaultEffect[]): Promise<void> {
    for (const effect of effects) {
      if (effect.kind !== 'delay') continue;
      await pause(effect.milliseconds, undefined, { signal: this.#closing.signal });
    }
  }

  #answer(request: IncomingMessage, asked: Asked, effects: readonly FaultEffect[]): Answer {
    const canned = effects.find((effect) => effect.kind === 'answer');
    if (canned)
      return { status: canned.status, headers: canned.headers ?? {}, body: canned.body ?? '' };
    const answer = this.#honestAnswer(request, asked, skewOf(effects));
    return effects.length === 0 ? answer : distorted(answer, effects, secretsOf(asked));
  }

  #honestAnswer(request: IncomingMessage, asked: Asked, skewSeconds: number): Answer {
    const accept = request.headers.accept ?? '';
    const realm = this.realms.find(asked.realm);
    const wrong = misrouted(request.method ?? '', asked.path, accept, realm !== undefined);
    if (wrong) return wrong;
    const issuer = `${this.#url}/realms/${asked.realm}`;
    if (asked.endpoint === 'discovery') return discovery(issuer);
    if (!realm) return this.legacy.response(asked.login, skewSeconds);
    return OAUTH_ENDPOINTS[
      asked.endpoint === 'logout' || asked.endpoint === 'revoke' ? asked.endpoint : 'token'
    ]({
      realm,
      form: asked.form,
      authorization: request.headers.authorization,
      accept,
      secureEnough: this.#isSecureEnough(realm, request.socket.remoteAddress ?? ''),
      era: this.#options.era ?? '26.6',
      issuer,
      skewSeconds,
    });
  }

  #isSecureEnough(realm: Realm, address: string): boolean {
    if (this.#options.tls || realm.settings.sslRequired === 'none') return true;
    return realm.settings.sslRequired === 'external' && PRIVATE_ADDRESS.test(address);
  }

  #record(
    asked: Asked,
    worked: Answer | undefined,
    { silent, lost }: { readonly silent: boolean; readonly lost: boolean },
  ): void {
    const { fields } = asked.form;
    const answer = silent ? undefined : worked;
    this.log.add({
      time: this.#clock(),
      endpoint: asked.endpoint,
      realm: asked.realm,
      grantType: fields.get('grant_type') ?? '',
      clientId: fields.get('client_id') ?? '',
      username: fields.get('username') ?? asked.login.userName ?? '',
      status: answer?.status ?? 0,
      error: answer ? errorOf(answer) : '',
      credential: sha256(secretsOf(asked)[0] ?? ''),
      session: sessionOf(asked, worked),
      lost,
    });
  }

  async #deliver(
    response: ServerResponse,
    answer: Answer,
    effects: readonly FaultEffect[],
  ): Promise<void> {
    const huge = effects.find((effect) => effect.kind === 'huge-body');
    if (huge) {
      response.writeHead(200, { 'Content-Type': 'application/json' });
      return pipeline(Readable.from(hugeBody(huge.bytes)), response, {
        signal: this.#closing.signal,
      });
    }
    if (!effects.some(({ kind }) => kind === 'cut-body'))
      return this.#send(response, answer, skewOf(effects));
    response.writeHead(answer.status, {
      ...answer.headers,
      'Content-Length': Buffer.byteLength(answer.body),
    });
    response.write(answer.body.slice(0, answer.body.length / 2), () => response.destroy());
  }

  #send(response: ServerResponse, answer: Answer, skewSeconds: number): void {
    answer.headers['Date'] = this.#dateText(skewSeconds);
    if (answer.status !== 204)
      answer.headers['Content-Length'] = String(Buffer.byteLength(answer.body));
    response.writeHead(answer.status, answer.headers).end(answer.body);
  }

  /** Keycloak itself sends no Date; the proxies before it do, so this server does as well. */
  #dateText(skewSeconds: number): string {
    const second = Math.floor(this.#clock() / 1000) + skewSeconds;
    if (second !== this.#date.second)
      this.#date = { second, text: new Date(second * 1000).toUTCString() };
    return this.#date.text;
  }
}

/** Starts a server on a loopback port. Its realms are empty at first: see `realms.add`. */
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

const hidesAnswer = (effects: readonly FaultEffect[]): boolean =>
  effects.some(({ kind }) => kind === 'hang' || kind === 'reset' || kind === 'cut-body');

function sessionOf({ form: { fields } }: Asked, answer: Answer | undefined): string {
  const opened = /"session_state":"([^"]*)"/.exec(answer?.body ?? '')?.[1];
  return opened ?? sessionIdIn(fields.get('refresh_token') ?? '');
}

function errorOf({ status, body }: Answer): string {
  return status < 400 ? '' : (/^\{"error":"([^"]*)"/.exec(body)?.[1] ?? '');
}
