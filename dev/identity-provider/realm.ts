import { randomBytes, randomUUID } from 'node:crypto';

/** The settings of a Keycloak realm export that this server acts upon. Seconds unless named otherwise. */
export type RealmSettings = {
  enabled: boolean;
  sslRequired: 'all' | 'external' | 'none';
  notBefore: number;
  accessTokenLifespan: number;
  ssoSessionIdleTimeout: number;
  ssoSessionMaxLifespan: number;
  revokeRefreshToken: boolean;
  refreshTokenMaxReuse: number;
  bruteForceProtected: boolean;
  bruteForceStrategy: 'MULTIPLE' | 'LINEAR';
  permanentLockout: boolean;
  failureFactor: number;
  waitIncrementSeconds: number;
  maxFailureWaitSeconds: number;
  maxDeltaTimeSeconds: number;
  quickLoginCheckMilliSeconds: number;
  minimumQuickLoginWaitSeconds: number;
};

export type Client = {
  clientId: string;
  enabled: boolean;
  publicClient: boolean;
  bearerOnly: boolean;
  secret: string;
  serviceAccountsEnabled: boolean;
  directAccessGrantsEnabled: boolean;
  consentRequired: boolean;
  notBefore: number;
  defaultClientScopes: readonly string[];
  optionalClientScopes: readonly string[];
  attributes: Readonly<Record<string, string>>;
};

export type User = {
  id: string;
  username: string;
  enabled: boolean;
  email: string;
  emailVerified: boolean;
  firstName: string;
  lastName: string;
  requiredActions: readonly string[];
  credentials: readonly { type: string; value: string; temporary?: boolean }[];
  notBefore: number;
  serviceAccountClientId?: string;
};

export type ClientRepresentation = Partial<Client> & { clientId: string };
export type UserRepresentation = Partial<User> & { username: string };

/** The shape of a Keycloak realm export; keys that are not listed are ignored. */
export type RealmRepresentation = Partial<RealmSettings> & {
  realm: string;
  clients?: readonly ClientRepresentation[];
  users?: readonly UserRepresentation[];
};

/** Failed logins of one user. `lastFailure` in milliseconds, `lockedUntil` in seconds since 1970. */
export type FailureRecord = { count: number; lastFailure: number; lockedUntil: number };

/** One login. Times are in whole seconds since 1970, as Keycloak keeps them. */
export type Session = {
  id: string;
  user: User;
  clientId: string;
  scope: readonly string[];
  started: number;
  lastRefresh: number;
  /** False once a spent refresh token was seen: the session lives on, but no longer for this client. */
  attached: boolean;
  reuseId: string;
  rotation: { tokenId: string; lastRefresh: number; uses: number } | undefined;
};

const DEFAULT_SETTINGS: RealmSettings = {
  enabled: true,
  sslRequired: 'external',
  notBefore: 0,
  accessTokenLifespan: 300,
  ssoSessionIdleTimeout: 1800,
  ssoSessionMaxLifespan: 36_000,
  revokeRefreshToken: false,
  refreshTokenMaxReuse: 0,
  bruteForceProtected: false,
  bruteForceStrategy: 'MULTIPLE',
  permanentLockout: false,
  failureFactor: 30,
  waitIncrementSeconds: 60,
  maxFailureWaitSeconds: 900,
  maxDeltaTimeSeconds: 43_200,
  quickLoginCheckMilliSeconds: 1000,
  minimumQuickLoginWaitSeconds: 60,
};

const DEFAULT_CLIENT: Omit<Client, 'clientId'> = {
  enabled: true,
  publicClient: false,
  bearerOnly: false,
  secret: '',
  serviceAccountsEnabled: false,
  directAccessGrantsEnabled: false,
  consentRequired: false,
  notBefore: 0,
  defaultClientScopes: ['profile', 'email'],
  optionalClientScopes: ['address', 'phone', 'organization', 'microprofile-jwt'],
  attributes: {},
};

const newUser = (username: string): User => ({
  id: randomUUID(),
  username,
  enabled: true,
  email: '',
  emailVerified: false,
  firstName: '',
  lastName: '',
  requiredActions: [],
  credentials: [],
  notBefore: 0,
});

/** One realm: settings, clients, users and living sessions, all changeable while the server runs. */
export class Realm {
  readonly name: string;
  readonly settings: RealmSettings;
  readonly clients = new Map<string, Client>();
  readonly users = new Map<string, User>();
  readonly sessions = new Map<string, Session>();
  readonly failures = new Map<string, FailureRecord>();
  readonly clock: () => number;
  /** Signs refresh tokens. */
  readonly key = randomBytes(64);
  readonly keyIds = { access: randomBytes(32).toString('base64url'), refresh: randomUUID() };

  constructor(representation: RealmRepresentation, clock: () => number) {
    const { realm, clients = [], users = [], ...settings } = representation;
    this.name = realm;
    this.clock = clock;
    this.settings = { ...DEFAULT_SETTINGS, ...settings };
    for (const client of clients) this.putClient(client);
    for (const user of users) this.putUser(user);
  }

  get seconds(): number {
    return Math.floor(this.clock() / 1000);
  }

  update(changes: Partial<RealmSettings>): void {
    Object.assign(this.settings, changes);
  }

  /** Creates the client, or changes the given fields of it. */
  putClient(changes: ClientRepresentation): Client {
    const client = { ...DEFAULT_CLIENT, ...this.clients.get(changes.clientId), ...changes };
    this.clients.set(client.clientId, client);
    if (client.serviceAccountsEnabled) this.#ensureServiceAccount(client.clientId);
    return client;
  }

  /** Creates the user, or changes the given fields of it. */
  putUser(changes: UserRepresentation): User {
    const username = changes.username.toLowerCase();
    const user = this.users.get(username) ?? newUser(username);
    Object.assign(user, changes, { username });
    this.users.set(username, user);
    return user;
  }

  deleteUser(username: string): void {
    this.#endSessions((session) => session.user.username === username.toLowerCase());
    this.users.delete(username.toLowerCase());
  }

  /** By name or e-mail address, in any letter case, as Keycloak's login does. */
  findUser(login: string): User | undefined {
    const wanted = login.toLowerCase();
    return (
      this.users.get(wanted) ??
      [...this.users.values()].find((user) => user.email.toLowerCase() === wanted)
    );
  }

  serviceAccountOf(client: Client): User | undefined {
    return this.users.get(serviceAccountName(client.clientId));
  }

  /** The instant that an answer reports as `not-before-policy`: the latest of realm, client and user. */
  notBefore(client: Client, user: User): number {
    return Math.max(this.settings.notBefore, client.notBefore, user.notBefore);
  }

  /** Ends every session and, like Keycloak's "Sign out all active sessions", moves not-before to now. */
  logoutAll(): void {
    this.sessions.clear();
    this.settings.notBefore = this.seconds;
  }

  /** Ends the user's sessions and moves the user's own not-before to now. */
  logoutUser(username: string): void {
    this.#endSessions((session) => session.user.username === username.toLowerCase());
    this.putUser({ username, notBefore: this.seconds });
  }

  clearBruteForce(): void {
    this.failures.clear();
  }

  #ensureServiceAccount(clientId: string): void {
    const username = serviceAccountName(clientId);
    if (!this.users.has(username)) this.putUser({ username, serviceAccountClientId: clientId });
  }

  #endSessions(ends: (session: Session) => boolean): void {
    for (const session of this.sessions.values())
      if (ends(session)) this.sessions.delete(session.id);
  }
}

const serviceAccountName = (clientId: string): string =>
  `service-account-${clientId.toLowerCase()}`;
