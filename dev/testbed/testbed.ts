import { randomUUID } from 'node:crypto';
import { type Convercus, startConvercus } from '../convercus/convercus.ts';
import { abcRealm } from '../convercus/realm.ts';
import { type ControlPlane, startControlPlane } from '../envtest/control-plane.ts';
import { clusterOfEnvironment, leaveCluster, namespacePrefix } from './any-cluster.ts';
import { AUDIT_OPERATOR, AuditLog } from './audit.ts';
import {
  allowClusterCredentials,
  installCluster,
  OPERATOR,
  OPERATOR_NAMESPACE,
  OPERATOR_USER,
  Operator,
  type OperatorOptions,
  operatorConfig,
  type Release,
  thisRelease,
} from './operator.ts';
import { Tenant } from './tenant.ts';

/** What issues tokens: the dialect server, a real Keycloak, or one in another process. */
export interface Provider extends AsyncDisposable {
  readonly url: string;
}

export interface TestbedOptions<P extends Provider> {
  /** Default: the cluster of `E2E_KUBECONFIG`, else with the operator's user alone, whose requests are audited. */
  readonly controlPlane?: () => Promise<ControlPlane>;
  /** Default: the dialect server in this process. */
  readonly provider?: () => Promise<P>;
  /** Created before anything is installed, for permissions that name them. */
  readonly namespaces?: readonly string[];
  /** What is installed and runs. Default: this checkout. `none`: the caller installs. */
  readonly release?: Release | 'none';
  /** Whether the operator's account may do what `clusterCredentials.enabled` needs. */
  readonly clusterCredentials?: boolean;
  /** Starts one operator for each entry, which goes over the defaults of `operatorConfig`. Default: one operator. */
  readonly operators?: readonly Readonly<Record<string, unknown>>[];
}

/** Name of the Lease by default. */
const LEASE = 'convercus-operator';

const auditedControlPlane = async (): Promise<ControlPlane> =>
  (await clusterOfEnvironment()) ??
  startControlPlane({ users: [OPERATOR], auditPolicy: AUDIT_OPERATOR });

/** A real API server, a token endpoint, and operators as processes of their own, as the service account of deploy/. */
export class Testbed<P extends Provider = Convercus> implements AsyncDisposable {
  readonly controlPlane: ControlPlane;
  readonly provider: P;
  readonly audit: AuditLog;
  readonly operators: Operator[] = [];
  /** Client secrets, passwords and so on that were put in: none may turn up outside Secrets. */
  readonly secrets: string[] = [];
  /** Those that tests have read from targets. */
  readonly tokens: string[] = [];
  readonly #started: Partial<OperatorOptions>[] = [];
  #parts = new AsyncDisposableStack();
  readonly #tenants: string[] = [];
  readonly #prefix: string;

  private constructor(controlPlane: ControlPlane, provider: P) {
    this.controlPlane = controlPlane;
    this.provider = provider;
    this.audit = new AuditLog(controlPlane);
    this.#prefix = namespacePrefix(controlPlane);
  }

  static start(options?: Omit<TestbedOptions<Convercus>, 'provider'>): Promise<Testbed>;
  static start<P extends Provider>(
    options: TestbedOptions<P> & { readonly provider: () => Promise<P> },
  ): Promise<Testbed<P>>;
  static async start(options: TestbedOptions<Provider> = {}): Promise<Testbed<Provider>> {
    const { release = await thisRelease(), namespaces = [], operators = [{}] } = options;
    await using parts = new AsyncDisposableStack();
    const controlPlane = parts.use(await (options.controlPlane ?? auditedControlPlane)());
    const provider = parts.use(await (options.provider ?? startConvercus)());
    const testbed = new Testbed(controlPlane, provider);
    parts.defer(() => leaveCluster(controlPlane, testbed.#tenants));
    parts.defer(() => testbed.#stopOperators());
    for (const name of namespaces) await controlPlane.kubectl(['create', 'namespace', name]);
    if (release !== 'none') await installCluster(controlPlane, release);
    if (options.clusterCredentials === true) await allowClusterCredentials(controlPlane);
    const entry = release === 'none' ? {} : { entry: release.entry };
    for (const config of operators) await testbed.startOperator({ ...entry, config });
    testbed.#parts = parts.move();
    return testbed;
  }

  /** The one that was started first. */
  get operator(): Operator {
    const [operator] = this.operators;
    if (operator === undefined) throw new Error('no operator was started');
    return operator;
  }

  /** One more, with `config` over the defaults of `operatorConfig`. */
  async startOperator(options: Partial<OperatorOptions> = {}): Promise<Operator> {
    const operator = await Operator.start({
      kubeconfig: this.controlPlane.userKubeconfig(OPERATOR_USER),
      ...options,
      config: operatorConfig(this.provider.url, options.config),
    });
    this.operators.push(operator);
    this.#started.push(options);
    return operator;
  }

  /** Kills the first operator, and deletes its Lease, which would otherwise keep the next leader waiting for 15 s. */
  async crash(): Promise<void> {
    await this.operator.kill(0);
    const lease = ['lease', LEASE, '-n', OPERATOR_NAMESPACE];
    await this.controlPlane.kubectl(['delete', ...lease, '--ignore-not-found']);
  }

  /** Identity of the leader; empty when there is none. */
  leader(): Promise<string> {
    const lease = ['lease', LEASE, '-n', OPERATOR_NAMESPACE];
    return this.controlPlane.kubectl(['get', ...lease, '-o', 'jsonpath={.spec.holderIdentity}']);
  }

  /** All operators stop, this checkout is installed over what was before, and they start again from it. */
  async upgrade(): Promise<void> {
    const release = await thisRelease();
    const options = this.#started.splice(0);
    await this.#stopOperators();
    await installCluster(this.controlPlane, release);
    for (const each of options) await this.startOperator({ ...each, entry: release.entry });
  }

  /**
   * A realm with a client secret and a user's password of its own.
   * @param settings over those of `abcRealm`
   */
  async addRealm(
    this: Testbed,
    realm: string,
    settings: Readonly<Record<string, unknown>> = {},
  ): Promise<{ readonly clientSecret: string; readonly password: string }> {
    const [clientSecret, password] = [`canary-${randomUUID()}`, `canary-${randomUUID()}`];
    this.secrets.push(clientSecret, password);
    this.provider.realms.add({ ...(await abcRealm(clientSecret, password)), realm, ...settings });
    return { clientSecret, password };
  }

  /**
   * A namespace and a realm of its own, and a Secret `source` with that realm's client secret.
   * @param settings of the realm, over those of `abcRealm`
   */
  async tenant(this: Testbed, settings: Readonly<Record<string, unknown>> = {}): Promise<Tenant> {
    const number = this.#tenants.length + 1;
    const namespace = `${this.#prefix}shop-${number}`;
    this.#tenants.push(namespace);
    const realm = `t${number}-staging`;
    const { clientSecret, password } = await this.addRealm(realm, settings);
    await this.controlPlane.kubectl(['create', 'namespace', namespace]);
    const tenant = new Tenant({
      controlPlane: this.controlPlane,
      provider: this.provider,
      tokens: this.tokens,
      namespace,
      program: `T${number}`,
      realm,
      clientSecret,
      password,
    });
    await tenant.secret('source', { client_secret: clientSecret });
    return tenant;
  }

  /** In the reverse order of the start. */
  async stop(): Promise<void> {
    await this.#parts.disposeAsync();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }

  async #stopOperators(): Promise<void> {
    for (const operator of this.operators.splice(0)) await operator.stop();
  }
}
