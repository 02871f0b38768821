import { inspect } from 'node:util';
import type { Settings } from '../../src/domain/credential.ts';
import { Failure } from '../../src/domain/failure.ts';
import { Sensitive } from '../../src/domain/sensitive.ts';
import { type Condition, conditionOf } from '../../src/domain/status.ts';
import { type Action, type EpochMs, type Ms, minutes } from '../../src/domain/time.ts';
import type { Token, TokenRequest } from '../../src/domain/token.ts';
import type { Key, Log, LogFields, RequestBudget, Turn } from '../../src/ports.ts';
import { type Pass, reconciler } from '../../src/reconcile/reconciler.ts';
import { SharedTokens } from '../../src/reconcile/shared-tokens.ts';
import { aCredential, CANARY, type CredentialOverrides, SETTINGS } from './builders.ts';
import { FakeClock } from './fake-clock.ts';
import { FakeCluster } from './fake-cluster.ts';

export const KEY: Key = 'shop/loyalty';
export const SOURCE: Key = 'shop/convercus-abc';
export const TARGET: Key = 'shop/loyalty-token';
export const GOOD_SECRET = `${CANARY}-good`;
export const WRONG_SECRET = `${CANARY}-wrong`;

/** A token endpoint: knows one good client secret, and can be down or slow. */
export class FakeIdentityProvider {
  readonly requests: TokenRequest[] = [];
  validity: Ms = minutes(5);
  outage: Failure | undefined;
  #gate: Promise<void> = Promise.resolve();
  readonly #clock: FakeClock;

  constructor(clock: FakeClock) {
    this.#clock = clock;
  }

  /** Nobody gets an answer until the returned function is called. */
  hold(): () => void {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#gate = promise;
    return resolve;
  }

  readonly answer = async (request: TokenRequest): Promise<Token | Failure> => {
    this.requests.push(request);
    const issuedAt = this.#clock.now();
    const number = this.requests.length;
    await this.#gate;
    if (this.outage !== undefined) return this.outage;
    if (request.clientSecret.reveal() === WRONG_SECRET) {
      return new Failure('ClientSecretRejected', 'The server does not accept the client secret');
    }
    return {
      accessToken: new Sensitive(`${CANARY}-token-${number}`),
      tokenType: 'Bearer',
      scope: request.scope,
      issuedAt,
      expiresAt: issuedAt + this.validity,
      jitter: 0,
      notBefore: 0,
    };
  };
}

/** Everybody may go at once unless it is closed; remembers which hosts were to be left alone. */
export class OpenBudget implements RequestBudget {
  readonly paused = new Map<string, EpochMs>();
  readonly reports: [host: string, outcome: string][] = [];
  waiting = 0;
  #gate: Promise<void> | undefined;

  /** Nobody is let through until the returned function is called. */
  hold(): () => void {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#gate = promise;
    return resolve;
  }

  async run<T>(
    _host: string,
    _turn: Turn,
    task: () => Promise<T>,
    signal: AbortSignal,
  ): Promise<T> {
    this.waiting += 1;
    const aborted = new Promise((_, reject) => {
      signal.addEventListener('abort', () => reject(signal.reason), { once: true });
    });
    await Promise.race([this.#gate, aborted]);
    this.waiting -= 1;
    return task();
  }

  pause(host: string, until: EpochMs): void {
    this.paused.set(host, until);
  }

  report(host: string, outcome: 'answered' | 'unreachable'): void {
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

/** One operator over a cluster and an identity provider; a test drives its passes by hand. */
export class World {
  readonly clock = new FakeClock();
  readonly cluster = new FakeCluster();
  readonly idp = new FakeIdentityProvider(this.clock);
  readonly budget = new OpenBudget();
  readonly logged: LogLine[] = [];
  readonly renewals: string[] = [];
  readonly #stop = new AbortController();
  #pass: Pass;

  constructor(settings: Settings = SETTINGS) {
    this.#pass = this.#start(settings);
  }

  /** A credential and the Secret with its good client secret. */
  static with(overrides: CredentialOverrides = {}): World {
    const world = new World();
    world.cluster.putSecret(SOURCE, { data: { client_secret: GOOD_SECRET } });
    world.cluster.put(aCredential(overrides));
    return world;
  }

  restart(settings: Settings = SETTINGS): void {
    this.#pass = this.#start(settings);
  }

  /** One pass, as after an event. */
  pass(key: Key = KEY, signal: AbortSignal = this.#stop.signal): Promise<Action> {
    return this.#pass(key, { signal, parked: (wait) => wait() });
  }

  /** Time passes, and the key is looked at whenever the pass before asked for it. Answers the last action. */
  async runFor(length: Ms, last: Action, key: Key = KEY): Promise<Action> {
    const end = this.clock.now() + length;
    let action = last;
    for (let passes = 0; action !== 'await-change' && action.lookAgainAt <= end; passes += 1) {
      if (passes > 1_000) throw new Error('the passes follow each other too fast');
      this.clock.advance(Math.max(action.lookAgainAt - this.clock.now(), 0));
      action = await this.pass(key);
    }
    this.clock.advance(end - this.clock.now());
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

  #start(settings: Settings): Pass {
    const { clock, cluster, budget, idp } = this;
    const random = () => 0.5;
    const { signal } = this.#stop;
    const source = idp.answer;
    const tokens = new SharedTokens({ source, budget, clock, random, closing: signal, signal });
    const log = this.#log();
    const telemetry = {
      renewal: (reason: string, outcome: string) => this.renewals.push(`${reason} ${outcome}`),
    };
    return reconciler({ view: cluster, cluster, tokens, telemetry, clock, random, log }, settings);
  }

  #log(): Log {
    const at = (level: keyof Log) => (message: string, fields?: LogFields) =>
      void this.logged.push({ level, message, fields });
    return { debug: at('debug'), info: at('info'), warn: at('warn'), error: at('error') };
  }
}
