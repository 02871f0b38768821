import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import type { RequestLogEntry } from '../keycloak/dialect/request-log.ts';
import type { Realm } from '../keycloak/realm-file.ts';
import type { Call, Operations } from './built-in-provider-process.ts';
import { EVENT_TYPES, type EventType, type Provider, type ProviderEvent } from './provider.ts';

/** The identity provider of dev/convercus, in a process of its own so that its CPU time is counted apart. */
export class BuiltInProvider implements Provider {
  readonly url: string;
  readonly #child: ChildProcess;
  readonly #realms = new Map<string, Realm>();
  #calls = 0;

  private constructor(child: ChildProcess, url: string) {
    this.#child = child;
    this.#child.setMaxListeners(0);
    this.url = url;
  }

  static async start(): Promise<BuiltInProvider> {
    const script = join(import.meta.dirname, 'built-in-provider-process.ts');
    const child = fork(script, { execArgv: [] });
    const [started] = await once(child, 'message');
    return new BuiltInProvider(child, started.url);
  }

  get pid(): number {
    return this.#child.pid ?? Number.NaN;
  }

  call<K extends keyof Operations>(
    operation: K,
    ...args: Parameters<Operations[K]>
  ): Promise<ReturnType<Operations[K]>> {
    this.#calls += 1;
    const call: Call = { id: this.#calls, operation, args };
    return new Promise((resolve) => {
      const listen = (message: { id: number; result: ReturnType<Operations[K]> }): void => {
        if (message.id !== call.id) return;
        this.#child.off('message', listen);
        resolve(message.result);
      };
      this.#child.on('message', listen);
      this.#child.send(call);
    });
  }

  tokenUrl(realm: string): string {
    return `${this.url}/realms/${realm}/protocol/openid-connect/token`;
  }

  async addRealm(realm: Realm): Promise<void> {
    this.#realms.set(realm.realm, realm);
    await this.call('addRealm', realm);
  }

  setTokenSeconds(realm: string, accessTokenLifespan: number): Promise<void> {
    return this.call('updateRealm', realm, { accessTokenLifespan });
  }

  async events(realm: string): Promise<ProviderEvent[]> {
    const entries = await this.call('entries');
    return entries.filter((entry) => entry.realm === realm).flatMap(eventsOf);
  }

  changeClientSecret(realm: string, clientId: string, secret: string): Promise<void> {
    return this.call('putClient', realm, { clientId, secret });
  }

  async restart(): Promise<void> {
    await this.call('clearLog');
    for (const realm of this.#realms.values()) await this.call('addRealm', realm);
  }

  async stop(): Promise<void> {
    const exited = once(this.#child, 'exit');
    this.#child.disconnect();
    await exited;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop();
  }
}

const GRANTS: Readonly<Record<string, EventType>> = {
  password: 'LOGIN',
  refresh_token: 'REFRESH_TOKEN',
  client_credentials: 'CLIENT_LOGIN',
};

function eventsOf(entry: RequestLogEntry): ProviderEvent[] {
  const { time: at, endpoint, grantType, status, username, clientId, error } = entry;
  const success = endpoint === 'logout' ? 'LOGOUT' : GRANTS[grantType];
  const failure = EVENT_TYPES.find((type) => type === `${success}_ERROR`);
  const type = status >= 200 && status < 300 ? success : failure;
  if (type === undefined) return [];
  return [{ at, type, principal: type.startsWith('CLIENT') ? clientId : username, error }];
}
