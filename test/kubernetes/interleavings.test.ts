import { isDeepStrictEqual } from 'node:util';
import { describe, expect, it } from '@jest/globals';
import * as fc from 'fast-check';
import type { KnownSecret } from '../../src/credential/secret.ts';
import { ClusterCache } from '../../src/kubernetes/cache.ts';
import { KubernetesClient } from '../../src/kubernetes/client.ts';
import { EventRecorder } from '../../src/kubernetes/event-recorder.ts';
import { credentialFrom, secretFrom, secretsOf } from '../../src/kubernetes/objects.ts';
import { isFailure } from '../../src/lib/failure.ts';
import type { Key } from '../../src/lib/key.ts';
import type { EventHandler } from '../../src/lib/list-watch.ts';
import { isOlderVersion } from '../../src/lib/resource-version.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { runs } from '../support/runs.ts';
import { never } from '../support/streams.ts';
import { type Change, type History, HistoryServer, shownOf } from './history-server.ts';

const SECRETS = ['s', 't', 'u', 'a-session'] as const;
const CREDENTIALS = ['a', 'b'] as const;

type Kind = 'secrets' | 'credentials';

interface Informed<T> {
  readonly handler: EventHandler<T>;
  readonly project: (object: unknown) => T | undefined;
}

/** One informer: what it shows comes when it is told to, and may be far behind. */
class Watch<T> {
  readonly #history: History;
  readonly #handler: EventHandler<T>;
  readonly #project: (object: unknown) => T | undefined;
  readonly #kind: Kind;
  /** Everything up to it has been shown. */
  shown = 0;
  /** The latest version that the server has told, before it lost its history. */
  #latest = 0;
  #list: { readonly version: number; items: T[]; isStarted: boolean } | undefined;
  /** Its version lies in the server's future. */
  isLost = false;

  constructor(kind: Kind, history: History, { handler, project }: Informed<T>) {
    this.#kind = kind;
    this.#history = history;
    this.#handler = handler;
    this.#project = project;
  }

  /** The next event. */
  show(): void {
    if (this.#list !== undefined || this.isLost) return;
    const change = this.#history.changes.find(({ version }) => version > this.shown);
    if (change === undefined) return;
    this.shown = this.#latest = change.version;
    const item = this.#project(this.#object(change));
    if (item === undefined) throw new Error('no object');
    if (change.type === 'DELETED') this.#handler.delete(item);
    else this.#handler.apply(item);
  }

  #object({ name, object, version }: Change): object {
    return shownOf[this.#kind](name, { ...object, version });
  }

  /** One step of a list: the server's answer, its beginning, each item, its end. */
  list(): void {
    this.#list ??= this.#snapshot();
    const { version, items, isStarted } = this.#list;
    const item = items[0];
    if (!isStarted) {
      this.#handler.init(String(version), isOlderVersion(String(version), String(this.#latest)));
      this.#list.isStarted = true;
    } else if (item !== undefined) {
      items.shift();
      this.#handler.apply(item);
    } else {
      this.#handler.initDone();
      this.shown = this.#latest = version;
      this.#list = undefined;
      this.isLost = false;
    }
  }

  #snapshot() {
    const { version, objects } = this.#history;
    const items = [...objects].map(([name, object]) =>
      this.#project(shownOf[this.#kind](name, object)),
    );
    return { version, items: items.filter((item) => item !== undefined), isStarted: false };
  }

  /** The history begins again, at a version far below that of the last bookmark. */
  lose(): void {
    this.#latest = Math.max(this.#latest, this.#history.version) + 1_000;
    this.isLost = true;
    this.#list = undefined;
  }

  finish(): void {
    if (this.isLost) this.list();
    while (this.#list !== undefined) this.list();
    while (this.shown < this.#history.version) this.show();
  }
}

/** What a reader has read, and what the credentials that name it were woken until then. */
interface Read {
  readonly name: string;
  readonly wakes: ReadonlyMap<Key, number>;
  result?: string;
}

const stateOf = (known: KnownSecret | { uid: string; version: number }): string => {
  if (typeof known === 'string') return known;
  return `${known.uid}/${'version' in known ? known.version : known.resourceVersion}`;
};

class Game {
  readonly server = new HistoryServer();
  readonly cache: ClusterCache;
  readonly cluster: KubernetesClient;
  readonly watches;
  readonly #wakes = new Map<Key, number>();
  /** Who was woken since the last look, and which generation each has seen when it was woken. */
  #woken = new Set<Key>();
  readonly #seen = new Map<Key, string>();
  readonly #reads: Read[] = [];
  #restore: () => void;

  constructor() {
    this.cache = new ClusterCache((keys) => {
      for (const key of keys) {
        this.#woken.add(key);
        this.#wakes.set(key, (this.#wakes.get(key) ?? 0) + 1);
      }
    });
    const silent = (): void => {};
    const log = { debug: silent, info: silent, warn: silent, error: silent };
    const recorder = { restClient: this.server, instance: 'i', log, signal: never };
    const idle = { clock: new FakeClock(), isBusy: () => false };
    const events = new EventRecorder({ ...recorder, ...idle });
    this.cluster = new KubernetesClient(this.server, this.cache, events);
    const { secrets, credentials } = this.server;
    this.watches = {
      credentials: new Watch('credentials', credentials, {
        handler: this.cache.credentialHandler(),
        project: credentialFrom,
      }),
      secrets: new Watch('secrets', secrets, {
        handler: this.cache.secretHandler(),
        project: secretFrom,
      }),
    };
    this.#restore = this.#backup();
  }

  #backup(): () => void {
    const { secrets, credentials } = this.server;
    const restores = [secrets.backup(), credentials.backup()];
    return () => {
      for (const restore of restores) restore();
    };
  }

  // What may happen, each with some number that chooses

  editSecret(n: number): void {
    const name = pick(SECRETS, n);
    if (n % 3 === 0) this.server.secrets.remove(name);
    else this.server.secrets.put(name, {});
  }

  replaceSecret(n: number): void {
    this.server.secrets.remove(pick(SECRETS, n));
    this.server.secrets.put(pick(SECRETS, n), {});
  }

  editCredential(n: number): void {
    const name = pick(CREDENTIALS, n);
    const { credentials } = this.server;
    const before = credentials.objects.get(name);
    if (n % 5 === 0) return credentials.remove(name);
    if (n % 5 === 1) return void credentials.put(name, before === undefined ? specOf(n) : {});
    credentials.put(name, { ...specOf(n), generation: (before?.generation ?? 0) + 1 });
  }

  replaceCredential(n: number): void {
    this.server.credentials.remove(pick(CREDENTIALS, n));
    this.server.credentials.put(pick(CREDENTIALS, n), specOf(n));
  }

  read(n: number): void {
    const name = pick(SECRETS, n);
    const askers = this.cache.referrers('shop', name).map(({ metadata }) => metadata.name);
    const wakes = askers.map((asker) => [asker, this.#wakes.get(`shop/${asker}`) ?? 0] as const);
    const read: Read = { name, wakes: new Map(wakes) };
    this.#reads.push(read);
    void this.#ask(read, n % 2 === 0);
  }

  async #ask(read: Read, isWhole: boolean): Promise<void> {
    const response = isWhole
      ? await this.cluster.readSecret('shop', read.name, never)
      : await this.cluster.readSecretMeta('shop', read.name, never);
    if (isFailure(response)) return;
    read.result = stateOf(
      typeof response === 'object' && 'meta' in response ? response.meta : response,
    );
  }

  write(n: number): void {
    const name = pick(SECRETS, n);
    const known = this.cache.secret('shop', name);
    const desired = {
      namespace: 'shop',
      name,
      ...(typeof known === 'object' && n % 2 === 0 ? { uid: known.uid } : {}),
      type: 'convercus.io/token',
      labels: {},
      annotations: {},
      data: {},
      force: true,
      fieldManager: 'convercus-operator',
    };
    void this.cluster.applySecret(desired, never);
  }

  delete(n: number): void {
    const name = pick(SECRETS, n);
    const known = this.cache.secret('shop', name);
    if (typeof known !== 'object') return;
    void this.cluster.deleteSecret({ namespace: 'shop', name, uid: known.uid }, never);
  }

  writeStatus(n: number): void {
    const known = this.cache.credential(`shop/${pick(CREDENTIALS, n)}`);
    if (known !== undefined) void this.cluster.applyStatus(known, { observedGeneration: n }, never);
  }

  carryOut(n: number): void {
    this.server.carryOut(this.server.pending[n % this.server.pending.length]);
  }

  respond(n: number): void {
    this.server.respond(this.server.pending[n % this.server.pending.length]);
  }

  showSecret(): void {
    this.watches.secrets.show();
  }

  showCredential(): void {
    this.watches.credentials.show();
  }

  list(n: number): void {
    this.#watch(n).list();
  }

  listWhole(n: number): void {
    for (let steps = 0; steps < 8; steps += 1) this.#watch(n).list();
  }

  #watch(n: number) {
    return n % 2 === 0 ? this.watches.secrets : this.watches.credentials;
  }

  backup(): void {
    this.#restore = this.#backup();
  }

  restore(): void {
    this.watches.secrets.lose();
    this.watches.credentials.lose();
    this.server.cut();
    this.#restore();
  }

  async end(n: number): Promise<void> {
    if (n % 2 === 0) await this.#showAll();
    while (this.server.pending.length > 0) {
      this.server.carryOut(this.server.pending[0]);
      this.server.respond(this.server.pending[0]);
      await this.settle();
    }
    await this.#showAll();
  }

  async #showAll(): Promise<void> {
    this.watches.credentials.finish();
    this.watches.secrets.finish();
    await this.settle();
  }

  async settle(): Promise<void> {
    await new Promise(setImmediate);
    for (const key of this.#woken) this.#seen.set(key, generationOf(this.cache.credential(key)));
    this.#woken = new Set();
  }

  // What must hold

  /** Nothing known is older than what the watch has shown. */
  checkForward(): void {
    const { secrets, credentials } = this.watches;
    if (!secrets.isLost) {
      for (const name of SECRETS) {
        const known = stateOf(this.cache.secret('shop', name));
        const states = this.server.secrets.statesSince(name, secrets.shown).map(stateOf);
        if (![...states, 'unknown'].includes(known)) expect([name, known]).toEqual([name, states]);
      }
    }
    if (credentials.isLost) return;
    for (const name of CREDENTIALS) {
      const known = this.cache.credential(`shop/${name}`);
      const states = this.server.credentials
        .statesSince(name, credentials.shown)
        .map((it) => (it === 'absent' ? undefined : credentialFrom(shownOf.credentials(name, it))));
      if (!states.some((it) => isDeepStrictEqual(it, known))) expect(states).toContainEqual(known);
    }
  }

  /** The cache is what the server has, and all who have to look again have been woken. */
  checkEnd(): void {
    this.checkForward();
    const session = this.server.secrets.objects.has('a-session');
    expect(this.cache.hasSession('shop/a')).toBe(session);
    for (const name of CREDENTIALS) {
      const key = `shop/${name}`;
      expect(this.#seen.get(key) ?? 'none').toBe(generationOf(this.cache.credential(key)));
    }
    for (const read of this.#reads) this.#checkWoken(read);
  }

  /** Our own writes are news only to those who read them as their source. */
  #checkWoken({ name, wakes, result }: Read): void {
    const last = this.server.secrets.changes.findLast((change) => change.name === name);
    const state = stateOf(this.server.secrets.objects.get(name) ?? 'absent');
    if (result === undefined || result === state || last?.isOurs === true) return;
    for (const [asker, before] of wakes) {
      const credential = this.cache.credential(`shop/${asker}`);
      if (credential === undefined) continue;
      if (!secretsOf(credential).some((it) => it.name === name)) continue;
      expect(this.#wakes.get(`shop/${asker}`)).toBeGreaterThan(before);
    }
  }
}

const pick = <T>(from: readonly [T, ...T[]], n: number): T => from[n % from.length] ?? from[0];

const generationOf = (credential: ReturnType<ClusterCache['credential']>): string =>
  credential === undefined
    ? 'none'
    : `${credential.metadata.uid} ${credential.metadata.generation}`;

/** Two credentials that name Secrets in common, now these and now those. */
const specOf = (n: number) => ({
  rest: {
    spec: {
      program: 'ABC',
      environment: 'staging',
      grantType: n % 7 < 3 ? 'password' : 'client_credentials',
      credentialsSecretRef: { name: n % 11 < 5 ? 's' : 't' },
      target: { name: n % 13 < 6 ? 't' : 'u' },
    },
  },
});

type Act = Exclude<
  keyof { [K in keyof Game as Game[K] extends (n: number) => void ? K : never]: 0 },
  'checkForward' | 'checkEnd' | 'end' | 'settle'
>;

const USUAL: readonly Act[] = [
  'editSecret',
  'replaceSecret',
  'editCredential',
  'replaceCredential',
  'read',
  'read',
  'write',
  'write',
  'delete',
  'writeStatus',
  'carryOut',
  'carryOut',
  'carryOut',
  'respond',
  'respond',
  'respond',
  'showSecret',
  'showSecret',
  'showCredential',
  'showCredential',
  'list',
  'list',
];

const RUNS = Number(process.env['RUNS'] ?? runs(250));

async function play(acts: readonly (readonly [Act, number])[], n: number): Promise<void> {
  const game = new Game();
  game.editCredential(2);
  game.editCredential(3);
  game.listWhole(1);
  game.listWhole(0);
  for (const [act, number] of acts) {
    game[act](number);
    await game.settle();
    game.checkForward();
  }
  await game.end(n);
  game.checkEnd();
}

describe('the cache beside an API server whose answers and events come in any order', () => {
  const scripts = (...acts: readonly Act[]) =>
    fc.array(fc.tuple(fc.constantFrom(...acts), fc.nat(1_000)), { maxLength: 120, size: 'max' });

  it('never goes back behind what the watch has shown, and becomes what the server has', async () => {
    await fc.assert(fc.asyncProperty(scripts(...USUAL), fc.nat(1), play), { numRuns: RUNS });
  }, 600_000);

  it('becomes what the server has after etcd was restored from a backup', async () => {
    const acts = scripts(...USUAL, 'listWhole', 'listWhole', 'backup', 'restore');
    await fc.assert(fc.asyncProperty(acts, fc.nat(1), play), { numRuns: RUNS });
  }, 600_000);
});
