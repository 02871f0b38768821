import { setTimeout as sleep } from 'node:timers/promises';
import type { ApiClient } from './api-client.ts';

const METADATA = 'application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1';

/** A target Secret was written. */
interface Publication {
  readonly key: string;
  readonly at: number;
  readonly renewAt: number;
  readonly expiresAt: number;
  /** After the moment at which it was due; undefined for the first token. */
  readonly late: number | undefined;
  /** How long the token before had been expired; 0 when it had not. */
  readonly expired: number;
}

/** An independent reader: sees every target as it is written, by the API server's own watch. */
export class TargetTail {
  readonly publications: Publication[] = [];
  readonly #latest = new Map<string, Publication>();
  readonly #over = new AbortController();

  constructor(client: ApiClient, from: string) {
    const path = `/api/v1/secrets?watch=1&resourceVersion=${from}&labelSelector=app.kubernetes.io/managed-by%3Dconvercus-operator`;
    this.#read(client, path).catch(() => undefined);
  }

  static async start(client: ApiClient): Promise<TargetTail> {
    const list = JSON.parse(await client.send({ method: 'GET', path: '/api/v1/secrets?limit=1' }));
    return new TargetTail(client, list.metadata.resourceVersion);
  }

  /** How many different targets have been written so far. */
  get targets(): number {
    return this.#latest.size;
  }

  /** Resolves to the moment at which that many targets exist. */
  async until(targets: number, seconds: number): Promise<number> {
    await waitUntil(
      () => this.targets >= targets,
      seconds,
      () => `${this.targets} of ${targets} targets`,
    );
    return this.publications.at(-1)?.at ?? Date.now();
  }

  /** How many targets hold a token that is good for longer than so many milliseconds after it was written. */
  longLived(validity: number): number {
    return [...this.#latest.values()].filter(({ at, expiresAt }) => expiresAt - at > validity)
      .length;
  }

  /** When a credential's target was first written. */
  async first(key: string, seconds: number): Promise<number> {
    await waitUntil(
      () => this.#latest.has(key),
      seconds,
      () => key,
    );
    return this.#latest.get(key)?.at ?? Number.NaN;
  }

  since(moment: number): Publication[] {
    return this.publications.filter(({ at }) => at >= moment);
  }

  forget(): void {
    this.publications.length = 0;
  }

  /** Sees nothing any more, and costs nothing. */
  stop(): void {
    this.#over.abort();
  }

  async #read(client: ApiClient, path: string): Promise<void> {
    for await (const line of client.lines(path, METADATA, this.#over.signal)) {
      const at = Date.now();
      if (line.startsWith('{"type":"DELETED"')) continue;
      const text = (name: string): string =>
        new RegExp(`"${name}":"([^"]*)"`).exec(line)?.[1] ?? '';
      const key = `${text('namespace')}/${text('convercus\\.io/credential')}`;
      const renewAt = Date.parse(text('convercus\\.io/renew-at'));
      const expiresAt = Date.parse(text('convercus\\.io/expires-at'));
      const before = this.#latest.get(key);
      const late = before === undefined ? undefined : at - before.renewAt;
      const expired = before === undefined ? 0 : Math.max(at - before.expiresAt, 0);
      const seen = { key, at, renewAt, expiresAt, late, expired };
      this.#latest.set(key, seen);
      this.publications.push(seen);
    }
  }
}

/** @throws with what `what` says when the time is up */
export async function waitUntil(
  holds: () => boolean | Promise<boolean>,
  seconds: number,
  what: () => string,
): Promise<void> {
  const deadline = Date.now() + seconds * 1_000;
  while (!(await holds())) {
    if (Date.now() > deadline) throw new Error(`after ${seconds} s: ${what()}`);
    await sleep(20);
  }
}
