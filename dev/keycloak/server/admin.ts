/** Calls to Keycloak's admin REST API as the bootstrap administrator. */
export class KeycloakAdmin {
  readonly #url: string;
  readonly #password: string;
  #token = '';
  #goodUntil = 0;

  constructor(url: string, password: string) {
    this.#url = url;
    this.#password = password;
  }

  /** @param path below `/admin`, e.g. `/realms/abc/users?username=api-user` */
  get(path: string): Promise<unknown> {
    return this.#call('GET', path);
  }

  /** Representations are taken at their word. */
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

  /** The next call asks for a new token: a restarted server does not know the old one. */
  forgetToken(): void {
    this.#goodUntil = 0;
  }

  /** The parsed answer, undefined when it is empty. */
  async #call(method: string, path: string, body?: unknown): Promise<unknown> {
    const answer = await this.#text(method, path, body);
    return answer === '' ? undefined : JSON.parse(answer);
  }

  async #text(method: string, path: string, body?: unknown): Promise<string> {
    const authorization = `Bearer ${await this.#freshToken()}`;
    const response = await fetch(`${this.#url}/admin${path}`, {
      method,
      headers: { authorization, 'content-type': 'application/json' },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      signal: AbortSignal.timeout(30_000),
    });
    const answer = await response.text();
    if (!response.ok) throw new Error(`${method} ${path} answered ${response.status}: ${answer}`);
    return answer;
  }

  async #freshToken(): Promise<string> {
    if (Date.now() < this.#goodUntil) return this.#token;
    const asked = Date.now();
    const response = await fetch(`${this.#url}/realms/master/protocol/openid-connect/token`, {
      method: 'POST',
      body: new URLSearchParams({
        grant_type: 'password',
        client_id: 'admin-cli',
        username: 'admin',
        password: this.#password,
      }),
      signal: AbortSignal.timeout(10_000),
    });
    if (!response.ok) throw new Error(`The administrator's login answered ${response.status}`);
    const answer: { access_token: string; expires_in: number } = JSON.parse(await response.text());
    this.#token = answer.access_token;
    this.#goodUntil = asked + answer.expires_in * 800;
    return this.#token;
  }
}
