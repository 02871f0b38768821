import { each } from '../api-client.ts';
import type { Lab } from '../lab.ts';
import { secretOf } from '../population.ts';

const AT_ONCE = 24;
const CLIENT = 'machine-2-machine';
const TOKEN_SECONDS = 36_000;

const GENERATORS = 'generators.external-secrets.io/v1alpha1';
const EXTERNAL_SECRETS = 'external-secrets.io/v1';

interface PopulationOptions {
  readonly count: number;
  readonly namespaces: number;
  /** Told apart from others of the same lab by it. */
  readonly prefix: string;
}

/**
 * ExternalSecrets that each get a token of the same client: in each namespace one Webhook generator and the Secret with
 * the client's secret, as a Population of the operator has them.
 */
export class ExternalSecretPopulation {
  readonly #lab: Lab;
  readonly #options: PopulationOptions;

  private constructor(lab: Lab, options: PopulationOptions) {
    this.#lab = lab;
    this.#options = options;
  }

  /** They are synced once and then not for an hour. */
  static async create(lab: Lab, options: PopulationOptions): Promise<ExternalSecretPopulation> {
    const population = new ExternalSecretPopulation(lab, options);
    const client = { clientId: CLIENT, secret: secretOf(CLIENT), serviceAccountsEnabled: true };
    const realm = population.#realm;
    await lab.provider.realm({ realm, accessTokenLifespan: TOKEN_SECONDS, clients: [client] });
    await each(population.#namespaces(), AT_ONCE, (name) => population.#prepare(name));
    lab.log(`Creating ${options.count} ExternalSecrets in ${options.namespaces} namespaces`);
    await each(population.#numbers(), AT_ONCE, (i) => population.#createExternalSecret(i));
    return population;
  }

  async refreshEvery(refreshInterval: string): Promise<void> {
    this.#lab.log(`Each is to be refreshed every ${refreshInterval}`);
    await each(this.#numbers(), AT_ONCE, (i) =>
      this.#lab.client.send({
        method: 'PATCH',
        path: `${this.#externalSecrets(i)}/${nameOf(i)}`,
        contentType: 'application/merge-patch+json',
        body: { spec: { refreshInterval } },
      }),
    );
  }

  /** Nothing is left of them but namespaces and generators. No controller may run. */
  remove(): Promise<void> {
    return removeAll(this.#lab, this.#namespaces(), EXTERNAL_SECRETS, 'externalsecrets');
  }

  async #prepare(namespace: string): Promise<void> {
    await this.#create('/api/v1/namespaces', { metadata: { name: namespace } });
    await this.#create(`/api/v1/namespaces/${namespace}/secrets`, {
      metadata: { name: 'source', labels: { 'external-secrets.io/type': 'webhook' } },
      stringData: { client_secret: secretOf(CLIENT) },
    });
    await this.#create(`/apis/${GENERATORS}/namespaces/${namespace}/webhooks`, {
      apiVersion: GENERATORS,
      kind: 'Webhook',
      metadata: { name: 'token' },
      spec: {
        url: this.#lab.provider.tokenUrl(this.#realm),
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
    return this.#lab.client.send({ method: 'POST', path, body });
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

/** All Secrets of the namespaces, and all that is of another resource. */
export function removeAll(
  { client }: Lab,
  namespaces: readonly string[],
  groupVersion: string,
  resource: string,
): Promise<void> {
  const paths = namespaces.flatMap((namespace) => [
    `/apis/${groupVersion}/namespaces/${namespace}/${resource}`,
    `/api/v1/namespaces/${namespace}/secrets`,
  ]);
  return each(paths, 1, (path) => client.send({ method: 'DELETE', path }));
}
