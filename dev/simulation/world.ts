import { type Config, parseConfig } from '../../src/config.ts';
import { instanceNameOf } from '../../src/credential/cluster-name.ts';
import { sessionNameOf } from '../../src/credential/credential.ts';
import type { ApiRequest } from '../../src/kubernetes/rest-client.ts';
import type { Log, LogFields } from '../../src/lib/log.ts';
import { type Ms, seconds } from '../../src/lib/time.ts';
import { runOperator } from '../../src/operator.ts';
import { Readiness } from '../../src/readiness.ts';
import type { ApiNetwork, OpenWatch } from './api-network.ts';
import { ApiServer, type Change } from './api-server.ts';
import { apiTransport } from './api-transport.ts';
import { watchingAwaits } from './awaits.ts';
import { type Conditions, goodConditions } from './conditions.ts';
import { Dice } from './dice.ts';
import { type HostNetwork, hostClient } from './host-client.ts';
import { credentialsNamespaceOf, instancesOf, isInstance } from './instances.ts';
import { CREDENTIALS_NAMESPACE, clientOf, NAMESPACES, SELECTED, SOURCES } from './names.ts';
import { decoded, encoded, keyOf, type StoredObject } from './objects.ts';
import { Provider, userOf } from './provider.ts';
import { Replica, START } from './replica.ts';
import { Expiry } from './rules/expiry.ts';
import { isServed, specOf, targetNameOf } from './rules/rule.ts';
import { isByOperator } from './rules/targets.ts';
import { Safety } from './safety.ts';
import { Scheduler } from './scheduler.ts';
import { Trace } from './trace.ts';

/** After SIGTERM. */
const LONGEST_STOP: Ms = seconds(25);

/** Settings of a world that depend on the seed only. */
export interface Setting {
  /** Seconds. */
  readonly accessToken: number;
  readonly sessionIdle: number;
  readonly sessionMax: number;
  readonly lease: { readonly lease: number; readonly renew: number; readonly retry: number };
  readonly minimumSeconds: number;
  readonly workers: number;
  /** One or two releases, which share the cluster by a label. */
  readonly releases: 1 | 2;
  /** The operator watches listed namespaces, not the whole cluster. */
  readonly byNamespace: boolean;
  /** Maximum number of objects in a page of a list. */
  readonly longestPage: number;
  /** Wrong passwords until Keycloak locks the user for a while. */
  readonly failureFactor: number;
  /** The operator serves ClusterConvercusCredentials. */
  readonly clusterCredentials: boolean;
  /** A proxy before the provider does not pass `/logout` on, so that sessions are ended by `/revoke`. */
  readonly withoutLogout: boolean;
}

export function settingFor(dice: Dice): Setting {
  const accessToken = dice.pick([90, 300, 300, 900, 1_800]);
  const drawn: Omit<Setting, 'clusterCredentials' | 'withoutLogout'> = {
    accessToken,
    sessionIdle: dice.pick([1_800, 7_200]),
    sessionMax: dice.pick([2_400, 36_000]),
    lease: dice.pick([
      { lease: 15, renew: 10, retry: 4 },
      { lease: 60, renew: 40, retry: 15 },
      { lease: 90, renew: 60, retry: 25 },
    ]),
    minimumSeconds: dice.pick([5, 30]),
    workers: dice.pick([1, 3, 16]),
    releases: dice.chance(0.15) ? 2 : 1,
    byNamespace: dice.chance(0.25),
    longestPage: dice.pick([1, 3, 200]),
    failureFactor: dice.chance(0.06) ? 2 : 30,
  };
  const clusterCredentials = dice.fork('clusters').chance(0.25) && !drawn.byNamespace;
  return { ...drawn, clusterCredentials, withoutLogout: dice.fork('logout').chance(0.1) };
}

/** A process with its configuration. */
export interface Process {
  readonly slot: string;
  readonly replica: Replica;
  readonly stop: AbortController;
  readonly startedAt: Ms;
  /** When SIGTERM was sent. */
  stoppedAt: Ms | undefined;
  hasEnded: boolean;
  /** It was stopped by SIGSTOP after SIGTERM, or is still stopped. */
  wasFrozen: boolean;
}

/** A value of the annotation, and when the last login had been rejected by then, as the status told. */
export interface RenewRequest {
  readonly value: string;
  readonly rejectedAt: string | undefined;
}

/** Of a credentials Secret whose password has become right: the requests that people have made since. */
interface RenewRequests {
  /** By credential, with the versions that it and its Secret had. */
  readonly made: Map<string, RenewRequest>;
  /** When the last one was made. */
  at: Ms;
}

/** The cluster, the provider, the replicas and the people, with one virtual clock. */
export class World {
  readonly setting: Setting;
  readonly dice: Dice;
  readonly scheduler: Scheduler;
  readonly trace: Trace;
  readonly conditions: Conditions = goodConditions();
  readonly server: ApiServer;
  readonly provider: Provider;
  readonly safety: Safety;
  readonly processes = new Map<string, Process>();
  readonly watches = new Set<OpenWatch>();
  /** Ends each active fault. */
  readonly faults = new Map<string, () => void>();
  /** When the second part of the last edit with two parts is due. */
  lastEditAt: Ms = 0;
  /** By name of the credentials Secret. */
  readonly renewRequests = new Map<string, RenewRequests>();
  /** True when all faults and edits have ended. */
  isCalm = false;
  /** Time of the last change by people, faults or processes of the operator. */
  #touchedAt: Ms = 0;
  /** By credential: when people last changed its spec or its credentials Secret. */
  readonly #editedAt = new Map<string, Ms>();
  readonly #expiry: Expiry;
  #started = 0;
  #uids = 0;

  constructor(
    seed: string,
    options: { readonly trace: boolean; readonly setting?: Partial<Setting> },
  ) {
    this.dice = new Dice(seed);
    this.setting = { ...settingFor(this.dice.fork('setting')), ...options.setting };
    this.scheduler = new Scheduler(this.dice.fork('scheduler'));
    this.trace = new Trace(() => this.scheduler.now, options.trace);
    this.server = new ApiServer(
      () => START + this.scheduler.now,
      () => {
        this.#uids += 1;
        return `uid-${this.#uids}`;
      },
      this.setting.longestPage,
    );
    const { accessToken, sessionIdle: idle, sessionMax: max, failureFactor } = this.setting;
    const { withoutLogout } = this.setting;
    this.provider = new Provider(() => this.scheduler.now, this.dice.fork('provider'), {
      accessToken,
      idle,
      max,
      failureFactor,
      withoutLogout,
    });
    const { scheduler, server, provider, trace } = this;
    this.safety = new Safety({
      get now() {
        return scheduler.now;
      },
      server,
      provider,
      trace,
      renewDeadline: seconds(this.setting.lease.renew),
      releases: this.setting.releases,
    });
    this.#expiry = new Expiry(this.safety, this.scheduler, {
      credentials: () => this.#servedCredentials(),
      since: (credential) => this.#calmSince(credential),
    });
    this.server.observe((change) => this.#changed(change));
    this.server.namespaces.set('default', 'active'); // of events about cluster credentials
    for (const namespace of NAMESPACES) {
      this.setNamespace(namespace, 'active');
      for (const source of SOURCES) this.putSource(namespace, source);
    }
  }

  get now(): Ms {
    return this.scheduler.now;
  }

  /** @param labels absent: as they are */
  setNamespace(
    name: string,
    state: 'active' | 'terminating',
    labels = this.server.get('namespaces', `/${name}`)?.metadata.labels ?? SELECTED,
  ): void {
    this.server.namespaces.set(name, state);
    if (!this.setting.clusterCredentials) return;
    const leaving = { deletionTimestamp: new Date(START + this.now).toISOString() };
    const metadata = { namespace: '', name, labels, ...(state === 'terminating' ? leaving : {}) };
    this.server.put('namespaces', { metadata }, 'namespace controller');
  }

  /** A restore of etcd brings back namespaces of before. */
  namespacesRestored(): void {
    for (const name of NAMESPACES) {
      this.setNamespace(name, this.server.namespaces.get(name) ?? 'active');
    }
  }

  /** Schedules the second part of an edit. */
  later(delay: Ms, edit: () => void): void {
    this.lastEditAt = Math.max(this.lastEditAt, this.now + delay);
    this.scheduler.after(delay, () => {
      this.touched();
      edit();
    });
  }

  touched(): void {
    this.#touchedAt = Math.max(this.#touchedAt, this.now);
  }

  /** Notes that there may be no leader for a while. */
  leaderTouched(): void {
    const { lease, retry } = this.setting.lease;
    this.#touchedAt = this.now + seconds(2 * lease + 2.2 * retry);
  }

  /** Each credential, and each cluster credential once for each of its namespaces, but for those that are being deleted. */
  #servedCredentials(): StoredObject[] {
    const instances = instancesOf(this).filter(
      (each) =>
        isServed(this.setting.releases, each) &&
        this.server.namespaces.get(each.metadata.namespace) === 'active',
    );
    return [...this.credentials(), ...instances];
  }

  /** Since when there is no fault, and the credential and its Secret are unchanged. */
  #calmSince(credential: StoredObject): Ms | undefined {
    if (this.faults.size > 0 || !this.#isAccepted(credential)) return undefined;
    return Math.max(this.#touchedAt, this.#editedAt.get(keyOf(credential.metadata)) ?? 0);
  }

  /** True if its client secret or password is right and its user is not locked. */
  #isAccepted(credential: StoredObject): boolean {
    const { credentialsSecretRef, environment, clientId, grantType } = specOf(credential);
    const sourceKey = `${credentialsNamespaceOf(credential)}/${credentialsSecretRef.name}`;
    const presented = decoded(this.server.get('secrets', sourceKey)?.data);
    const good = this.provider.goodValues(clientOf(credentialsSecretRef.name));
    const isRight = Object.entries(good).every(([key, value]) => presented[key] === value);
    const isKnown = environment !== 'unknown' && clientId === clientOf(credentialsSecretRef.name);
    const { sessions } = this.safety;
    const isRejected = sessions.hasRejected(userOf(clientId));
    const isHeldBack = grantType !== 'client_credentials' && (isRejected || sessions.losses > 1);
    return isRight && isKnown && !isHeldBack;
  }

  /** Notes a change of a credential, of the namespaces that it selects, or of a Secret that it names. */
  #edited({ kind, object: { metadata } }: Change): void {
    const { namespace, name } = metadata;
    const isConcerned = (credential: StoredObject): boolean => {
      const { namespace: own, name: ownName } = credential.metadata;
      if (kind === 'convercuscredentials') return keyOf(metadata) === keyOf(credential.metadata);
      if (kind === 'clusterconvercuscredentials') return ownName === instanceNameOf(name);
      if (kind === 'namespaces') return isInstance(credential) && own === name;
      if (kind !== 'secrets') return false;
      const inputs = [specOf(credential).credentialsSecretRef.name, sessionNameOf(ownName)];
      const isInput = namespace === credentialsNamespaceOf(credential) && inputs.includes(name);
      return isInput || (namespace === own && name === targetNameOf(credential));
    };
    for (const credential of [...this.credentials(), ...instancesOf(this)].filter(isConcerned))
      this.#editedAt.set(keyOf(credential.metadata), this.now);
  }

  /** Replica slots: A and B share a Lease; C belongs to the second release. */
  get slots(): readonly string[] {
    return this.setting.releases === 2 ? ['A', 'B', 'C'] : ['A', 'B'];
  }

  configFor(slot: string): Config {
    const { lease, minimumSeconds, workers, releases, byNamespace } = this.setting;
    const environment = (host: string) => ({
      tokenUrl: `https://${host}/realms/{realm}/protocol/openid-connect/token`,
      loginUrl: `https://${host}/auth/login`,
      apiUrl: `https://${host}`,
    });
    const config = parseConfig(
      JSON.stringify({
        environments: {
          staging: environment('auth-staging.test'),
          production: environment('auth.test'),
        },
        watch: {
          namespaces: byNamespace ? NAMESPACES : [],
          selector: releases === 2 ? `release=${slot === 'C' ? 'two' : 'one'}` : '',
        },
        workers,
        leaderElection: {
          name: slot === 'C' ? 'release-two' : 'release-one',
          leaseSeconds: lease.lease,
          renewSeconds: lease.renew,
          retrySeconds: lease.retry,
        },
        tokenHosts: { requestsPerSecond: 50, burst: 50, passwordLoginsPerSecond: 5 },
        renewal: { minimumSeconds },
        clusterCredentials: {
          enabled: this.setting.clusterCredentials,
          namespace: CREDENTIALS_NAMESPACE,
        },
      }),
      { readFile: () => '', namespace: 'operator' },
    );
    if (Array.isArray(config)) throw new Error(config.join('\n'));
    return config;
  }

  start(slot: string): void {
    this.#started += 1;
    const name = `${slot}${this.#started}`;
    const replica = new Replica(`replica ${name}`, {
      scheduler: this.scheduler,
      dice: this.dice.fork(name),
      release: slot === 'C' ? 'two' : 'one',
    });
    const stop = new AbortController();
    const process: Process = {
      slot,
      replica,
      stop,
      startedAt: this.now,
      stoppedAt: undefined,
      hasEnded: false,
      wasFrozen: false,
    };
    this.processes.set(slot, process);
    this.trace.add(replica.name, () => 'starts');
    this.leaderTouched();
    const crashed = watchingAwaits(slot, () => this.#run(process));
    replica.onCrash = () => {
      this.trace.add(replica.name, () => 'is gone');
      this.leaderTouched();
      if (!process.hasEnded) crashed();
    };
  }

  #run(process: Process): void {
    const { slot, replica, stop } = process;
    const config = this.configFor(slot);
    runOperator(
      {
        config,
        identity: replica.name,
        userAgent: 'simulation',
        clock: replica.clock,
        random: replica.dice.next,
        digestKey: replica.name,
        restClient: apiTransport(replica, this.#apiNetwork()),
        client: hostClient(replica, this.#hostNetwork(config)),
        log: this.#log(replica),
        metrics: this.safety.metricsOf(replica),
        readiness: new Readiness(replica.clock),
      },
      stop.signal,
    ).then(
      () => this.#ended(process, 'exit code 0'),
      (error: unknown) =>
        this.safety.violated('no unforeseen error', `${replica.name}: ${String(error)}`),
    );
  }

  terminate(process: Process): void {
    if (process.stoppedAt !== undefined || process.replica.isDead) return;
    process.stoppedAt = this.now;
    this.trace.add(process.replica.name, () => 'SIGTERM');
    process.stop.abort();
    this.scheduler.after(LONGEST_STOP, () => {
      if (process.hasEnded || process.replica.isDead || process.wasFrozen) return;
      this.safety.violated('after SIGTERM the process ends within 25 s', process.replica.name);
    });
  }

  #ended(process: Process, result: string): void {
    if (process.replica.isDead) return;
    process.hasEnded = true;
    this.trace.add(process.replica.name, () => `ends with ${result}`);
    process.replica.crash();
  }

  putSource(namespace: string, source: string, values: Record<string, string> = {}): void {
    const data = { ...this.provider.goodValues(clientOf(source)), ...values };
    this.server.put(
      'secrets',
      { type: 'Opaque', metadata: { namespace, name: source }, data: encoded(data) },
      'kubectl',
    );
  }

  credentials(): StoredObject[] {
    return [...this.server.all('convercuscredentials')];
  }

  clusterCredentials(): StoredObject[] {
    return [...this.server.all('clusterconvercuscredentials')];
  }

  #changed(change: Change): void {
    if (change.kind !== 'leases') {
      this.trace.add('API server', () => {
        const { kind, type, object, by, version } = change;
        return `${version} ${type} ${kind} ${keyOf(object.metadata)} by ${by}`;
      });
    }
    this.safety.changed(change);
    this.#expiry.changed(change);
    if (!isByOperator(change)) this.#edited(change);
    for (const watch of this.watches) watch.offer(change);
    this.#collectGarbage(change);
  }

  /** Deletes objects whose owner is gone, a little later. */
  #collectGarbage({ kind, type, object }: Change): void {
    if (kind === 'leases' || kind === 'events') return;
    const isOwner = kind.endsWith('convercuscredentials') && type === 'DELETED';
    const isOwned = type !== 'DELETED' && object.metadata.ownerReferences !== undefined;
    if (!isOwner && !isOwned) return;
    this.collectGarbage();
  }

  collectGarbage(): void {
    const longest = this.dice.pick([20, 20, seconds(3), seconds(30)]);
    const wait = this.dice.between(0, longest);
    this.scheduler.after(wait, () => {
      const all = [...this.credentials(), ...this.clusterCredentials()];
      const owners = new Set(all.map(({ metadata }) => metadata.uid));
      for (const { metadata } of this.server.all('secrets')) {
        const { ownerReferences = [] } = metadata;
        const isDangling = ownerReferences.some(({ uid }) => !owners.has(uid));
        if (isDangling) this.server.remove('secrets', keyOf(metadata), 'garbage collector');
      }
    });
  }

  #apiNetwork(): ApiNetwork {
    return {
      scheduler: this.scheduler,
      dice: this.dice.fork(`network of ${this.#started}`),
      conditions: this.conditions,
      server: this.server,
      trace: this.trace,
      watches: this.watches,
      onRequest: (replica: Replica, request: ApiRequest) =>
        this.safety.apiRequest(replica, request),
    };
  }

  #hostNetwork({ tokenHosts }: Config): HostNetwork {
    return {
      scheduler: this.scheduler,
      dice: this.dice.fork(`hosts of ${this.#started}`),
      conditions: this.conditions,
      provider: this.provider,
      trace: this.trace,
      timeout: tokenHosts.timeout,
      onRequest: (replica, request) => this.safety.tokenRequest(replica, request),
    };
  }

  #log(replica: Replica): Log {
    const at = (level: keyof Log) => (message: string, fields?: LogFields) => {
      const text = fields === undefined ? message : `${message} ${JSON.stringify(fields)}`;
      this.safety.logged(replica, level, text);
      if (level !== 'debug') this.trace.add(replica.name, () => `log ${level}: ${text}`);
    };
    return { debug: at('debug'), info: at('info'), warn: at('warn'), error: at('error') };
  }
}
