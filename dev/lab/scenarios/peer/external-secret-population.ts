import { newSecret } from '../../accounts.ts';
import { eachLimit } from '../../api-client.ts';
import type { LabTestbed } from '../../testbed.ts';

const CONCURRENCY = 24;
const CLIENT = 'machine-2-machine';
const TOKEN_SECONDS = 36_000;

const GENERATORS = 'generators.external-secrets.io/v1alpha1';
const EXTERNAL_SECRETS = 'external-secrets.io/v1';

interface PopulationOptions {
  readonly count: number;
  readonly namespaces: number;
  /** Begins the names of namespaces and realm. */
  readonly prefix: string;
}

/**
 * ExternalSecrets that each get a token of the same client: in each namespace one Webhook generator and the Secret with
 * the client's secret, as a Population of the operator has them.
 */
export class ExternalSecretPopulation {
  readonly #testbed: LabTestbed;
  readonly #clientSecret = newSecret('secret');
  readonly #options: PopulationOptions;

  private constructor(testbed: LabTestbed, options: PopulationOptions) {
    this.#testbed = testbed;
    this.#options = options;
  }

  /** They are synced once and then not for an hour. */
  static async create(
    testbed: LabTestbed,
    options: PopulationOptions,
  ): Promise<ExternalSecretPopulation> {
    const population = new ExternalSecretPopulation(testbed, options);
    const client = {
      clientId: CLIENT,
      secret: population.#clientSecret,
      serviceAccountsEnabled: true,
    };
    const realm = population.#realm;
    await testbed.provider.addRealm({
      realm,
      accessTokenLifespan: TOKEN_SECONDS,
      clients: [client],
    });
    await eachLimit(population.#namespaces(), CONCURRENCY, (name) => population.#prepare(name));
    testbed.log(`Creating ${options.count} ExternalSecrets in ${options.namespaces} namespaces`);
    await eachLimit(population.#numbers(), CONCURRENCY, (i) => population.#createExternalSecret(i));
    return population;
  }

  async refreshEvery(refreshInterval: string): Promise<void> {
    this.#testbed.log(`Each is to be refreshed every ${refreshInterval}`);
    await eachLimit(this.#numbers(), CONCURRENCY, (i) =>
      this.#testbed.client.send({
        method: 'PATCH',
        path: `${this.#externalSecrets(i)}/${nameOf(i)}`,
        contentType: 'application/merge-patch+json',
        body: { spec: { refreshInterval } },
      }),
    );
  }

  /** Deletes all but namespaces and generators. No controller may run. */
  async delete(): Promise<void> {
    for (const namespace of this.#namespaces())
      for (const path of [
        `/apis/${EXTERNAL_SECRETS}/namespaces/${namespace}/externalsecrets`,
        `/api/v1/namespaces/${namespace}/secrets`,
      ])
        await this.#testbed.client.send({ method: 'DELETE', path });
  }

  async #prepare(namespace: string): Promise<void> {
    await this.#create('/api/v1/namespaces', { metadata: { name: namespace } });
    await this.#create(`/api/v1/namespaces/${namespace}/secrets`, {
      metadata: { name: 'source', labels: { 'external-secrets.io/type': 'webhook' } },
      stringData: { client_secret: this.#clientSecret },
    });
    await this.#create(`/apis/${GENERATORS}/namespaces/${namespace}/webhooks`, {
      apiVersion: GENERATORS,
      kind: 'Webhook',
      metadata: { name: 'token' },
      spec: {
        url: this.#testbed.provider.tokenUrl(this.#realm),
        method: 'POST',
        headers: { 'Content-Type': 'application/x-www-form-urlencoded' },
        body: `grant_type=client_credentials&client_id=${CLIENT}&client_secret={{ .source.client_secret }}`,
        result: { jsonPath: '$' },
        secrets: [{ name: 'source', secretRef: { name: 'source' } }],
      },
    });
  }

  #createExternalSecret(i: number): Promise<string> {
    const generatorRef = { apiVersion: GENERATORS, kind: 'Webhook', name: 'token' };
    return this.#create(this.#externalSecrets(i), {
      apiVersion: EXTERNAL_SECRETS,
      kind: 'ExternalSecret',
      metadata: { name: nameOf(i) },
      spec: {
        refreshInterval: '1h',
        target: { name: `${nameOf(i)}-token` },
        dataFrom: [{ sourceRef: { generatorRef } }],
      },
    });
  }

  #create(path: string, body: object): Promise<string> {
    return this.#testbed.client.send({ method: 'POST', path, body });
  }

  get #realm(): string {
    return `${this.#options.prefix}-staging`;
  }

  #numbers(): number[] {
    return [...Array(this.#options.count).keys()];
  }

  #namespaces(): string[] {
    return this.#numbers()
      .slice(0, this.#options.namespaces)
      .map((i) => this.#namespace(i));
  }

  #externalSecrets(i: number): string {
    return `/apis/${EXTERNAL_SECRETS}/namespaces/${this.#namespace(i)}/externalsecrets`;
  }

  #namespace(i: number): string {
    return `${this.#options.prefix}-${i % this.#options.namespaces}`;
  }
}

const nameOf = (i: number): string => `c-${i}`;
