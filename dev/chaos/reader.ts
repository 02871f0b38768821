import { setTimeout as sleep } from 'node:timers/promises';
import { ApiClient } from '../lab/api-client.ts';
import type { Span } from '../lab/measures.ts';
import type { Finding } from './explain.ts';
import {
  type Claims,
  type CredentialObject,
  claimsOf,
  judge,
  type Kind,
  type SecretObject,
} from './judge.ts';
import { keyOf } from './person.ts';
import type { Member } from './population.ts';

const PERIOD = 1_000;
/** Milliseconds. A read that is later than this was delayed by the machine. */
const LATE = 3_000;
const TIMEOUT = 5_000;

/** The holder of the Lease at a time; empty when there was none. */
export interface Held {
  readonly at: number;
  readonly holder: string;
}

interface Seen {
  readonly credentials: ReadonlyMap<string, CredentialObject>;
  readonly secrets: ReadonlyMap<string, SecretObject>;
}

/**
 * Reads every target each second over its own connections, as a workload does. While the API server is away the last
 * response counts, like a mounted file, and its token gets older.
 */
export class Reader {
  readonly findings: Finding[] = [];
  readonly holders: Held[] = [];
  /** When the machine was too slow to read each second. */
  readonly stalls: Span[] = [];
  /** All tokens and refresh tokens that were read. */
  readonly secrets = new Set<string>();
  looks = 0;
  readonly #client: ApiClient;
  readonly #members: readonly Member[];
  readonly #leasePath: string;
  readonly #over = new AbortController();
  #seen: Seen | undefined;
  #loop: Promise<void> = Promise.resolve();

  private constructor(client: ApiClient, members: readonly Member[], leasePath: string) {
    this.#client = client;
    this.#members = members;
    this.#leasePath = leasePath;
  }

  static async start(
    kubeconfig: string,
    members: readonly Member[],
    leasePath: string,
  ): Promise<Reader> {
    const reader = new Reader(await ApiClient.from(kubeconfig), members, leasePath);
    reader.#loop = reader.#run();
    return reader;
  }

  async stop(): Promise<void> {
    this.#over.abort();
    await this.#loop;
    await this.#client.close();
  }

  /** The state of each target: what is wrong, or `fine`. */
  judged(now = Date.now()): Map<string, Kind | 'fine' | 'absent'> {
    const seen = this.#seen;
    return new Map(
      this.#members.map((member): [string, Kind | 'fine' | 'absent'] => {
        const credential = seen?.credentials.get(member.key);
        if (seen === undefined || credential === undefined) return [member.key, 'absent'];
        const target = seen.secrets.get(`${member.namespace}/${member.target}`);
        return [member.key, judge(member, credential, target, now)];
      }),
    );
  }

  credential(key: string): CredentialObject | undefined {
    return this.#seen?.credentials.get(key);
  }

  /** Ids of the sessions that existing credentials use. */
  keptSessions(): Set<string> {
    const own = this.#members.flatMap(({ key, namespace, name }) => {
      const secret = this.#seen?.secrets.get(`${namespace}/${name}-session`);
      const token = Buffer.from(secret?.data?.['refresh_token'] ?? '', 'base64').toString();
      const claims: Claims | undefined = claimsOf(token);
      return this.#seen?.credentials.has(key) && claims?.sid !== undefined ? [claims.sid] : [];
    });
    return new Set(own);
  }

  async #run(): Promise<void> {
    let last = Date.now();
    while (!this.#over.signal.aborted) {
      const due = last + PERIOD;
      await sleep(Math.max(0, due - Date.now()), undefined, { signal: this.#over.signal }).catch(
        () => undefined,
      );
      if (this.#over.signal.aborted) return;
      const now = Date.now();
      if (now - due > LATE) this.stalls.push([last, now]);
      await this.look();
      this.#note(Date.now());
      last = Math.max(now, Date.now() - PERIOD);
    }
  }

  /** Reads everything now, besides each second. */
  async look(): Promise<void> {
    try {
      const [secrets, credentials, lease] = await Promise.all([
        this.#list<SecretObject>('/api/v1/secrets'),
        this.#list<CredentialObject>('/apis/convercus.io/v1alpha1/convercuscredentials'),
        this.#get(this.#leasePath),
      ]);
      this.#seen = {
        credentials: new Map(credentials.map((each) => [keyOf(each), each])),
        secrets: new Map(
          secrets.map((each) => [`${each.metadata.namespace}/${each.metadata.name}`, each]),
        ),
      };
      this.holders.push({ at: Date.now(), holder: JSON.parse(lease).spec?.holderIdentity ?? '' });
      this.#keepSecrets(secrets);
    } catch {
      // The API server is away: the last response counts
    }
  }

  #keepSecrets(secrets: readonly SecretObject[]): void {
    for (const { type, data = {} } of secrets) {
      if (type !== 'convercus.io/token' && type !== 'convercus.io/session') continue;
      const value = data['refresh_token'] ?? data['token'];
      if (value !== undefined) this.secrets.add(Buffer.from(value, 'base64').toString());
    }
  }

  /** One finding for each credential and second. */
  #note(now: number): void {
    if (this.#seen === undefined) return;
    this.looks += 1;
    for (const [key, kind] of this.judged(now)) {
      const created = this.#seen.credentials.get(key)?.metadata.creationTimestamp;
      if (created === undefined || kind === 'fine' || kind === 'absent') continue;
      this.findings.push({
        key,
        kind,
        at: now,
        created: Date.parse(created),
      });
    }
  }

  async #list<T>(path: string): Promise<T[]> {
    const { items }: { items: T[] } = JSON.parse(await this.#get(path));
    return items;
  }

  #get(path: string): Promise<string> {
    const signal = AbortSignal.any([this.#over.signal, AbortSignal.timeout(TIMEOUT)]);
    return this.#client.send({ method: 'GET', path, signal });
  }
}
