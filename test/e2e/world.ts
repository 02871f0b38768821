import { randomUUID } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { type Convercus, startConvercus } from '../../dev/convercus/convercus.ts';
import { abcRealm } from '../../dev/convercus/realm.ts';
import { type ControlPlane, startControlPlane } from '../../dev/envtest/control-plane.ts';
import {
  installCluster,
  localStaging,
  OPERATOR_NAMESPACE,
  OPERATOR_USER,
  Operator,
  type Release,
  thisRelease,
} from '../../dev/operator.ts';
import type { ConvercusCredential } from '../../src/credential/api.ts';

/** Every request of the operator, one line each: who did what to which object. */
const AUDIT_OPERATOR = {
  apiVersion: 'audit.k8s.io/v1',
  kind: 'Policy',
  omitStages: ['RequestReceived'],
  rules: [{ level: 'Metadata', users: [OPERATOR_USER] }, { level: 'None' }],
};

export interface AuditedRequest {
  readonly verb: string;
  readonly resource: string;
  readonly namespace?: string;
  readonly name?: string;
}

interface SecretObject {
  readonly metadata: {
    readonly uid: string;
    readonly resourceVersion: string;
    readonly labels?: Record<string, string>;
    readonly annotations?: Record<string, string>;
    readonly ownerReferences?: readonly { readonly uid: string; readonly controller?: boolean }[];
  };
  readonly type: string;
  readonly data: Readonly<Record<string, string>>;
}

type Spec = ConvercusCredential['spec'];

export type SpecOverrides = Partial<Omit<Spec, 'target' | 'credentialsSecretRef'>> & {
  readonly credentialsSecretRef?: Partial<Spec['credentialsSecretRef']>;
  readonly target?: Partial<Spec['target']>;
};

/** A real API server, the identity provider, and the operator as its own process under its own user. */
export class World {
  readonly controlPlane: ControlPlane;
  readonly provider: Convercus;
  readonly #config: Record<string, unknown>;
  #operator: Operator;
  /** Everything secret that was ever put in: none of it may turn up anywhere else. */
  readonly secrets: string[] = [];
  #namespaces = 0;

  private constructor(
    controlPlane: ControlPlane,
    provider: Convercus,
    config: Record<string, unknown>,
    operator: Operator,
  ) {
    this.controlPlane = controlPlane;
    this.provider = provider;
    this.#config = config;
    this.#operator = operator;
  }

  static async start(config: Record<string, unknown> = {}, release?: Release): Promise<World> {
    const users = [{ name: OPERATOR_USER }];
    const controlPlane = await startControlPlane({ users, auditPolicy: AUDIT_OPERATOR });
    const provider = await startConvercus();
    const whole = {
      environments: localStaging(provider.url),
      renewal: { minimumSeconds: 1 },
      leaderElection: { namespace: OPERATOR_NAMESPACE },
      log: { level: 'debug' },
      ...config,
    };
    const operator = await install(controlPlane, whole, release ?? (await thisRelease()));
    return new World(controlPlane, provider, whole, operator);
  }

  get operator(): Operator {
    return this.#operator;
  }

  /** The operator that runs is stopped, and this checkout is installed over it and started in its place. */
  async upgrade(): Promise<void> {
    await this.#operator.stop();
    this.#operator = await install(this.controlPlane, this.#config, await thisRelease());
  }

  async stop(): Promise<void> {
    await this.operator.stop();
    await this.provider.close();
    await this.controlPlane.stop();
  }

  /** A namespace and a realm of its own, and a Secret `source` with that realm's client secret. */
  async tenant(settings: Record<string, unknown> = {}): Promise<Tenant> {
    this.#namespaces += 1;
    const name = `shop-${this.#namespaces}`;
    const clientSecret = `canary-${randomUUID()}`;
    this.secrets.push(clientSecret);
    const password = `canary-${randomUUID()}`;
    this.secrets.push(password);
    const realm = `t${this.#namespaces}-staging`;
    this.provider.realms.add({ ...(await abcRealm(clientSecret, password)), realm, ...settings });
    await this.controlPlane.kubectl(['create', 'namespace', name]);
    const tenant = new Tenant(this, {
      namespace: name,
      program: `T${this.#namespaces}`,
      realm,
      clientSecret,
      password,
    });
    await tenant.secret('source', { client_secret: clientSecret });
    return tenant;
  }

  /** The operator's requests since some line of the audit log, its Lease and watches left out. */
  async requestsSince(line: number): Promise<AuditedRequest[]> {
    const lines = (await readFile(this.controlPlane.auditLog, 'utf8')).trim().split('\n');
    return lines
      .slice(line)
      .map((text) => JSON.parse(text))
      .filter(({ verb, objectRef }) => objectRef?.resource !== 'leases' && verb !== 'watch')
      .map(({ verb, objectRef: { resource, subresource, namespace, name } }) => ({
        verb,
        resource: subresource === undefined ? resource : `${resource}/${subresource}`,
        namespace,
        name,
      }));
  }

  async auditLines(): Promise<number> {
    return (await readFile(this.controlPlane.auditLog, 'utf8')).trim().split('\n').length;
  }
}

/** The release's operator, running. */
async function install(
  controlPlane: ControlPlane,
  config: Record<string, unknown>,
  release: Release,
): Promise<Operator> {
  await installCluster(controlPlane, release);
  const kubeconfig = controlPlane.userKubeconfig(OPERATOR_USER);
  return Operator.start({ kubeconfig, config, entry: release.entry });
}

interface TenantFacts {
  readonly namespace: string;
  readonly program: string;
  readonly realm: string;
  readonly clientSecret: string;
  /** Of the user `api-user`. */
  readonly password: string;
}

export class Tenant {
  readonly world: World;
  readonly namespace: string;
  readonly program: string;
  readonly realm: string;
  readonly clientSecret: string;
  readonly password: string;

  constructor(world: World, { namespace, program, realm, clientSecret, password }: TenantFacts) {
    this.world = world;
    this.namespace = namespace;
    this.program = program;
    this.realm = realm;
    this.clientSecret = clientSecret;
    this.password = password;
  }

  kubectl(...args: string[]): Promise<string> {
    return this.world.controlPlane.kubectl([...args, '-n', this.namespace]);
  }

  async secret(name: string, data: Record<string, string>): Promise<void> {
    await this.apply({ apiVersion: 'v1', kind: 'Secret', metadata: { name }, stringData: data });
  }

  async credential(name: string, { target, ...spec }: SpecOverrides = {}): Promise<void> {
    await this.apply(credentialObject(name, { program: this.program, ...spec }, target));
  }

  async apply(...objects: object[]): Promise<void> {
    const input = objects.map((object) => JSON.stringify(object)).join('\n---\n');
    await this.world.controlPlane.kubectl(['apply', '-n', this.namespace, '-f', '-'], { input });
  }

  async get(name: string): Promise<ConvercusCredential> {
    return JSON.parse(await this.kubectl('get', 'cvc', name, '-o', 'json'));
  }

  async target(name: string): Promise<SecretObject | undefined> {
    const text = await this.kubectl('get', 'secret', name, '-o', 'json', '--ignore-not-found');
    return text === '' ? undefined : JSON.parse(text);
  }

  /** What a pod would read from the mounted file. */
  async file(secret: string, key = 'token'): Promise<string | undefined> {
    const encoded = (await this.target(secret))?.data?.[key];
    return encoded === undefined ? undefined : Buffer.from(encoded, 'base64').toString();
  }

  /** `Ready=True/TokenValid` and so on, as people read them. */
  async conditions(name: string): Promise<Record<string, string>> {
    const { status } = await this.get(name);
    return Object.fromEntries(
      (status?.conditions ?? []).map((each) => [each.type, `${each.status}/${each.reason}`]),
    );
  }

  async message(name: string, type: string): Promise<string> {
    const { status } = await this.get(name);
    return status?.conditions?.find((condition) => condition.type === type)?.message ?? '';
  }

  async events(name: string): Promise<string[]> {
    const text = await this.kubectl('get', 'events.v1.events.k8s.io', '-o', 'json');
    return JSON.parse(text)
      .items.filter((event: { regarding: { name: string } }) => event.regarding.name === name)
      .map((event: { type: string; reason: string }) => `${event.type} ${event.reason}`);
  }

  /** Token requests that this tenant's realm has seen. */
  tokenRequests(): number {
    return this.world.provider.log.entries.filter(({ realm }) => realm === this.realm).length;
  }

  ready(name: string): Promise<string> {
    return this.kubectl('wait', '--for=condition=Ready', `cvc/${name}`, '--timeout=90s');
  }
}

/** Leaves more than half of the lifetime of a short token, in which a busy machine may be late. */
export const EARLY = { renewal: { percent: 40 } };

export const credentialObject = (name: string, spec: object, target: object = {}) => ({
  apiVersion: 'convercus.io/v1alpha1',
  kind: 'ConvercusCredential',
  metadata: { name },
  spec: { environment: 'staging', credentialsSecretRef: { name: 'source' }, target, ...spec },
});

export { eventually, expiryOf } from '../../dev/objects.ts';
