import { setTimeout as pause } from 'node:timers/promises';
import type { RealmRepresentation } from '../dialect/realm.ts';
import type { Backend } from './backend.ts';

export type ParsedResponse = {
  status: number;
  type: 'json' | 'html' | 'none' | 'other';
  cacheControl: string;
  text: string;
  /** Empty unless the response is a JSON object. */
  body: Record<string, unknown>;
};

type Fields = Record<string, string>;
type RequestOptions = { method: string; body?: string; headers?: Fields };

const week = 604_800;
const ready = {
  enabled: true,
  emailVerified: true,
  firstName: 'Api',
  lastName: 'User',
  requiredActions: [],
  credentials: [{ type: 'password', value: 'right', temporary: false }],
};
const confidential = {
  enabled: true,
  protocol: 'openid-connect',
  publicClient: false,
  clientAuthenticatorType: 'client-secret',
  secret: 'known',
  serviceAccountsEnabled: true,
  directAccessGrantsEnabled: true,
  standardFlowEnabled: false,
};

/** Has every character that needs escaping in a form, a header or a URL. */
export const ODD = 'p%c&=+: "ü';
export const machine = { client_id: 'app', client_secret: 'known' };
export const clientCredentials = { grant_type: 'client_credentials', ...machine, scope: 'openid' };
export const password = {
  grant_type: 'password',
  ...machine,
  username: 'api-user',
  password: 'right',
  scope: 'openid',
};
export const refresh = (token: string): Fields => ({
  grant_type: 'refresh_token',
  ...machine,
  refresh_token: token,
});

const realm = (name: string, changes: Partial<RealmRepresentation> = {}): RealmRepresentation => ({
  realm: name,
  enabled: true,
  sslRequired: 'external',
  accessTokenLifespan: 1800,
  ssoSessionIdleTimeout: week,
  ssoSessionMaxLifespan: 30 * 86_400,
  revokeRefreshToken: true,
  refreshTokenMaxReuse: 0,
  bruteForceProtected: false,
  clients: [{ clientId: 'app', ...confidential }],
  users: [{ username: 'api-user', email: 'api-user@example.test', ...ready }],
  ...changes,
});

const bruteForce = { bruteForceProtected: true, permanentLockout: false, failureFactor: 3 };
const manyClients = [
  { clientId: 'app', ...confidential },
  { clientId: 'other', ...confidential },
  { clientId: 'disabled', ...confidential, enabled: false },
  { clientId: 'public', ...confidential, publicClient: true, serviceAccountsEnabled: false },
  { clientId: 'bearer', ...confidential, bearerOnly: true, serviceAccountsEnabled: false },
  { clientId: 'no-service-account', ...confidential, serviceAccountsEnabled: false },
  { clientId: 'service-account-off', ...confidential },
  { clientId: 'no-direct-grants', ...confidential, directAccessGrantsEnabled: false },
  { clientId: 'consent', ...confidential, consentRequired: true },
  { clientId: 'short', ...confidential, attributes: { 'access.token.lifespan': '77' } },
  { clientId: 'until-max', ...confidential, attributes: { 'access.token.lifespan': '-1' } },
  { clientId: 'no-time', ...confidential, attributes: { 'access.token.lifespan': '0' } },
  { clientId: 'odd', ...confidential, secret: ODD },
  {
    clientId: 'for-basic',
    ...confidential,
    attributes: { 'token.endpoint.auth.method': 'client_secret_basic' },
  },
  {
    clientId: 'mtls',
    ...confidential,
    attributes: { 'tls.client.certificate.bound.access.tokens': 'true' },
  },
  { clientId: 'dpop', ...confidential, attributes: { 'dpop.bound.access.tokens': 'true' } },
  { clientId: 'signed', ...confidential, clientAuthenticatorType: 'client-jwt' },
  { clientId: 'certified', ...confidential, clientAuthenticatorType: 'client-x509' },
  {
    clientId: 'session-keeper',
    ...confidential,
    attributes: { 'client_credentials.use_refresh_token': 'true' },
  },
];
const manyUsers = [
  { username: 'api-user', email: 'api-user@example.test', ...ready },
  { username: 'disabled', email: 'disabled@example.test', ...ready, enabled: false },
  { username: 'nameless', email: 'nameless@example.test', ...ready, firstName: '' },
  { username: 'without-email', ...ready },
  {
    username: 'odd',
    email: 'odd@example.test',
    ...ready,
    credentials: [{ type: 'password', value: ODD, temporary: false }],
  },
  {
    username: 'offline',
    email: 'offline@example.test',
    ...ready,
    realmRoles: ['offline_access'],
  },
  {
    username: 'must-act',
    email: 'must-act@example.test',
    ...ready,
    requiredActions: ['UPDATE_PASSWORD'],
  },
  {
    username: 'service-account-service-account-off',
    enabled: false,
    serviceAccountClientId: 'service-account-off',
  },
];

/** Rows that change a realm use `changing` and undo the change. */
const realms: RealmRepresentation[] = [
  realm('plain', { clients: manyClients, users: manyUsers }),
  realm('changing'),
  realm('other-keys'),
  realm('one-session'),
  realm('one-session-only'),
  realm('no-passwords'),
  realm('disabled', { enabled: false }),
  realm('https', { sslRequired: 'all' }),
  realm('unrotated', { revokeRefreshToken: false }),
  realm('reuse-once', { refreshTokenMaxReuse: 1 }),
  realm('guarded', { ...bruteForce, quickLoginCheckMilliSeconds: 0 }),
  realm('quick', { ...bruteForce, failureFactor: 30, quickLoginCheckMilliSeconds: 60_000 }),
  realm('permanent', { ...bruteForce, permanentLockout: true, quickLoginCheckMilliSeconds: 0 }),
  realm('ending', { accessTokenLifespan: 20, ssoSessionMaxLifespan: 10 }),
  realm('idle', { ssoSessionIdleTimeout: 5 }),
];

/** Sends requests to a backend and parses its responses. */
export class Lab {
  readonly backend: Backend;

  private constructor(backend: Backend) {
    this.backend = backend;
  }

  static async open(backend: Backend): Promise<Lab> {
    for (const each of realms) await backend.createRealm(each);
    return new Lab(backend);
  }

  token(form: Fields | string, realm = 'plain', headers: Fields = {}): Promise<ParsedResponse> {
    return this.post(`/realms/${realm}/protocol/openid-connect/token`, form, headers);
  }

  logout(form: Fields | string, realm = 'plain'): Promise<ParsedResponse> {
    return this.post(`/realms/${realm}/protocol/openid-connect/logout`, form);
  }

  revoke(form: Fields, realm = 'plain'): Promise<ParsedResponse> {
    return this.post(`/realms/${realm}/protocol/openid-connect/revoke`, form);
  }

  post(path: string, form: Fields | string, headers: Fields = {}): Promise<ParsedResponse> {
    const body = typeof form === 'string' ? form : new URLSearchParams(form).toString();
    const type = { 'content-type': 'application/x-www-form-urlencoded' };
    return this.send(path, { method: 'POST', body, headers: { ...type, ...headers } });
  }

  async send(path: string, init: RequestOptions): Promise<ParsedResponse> {
    const response = await fetch(`${this.backend.url}${path}`, {
      ...init,
      redirect: 'manual',
      headers: { accept: 'application/json', ...init.headers },
    });
    return parseResponse(response);
  }

  /** The refresh token of a new login. */
  async login(realm = 'plain'): Promise<string> {
    return refreshTokenOf(await this.token(password, realm));
  }

  /** The next refresh token of a session. */
  async renew(token: string, realm = 'plain'): Promise<string> {
    return refreshTokenOf(await this.token(refresh(token), realm));
  }

  /** Logs in with a wrong password that often, and waits until each failure is counted. */
  async fail(realm: string, times: number): Promise<void> {
    for (let count = 1; count <= times; count += 1) {
      await this.token({ ...password, password: 'wrong' }, realm);
      while ((await this.backend.failures(realm, 'api-user')) < count) await pause(20);
    }
  }
}

export const claimsOf = (token: unknown): Record<string, unknown> => {
  const claims: Record<string, unknown> = JSON.parse(
    Buffer.from(String(token).split('.')[1] ?? '', 'base64url').toString(),
  );
  return claims;
};

function refreshTokenOf(response: ParsedResponse): string {
  const token = response.body['refresh_token'];
  if (typeof token !== 'string') throw new Error(`no refresh token in ${response.status}`);
  return token;
}

async function parseResponse(response: Response): Promise<ParsedResponse> {
  const text = await response.text();
  const contentType = response.headers.get('content-type') ?? '';
  const type = typeOf(contentType);
  const parsed: unknown = type === 'json' ? JSON.parse(text) : {};
  const body = typeof parsed === 'object' && parsed !== null ? { ...parsed } : {};
  return {
    status: response.status,
    type,
    cacheControl: response.headers.get('cache-control') ?? '',
    text,
    body,
  };
}

function typeOf(contentType: string): ParsedResponse['type'] {
  if (contentType === '') return 'none';
  if (/^application\/json(;|$)/.test(contentType)) return 'json';
  return /^text\/html(;|$)/.test(contentType) ? 'html' : 'other';
}
