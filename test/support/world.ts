import { inspect } from 'node:util';
import type { Settings } from '../../src/credential/credential.ts';
import { type Condition, conditionOf } from '../../src/credential/status.ts';
import { Failure, isFailure } from '../../src/lib/failure.ts';
import type { Key } from '../../src/lib/key.ts';
import type { Log, LogFields } from '../../src/lib/log.ts';
import { Sensitive } from '../../src/lib/sensitive.ts';
import { type Action, type EpochMs, hours, type Ms, minutes } from '../../src/lib/time.ts';
import type { LogoutRequest, RefreshRequest, TokenRequest } from '../../src/oauth/grants.ts';
import type { Token } from '../../src/oauth/token.ts';
import { Reconciler } from '../../src/reconcile/reconciler.ts';
import type { Ticket } from '../../src/tokens/deadline-queue.ts';
import type { RequestLimiter } from '../../src/tokens/host-limiters.ts';
import type { Outcome } from '../../src/tokens/outcome.ts';
import { TokenClient, type TokenClientOptions } from '../../src/tokens/token-client.ts';
import {
  isPending,
  type Pending,
  type TokenDemand,
  type TokenFailure,
} from '../../src/tokens/token-demand.ts';
import type { TokenSource } from '../../src/tokens/token-source.ts';
import { aCredential, CANARY, type CredentialOverrides, SETTINGS } from './builders.ts';
import { FakeClock } from './fake-clock.ts';
import { FakeCluster } from './fake-cluster.ts';

export const KEY: Key = 'shop/loyalty';
export const SOURCE: Key = 'shop/convercus-abc';
export const TARGET: Key = 'shop/loyalty-token';
export const GOOD_SECRET = `${CANARY}-good`;
export const WRONG_SECRET = `${CANARY}-wrong`;
export const SESSION: Key = 'shop/loyalty-session';
export const USERNAME = `${CANARY}-user`;
export const GOOD_PASSWORD = `${CANARY}-password`;
export const WRONG_PASSWORD = `${CANARY}-wrong-password`;

/** A login at the FakeIdentityProvider. */
interface FakeSession {
  readonly endsAt: EpochMs;
  /** The one refresh token that has not been spent. */
  current: string;
  readonly accessTokens: string[];
}

/** A token endpoint: knows one good client secret and one good password, rotates refresh tokens, can be down or slow. */
export class FakeIdentityProvider {
  readonly requests: TokenRequest[] = [];
  readonly logouts: LogoutRequest[] = [];
  /** Access tokens of sessions that were logged out. */
  readonly loggedOut = new Set<string>();
  validity: Ms = minutes(5);
  /** How long a session lasts at most, however often it is refreshed. */
  sessionMax: Ms = hours(10);
  sessionIdle: Ms = hours(168);
  notBefore: EpochMs = 0;
  givesRefreshTokens = true;
  goodPassword = GOOD_PASSWORD;
  outage: Failure | undefined;
  logoutFailure: Failure | undefined;
  #gate: Promise<void> = Promise.resolve();
  #count = 0;
  readonly #sessions = new Set<FakeSession>();
  readonly #clock: FakeClock;

  constructor(clock: FakeClock) {
    this.#clock = clock;
  }

  /** No request gets a response until the returned function is called. */
  hold(): () => void {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#gate = promise;
    return resolve;
  }

  /** As after a restart of a server that keeps sessions in memory. */
  loseSessions(): void {
    this.#sessions.clear();
  }

  get liveSessions(): number {
    return this.liveRefreshTokens.length;
  }

  /** One per session: that which has not been spent. */
  get liveRefreshTokens(): string[] {
    const live = [...this.#sessions].filter(({ endsAt }) => endsAt > this.#clock.now());
    return live.map(({ current }) => current);
  }

  grants(grantType: TokenRequest['grantType']): number {
    return this.requests.filter((request) => request.grantType === grantType).length;
  }

  readonly logOut = async (request: LogoutRequest): Promise<Failure | undefined> => {
    this.logouts.push(request);
    if (this.logoutFailure !== undefined) return this.logoutFailure;
    const value = request.refreshToken.reveal();
    for (const session of this.#sessions) {
      if (value !== session.current) continue;
      this.#sessions.delete(session);
      for (const each of session.accessTokens) this.loggedOut.add(each);
    }
    return undefined;
  };

  readonly response = async (request: TokenRequest): Promise<Token | Failure> => {
    this.requests.push(request);
    const issuedAt = this.#clock.now();
    this.#count += 1;
    const number = this.#count;
    await this.#gate;
    if (this.outage !== undefined) return this.outage;
    const session = this.#sessionFor(request, number);
    if (isFailure(session)) return session;
    const end = Math.min(issuedAt + this.validity, session?.endsAt ?? Infinity);
    const accessToken = `${CANARY}-token-${number}`;
    session?.accessTokens.push(accessToken);
    return {
      accessToken: new Sensitive(accessToken),
      tokenType: 'Bearer',
      scope: 'openid',
      issuedAt,
      expiresAt: end,
      jitter: 0,
      notBefore: this.notBefore,
      ...(session !== undefined &&
        this.givesRefreshTokens && { refreshToken: this.#refreshTokenOf(session) }),
    };
  };

  #refreshTokenOf({ current, endsAt }: FakeSession) {
    const expiresAt = Math.min(this.#clock.now() + this.sessionIdle, endsAt);
    return { value: new Sensitive(current), expiresAt };
  }

  #sessionFor(request: TokenRequest, number: number): FakeSession | undefined | Failure {
    if (request.grantType !== 'legacy_login' && request.clientSecret.reveal() === WRONG_SECRET) {
      return new Failure('ClientSecretRejected', 'The server does not accept the client secret');
    }
    if (request.grantType === 'client_credentials') return undefined;
    if (request.grantType === 'refresh_token') return this.#refresh(request, number);
    if (request.password.reveal() !== this.goodPassword) {
      return new Failure('CredentialsRejected', 'User name or password is wrong');
    }
    if (request.grantType === 'legacy_login') return undefined;
    const current = `${CANARY}-refresh-${number}`;
    const endsAt = this.#clock.now() + this.sessionMax;
    const session = { endsAt, current, accessTokens: [] };
    this.#sessions.add(session);
    return session;
  }

  #refresh({ refreshToken }: RefreshRequest, number: number): FakeSession | Failure {
    const sent = refreshToken.reveal();
    const session = [...this.#sessions].find(({ current }) => current === sent);
    if (session === undefined || session.endsAt <= this.#clock.now()) {
      return new Failure('SessionEnded', 'The session has ended');
    }
    session.current = `${CANARY}-refresh-${number}`;
    return session;
  }
}

/** Everybody may go at once unless it is closed; remembers which realms were to be left alone. */
export class OpenBudget implements RequestLimiter {
  /** By host and token URL. */
  readonly paused = new Map<string, EpochMs>();
  /** In the order in which they were asked for. */
  readonly turns: Ticket[] = [];
  readonly hurried: Ticket[] = [];
  readonly reports: [host: string, outcome: string][] = [];
  waiting = 0;
  #gate: Promise<void> | undefined;

  /** No request is let through until the returned function is called. */
  hold(): () => void {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#gate = promise;
    return resolve;
  }

  async run<T>(
    _host: string,
    ticket: Ticket,
    task: () => Promise<T>,
    signal: AbortSignal,
  ): Promise<T> {
    signal.throwIfAborted();
    this.waiting += 1;
    this.turns.push(ticket);
    const aborted = new Promise((_, reject) => {
      signal.addEventListener('abort', () => reject(signal.reason), { once: true });
    });
    await Promise.race([this.#gate, aborted]);
    this.waiting -= 1;
    return task();
  }

  /** Turns that have become more urgent while they waited. */
  raisePriority(_host: string, ticket: Ticket): void {
    this.hurried.push(ticket);
  }

  pause(host: string, { realm }: Ticket, until: EpochMs): void {
    this.paused.set(`${host} ${realm}`, until);
  }

  report(host: string, _ticket: Ticket, outcome: Outcome): void {
    this.reports.push([host, outcome]);
  }
}

export interface LogLine {
  readonly level: keyof Log;
  readonly message: string;
  readonly fields: LogFields | undefined;
}

/** Lets everything go on that needs no time, until the condition holds. */
export async function until(holds: () => boolean): Promise<void> {
  while (!holds()) await new Promise((resolve) => setImmediate(resolve));
}

/** Lets everything go on that needs no time. */
export async function settled(): Promise<void> {
  for (let turns = 0; turns < 20; turns += 1) {
    await new Promise((resolve) => setImmediate(resolve));
  }
}

/** Notes the keys whose last reconcile was told to wait for a response. */
class ObservedTokenClient extends TokenClient {
  readonly #pending: Set<Key>;

  constructor(pending: Set<Key>, options: TokenClientOptions) {
    super(options);
    this.#pending = pending;
  }

  override get(key: Key, demand: TokenDemand): Token | TokenFailure | Pending {
    return this.#note(key, super.get(key, demand));
  }

  override requestSession(...args: Parameters<TokenClient['requestSession']>) {
    return this.#note(args[0], super.requestSession(...args));
  }

  override logOut(key: Key, request: LogoutRequest): 'ended' | Failure | Pending {
    const outcome = super.logOut(key, request);
    return outcome === 'ended' ? outcome : this.#note(key, outcome);
  }

  #note<T extends object>(key: Key, outcome: T): T {
    if (isPending(outcome)) this.#pending.add(key);
    return outcome;
  }
}

/** One operator over a cluster and an identity provider; a test drives its reconciles by hand. */
export class World {
  readonly clock = new FakeClock();
  readonly cluster = new FakeCluster();
  readonly idp = new FakeIdentityProvider(this.clock);
  readonly limiter = new OpenBudget();
  readonly logged: LogLine[] = [];
  readonly renewals: string[] = [];
  /** Token endpoints that have raised their not-before policy. */
  readonly revoked: string[] = [];
  /** What answers token requests; the identity provider unless a test puts something else in its place. */
  source: TokenSource = this.idp.response;
  /** Keys whose response is in since they were reconciled last. */
  readonly enqueued = new Set<Key>();
  /** Calls of `reconcile` that wait for a response. */
  waiting = 0;
  readonly #pending = new Set<Key>();
  readonly #stop = new AbortController();
  #process = { closing: new AbortController(), killed: new AbortController() };
  #tokens: TokenClient | undefined;
  #reconciler: Reconciler;

  constructor(settings: Settings = SETTINGS) {
    this.#reconciler = this.#start(settings);
  }

  /** A credential and the Secret with its good client secret. */
  static with(overrides: CredentialOverrides = {}): World {
    const world = new World();
    world.cluster.putSecret(SOURCE, { data: { client_secret: GOOD_SECRET } });
    world.cluster.put(aCredential(overrides));
    return world;
  }

  /** A credential of the grant `password`, and the Secret with all that it presents. */
  static withPassword({ spec, ...rest }: CredentialOverrides = {}): World {
    const world = World.with({ spec: { grantType: 'password', ...spec }, ...rest });
    world.cluster.putSecret(SOURCE, {
      data: { client_secret: GOOD_SECRET, username: USERNAME, password: GOOD_PASSWORD },
    });
    return world;
  }

  /** No request leaves any more, as after a stop. */
  close(): void {
    this.#process.closing.abort(new Error('closing'));
  }

  /** Resolves when no request is in flight and every token that has come is taken. */
  idle(): Promise<void> {
    return this.#tokens?.idle() ?? Promise.resolve();
  }

  /** The process is killed, and another one begins. */
  restart(settings: Settings = SETTINGS): void {
    this.close();
    this.#process.killed.abort(new Error('killed'));
    this.#process = { closing: new AbortController(), killed: new AbortController() };
    this.#reconciler = this.#start(settings);
  }

  /** One reconcile, as after an event, and those that follow until it waits for no response any more. */
  async reconcile(key: Key = KEY, signal: AbortSignal = this.#stop.signal): Promise<Action> {
    const { killed, closing } = this.#process;
    const isOver = () => killed.signal.aborted || closing.signal.aborted;
    let action = await this.reconcileOnce(key, signal);
    while (this.#pending.has(key) && !isOver()) {
      const requeueAt = action === 'await-change' ? Infinity : action.requeueAt;
      const isDue = () => this.enqueued.has(key) || this.clock.now() >= requeueAt;
      this.waiting += 1;
      await until(() => isDue() || isOver() || signal.aborted);
      this.waiting -= 1;
      if (isOver()) return action;
      action = await this.reconcileOnce(key, signal);
    }
    return action;
  }

  /** One reconcile, whatever it waits for. */
  reconcileOnce(key: Key = KEY, signal: AbortSignal = this.#stop.signal): Promise<Action> {
    this.enqueued.delete(key);
    this.#pending.delete(key);
    return this.#reconciler.reconcile(key, signal);
  }

  /** Time passes, and the key is looked at whenever the reconcile before asked for it. Returns the last action. */
  async runFor(length: Ms, last: Action, key: Key = KEY): Promise<Action> {
    const end = this.clock.now() + length;
    let action = last;
    const dueAt = () => {
      if (this.enqueued.has(key)) return this.clock.now();
      return action === 'await-change' ? Infinity : action.requeueAt;
    };
    for (let count = 0; dueAt() <= end; count += 1) {
      if (count > 1_000) throw new Error('the reconciles follow each other too fast');
      this.clock.step(Math.max(dueAt() - this.clock.now(), 0));
      action = await this.reconcile(key);
    }
    this.clock.step(end - this.clock.now());
    return action;
  }

  condition(type: string, key: Key = KEY): Condition | undefined {
    return conditionOf(this.cluster.statusOf(key), type);
  }

  /** `True TokenValid`, `absent` and so on. */
  summary(type: string, key: Key = KEY): string {
    const found = this.condition(type, key);
    return found === undefined ? 'absent' : `${found.status} ${found.reason}`;
  }

  /** `Warning NetworkError`, one per event. */
  get eventSummaries(): string[] {
    return this.cluster.events.map(({ type, reason }) => `${type} ${reason}`);
  }

  get tokenRequests(): number {
    return this.idp.requests.length;
  }

  /** Everything that people can read without being allowed to read Secrets. */
  get shown(): string {
    const { events, statuses } = this.cluster;
    const all = [events, statuses, this.logged, this.renewals];
    return `${JSON.stringify(all)}${inspect(all, { depth: 20 })}`;
  }

  #start(settings: Settings): Reconciler {
    const { clock, cluster, limiter, idp } = this;
    const random = () => 0.5;
    const { closing, killed } = this.#process;
    const log = this.#log();
    const telemetry = {
      renewal: (reason: string, outcome: string) => this.renewals.push(`${reason} ${outcome}`),
      renewedOnSchedule: () => undefined,
    };
    const tokens = new ObservedTokenClient(this.#pending, {
      source: (request, abort) => this.source(request, abort),
      logOut: idp.logOut,
      environments: settings.environments,
      limiter,
      clock,
      random,
      digestKey: 'key',
      closing: closing.signal,
      signal: killed.signal,
      enqueue: (key) => this.enqueue(key),
      onNotBeforeRaised: (tokenUrl) => this.revoked.push(tokenUrl),
      onSessionAbandoned: (session, step) =>
        reconciler.cleanup.logOutAbandoned(session, step, killed.signal),
    });
    this.#tokens = tokens;
    const deps = {
      lister: cluster,
      clusterCredentials: cluster.clusterCredentials,
      cluster,
      tokens,
      telemetry,
      clock,
      random,
      log,
      enqueueFirst: (key: Key) => this.enqueue(key),
    };
    const reconciler = new Reconciler(deps, settings);
    return reconciler;
  }

  /** What a response does with the key that asked; a test with a queue of its own replaces it. */
  enqueue = (key: Key): void => void this.enqueued.add(key);
  #log(): Log {
    const at = (level: keyof Log) => (message: string, fields?: LogFields) =>
      void this.logged.push({ level, message, fields });
    return { debug: at('debug'), info: at('info'), warn: at('warn'), error: at('error') };
  }
}

/** The tokens of refreshes end that much earlier, such as by the rounding of a server that counts in whole seconds. */
export const endingEarlier =
  ({ idp }: World, by: Ms): TokenSource =>
  async (request) => {
    const token = await idp.response(request);
    return request.grantType === 'refresh_token' && !isFailure(token)
      ? { ...token, expiresAt: token.expiresAt - by }
      : token;
  };
