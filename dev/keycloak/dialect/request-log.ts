import { createHash } from 'node:crypto';

/** One request. Of the secret it presented only a hash is kept. */
export type RequestLogEntry = {
  /** Milliseconds since 1970, by the server's clock. */
  time: number;
  /** An `Endpoint`, or the name of an `ExtraEndpoint`. */
  endpoint: string;
  realm: string;
  grantType: string;
  clientId: string;
  username: string;
  /** Of the response; 0 when none was sent. */
  status: number;
  /** OAuth error code; empty when the status is below 400. */
  error: string;
  /** SHA-256 (hex) of the password, else of the refresh token, else of the client secret. */
  credential: string;
  /** Id of the session that the request opened or named; empty when there is none. */
  session: string;
  /** The server carried out the request, and a fault withheld the response or a part of it. */
  lost: boolean;
};

export const sha256 = (text: string): string => createHash('sha256').update(text).digest('hex');

/** Requests in order of arrival. Keeps the latest `limit`/2 to `limit` entries; `counts` covers all requests. */
export class RequestLog {
  readonly entries: RequestLogEntry[] = [];
  readonly #limit: number;
  readonly #counts = new Map<string, number>();

  constructor(limit: number) {
    this.#limit = limit;
  }

  add(entry: RequestLogEntry): void {
    if (this.entries.length >= this.#limit) this.entries.splice(0, Math.ceil(this.#limit / 2));
    this.entries.push(entry);
    const kind = [entry.realm, entry.grantType || entry.endpoint, entry.status, entry.error]
      .join(' ')
      .trim();
    this.#counts.set(kind, (this.#counts.get(kind) ?? 0) + 1);
  }

  /** The number of requests by kind, e.g. `"abc-staging client_credentials 200": 12`. */
  counts(): Record<string, number> {
    return Object.fromEntries(this.#counts);
  }

  clear(): void {
    this.entries.length = 0;
    this.#counts.clear();
  }
}
