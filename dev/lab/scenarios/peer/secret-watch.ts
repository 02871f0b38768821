import { type ApiClient, METADATA } from '../../api-client.ts';
import { waitUntil } from '../../target-reader.ts';

/** An independent reader: which Secrets with a label have been written since it began. */
export class SecretWatch {
  readonly #seen = new Set<string>();
  readonly #over = new AbortController();
  #at = Number.NaN;

  private constructor(client: ApiClient, path: string) {
    this.#read(client, path).catch(() => undefined);
  }

  /** @param label with its value, such as `app.kubernetes.io/managed-by=convercus-operator` */
  static async start(client: ApiClient, label: string): Promise<SecretWatch> {
    const list = JSON.parse(await client.send({ method: 'GET', path: '/api/v1/secrets?limit=1' }));
    const from = list.metadata.resourceVersion;
    const query = `watch=1&resourceVersion=${from}&labelSelector=${encodeURIComponent(label)}`;
    return new SecretWatch(client, `/api/v1/secrets?${query}`);
  }

  /** Resolves to the moment at which there were so many, and ends the watch. */
  async until(count: number, seconds: number): Promise<number> {
    await waitUntil(
      () => this.#seen.size >= count,
      seconds,
      () => `${this.#seen.size} of ${count} Secrets`,
    );
    this.#over.abort();
    return this.#at;
  }

  async #read(client: ApiClient, path: string): Promise<void> {
    for await (const line of client.lines(path, METADATA, this.#over.signal)) {
      if (line.startsWith('{"type":"DELETED"')) continue;
      const uid = /"uid":"([^"]*)","resourceVersion"/.exec(line)?.[1] ?? '';
      if (!this.#seen.has(uid)) this.#at = Date.now();
      this.#seen.add(uid);
    }
  }
}
