import { setTimeout as sleep } from 'node:timers/promises';
import { expiryOf } from '../testbed/objects.ts';
import { type ApiClient, METADATA } from './api-client.ts';

/** A token in a target, from the moment at which it could be read. Milliseconds since 1970. */
export interface Publication {
  readonly at: number;
  /** The token itself, or the moment of its issue where only metadata is read. */
  readonly token: string;
  readonly expiresAt: number;
  /** From the operator's annotation: when it wants to renew. */
  readonly renewAt: number;
}

/** Publications by `namespace/credential`, oldest first. */
export type Targets = ReadonlyMap<string, readonly Publication[]>;

interface SecretObject {
  readonly type?: string;
  readonly metadata: Readonly<Record<'namespace' | 'resourceVersion', string>> &
    Readonly<Partial<Record<'labels' | 'annotations', Record<string, string>>>>;
  readonly data?: Record<string, string>;
}

type Client = Pick<ApiClient, 'send' | 'lines'>;

const WATCH =
  '/api/v1/secrets?watch=1&allowWatchBookmarks=true&labelSelector=app.kubernetes.io/managed-by%3Dconvercus-operator';

/** Sees every target as it is written, by a watch of its own; nothing of the operator's code is in it. */
export class TargetReader {
  readonly targets = new Map<string, Publication[]>();
  /** All values of session Secrets. */
  readonly sessionValues = new Set<string>();
  /** States of a target that were no token. */
  unreadable = 0;
  readonly #client: Client;
  readonly #readsData: boolean;
  readonly #stopped = new AbortController();
  #version: string;
  #latest = Number.NaN;

  private constructor(client: Client, version: string, readsData: boolean) {
    this.#client = client;
    this.#version = version;
    this.#readsData = readsData;
  }

  /**
   * What was written before is not seen.
   * @param content `metadata` costs the least; `data` takes the expiry from the token itself
   */
  static async start(client: Client, content: 'metadata' | 'data'): Promise<TargetReader> {
    const list = JSON.parse(await client.send({ method: 'GET', path: '/api/v1/secrets?limit=1' }));
    const reader = new TargetReader(client, list.metadata.resourceVersion, content === 'data');
    void reader.#run();
    return reader;
  }

  /** Resolves to the moment of the latest publication when that many targets have been written. */
  async until(targets: number, seconds: number): Promise<number> {
    const text = (): string => `${this.targets.size} of ${targets} targets were written`;
    await waitUntil(() => this.targets.size >= targets, seconds, text);
    return this.#latest;
  }

  stop(): void {
    this.#stopped.abort();
  }

  /** The API server ends a watch after 30 minutes or more. */
  async #run(): Promise<void> {
    while (!this.#stopped.signal.aborted) {
      await this.#watch().catch(() => sleep(200));
    }
  }

  async #watch(): Promise<void> {
    const accept = this.#readsData ? 'application/json' : METADATA;
    const path = `${WATCH}&resourceVersion=${this.#version}`;
    for await (const line of this.#client.lines(path, accept, this.#stopped.signal)) {
      const { type, object }: { type: string; object: SecretObject } = JSON.parse(line);
      if (type === 'ERROR') throw new Error(line);
      this.#version = object.metadata.resourceVersion;
      if (type === 'ADDED' || type === 'MODIFIED') this.#note(object, Date.now());
    }
  }

  #note({ type, metadata, data = {} }: SecretObject, at: number): void {
    const { labels = {}, annotations = {} } = metadata;
    const values = Object.values(data).map((value) => Buffer.from(value, 'base64').toString());
    if (type === 'convercus.io/session') for (const value of values) this.sessionValues.add(value);
    const isTarget = this.#readsData
      ? type === 'convercus.io/token'
      : 'convercus.io/issued-at' in annotations;
    if (!isTarget) return;
    const annotated = (name: string): string => annotations[`convercus.io/${name}`] ?? '';
    const token = this.#readsData ? (values[0] ?? '') : annotated('issued-at');
    const expiresAt = this.#readsData ? expiryOf(token) : Date.parse(annotated('expires-at'));
    if (Number.isNaN(expiresAt)) this.unreadable += 1;
    const key = `${metadata.namespace}/${labels['convercus.io/credential']}`;
    const publications = this.targets.get(key) ?? [];
    if (Number.isNaN(expiresAt) || token === publications.at(-1)?.token) return;
    this.#latest = at;
    publications.push({ at, token, expiresAt, renewAt: Date.parse(annotated('renew-at')) });
    this.targets.set(key, publications);
  }
}

/** @throws with `text` when the time is up */
export async function waitUntil(
  holds: () => boolean | Promise<boolean>,
  seconds: number,
  text: () => string,
): Promise<void> {
  const deadline = Date.now() + seconds * 1_000;
  while (!(await holds())) {
    if (Date.now() > deadline) throw new Error(`after ${seconds} s: ${text()}`);
    await sleep(20);
  }
}
