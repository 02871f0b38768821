import type { ConvercusCredential } from '../../src/credential/api.ts';
import type { Convercus } from '../convercus/convercus.ts';
import type { ControlPlane } from '../envtest/control-plane.ts';
import { manifest } from './objects.ts';

export interface SecretObject {
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

export interface TenantOptions {
  readonly controlPlane: ControlPlane;
  readonly provider: Convercus;
  readonly namespace: string;
  readonly program: string;
  readonly realm: string;
  readonly clientSecret: string;
  /** Of the user `api-user`. */
  readonly password: string;
  /** Gets each token that a test has read. */
  readonly tokens: string[];
}

/** A namespace and a realm of its own; what it does is done by the administrator. */
export class Tenant {
  readonly namespace: string;
  readonly program: string;
  readonly realm: string;
  readonly clientSecret: string;
  readonly password: string;
  readonly #controlPlane: ControlPlane;
  readonly #provider: Convercus;
  readonly #tokens: string[];

  constructor(options: TenantOptions) {
    this.namespace = options.namespace;
    this.program = options.program;
    this.realm = options.realm;
    this.clientSecret = options.clientSecret;
    this.password = options.password;
    this.#controlPlane = options.controlPlane;
    this.#provider = options.provider;
    this.#tokens = options.tokens;
  }

  kubectl(...args: string[]): Promise<string> {
    return this.#controlPlane.kubectl([...args, '-n', this.namespace]);
  }

  async secret(
    name: string,
    data: Record<string, string>,
    annotations: Record<string, string> = {},
  ): Promise<void> {
    const metadata = { name, annotations };
    await this.apply({ apiVersion: 'v1', kind: 'Secret', metadata, stringData: data });
  }

  async credential(name: string, { target, ...spec }: SpecOverrides = {}): Promise<void> {
    await this.apply(credentialObject(name, { program: this.program, ...spec }, target));
  }

  async apply(...objects: object[]): Promise<void> {
    const args = ['apply', '-n', this.namespace, '-f', '-'];
    await this.#controlPlane.kubectl(args, { input: manifest(objects) });
  }

  async get(name: string): Promise<ConvercusCredential> {
    return JSON.parse(await this.kubectl('get', 'convercuscredentials', name, '-o', 'json'));
  }

  async target(name: string): Promise<SecretObject | undefined> {
    const text = await this.kubectl('get', 'secret', name, '-o', 'json', '--ignore-not-found');
    return text === '' ? undefined : JSON.parse(text);
  }

  /** Lets a credential merge into a Secret, in the words of the message that asks for it. */
  async allowMerge(secret: string, credential: string): Promise<void> {
    const annotation = `convercus.io/merge=${credential}`;
    await this.kubectl('annotate', '--overwrite', 'secret', secret, annotation);
  }

  /** What a pod would read from the mounted file. */
  async file(secret: string, key = 'token'): Promise<string | undefined> {
    const encoded = (await this.target(secret))?.data?.[key];
    return encoded === undefined ? undefined : Buffer.from(encoded, 'base64').toString();
  }

  /** The same; empty when there is none. It is kept in `Testbed.tokens`, for the search for secrets. */
  async token(secret: string, key = 'token'): Promise<string> {
    const text = (await this.file(secret, key)) ?? '';
    if (text !== '') this.#tokens.push(text);
    return text;
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

  /** What the provider was asked for this tenant, by realm or organization, such as `password 200`. */
  requests(): string[] {
    return this.#provider.log.entries
      .filter(({ realm }) => realm === this.realm || realm === this.namespace)
      .map(({ endpoint, grantType, status }) => `${grantType || endpoint} ${status}`);
  }

  /** @throws unless `kubectl wait` sees the condition Ready within 90 s */
  ready(name: string): Promise<string> {
    return this.kubectl(
      'wait',
      '--for=condition=Ready',
      `convercuscredentials/${name}`,
      '--timeout=90s',
    );
  }
}

export const credentialObject = (name: string, spec: object, target: object = {}) => ({
  apiVersion: 'convercus.io/v1alpha1',
  kind: 'ConvercusCredential',
  metadata: { name },
  spec: { environment: 'staging', credentialsSecretRef: { name: 'source' }, target, ...spec },
});

/** Renews when 60 % of the lifetime are left: a short token does not expire on a busy machine. */
export const EARLY = { renewal: { percent: 40 } };
