import {
  type Account,
  type AccountOptions,
  accountsFor,
  realmFor,
  secretData,
} from './accounts.ts';
import { eachLimit } from './api-client.ts';
import type { Provider } from './provider.ts';
import type { LabTestbed } from './testbed.ts';

export interface PopulationOptions extends AccountOptions {
  /** Of the realm, such as `accessTokenLifespan`. */
  readonly realm: Readonly<Record<string, unknown>>;
  /** Default: `staging`. */
  readonly environment?: string;
  /** Default: the testbed's. */
  readonly provider?: Provider;
}

const CONCURRENCY = 24;

const credentialsPath = (namespace: string): string =>
  `/apis/convercus.io/v1alpha1/namespaces/${namespace}/convercuscredentials`;
const secretsPath = (namespace: string): string => `/api/v1/namespaces/${namespace}/secrets`;

/** Credentials with their Secrets, and the realm that knows their clients and users. */
export class Population {
  readonly accounts: readonly Account[];
  readonly realm: string;
  readonly #testbed: LabTestbed<Provider>;
  readonly #options: PopulationOptions;

  private constructor(testbed: LabTestbed<Provider>, options: PopulationOptions) {
    this.accounts = accountsFor(options);
    this.realm = `${options.prefix ?? 'abc'}-staging`;
    this.#testbed = testbed;
    this.#options = options;
  }

  static async create(
    testbed: LabTestbed<Provider>,
    options: PopulationOptions,
  ): Promise<Population> {
    const population = await Population.prepare(testbed, options);
    await population.createCredentials();
    return population;
  }

  /** Everything but the credentials. */
  static async prepare(
    testbed: LabTestbed<Provider>,
    options: PopulationOptions,
  ): Promise<Population> {
    const population = new Population(testbed, options);
    const { accounts, realm } = population;
    const { provider = testbed.provider } = options;
    await provider.addRealm(await realmFor(realm, accounts, options.realm));
    await eachLimit([...population.#namespaces], CONCURRENCY, (name) =>
      population.#create('/api/v1/namespaces', { metadata: { name } }),
    );
    await population.writeSecrets(accounts);
    return population;
  }

  get first(): Account {
    const [account] = this.accounts;
    if (account === undefined) throw new Error('the population is empty');
    return account;
  }

  async createCredentials(): Promise<void> {
    this.#testbed.log(`Creating ${this.accounts.length} credentials`);
    await eachLimit(this.accounts, CONCURRENCY, (account) => this.createCredential(account));
  }

  createCredential({ namespace, name, clientId, secretName }: Account): Promise<string> {
    const { prefix = 'abc', environment = 'staging', grant = 'client_credentials' } = this.#options;
    const body = {
      apiVersion: 'convercus.io/v1alpha1',
      kind: 'ConvercusCredential',
      metadata: { name },
      spec: {
        program: prefix.toUpperCase(),
        environment,
        realm: this.realm,
        grantType: grant,
        clientId,
        credentialsSecretRef: { name: secretName },
      },
    };
    return this.#create(credentialsPath(namespace), body);
  }

  /** The credentials Secrets hold what these accounts say. */
  async writeSecrets(accounts: readonly Account[]): Promise<void> {
    const distinct = new Map(
      accounts.map((each) => [`${each.namespace}/${each.secretName}`, each]),
    );
    this.#testbed.log(`Writing ${distinct.size} credentials Secrets`);
    await eachLimit([...distinct.values()], CONCURRENCY, (account) => {
      const stringData = secretData(account);
      for (const value of Object.values(stringData)) this.#testbed.secrets.add(value);
      const { namespace, secretName: name } = account;
      return this.#testbed.client.send({
        method: 'PATCH',
        path: `${secretsPath(namespace)}/${name}?fieldManager=lab&force=true`,
        body: { apiVersion: 'v1', kind: 'Secret', metadata: { name }, stringData },
        contentType: 'application/apply-patch+yaml',
      });
    });
  }

  /** Deletes all credentials and Secrets of its namespaces. No operator may run. */
  async delete(): Promise<void> {
    for (const namespace of this.#namespaces)
      for (const path of [credentialsPath(namespace), secretsPath(namespace)])
        await this.#testbed.client.send({ method: 'DELETE', path });
  }

  get #namespaces(): Set<string> {
    return new Set(this.accounts.map(({ namespace }) => namespace));
  }

  #create(path: string, body: object): Promise<string> {
    return this.#testbed.client.send({ method: 'POST', path, body });
  }
}
