import { type Randomness, systemRandomness } from './randomness.ts';
import {
  type Client,
  type ClientRepresentation,
  DEFAULT_CLIENT,
  DEFAULT_SETTINGS,
  newUser,
  type RealmRepresentation,
  type RealmSettings,
  type User,
  type UserRepresentation,
} from './representation.ts';

export type {
  Client,
  ClientRepresentation,
  RealmRepresentation,
  RealmSettings,
  User,
  UserRepresentation,
} from './representation.ts';

/** What a login does when the user has a session. The values are those of Keycloak's `user-session-limits`. */
export type SessionLimit = 'Terminate oldest session' | 'Deny new session';

/** Failed logins of one user. `lastFailure` in milliseconds, `lockedUntil` in seconds since 1970. */
export type FailureRecord = { count: number; lastFailure: number; lockedUntil: number };

/** A user session. Times are whole seconds since 1970, as in Keycloak. */
export type Session = {
  id: string;
  user: User;
  clientId: string;
  scope: readonly string[];
  /** Not ended by a logout of all sessions or of the user. */
  offline: boolean;
  started: number;
  lastRefresh: number;
  /** False after the reuse of a refresh token: the session goes on without this client. */
  attached: boolean;
  reuseId: string;
  rotation: { tokenId: string; lastRefresh: number; uses: number } | undefined;
};

/** Settings, clients, users and sessions of a realm. All can change while the server runs. */
export class Realm {
  readonly name: string;
  readonly settings: RealmSettings;
  readonly clients = new Map<string, Client>();
  readonly users = new Map<string, User>();
  readonly sessions = new Map<string, Session>();
  readonly failures = new Map<string, FailureRecord>();
  readonly clock: () => number;
  readonly randomness: Randomness;
  /** Signs refresh tokens. */
  key: Buffer;
  sessionLimit: SessionLimit | undefined;
  /** A client policy rejects the password grant. */
  forbidsPasswords = false;
  readonly keyIds: { readonly access: string; readonly refresh: string };

  constructor(
    representation: RealmRepresentation,
    clock: () => number,
    randomness: Randomness = systemRandomness,
  ) {
    const { realm, clients = [], users = [], ...settings } = representation;
    this.name = realm;
    this.clock = clock;
    this.randomness = randomness;
    this.key = randomness.bytes(64);
    this.keyIds = {
      access: randomness.bytes(32).toString('base64url'),
      refresh: randomness.uuid(),
    };
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

  /** Creates the client, or changes only the given fields. */
  putClient(changes: ClientRepresentation): Client {
    const client = { ...DEFAULT_CLIENT, ...this.clients.get(changes.clientId), ...changes };
    this.clients.set(client.clientId, client);
    if (client.serviceAccountsEnabled) this.#ensureServiceAccount(client.clientId);
    return client;
  }

  /** Creates the user, or changes only the given fields. */
  putUser(changes: UserRepresentation): User {
    const username = changes.username.toLowerCase();
    const user = this.users.get(username) ?? newUser(username, this.randomness.uuid());
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

  /** `not-before-policy` of a token response: the latest of realm, client and user. */
  notBefore(client: Client, user: User): number {
    return Math.max(this.settings.notBefore, client.notBefore, user.notBefore);
  }

  changeKeys(): void {
    this.key = this.randomness.bytes(64);
  }

  /** The user's sessions, the oldest first. */
  sessionsOf(user: User): Session[] {
    return [...this.sessions.values()].filter((session) => session.user.id === user.id);
  }

  /** Ends every session and, like Keycloak's "Sign out all active sessions", moves not-before to now. */
  logoutAll(): void {
    this.#endSessions((session) => !session.offline);
    this.settings.notBefore = this.seconds;
  }

  /** Ends the user's sessions and moves the user's own not-before to now. */
  logoutUser(username: string): void {
    this.#endSessions(({ offline, user }) => !offline && user.username === username.toLowerCase());
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
