import type { Log } from '../envtest/server-process.ts';
import type { Realm } from '../keycloak/realm-file.ts';
import { type Keycloak, startKeycloak } from '../keycloak/server/keycloak.ts';

/** The names that Keycloak gives to what the operator does. */
export const EVENT_TYPES = [
  'LOGIN',
  'LOGIN_ERROR',
  'REFRESH_TOKEN',
  'REFRESH_TOKEN_ERROR',
  'CLIENT_LOGIN',
  'CLIENT_LOGIN_ERROR',
  'LOGOUT',
  'LOGOUT_ERROR',
] as const;

export type EventType = (typeof EVENT_TYPES)[number];

/** A request as the provider saw it. */
export interface ProviderEvent {
  /** Milliseconds since 1970. */
  readonly at: number;
  readonly type: EventType;
  /** The user's name or the client's id; empty where the provider doesn't say. */
  readonly principal: string;
  /** Of a refused request. */
  readonly error: string;
}

export interface Provider extends AsyncDisposable {
  readonly url: string;
  addRealm(realm: Realm): Promise<void>;
  /** Since the last start, oldest first. */
  events(realm: string): Promise<ProviderEvent[]>;
  changeClientSecret(realm: string, clientId: string, secret: string): Promise<void>;
  /** Sessions and events are lost; the realms are as they were added. */
  restart(): Promise<void>;
  stop(): Promise<void>;
}

interface User {
  readonly id: string;
  readonly username: string;
}

/** Of Keycloak's event store. */
interface StoredEvent {
  readonly time: number;
  readonly type: EventType;
  readonly clientId?: string;
  readonly userId?: string;
  readonly error?: string;
  readonly details?: { readonly reason?: string; readonly refresh_token_sub?: string };
}

export class KeycloakProvider implements Provider {
  readonly #server: Keycloak;

  private constructor(server: Keycloak) {
    this.#server = server;
  }

  static async start(log: Log): Promise<KeycloakProvider> {
    return new KeycloakProvider(await startKeycloak({ log }));
  }

  get url(): string {
    return this.#server.url;
  }

  addRealm(realm: Realm): Promise<void> {
    const events = { eventsEnabled: true, enabledEventTypes: EVENT_TYPES };
    return this.#server.importRealm({ ...realm, ...events });
  }

  async events(realm: string): Promise<ProviderEvent[]> {
    const { admin } = this.#server;
    const users = await admin.list<User>(`/realms/${realm}/users?max=10000`);
    const names = new Map(users.map(({ id, username }) => [id, username]));
    const events = await admin.list<StoredEvent>(`/realms/${realm}/events?max=1000000`);
    return events.map((event) => eventOf(event, names)).sort((a, b) => a.at - b.at);
  }

  async changeClientSecret(realm: string, clientId: string, secret: string): Promise<void> {
    const { admin } = this.#server;
    const path = `/realms/${realm}/clients`;
    const [client] = await admin.list<{ id: string }>(`${path}?clientId=${clientId}`);
    await admin.put(`${path}/${client?.id}`, { ...client, secret });
  }

  async restart(): Promise<void> {
    await this.#server.stopServer();
    await this.#server.startServer();
  }

  stop(): Promise<void> {
    return this.#server.stop();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop();
  }
}

function eventOf(
  { time: at, type, clientId, userId, error, details }: StoredEvent,
  names: ReadonlyMap<string, string>,
): ProviderEvent {
  const user = names.get(userId ?? details?.refresh_token_sub ?? '');
  const principal = (type.startsWith('CLIENT') ? clientId : user) ?? '';
  return { at, type, principal, error: details?.reason ?? error ?? '' };
}
