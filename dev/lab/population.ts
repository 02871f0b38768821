import { each } from './api-client.ts';
import type { Lab } from './lab.ts';
import type { Provider } from './provider.ts';

export interface PopulationOptions {
  readonly count: number;
  readonly namespaces: number;
  /** `distinct`: a client with a secret of its own for each credential. */
  readonly secrets: 'same' | 'distinct';
  readonly tokenSeconds: number;
  readonly environment?: string;
  /** Default: the lab's. */
  readonly provider?: Provider;
  /** Told apart from others of the same lab by it. */
  readonly prefix?: string;
}

const AT_ONCE = 24;
const SHARED_CLIENT = 'machine-2-machine';

/** Credentials and their Secrets, made by direct requests. The realm of the identity provider knows their clients. */
export class Population {
  readonly realm: string;
  readonly keys: readonly string[];
  readonly #lab: Lab;
  readonly #options: PopulationOptions;
  readonly #prefix: string;

  private constructor(lab: Lab, options: PopulationOptions) {
    this.#lab = lab;
    this.#options = options;
    this.#prefix = options.prefix ?? 'abc';
    this.realm = `${this.#prefix}-staging`;
    this.keys = Array.from({ length: options.count }, (_, i) => `${this.#namespace(i)}/c-${i}`);
  }

  static async create(lab: Lab, options: PopulationOptions): Promise<Population> {
    const population = new Population(lab, options);
    await population.#prepare();
    lab.log(`Creating ${options.count} credentials in ${options.namespaces} namespaces`);
    await each([...population.keys.keys()], AT_ONCE, (i) => population.createCredential(i));
    return population;
  }

  /** Everything but the credentials. */
  static async prepare(lab: Lab, options: PopulationOptions): Promise<Population> {
    const population = new Population(lab, options);
    await population.#prepare();
    return population;
  }

  tokenSeconds(seconds: number): Promise<unknown> {
    return this.#provider.tokenSeconds(this.realm, seconds);
  }

  createCredential(i: number): Promise<string> {
    const isDistinct = this.#options.secrets === 'distinct';
    const body = {
      apiVersion: 'convercus.io/v1alpha1',
      kind: 'ConvercusCredential',
      metadata: { name: `c-${i}` },
      spec: {
        program: this.#prefix.toUpperCase(),
        environment: this.#options.environment ?? 'staging',
        realm: this.realm,
        clientId: isDistinct ? clientOf(i) : SHARED_CLIENT,
        credentialsSecretRef: { name: isDistinct ? `source-${i}` : 'source' },
      },
    };
    const path = `/apis/convercus.io/v1alpha1/namespaces/${this.#namespace(i)}/convercuscredentials`;
    return this.#lab.client.send({ method: 'POST', path, body });
  }

  get #provider(): Provider {
    return this.#options.provider ?? this.#lab.provider;
  }

  async #prepare(): Promise<void> {
    const { count, namespaces, secrets, tokenSeconds } = this.#options;
    const numbers = [...this.keys.keys()];
    const clients =
      secrets === 'same' ? [client(SHARED_CLIENT)] : numbers.map((i) => client(clientOf(i)));
    await this.#provider.realm({
      realm: this.realm,
      accessTokenLifespan: tokenSeconds,
      clients,
    });
    const spaces = numbers.slice(0, namespaces);
    await each(spaces, AT_ONCE, (i) => this.#create('/api/v1/namespaces', this.#namespace(i)));
    if (secrets === 'same') {
      await each(spaces, AT_ONCE, (i) => this.#createSource(i, 'source', SHARED_CLIENT));
    } else {
      this.#lab.log(`Creating ${count} Secrets`);
      await each(numbers, AT_ONCE, (i) => this.#createSource(i, `source-${i}`, clientOf(i)));
    }
  }

  #createSource(i: number, name: string, clientId: string): Promise<string> {
    const path = `/api/v1/namespaces/${this.#namespace(i)}/secrets`;
    return this.#create(path, name, { stringData: { client_secret: secretOf(clientId) } });
  }

  #create(path: string, name: string, rest: object = {}): Promise<string> {
    return this.#lab.client.send({ method: 'POST', path, body: { metadata: { name }, ...rest } });
  }

  #namespace(i: number): string {
    return `${this.#prefix}-${i % this.#options.namespaces}`;
  }
}

const clientOf = (i: number): string => `machine-${i}`;
export const secretOf = (clientId: string): string => `secret-of-${clientId}`;

const client = (clientId: string) => ({
  clientId,
  secret: secretOf(clientId),
  serviceAccountsEnabled: true,
});
