import type { ApiClient } from '../lab/api-client.ts';
import { applyCredential, applySecret } from './actions.ts';
import { BYSTANDER_REALM } from './provider.ts';

/** A credential of a tenant that does nothing wrong, beside all the others: its token may never expire. */
export class Bystander {
  static readonly NAMESPACE = 'bystander';
  /** Looks at its target. */
  looks = 0;
  /** Looks that found no valid token, after the first. */
  misses = 0;
  readonly #client: ApiClient;
  #lookAt = 0;
  #hasToken = false;

  constructor(client: ApiClient) {
    this.#client = client;
  }

  async create(): Promise<void> {
    const namespace = Bystander.NAMESPACE;
    const secret = {
      type: 'Opaque',
      labels: {},
      annotations: {},
      data: { client_secret: 'of the bystander alone' },
    };
    const secretPath = `/api/v1/namespaces/${namespace}/secrets/source`;
    await this.#client.send(applySecret(secretPath, 'source', secret, ''));
    const path = `/apis/convercus.io/v1alpha1/namespaces/${namespace}/convercuscredentials/calm`;
    const spec = {
      program: 'ABC',
      environment: 'staging',
      realm: BYSTANDER_REALM,
      credentialsSecretRef: { name: 'source' },
    };
    await this.#client.send(applyCredential(path, 'calm', spec));
  }

  /** At most once a second. */
  async look(): Promise<void> {
    if (Date.now() < this.#lookAt) return;
    this.#lookAt = Date.now() + 1_000;
    const expiresAt = await this.#expiresAt();
    this.#hasToken ||= expiresAt !== undefined;
    if (!this.#hasToken) return;
    this.looks += 1;
    if (expiresAt === undefined || expiresAt < Date.now()) this.misses += 1;
  }

  async #expiresAt(): Promise<number | undefined> {
    const path = `/api/v1/namespaces/${Bystander.NAMESPACE}/secrets/calm-token`;
    try {
      const { metadata } = JSON.parse(await this.#client.send({ method: 'GET', path }));
      return Date.parse(metadata.annotations['convercus.io/expires-at']);
    } catch {
      return undefined;
    }
  }
}
