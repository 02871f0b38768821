/** A realm is created in 1 s on a quiet machine, and in half a minute on a very busy one. */
const TIME_LIMIT = 120_000;

/** Calls to Keycloak's admin REST API as the bootstrap administrator. */
export class KeycloakAdmin {
  readonly #url: string;
  readonly #password: string;
  #token = '';
  #renewAt = 0;

  constructor(url: string, password: string) {
    this.#url = url;
    this.#password = password;
  }

  /** @param path below `/admin`, e.g. `/realms/abc/users?username=api-user` */
  get(path: string): Promise<unknown> {
    return this.#call('GET', path);
  }

  /** The representations are not checked. */
  async list<T>(path: string): Promise<T[]> {
    const items: T[] = JSON.parse(await this.#text('GET', path));
    return items;
  }

  post(path: string, body?: unknown): Promise<unknown> {
    return this.#call('POST', path, body);
  }

  put(path: string, body: unknown): Promise<unknown> {
    return this.#call('PUT', path, body);
  }

  delete(path: string): Promise<unknown> {
    return this.#call('DELETE', path);
  }

  /** The next call requests a new token: a restarted server rejects the old one. */
  forgetToken(): void {
    this.#renewAt = 0;
  }

  /** The parsed response; undefined when its body is empty. */
  async #call(method: string, path: string, body?: unknown): Promise<unknown> {
    const text = await this.#text(method, path, body);
    return text === '' ? undefined : JSON.parse(text);
  }

  async #text(method: string, path: string, body?: unknown): Promise<string> {
    const authorization = `Bearer ${await this.#freshToken()}`;
    const response = await fetch(`${this.#url}/admin${path}`, {
      method,
      headers: { authorization, 'content-type': 'application/json' },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      signal: AbortSignal.timeout(TIME_LIMIT),
    });
    const text = await response.text();
    if (!response.ok) throw new Error(`${method} ${path} returned ${response.status}: ${text}`);
    return text;
  }

  async #freshToken(): Promise<string> {
    if (Date.now() < this.#renewAt) return this.#token;
    const requestedAt = Date.now();
    const response = await fetch(`${this.#url}/realms/master/protocol/openid-connect/token`, {
      method: 'POST',
      body: new URLSearchParams({
        grant_type: 'password',
        client_id: 'admin-cli',
        username: 'admin',
        password: this.#password,
      }),
      signal: AbortSignal.timeout(TIME_LIMIT),
    });
    if (!response.ok) throw new Error(`The login of the administrator returned ${response.status}`);
    const token: { access_token: string; expires_in: number } = JSON.parse(await response.text());
    this.#token = token.access_token;
    // At 80 % of its lifetime
    this.#renewAt = requestedAt + token.expires_in * 800;
    return this.#token;
  }
}
