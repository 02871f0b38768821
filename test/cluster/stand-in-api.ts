import { createServer, type IncomingMessage, type Server } from 'node:http';

export interface TokenClaims {
  readonly id: string;
  /** Milliseconds since 1970. */
  readonly expiresAt: number;
}

/** The claims of a token; undefined when it is no JWT. */
export function claimsOf(token: string): TokenClaims | undefined {
  try {
    const { jti, exp } = JSON.parse(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString());
    return { id: String(jti), expiresAt: Number(exp) * 1_000 };
  } catch {
    return undefined;
  }
}

export interface Calls {
  accepted: number;
  expired: number;
  /** Requests without a valid token. */
  other: number;
}

/** The API that workloads call with their tokens. It rejects expired tokens and counts calls. */
export class StandInApi {
  readonly #server: Server;
  readonly #calls = new Map<string, Calls>();
  /** When a token was first presented, by its id. */
  readonly firstSeen = new Map<string, number>();
  readonly #onExpired: () => void;
  #url = '';

  /** @param onExpired called before an expired token is rejected */
  constructor(onExpired = (): void => {}) {
    this.#onExpired = onExpired;
    this.#server = createServer((request, response) => {
      const status = this.#judge(request);
      response.writeHead(status).end();
    });
  }

  async listen(host: string): Promise<void> {
    await new Promise<void>((resolve) => {
      this.#server.listen(0, host, resolve);
    });
    const address = this.#server.address();
    const port = typeof address === 'object' && address !== null ? address.port : 0;
    this.#url = `http://${host}:${port}`;
  }

  get url(): string {
    return this.#url;
  }

  close(): void {
    this.#server.closeAllConnections();
    this.#server.close();
  }

  /** The counts of one workload. */
  calls(workload: string): Calls {
    const { accepted, expired, other } = this.#of(workload);
    return { accepted, expired, other };
  }

  #of(workload: string): Calls {
    const known = this.#calls.get(workload);
    if (known !== undefined) return known;
    const fresh = { accepted: 0, expired: 0, other: 0 };
    this.#calls.set(workload, fresh);
    return fresh;
  }

  #judge({ url = '', headers: { authorization = '' } }: IncomingMessage): number {
    const calls = this.#of(url.slice(1));
    const claims = claimsOf(authorization.replace('Bearer ', ''));
    const now = Date.now();
    if (claims === undefined) {
      calls.other += 1;
      return 401;
    }
    if (!this.firstSeen.has(claims.id)) this.firstSeen.set(claims.id, now);
    if (claims.expiresAt <= now) {
      calls.expired += 1;
      this.#onExpired();
      return 401;
    }
    calls.accepted += 1;
    return 200;
  }
}

/** Calls between two times. */
export const difference = (after: Calls, before: Calls): Calls => ({
  accepted: after.accepted - before.accepted,
  expired: after.expired - before.expired,
  other: after.other - before.other,
});
