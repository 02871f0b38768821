import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import type { LegacyAccount } from '../convercus/legacy-login.ts';
import type { Fault } from '../keycloak/dialect/faults.ts';
import type {
  ClientRepresentation,
  RealmRepresentation,
  RealmSettings,
  UserRepresentation,
} from '../keycloak/dialect/realm.ts';
import type { RequestLogEntry } from '../keycloak/dialect/request-log.ts';

export type Order =
  | { readonly do: 'realm'; readonly realm: RealmRepresentation }
  | { readonly do: 'settings'; readonly realm: string; readonly settings: Partial<RealmSettings> }
  /** With a name it can be switched off again. */
  | { readonly do: 'fault'; readonly fault: Fault; readonly name?: string }
  | { readonly do: 'well'; readonly name: string }
  | { readonly do: 'client'; readonly realm: string; readonly client: ClientRepresentation }
  | { readonly do: 'user'; readonly realm: string; readonly user: UserRepresentation }
  /** Replaces the account of the same organization and user name. */
  | { readonly do: 'account'; readonly account: LegacyAccount }
  | { readonly do: 'legacy-lifespan'; readonly seconds: number }
  | { readonly do: 'end-sessions'; readonly realm: string; readonly usernames: readonly string[] }
  | { readonly do: 'log-out-all'; readonly realm: string }
  | { readonly do: 'sessions'; readonly realm: string }
  | { readonly do: 'requests' | 'entries' | 'forget' | 'count' | 'cpu' };

/** A token request as the identity provider saw it. */
export interface SeenRequest {
  readonly time: number;
  readonly realm: string;
  readonly clientId: string;
  readonly status: number;
}

/** A session that lives at the identity provider. Times in seconds since 1970, as Keycloak keeps them. */
export interface LiveSession {
  readonly id: string;
  readonly username: string;
  readonly started: number;
  readonly lastRefresh: number;
}

/** The identity provider in a process of its own, so that its work is not counted as anybody else's. */
export class Provider {
  readonly url: string;
  readonly #child: ChildProcess;
  #orders = 0;

  private constructor(child: ChildProcess, url: string) {
    this.#child = child;
    this.#child.setMaxListeners(0);
    this.url = url;
  }

  static async start(): Promise<Provider> {
    const child = fork(join(import.meta.dirname, 'provider-process.ts'), { execArgv: [] });
    const [started] = await once(child, 'message');
    return new Provider(child, started.url);
  }

  realm(realm: RealmRepresentation): Promise<unknown> {
    return this.tell({ do: 'realm', realm });
  }

  tokenSeconds(realm: string, accessTokenLifespan: number): Promise<unknown> {
    return this.tell({ do: 'settings', realm, settings: { accessTokenLifespan } });
  }

  fault(fault: Fault): Promise<unknown> {
    return this.tell({ do: 'fault', fault });
  }

  /** All requests since the start or since `forget`. */
  async requests(): Promise<readonly SeenRequest[]> {
    const response = await this.tell({ do: 'requests' });
    return Array.isArray(response) ? response : [];
  }

  async count(): Promise<number> {
    return Number(await this.tell({ do: 'count' }));
  }

  /** Seconds of processor time that its process has used so far. */
  async cpuSeconds(): Promise<number> {
    return Number(await this.tell({ do: 'cpu' }));
  }

  /** The whole log, as far as it is kept. */
  async entries(): Promise<readonly RequestLogEntry[]> {
    const response = await this.tell({ do: 'entries' });
    return Array.isArray(response) ? response : [];
  }

  async sessions(realm: string): Promise<readonly LiveSession[]> {
    const response = await this.tell({ do: 'sessions', realm });
    return Array.isArray(response) ? response : [];
  }

  forget(): Promise<unknown> {
    return this.tell({ do: 'forget' });
  }

  tokenUrl(realm: string): string {
    return `${this.url}/realms/${realm}/protocol/openid-connect/token`;
  }

  async stop(): Promise<void> {
    const exited = once(this.#child, 'exit');
    this.#child.disconnect();
    await exited;
  }

  tell(order: Order): Promise<unknown> {
    this.#orders += 1;
    const id = this.#orders;
    return new Promise((resolve) => {
      const listen = (message: { id: number; response: unknown }): void => {
        if (message.id !== id) return;
        this.#child.off('message', listen);
        resolve(message.response);
      };
      this.#child.on('message', listen);
      this.#child.send({ id, order });
    });
  }
}
