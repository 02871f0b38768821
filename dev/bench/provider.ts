import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import type { Fault } from '../identity-provider/faults.ts';
import type { RealmRepresentation, RealmSettings } from '../identity-provider/realm.ts';

export type Order =
  | { readonly do: 'realm'; readonly realm: RealmRepresentation }
  | { readonly do: 'settings'; readonly realm: string; readonly settings: Partial<RealmSettings> }
  | { readonly do: 'fault'; readonly fault: Fault }
  | { readonly do: 'requests' | 'forget' | 'count' | 'cpu' };

/** A token request as the identity provider saw it. */
export interface SeenRequest {
  readonly time: number;
  readonly realm: string;
  readonly clientId: string;
  readonly status: number;
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
    return this.#tell({ do: 'realm', realm });
  }

  tokenSeconds(realm: string, accessTokenLifespan: number): Promise<unknown> {
    return this.#tell({ do: 'settings', realm, settings: { accessTokenLifespan } });
  }

  fault(fault: Fault): Promise<unknown> {
    return this.#tell({ do: 'fault', fault });
  }

  /** All requests since the start or since `forget`. */
  async requests(): Promise<readonly SeenRequest[]> {
    const answer = await this.#tell({ do: 'requests' });
    return Array.isArray(answer) ? answer : [];
  }

  async count(): Promise<number> {
    return Number(await this.#tell({ do: 'count' }));
  }

  /** Seconds of processor time that its process has used so far. */
  async cpuSeconds(): Promise<number> {
    return Number(await this.#tell({ do: 'cpu' }));
  }

  forget(): Promise<unknown> {
    return this.#tell({ do: 'forget' });
  }

  tokenUrl(realm: string): string {
    return `${this.url}/realms/${realm}/protocol/openid-connect/token`;
  }

  async stop(): Promise<void> {
    const exited = once(this.#child, 'exit');
    this.#child.disconnect();
    await exited;
  }

  #tell(order: Order): Promise<unknown> {
    this.#orders += 1;
    const id = this.#orders;
    return new Promise((resolve) => {
      const listen = (message: { id: number; answer: unknown }): void => {
        if (message.id !== id) return;
        this.#child.off('message', listen);
        resolve(message.answer);
      };
      this.#child.on('message', listen);
      this.#child.send({ id, order });
    });
  }
}
