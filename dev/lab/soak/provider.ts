import type { Log } from '../../envtest/server-process.ts';
import {
  type IdentityProvider,
  startIdentityProvider,
} from '../../keycloak/dialect/identity-provider.ts';
import type { RequestLogEntry } from '../../keycloak/dialect/request-log.ts';
import type { Realm } from '../../keycloak/realm-file.ts';
import { type Keycloak, startKeycloak } from '../../keycloak/server/keycloak.ts';
import { REALM } from './accounts.ts';

/** The names that Keycloak gives to what the operator does. */
const EVENTS = [
  'LOGIN',
  'LOGIN_ERROR',
  'REFRESH_TOKEN',
  'REFRESH_TOKEN_ERROR',
  'CLIENT_LOGIN',
  'CLIENT_LOGIN_ERROR',
  'LOGOUT',
  'LOGOUT_ERROR',
] as const;

export type EventType = (typeof EVENTS)[number];

/** A request as the server saw it. */
export interface Seen {
  /** Milliseconds since 1970. */
  readonly at: number;
  readonly type: EventType;
  /** The user's name or the client's id; empty where the server doesn't say. */
  readonly who: string;
  /** Why it was refused. */
  readonly why: string;
}

export interface Provider {
  readonly url: string;
  /** Since the last start, oldest first. */
  seen(): Promise<Seen[]>;
  changeClientSecret(clientId: string, secret: string): Promise<void>;
  /** Everything is lost but the realm as it was at first. */
  restart(): Promise<void>;
  stop(): Promise<void>;
}

export type ProviderName = 'keycloak' | 'built-in';

export const startProvider = (name: ProviderName, realm: Realm, log: Log): Promise<Provider> =>
  name === 'keycloak' ? RealKeycloak.start(realm, log) : BuiltIn.start(realm);

interface KeycloakUser {
  readonly id: string;
  readonly username: string;
}

interface KeycloakEvent {
  readonly time: number;
  readonly type: EventType;
  readonly clientId?: string;
  readonly userId?: string;
  readonly error?: string;
  readonly details?: { readonly reason?: string; readonly refresh_token_sub?: string };
}

class RealKeycloak implements Provider {
  readonly #server: Keycloak;
  readonly #log: Log;

  private constructor(server: Keycloak, log: Log) {
    this.#server = server;
    this.#log = log;
  }

  static async start(realm: Realm, log: Log): Promise<RealKeycloak> {
    const events = { eventsEnabled: true, enabledEventTypes: EVENTS };
    return new RealKeycloak(await startKeycloak({ realms: [{ ...realm, ...events }], log }), log);
  }

  get url(): string {
    return this.#server.url;
  }

  async seen(): Promise<Seen[]> {
    const { admin } = this.#server;
    const users = await admin.list<KeycloakUser>(`/realms/${REALM}/users?max=10000`);
    const names = new Map(users.map(({ id, username }) => [id, username]));
    const events = await admin.list<KeycloakEvent>(`/realms/${REALM}/events?max=1000000`);
    return events.map((event) => seenBy(event, names)).sort((a, b) => a.at - b.at);
  }

  async changeClientSecret(clientId: string, secret: string): Promise<void> {
    const { admin } = this.#server;
    const path = `/realms/${REALM}/clients`;
    const [client] = await admin.list<{ id: string }>(`${path}?clientId=${clientId}`);
    await admin.put(`${path}/${client?.id}`, { ...client, secret });
  }

  async restart(): Promise<void> {
    const stopped = Date.now();
    await this.#server.stopServer();
    const down = Date.now();
    await this.#server.startServer();
    const [toStop, toStart] = [down - stopped, Date.now() - down].map((ms) => ms / 1_000);
    this.#log(`Keycloak took ${toStop} s to stop and ${toStart} s to start`);
  }

  stop(): Promise<void> {
    return this.#server.stop();
  }
}

function seenBy(
  { time, type, clientId, userId, error, details }: KeycloakEvent,
  names: ReadonlyMap<string, string>,
): Seen {
  const user = names.get(userId ?? details?.refresh_token_sub ?? '');
  const who = (type.startsWith('CLIENT') ? clientId : user) ?? '';
  return { at: time, type, who, why: details?.reason ?? error ?? '' };
}

class BuiltIn implements Provider {
  readonly #server: IdentityProvider;
  readonly #realm: Realm;

  private constructor(server: IdentityProvider, realm: Realm) {
    this.#server = server;
    this.#realm = realm;
  }

  static async start(realm: Realm): Promise<BuiltIn> {
    const server = await startIdentityProvider();
    server.realms.add(realm);
    return new BuiltIn(server, realm);
  }

  get url(): string {
    return this.#server.url;
  }

  async seen(): Promise<Seen[]> {
    return this.#server.log.entries.flatMap((entry) => {
      const type = eventOf(entry);
      const { time: at, username, clientId, error: why } = entry;
      const who = type?.startsWith('CLIENT') ? clientId : username;
      return type === undefined ? [] : [{ at, type, who, why }];
    });
  }

  async changeClientSecret(clientId: string, secret: string): Promise<void> {
    this.#server.realms.get(REALM).putClient({ clientId, secret });
  }

  async restart(): Promise<void> {
    this.#server.log.clear();
    this.#server.realms.add(this.#realm);
  }

  stop(): Promise<void> {
    return this.#server.close();
  }
}

function eventOf({ endpoint, grantType, status }: RequestLogEntry): EventType | undefined {
  const grants: Record<string, EventType> = {
    password: 'LOGIN',
    refresh_token: 'REFRESH_TOKEN',
    client_credentials: 'CLIENT_LOGIN',
  };
  const type = endpoint === 'logout' ? 'LOGOUT' : grants[grantType];
  const refused = EVENTS.find((event) => event === `${type}_ERROR`);
  return status >= 200 && status < 300 ? type : refused;
}
