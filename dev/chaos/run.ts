import { setTimeout as sleep } from 'node:timers/promises';
import { type ControlPlane, startControlPlane } from '../envtest/control-plane.ts';
import type { Log } from '../envtest/server-process.ts';
import { type FaultEffect, proxies } from '../keycloak/dialect/faults.ts';
import { ApiClient } from '../lab/api-client.ts';
import { BuiltInProvider } from '../lab/built-in-provider.ts';
import type { Span } from '../lab/measures.ts';
import { eventually } from '../testbed/objects.ts';
import {
  OPERATOR,
  OPERATOR_NAMESPACE,
  OPERATOR_USER,
  operatorConfig,
} from '../testbed/operator.ts';
import { Testbed } from '../testbed/testbed.ts';
import { Controllers } from './controllers.ts';
import type { Done } from './explain.ts';
import type { Outage, Replica as ReplicaNumber } from './outages.ts';
import { conditionOf, isStalled, Person } from './person.ts';
import type { Member } from './population.ts';
import { Proxy } from './proxy.ts';
import { Reader } from './reader.ts';
import { Replica } from './replica.ts';
import {
  clockOf,
  describe,
  type Edit,
  type Event,
  type Fault,
  lineOf,
  type ProviderFault,
} from './schedule.ts';

export interface Setting {
  readonly members: readonly Member[];
  readonly events: readonly Event[];
  readonly tokenSeconds: number;
  readonly log: Log;
  /** Ctrl-C. */
  readonly signal: AbortSignal;
}

/** Seconds for the first tokens, and for recovery after the last fault. */
const START = 120;
const CALM = 90;
/** The run counts as recovered when all credentials were ready for this long. */
const STEADY = 10;
const LEASE = 'convercus-operator';
/** Milliseconds without the API server after which a leader has lost its Lease. */
const LOSES_LEASE = 8_000;
const REPLICAS = ['replica-0', 'replica-1'] as const;

interface Parts {
  readonly controlPlane: ControlPlane;
  readonly provider: BuiltInProvider;
  readonly providerProxy: Proxy;
  readonly controllers: Controllers;
  readonly replicas: readonly [Replica, Replica];
  readonly person: Person;
  readonly reader: Reader;
}

/** Starts real servers and two operators, and carries out the schedule. */
export class Run {
  readonly setting: Setting;
  readonly controlPlane: ControlPlane;
  readonly provider: BuiltInProvider;
  readonly replicas: readonly [Replica, Replica];
  readonly person: Person;
  readonly reader: Reader;
  readonly done: Done[] = [];
  readonly outages: Outage[] = [];
  /** When a leader lost its memory, or a response that was on its way to it. */
  readonly crashes: Span[] = [];
  /** When the identity provider was cut off. */
  readonly cuts: Span[] = [];
  /** Steps that failed because of an error in this program. */
  readonly troubles: string[] = [];
  /** What was wrong with the ClusterConvercusCredential at the last look. */
  clusterProblems: readonly string[] = [];
  /** The times in the schedule count from here. */
  start = 0;
  readonly #providerProxy: Proxy;
  readonly #controllers: Controllers;

  private constructor(setting: Setting, parts: Parts) {
    this.setting = setting;
    this.controlPlane = parts.controlPlane;
    this.provider = parts.provider;
    this.replicas = parts.replicas;
    this.person = parts.person;
    this.reader = parts.reader;
    this.#providerProxy = parts.providerProxy;
    this.#controllers = parts.controllers;
  }

  /** Everything is stopped and removed when the promise settles; `look` runs just before. */
  static async play<T>(setting: Setting, look: (run: Run) => Promise<T>): Promise<T> {
    await using cleanUps = new AsyncDisposableStack();
    const { log, members, tokenSeconds } = setting;
    log('Starting kube-apiserver, etcd, its controllers, the identity provider and two operators');
    const { controlPlane, provider } = cleanUps.use(
      await Testbed.start({
        controlPlane: () => startControlPlane({ users: [OPERATOR], log }),
        provider: () => BuiltInProvider.start(),
        operators: [],
        clusterCredentials: true,
      }),
    );
    const controllers = await Controllers.start(controlPlane, log);
    cleanUps.defer(() => controllers.stop());
    const providerProxy = await Proxy.start(Number(new URL(provider.url).port));
    cleanUps.defer(() => providerProxy.close());
    const client = await ApiClient.from(controlPlane.adminKubeconfig);
    cleanUps.defer(() => client.close());
    const person = new Person(client, provider, members);
    cleanUps.defer(() => person.leave());
    await person.prepare(tokenSeconds);
    const replicas = await startReplicas(controlPlane, `http://127.0.0.1:${providerProxy.port}`);
    cleanUps.defer(async () => void (await Promise.all(replicas.map((each) => each.stop()))));
    const lease = `/apis/coordination.k8s.io/v1/namespaces/${OPERATOR_NAMESPACE}/leases/${LEASE}`;
    const reader = await Reader.start(controlPlane.adminKubeconfig, members, lease);
    cleanUps.defer(() => reader.stop());
    const servers = { controlPlane, controllers, provider, providerProxy };
    const run = new Run(setting, { ...servers, replicas, person, reader });
    await run.#play();
    return await look(run);
  }

  /** Credentials without a valid token, or whose status reports that, or that a person has to act. */
  notReady(): string[] {
    return [...this.reader.judged()].flatMap(([key, kind]) => {
      const credential = this.reader.credential(key);
      const ready = credential && conditionOf(credential, 'Ready');
      const stalled = credential !== undefined && isStalled(credential) ? ', stalled' : '';
      return kind === 'fine' && ready?.status === 'True' && stalled === ''
        ? []
        : [`${key} (${kind}, ${ready?.reason ?? 'no status'}${stalled})`];
    });
  }

  async #play(): Promise<void> {
    const { events, log, signal } = this.setting;
    const missing = await this.#untilReady(START, 0);
    if (missing.length > 0) throw new Error(`no first token: ${missing.join(', ')}`);
    this.start = Date.now();
    log(`All credentials are ready; the schedule begins at ${new Date(this.start).toISOString()}`);
    const acts: Promise<void>[] = [];
    for (const event of events) {
      await sleep(Math.max(0, this.start + event.at - Date.now()), undefined, { signal });
      log(lineOf(event));
      acts.push(this.#carryOut(event));
    }
    await Promise.all(acts);
    // Those that wait for a number of requests
    await this.provider.call('clearFaults');
    this.#say('the schedule is over');
    const left = await this.#untilReady(CALM, STEADY);
    this.#say(left.length === 0 ? 'all credentials are ready' : `not ready: ${left.join(', ')}`);
  }

  #say(what: string): void {
    this.setting.log(`${clockOf(Date.now() - this.start)}  ${what}`);
  }

  /** @returns the credentials that are not ready when the time is over */
  async #untilReady(seconds: number, steady: number): Promise<string[]> {
    let since = Date.now();
    const look = async (): Promise<string[]> => {
      this.clusterProblems = await this.person.clusterProblems();
      const left = [...this.notReady(), ...this.clusterProblems];
      if (left.length > 0) since = Date.now();
      return left;
    };
    const pleases = (left: readonly string[]): boolean =>
      left.length === 0 && Date.now() - since >= steady * 1_000;
    return eventually(look, (left) => pleases(left) || this.setting.signal.aborted, seconds);
  }

  async #carryOut(event: Event): Promise<void> {
    const from = Date.now();
    try {
      await ('keys' in event ? this.#edit(event) : this.#fault(event));
    } catch (error) {
      this.troubles.push(`${describe(event)}: ${String(error)}`);
    }
    this.done.push({ event, from, to: Date.now() });
  }

  #edit(event: Edit): Promise<void> {
    return this.person.carryOut(event);
  }

  async #fault(event: Fault): Promise<void> {
    switch (event.do) {
      case 'kill':
        return this.#crash(event.replica, this.#replica(event).kill(event.seconds * 1_000));
      case 'terminate':
        this.#outage({
          of: event.replica,
          span: await this.#replica(event).terminate(event.seconds * 1_000),
        });
        return;
      case 'freeze':
        return this.#crash(event.replica, this.#replica(event).freeze(event.seconds * 1_000));
      case 'cut':
        return this.#replica(event).proxy.cut();
      case 'hold':
      case 'refuse':
      case 'delay':
        return this.#network(event);
      case 'stop-api-server':
        return this.#stopApiServer(event.seconds);
      case 'provider-refuse':
      case 'provider-hold':
        return this.#cutProvider(event);
      case 'provider-fault':
        return this.#disturbProvider(event);
    }
  }

  #replica({ replica }: { readonly replica: ReplicaNumber }): Replica {
    return this.replicas[replica];
  }

  #outage(outage: Outage): void {
    this.outages.push(outage);
  }

  async #crash(replica: ReplicaNumber, happening: Promise<Span>): Promise<void> {
    const span = await happening;
    this.#outage({ of: replica, span, takeover: true });
    if (this.#hasLed(replica, span)) this.crashes.push(span);
  }

  /** True if a read of the Lease within 3 s named this replica, or if there was no such read. */
  #hasLed(replica: ReplicaNumber, [from]: Span): boolean {
    const near = this.reader.holders.filter(({ at }) => Math.abs(at - from) < 3_000);
    return near.length === 0 || near.some(({ holder }) => holder === REPLICAS[replica]);
  }

  async #network(event: Extract<Fault, { do: 'hold' | 'refuse' | 'delay' }>): Promise<void> {
    const from = Date.now();
    const { proxy } = this.#replica(event);
    if (event.do === 'delay') {
      proxy.delay(event.ms);
      await sleep(event.seconds * 1_000);
      proxy.delay(0);
      return;
    }
    proxy[event.do]();
    await sleep(event.seconds * 1_000);
    proxy.forward();
    const span: Span = [from, Date.now()];
    const takeover = span[1] - span[0] >= LOSES_LEASE;
    this.#outage({ of: event.replica, span, takeover });
    if (takeover && this.#hasLed(event.replica, span)) this.crashes.push(span);
  }

  async #stopApiServer(seconds: number): Promise<void> {
    const from = Date.now();
    await this.controlPlane.stopApiServer(0);
    await sleep(seconds * 1_000);
    await this.controlPlane.startApiServer();
    await this.#controllers.restart();
    const span: Span = [from, Date.now()];
    this.#say(`the API server was away for ${((span[1] - from) / 1_000).toFixed(1)} s`);
    this.#outage({ of: 'api-server', span });
    if (span[1] - from >= LOSES_LEASE) this.crashes.push(span);
  }

  async #cutProvider(event: Extract<Fault, { do: 'provider-refuse' | 'provider-hold' }>) {
    const from = Date.now();
    if (event.do === 'provider-refuse') this.#providerProxy.refuse();
    else this.#providerProxy.hold();
    await sleep(event.seconds * 1_000);
    this.#providerProxy.forward();
    const span: Span = [from, Date.now()];
    this.#outage({ of: 'provider', span });
    this.cuts.push(span);
  }

  async #disturbProvider({
    fault: name,
    seconds,
    times,
  }: Extract<Fault, { do: 'provider-fault' }>): Promise<void> {
    const from = Date.now();
    const effect = EFFECTS[name];
    if (times > 0) {
      await this.provider.call('addFault', { ...effect, times });
      return;
    }
    await this.provider.call('addFault', effect, name);
    await sleep(seconds * 1_000);
    await this.provider.call('removeFault', name);
    if (name === 'slow') return;
    const maxWait = name === 'too-many-requests' ? RETRY_AFTER * 1_100 : 0;
    this.#outage({ of: 'provider', span: [from, Date.now() + maxWait] });
  }
}

/** In seconds. */
const RETRY_AFTER = 8;

const EFFECTS: Readonly<Record<ProviderFault, FaultEffect>> = {
  'server-error': proxies.badGateway,
  'too-many-requests': proxies.tooManyRequests(String(RETRY_AFTER)),
  hang: { kind: 'hang' },
  slow: { kind: 'delay', milliseconds: 1_500 },
  'hang-after-work': { kind: 'hang', afterWork: true },
  reset: { kind: 'reset' },
  'reset-after-work': { kind: 'reset', afterWork: true },
  'cut-body': { kind: 'cut-body' },
};

async function startReplicas(
  controlPlane: ControlPlane,
  providerUrl: string,
): Promise<readonly [Replica, Replica]> {
  const options = {
    kubeconfig: controlPlane.userKubeconfig(OPERATOR_USER),
    // Tokens live a sixth of the usual time, so the time between two attempts is a sixth too
    config: operatorConfig(providerUrl, {
      renewal: { minimumSeconds: 5 },
      clusterCredentials: { enabled: true, namespace: OPERATOR_NAMESPACE },
    }),
  };
  const [one, other] = REPLICAS;
  return [await Replica.start(one, options), await Replica.start(other, options)];
}
