import { createHash } from 'node:crypto';
import type { Endpoint } from './faults.ts';

/** One request as the server saw it; the presented credential only as a hash. */
export type RequestLogEntry = {
  /** Milliseconds since 1970, by the server's clock. */
  time: number;
  endpoint: Endpoint;
  /** For the legacy login, the org. */
  realm: string;
  grantType: string;
  clientId: string;
  username: string;
  /** Of the answer that went out; 0 when the connection was left hanging or was reset. */
  status: number;
  /** OAuth error code, empty for a good answer. */
  error: string;
  /** SHA-256 (hex) of the password, refresh token or client secret that the grant rests on. */
  credential: string;
  /** The session that the request was about or that its answer has opened; empty when there is none. */
  session: string;
  /** What was asked has been done, and a fault has kept the answer or part of it back. */
  lost: boolean;
};

export const sha256 = (text: string): string => createHash('sha256').update(text).digest('hex');

/** Requests in order of arrival. Keeps the latest `limit` to `limit`/2; the counts know all. */
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

  /** How many requests of a kind, e.g. `"abc-staging client_credentials 200": 12`. */
  counts(): Record<string, number> {
    return Object.fromEntries(this.#counts);
  }

  clear(): void {
    this.entries.length = 0;
    this.#counts.clear();
  }
}
