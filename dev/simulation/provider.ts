import type { Ms } from '../../src/lib/time.ts';
import type { HttpRequest } from '../../src/oauth/http-client.ts';
import type { HttpResponse } from '../../src/oauth/http-response.ts';
import { LegacyLogin, LOGIN_PATH } from '../convercus/legacy-login.ts';
import { applyEffects, type FaultEffect, Faults } from '../keycloak/dialect/faults.ts';
import { parseForm } from '../keycloak/dialect/form.ts';
import { Realm } from '../keycloak/dialect/realm.ts';
import type { EndpointResponse } from '../keycloak/dialect/response.ts';
import { routeOf, routingError } from '../keycloak/dialect/routes.ts';
import {
  logoutEndpoint,
  revokeEndpoint,
  tokenEndpoint,
} from '../keycloak/dialect/token-endpoint.ts';
import type { Dice } from './dice.ts';
import { START } from './replica.ts';

/** A token with the credentials it was issued for, and its lifetime. */
export interface Issued {
  readonly host: string;
  readonly realm: string;
  readonly clientId: string;
  readonly grantType: string;
  readonly scope: string;
  /** Of the client; of the user for a legacy login. */
  readonly secret: string;
  readonly username: string;
  readonly issuedAt: Ms;
  readonly expiresAt: Ms;
  /** Undefined for grants without session. */
  readonly sessionId: string | undefined;
  /** A refresh token came with it, which can end the session. */
  readonly isRefreshable: boolean;
}

/** A request as it arrived, for the rules. */
export interface Presented {
  readonly endpoint: string;
  readonly host: string;
  readonly realm: string;
  readonly fields: ReadonlyMap<string, string>;
  readonly status: number;
  readonly error: string;
  /** The response comes from the provider, not from a fault. */
  readonly isHonest: boolean;
}

export interface Handled {
  readonly response: HttpResponse;
  readonly effects: readonly FaultEffect[];
  readonly presented: Presented;
  readonly issued?: Issued;
}

const PROGRAMS = ['abc', 'xyz'] as const;
export const CLIENTS = ['client-1', 'client-2'] as const;
/** The user name for a client; the same in every realm. */
export const userOf = (client: string): string => client.replace('client', 'user');

const ENDPOINTS = { token: tokenEndpoint, logout: logoutEndpoint, revoke: revokeEndpoint };

/**
 * Keycloak and the legacy login, with the endpoints of dev/keycloak/dialect, which the contract tests compare to a real
 * Keycloak. There are two environments: a host each, with realms of its own.
 */
export class Provider {
  readonly faults = new Faults();
  /** By the access token. */
  readonly issued = new Map<string, Issued>();
  readonly realms = new Map<string, Realm>();
  readonly legacy: LegacyLogin;
  /** Until then a host paused clients (`Retry-After`): logouts wait. */
  pausedUntil: Ms = 0;
  /** By realm: when its last requests for a token arrived, at most three. */
  readonly lastRequests = new Map<string, readonly Ms[]>();
  readonly #now: () => Ms;
  readonly #withoutLogout: boolean;
  /** The provider's clock minus virtual time. */
  #offset: Ms = 0;
  /** False: a login opens a session without a refresh token, as with `use.refresh.tokens` off in the client. */
  givesRefreshTokens = true;
  /** Its clock was set. */
  hasJumped = false;
  #secrets = 0;

  constructor(
    now: () => Ms,
    dice: Dice,
    limits: {
      accessToken: number;
      idle: number;
      max: number;
      failureFactor: number;
      withoutLogout: boolean;
    },
  ) {
    this.#now = now;
    this.#withoutLogout = limits.withoutLogout;
    const randomness = {
      number: dice.next,
      bytes: (size: number) => dice.bytes(size),
      uuid: () => dice.uuid(),
    };
    this.legacy = new LegacyLogin(this.clock, randomness);
    this.legacy.lifespan = limits.accessToken * 4;
    for (const program of PROGRAMS) {
      for (const name of [`${program}-staging`, program]) {
        const realm = new Realm(
          {
            realm: name,
            sslRequired: 'none',
            accessTokenLifespan: limits.accessToken,
            ssoSessionIdleTimeout: limits.idle,
            ssoSessionMaxLifespan: limits.max,
            revokeRefreshToken: true,
            bruteForceProtected: true,
            failureFactor: limits.failureFactor,
          },
          this.clock,
          randomness,
        );
        this.realms.set(name, realm);
      }
    }
    for (const client of CLIENTS) {
      this.rotate(client);
      this.changePassword(client);
    }
  }

  readonly clock = (): number => START + this.#now() + this.#offset;

  jump(by: Ms): void {
    this.#offset += by;
    this.hasJumped = true;
  }

  /** Gives the client a new secret, in all realms. */
  rotate(clientId: string): string {
    this.#secrets += 1;
    const secret = `CaNaRy-secret-${this.#secrets}`;
    for (const realm of this.realms.values()) {
      realm.putClient({
        clientId,
        secret,
        serviceAccountsEnabled: true,
        directAccessGrantsEnabled: true,
      });
    }
    return secret;
  }

  /** Gives the user of that client a new password, in all realms and at the legacy login. */
  changePassword(clientId: string, password = this.nextPassword()): string {
    const username = userOf(clientId);
    for (const realm of this.realms.values()) {
      realm.putUser({
        username,
        email: `${username}@example.test`,
        firstName: 'Given',
        lastName: 'Family',
        credentials: [{ type: 'password', value: password }],
      });
    }
    const others = this.legacy.accounts.filter(({ userName }) => userName !== username);
    this.legacy.accounts.splice(0, Infinity, ...others, {
      org: 'org',
      userName: username,
      password,
    });
    return password;
  }

  nextPassword(): string {
    this.#secrets += 1;
    return `CaNaRy-password-${this.#secrets}`;
  }

  /** The right content of the credentials Secret for that client. */
  goodValues(clientId: string): Record<string, string> {
    const [realm] = this.realms.values();
    const user = realm?.findUser(userOf(clientId));
    return {
      client_secret: realm?.clients.get(clientId)?.secret ?? '',
      username: userOf(clientId),
      password: user?.credentials[0]?.value ?? '',
      org: 'org',
    };
  }

  /** Ends all sessions, like a restart of a server that keeps them in memory. */
  loseSessions(): void {
    for (const realm of this.realms.values()) realm.sessions.clear();
  }

  /** The active sessions by id. */
  *liveSessions(): Iterable<readonly [id: string, realm: Realm]> {
    for (const realm of this.realms.values()) {
      for (const [id, session] of realm.sessions) {
        const end = Math.min(
          session.lastRefresh + realm.settings.ssoSessionIdleTimeout,
          session.started + realm.settings.ssoSessionMaxLifespan,
        );
        if (realm.seconds < end) yield [id, realm];
      }
    }
  }

  handle({ url, method, headers, body }: HttpRequest): Handled {
    const { host, pathname } = new URL(url);
    const { endpoint, realm: name } =
      pathname === LOGIN_PATH ? { endpoint: 'login', realm: '' } : routeOf(pathname);
    const form = parseForm(body, headers['content-type'] ?? '');
    const login: Record<string, string> = endpoint === 'login' ? JSON.parse(body) : {};
    const fields = endpoint === 'login' ? new Map(Object.entries(login)) : form.fields;
    const effects = this.faults.effectsFor({
      endpoint,
      realm: endpoint === 'login' ? (login['org'] ?? '') : name,
      grantType: form.fields.get('grant_type') ?? '',
    });
    const canned = effects.find((effect) => effect.kind === 'response');
    const silent = effects.find((effect) => effect.kind === 'hang' || effect.kind === 'reset');
    const works = canned === undefined && silent?.afterWork !== false;
    const honest = works
      ? this.#response({ method, path: pathname, endpoint, name, form, body, host })
      : { status: 0, headers: {}, body: '' };
    const plain: EndpointResponse =
      canned === undefined
        ? honest
        : { status: canned.status, headers: canned.headers ?? {}, body: canned.body ?? '' };
    const response = canned === undefined ? applyEffects(honest, effects, []) : plain;
    const isHonest = response.body === honest.body && response.status === honest.status;
    const presented = {
      endpoint,
      host,
      realm: endpoint === 'login' ? '' : name,
      fields,
      status: honest.status,
      error: /^\{"error":"([^"]*)"/.exec(honest.body)?.[1] ?? '',
      isHonest,
    };
    if (endpoint === 'token' || endpoint === 'login') this.#count(presented.realm);
    const issued = this.#record(presented, honest);
    return {
      response: this.#httpAnswer(response),
      effects,
      presented,
      ...(issued === undefined ? {} : { issued }),
    };
  }

  #count(realm: string): void {
    const before = this.lastRequests.get(realm) ?? [];
    this.lastRequests.set(realm, [...before, this.#now()].slice(-3));
  }

  #response(request: {
    method: string;
    path: string;
    endpoint: string;
    name: string;
    form: ReturnType<typeof parseForm>;
    body: string;
    host: string;
  }): EndpointResponse {
    const { method, path, endpoint, name, form, body, host } = request;
    const realm = this.realms.get(name);
    const accept = 'application/json';
    if (endpoint === 'login') return this.legacy.respond(body, 0);
    const wrong = routingError(method, path, accept, realm !== undefined);
    if (wrong !== undefined) return wrong;
    const isUnknown = !(endpoint in ENDPOINTS) || (endpoint === 'logout' && this.#withoutLogout);
    if (realm === undefined || isUnknown) return { status: 404, headers: {}, body: '' };
    const handle = ENDPOINTS[endpoint === 'logout' || endpoint === 'revoke' ? endpoint : 'token'];
    const response = handle({
      realm,
      form,
      authorization: undefined,
      accept,
      secureEnough: true,
      version: '26.6',
      issuer: `https://${host}/realms/${name}`,
      skewSeconds: 0,
    });
    const isLogin = form.fields.get('grant_type') === 'password';
    return isLogin && !this.givesRefreshTokens ? withoutRefreshToken(response) : response;
  }

  #record(
    { endpoint, host, realm, fields, status }: Presented,
    { body }: EndpointResponse,
  ): Issued | undefined {
    if (status !== 200 || (endpoint !== 'token' && endpoint !== 'login')) return undefined;
    const isLoginRequest = endpoint === 'login';
    const content: Record<string, string | number> = isLoginRequest
      ? { access_token: body }
      : JSON.parse(body);
    const lifespan = isLoginRequest ? this.legacy.lifespan : Number(content['expires_in']);
    const session = content['session_state'];
    const issued: Issued = {
      host,
      realm,
      clientId: fields.get('client_id') ?? '',
      grantType: isLoginRequest ? 'legacy_login' : (fields.get('grant_type') ?? ''),
      scope: fields.get('scope') ?? '',
      secret: fields.get(isLoginRequest ? 'password' : 'client_secret') ?? '',
      username: fields.get('username') ?? fields.get('userName') ?? '',
      issuedAt: this.#now(),
      expiresAt: this.#now() + lifespan * 1_000,
      sessionId: typeof session === 'string' ? session : undefined,
      isRefreshable: content['refresh_token'] !== undefined,
    };
    this.issued.set(String(content['access_token']), issued);
    return issued;
  }

  #pause(length: Ms): void {
    this.pausedUntil = Math.max(this.pausedUntil, this.#now() + length);
  }

  #httpAnswer({ status, headers, body }: EndpointResponse): HttpResponse {
    const retryAfter = headers['Retry-After'];
    this.#pause(Number(retryAfter ?? 0) * 1_000);
    return {
      status,
      contentType: headers['Content-Type'] ?? '',
      text: body,
      date: new Date(this.clock()).toUTCString(),
      ...(retryAfter === undefined ? {} : { retryAfter }),
    };
  }
}

function withoutRefreshToken(response: EndpointResponse): EndpointResponse {
  if (response.status !== 200) return response;
  const { refresh_token: _, ...rest }: Record<string, unknown> = JSON.parse(response.body);
  return { ...response, body: JSON.stringify({ ...rest, refresh_expires_in: 0 }) };
}
