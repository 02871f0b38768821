import { setTimeout as sleep } from 'node:timers/promises';
import type { ConvercusCredential } from '../../src/credential/api.ts';
import { startControlPlane } from '../envtest/control-plane.ts';
import { ApiClient } from '../lab/api-client.ts';
import { AUDIT_OPERATOR } from '../testbed/audit.ts';
import { openPlaces } from '../testbed/leaks.ts';
import { installCrd, OPERATOR, type Operator, thisRelease } from '../testbed/operator.ts';
import { Testbed } from '../testbed/testbed.ts';
import { type Action, anyAction, perform, rightSecret, rotatedCredential } from './actions.ts';
import { Bystander } from './bystander.ts';
import { Canaries } from './canary.ts';
import { unexpectedErrors } from './log-lines.ts';
import { NAMESPACES, namespaceOf, ROTATED, ROTATION, TENANTS } from './names.ts';
import { FuzzProvider } from './provider.ts';
import { Samples } from './samples.ts';
import { installAnySchema } from './schema.ts';

export interface Setting {
  readonly seed: number;
  readonly minutes: number;
  /** How many actions of tenants are started in a second. */
  readonly actionsPerSecond: number;
  readonly log: (line: string) => void;
  readonly signal: AbortSignal;
}

/** How long a credential may take to get a condition when all is calm: `Throttled` is told after a minute. */
const SETTLE_SECONDS = 120;
const LOOK_SECONDS = 10;

const CONFIG = {
  renewal: { minimumSeconds: 5 },
  tokenHosts: {
    requestsPerSecond: 40,
    burst: 40,
    concurrency: 16,
    passwordLoginsPerSecond: 20,
    timeoutSeconds: 3,
  },
};

/** What a pod of 512 MiB gives the heap by V8's rule. */
const HEAP = '--max-old-space-size=256';

/** One run: everything that was seen in it. */
export class Run {
  readonly setting: Setting;
  readonly testbed: Testbed<FuzzProvider>;
  readonly client: ApiClient;
  readonly canaries: Canaries;
  readonly bystander: Bystander;
  /** Actions that the API server accepted, by kind. */
  readonly accepted = new Map<string, number>();
  refused = 0;
  /** What the API server did not answer, or with a 5xx. */
  readonly failed: string[] = [];
  /** Exit codes and signals of operators that ended without being told to. */
  readonly deaths: string[] = [];
  /** Searches that failed while the operator ran. */
  readonly unreadable = new Map<string, string>();
  /** Places that held a secret. */
  readonly leaks = new Map<string, string>();
  /** Names of credentials that got no condition for their present spec. */
  readonly unanswered: string[] = [];
  /** Credentials that are Ready without a valid token in their target. */
  readonly unfounded: string[] = [];
  /** Failures of the operator that it did not expect, as it logs them. */
  readonly unexpectedErrors = new Map<string, string>();
  #phase = '';
  readonly #actions: Samples;

  private constructor(
    setting: Setting,
    testbed: Testbed<FuzzProvider>,
    client: ApiClient,
    canaries: Canaries,
  ) {
    this.setting = setting;
    this.testbed = testbed;
    this.client = client;
    this.canaries = canaries;
    this.bystander = new Bystander(client);
    this.#actions = new Samples(setting.seed);
  }

  static async play<T>(setting: Setting, judge: (run: Run) => Promise<T>): Promise<T> {
    const { seed, log } = setting;
    const canaries = new Canaries(seed);
    log('Starting kube-apiserver, etcd and the operator');
    await using testbed = await Testbed.start({
      controlPlane: () => startControlPlane({ users: [OPERATOR], auditPolicy: AUDIT_OPERATOR }),
      provider: () => FuzzProvider.start(new Samples(~seed), canaries),
      namespaces: [...NAMESPACES.map(namespaceOf), Bystander.NAMESPACE],
      operators: [],
    });
    await using resources = new AsyncDisposableStack();
    const client = await ApiClient.from(testbed.controlPlane.adminKubeconfig);
    resources.defer(() => client.close());
    const run = new Run(setting, testbed, client, canaries);
    await run.#play().catch((error: unknown) => {
      if (!(error instanceof NeverReady)) throw error;
    });
    return await judge(run);
  }

  get #operator(): Operator {
    return this.testbed.operator;
  }

  async #play(): Promise<void> {
    const { controlPlane, provider } = this.testbed;
    const { crd } = await thisRelease();
    const { minutes } = this.setting;
    await this.bystander.create();
    for (const number of TENANTS)
      for (const name of ['s1', 's2']) await this.#perform(rightSecret(number, name));
    for (const [at, name] of ROTATED.entries()) {
      await this.#perform(rightSecret(ROTATION, name));
      await this.#perform(rotatedCredential(name, at));
    }
    await this.#start();
    const half = minutes * 30;
    this.#enter('The schema of the CRD');
    await this.#act(half);
    this.#enter('Any schema, and the operator restarts');
    await installAnySchema(controlPlane, crd);
    await this.#restart();
    await this.#act(half / 2);
    this.#enter('The schema of the CRD again, over what was stored, and the operator restarts');
    await installCrd(controlPlane, crd);
    await this.#restart();
    await this.#act(half / 2);
    this.#enter('Every response is right, and nothing is edited any more');
    provider.isCalm = true;
    await this.#settle();
    await this.#look();
  }

  #enter(phase: string): void {
    this.#phase = phase;
    this.setting.log(phase);
  }

  /** With the phase in which it was seen first. */
  #note(findings: Map<string, string>, finding: string): void {
    if (!findings.has(finding)) findings.set(finding, this.#phase);
  }

  async #start(): Promise<void> {
    const { url } = this.testbed.provider;
    const environment = {
      tokenUrl: `${url}/realms/{realm}/protocol/openid-connect/token`,
      loginUrl: `${url}/auth/login`,
      apiUrl: url,
      insecureHttp: true,
    };
    const plain = { ...environment, realm: '{program}' };
    await this.testbed.startOperator({
      config: { ...CONFIG, environments: { staging: environment, plain } },
      nodeArguments: [HEAP],
    });
  }

  async #restart(): Promise<void> {
    await this.#look();
    await this.#operator.kill();
    await this.#run();
  }

  async #run(): Promise<void> {
    try {
      await this.#operator.run();
    } catch (error) {
      this.deaths.push(`did not become ready: ${String(error)}`);
      throw new NeverReady();
    }
  }

  /** Actions at a steady pace, whatever the API server takes for each. */
  async #act(seconds: number): Promise<void> {
    const { actionsPerSecond, signal } = this.setting;
    const end = Date.now() + seconds * 1_000;
    const running = new Set<Promise<void>>();
    let looked = Date.now();
    while (Date.now() < end && !signal.aborted) {
      const action = this.#perform(this.#actions.next(anyAction)).finally(() =>
        running.delete(action),
      );
      running.add(action);
      await sleep(1_000 / actionsPerSecond);
      await this.bystander.look();
      if (Date.now() - looked < LOOK_SECONDS * 1_000) continue;
      looked = Date.now();
      await this.#look();
    }
    await Promise.all(running);
  }

  async #perform({ kind, request }: Action): Promise<void> {
    const answer = await perform(this.client, request(this.canaries));
    if (answer === 'refused') this.refused += 1;
    else if (answer === 'accepted') this.accepted.set(kind, (this.accepted.get(kind) ?? 0) + 1);
    else this.failed.push(answer.message);
  }

  /** An operator that has ended is started again, so that a run finds more than one fault. */
  async #look(): Promise<void> {
    const found = await this.#search().catch((error: unknown) => String(error));
    // A connection that breaks shows an end sooner than the process table
    const moment = sleep(found === undefined ? 0 : 1_000, undefined);
    const ended = await Promise.race([this.#operator.ended, moment]);
    if (ended === undefined) {
      if (found !== undefined) this.#note(this.unreadable, found);
      return;
    }
    this.deaths.push(`ended with ${JSON.stringify(ended)} (${this.#phase})`);
    await this.#run();
  }

  async #search(): Promise<undefined> {
    for (const error of unexpectedErrors(await this.#operator.log()))
      this.#note(this.unexpectedErrors, error);
    await this.#searchOpenPlaces();
    await this.#searchSecrets();
  }

  async #searchOpenPlaces(): Promise<void> {
    const places = await openPlaces(this.testbed.controlPlane, this.#operator);
    for (const [place, text] of places)
      if (this.canaries.isLeakedIn(text)) this.#note(this.leaks, place);
  }

  /** What one namespace put into a Secret is in no Secret of another. */
  async #searchSecrets(): Promise<void> {
    for (const number of NAMESPACES) {
      const path = `/api/v1/namespaces/${namespaceOf(number)}/secrets`;
      const { items }: { items: SecretObject[] } = JSON.parse(
        await this.client.send({ method: 'GET', path }),
      );
      const values = items.flatMap(({ data = {} }) => Object.values(data));
      const text = values.map((value) => Buffer.from(value, 'base64').toString()).join('\n');
      const others = this.canaries.namespacesIn(text).filter((each) => each !== number);
      if (others.length > 0) this.#note(this.leaks, 'a Secret of another namespace');
    }
  }

  async #settle(): Promise<void> {
    const deadline = Date.now() + SETTLE_SECONDS * 1_000;
    for (;;) {
      await this.bystander.look();
      const credentials = await this.#credentials();
      const unanswered = credentials.filter((each) => !isAnswered(each));
      const unfounded = await this.#unfounded(credentials);
      const isOver = Date.now() > deadline || this.setting.signal.aborted;
      if (isOver || unanswered.length + unfounded.length === 0) {
        this.unanswered.push(...unanswered.map(described));
        this.unfounded.push(...unfounded.map(described));
        return;
      }
      await sleep(1_000);
    }
  }

  async #credentials(): Promise<ConvercusCredential[]> {
    const path = '/apis/convercus.io/v1alpha1/convercuscredentials';
    return JSON.parse(await this.client.send({ method: 'GET', path })).items;
  }

  /** Ready says that the target holds a token that is valid now. */
  async #unfounded(credentials: readonly ConvercusCredential[]): Promise<ConvercusCredential[]> {
    const { items }: { items: SecretObject[] } = JSON.parse(
      await this.client.send({ method: 'GET', path: '/api/v1/secrets' }),
    );
    const holders = new Set(
      items
        .filter(({ metadata: { annotations = {} }, data = {} }) => {
          const expires = Date.parse(annotations['convercus.io/expires-at'] ?? '');
          return expires > Date.now() - 5_000 && Object.keys(data).length > 0;
        })
        .map(({ metadata: { namespace, name } }) => `${namespace}/${name}`),
    );
    return credentials.filter(({ metadata, status }) => {
      const ready = status?.conditions?.find(({ type }) => type === 'Ready');
      return (
        ready?.status === 'True' && !holders.has(`${metadata.namespace}/${status?.target?.name}`)
      );
    });
  }
}

/** The rest of the run has nothing to look at. */
class NeverReady extends Error {}

interface SecretObject {
  readonly metadata: {
    readonly namespace: string;
    readonly name: string;
    readonly annotations?: Readonly<Record<string, string>>;
  };
  readonly data?: Readonly<Record<string, string>>;
}

function isAnswered({ metadata, status }: ConvercusCredential): boolean {
  const isReported = status?.observedGeneration === metadata.generation;
  return isReported && (status?.conditions ?? []).some(({ type }) => type === 'Ready');
}

const described = ({ metadata, status }: ConvercusCredential): string =>
  `${metadata.namespace}/${metadata.name}, generation ${metadata.generation}: ${JSON.stringify(status)?.slice(0, 500)}`;
