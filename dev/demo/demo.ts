import { randomUUID } from 'node:crypto';
import { mkdir, mkdtemp, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { startConvercus } from '../convercus/convercus.ts';
import { abcRealm } from '../convercus/realm.ts';
import { type ControlPlane, startControlPlane } from '../envtest/control-plane.ts';
import { startKeycloak } from '../keycloak/server/keycloak.ts';
import { OPERATOR } from '../testbed/operator.ts';
import { type Provider, Testbed } from '../testbed/testbed.ts';

const NAMESPACE = 'shop';
const TOKEN_SECONDS = 20;

const credential = (name: string, secretName: string, data: Record<string, string>) => ({
  apiVersion: 'convercus.io/v1alpha1',
  kind: 'ConvercusCredential',
  metadata: { name, namespace: NAMESPACE },
  spec: {
    program: 'ABC',
    environment: 'staging',
    credentialsSecretRef: { name: secretName },
    target: { data },
  },
});

const secret = (name: string, clientSecret: string) => ({
  apiVersion: 'v1',
  kind: 'Secret',
  metadata: { name, namespace: NAMESPACE },
  stringData: { client_secret: clientSecret },
});

/** The tokens that a pod with the mounted target would have read. */
interface Reader {
  readonly name: string;
  readonly file: string;
  readonly seen: string[];
}

const times = (count: number): string => (count === 1 ? 'once' : `${count} times`);

interface DemoOptions {
  readonly realKeycloak: boolean;
  readonly log: (line: string) => void;
}

export class Demo {
  readonly #options: DemoOptions;
  readonly #clientSecret = randomUUID();
  readonly #parts = new AsyncDisposableStack();
  #testbed: Testbed<Provider> | undefined;
  #readers: Reader[] = [];
  #table = '';

  constructor(options: DemoOptions) {
    this.#options = options;
  }

  async start(signal: AbortSignal): Promise<void> {
    const { log, realKeycloak } = this.#options;
    const step = <T>(title: string, work: () => Promise<T>): Promise<T> => {
      signal.throwIfAborted();
      log(`${title} …`);
      return work();
    };
    const testbed = await Testbed.start<Provider>({
      controlPlane: () =>
        step('Starting kube-apiserver and etcd', () =>
          startControlPlane({ users: [OPERATOR], log }),
        ),
      provider: () =>
        step(realKeycloak ? 'Starting Keycloak' : 'Starting the identity provider', () =>
          this.#startProvider(),
        ),
      operators: [],
    });
    this.#testbed = this.#parts.use(testbed);
    const config = { log: { level: 'info' } };
    await step('Starting the operator', () => testbed.startOperator({ config }));
    const apply = 'Applying three credentials (one of them with a wrong client secret)';
    await step(apply, () => this.#apply());
  }

  async #startProvider(): Promise<Provider> {
    const abc = await abcRealm(this.#clientSecret, randomUUID());
    const realm = { ...abc, realm: 'abc-staging', accessTokenLifespan: TOKEN_SECONDS };
    if (this.#options.realKeycloak)
      return startKeycloak({ realms: [realm], log: this.#options.log });
    const provider = await startConvercus();
    provider.realms.add(realm);
    return provider;
  }

  async #apply(): Promise<void> {
    const objects = [
      { apiVersion: 'v1', kind: 'Namespace', metadata: { name: NAMESPACE } },
      secret('convercus-abc', this.#clientSecret),
      secret('convercus-wrong', 'not-the-client-secret'),
      credential('loyalty', 'convercus-abc', { token: '{{access_token}}' }),
      credential('checkout', 'convercus-abc', { header: 'Authorization: Bearer {{access_token}}' }),
      credential('broken', 'convercus-wrong', { token: '{{access_token}}' }),
    ];
    const input = objects.map((object) => JSON.stringify(object)).join('\n---\n');
    await this.#cluster.kubectl(['apply', '-f', '-'], { input });
    const dir = await mkdtemp(join(tmpdir(), 'convercus-demo-'));
    this.#parts.defer(() => rm(dir, { recursive: true, force: true }));
    for (const [name, key] of [
      ['loyalty', 'token'],
      ['checkout', 'header'],
    ] as const) {
      await mkdir(join(dir, name));
      this.#readers.push({ name, file: join(dir, name, key), seen: [] });
    }
  }

  hints(): string {
    const kubectl = `${this.#cluster.binaries.kubectl} --kubeconfig ${this.#cluster.adminKubeconfig} -n ${NAMESPACE}`;
    return `
Try it from another terminal:
  alias k='${kubectl}'
  k describe convcred broken                                  # what is wrong, in words
  k annotate convcred loyalty convercus.io/renew-requested-at="$(date +%s)" --overwrite
  k delete secret loyalty-token                          # comes back at once
  k patch secret convercus-wrong -p '{"data":{"client_secret":"'$(k get secret convercus-abc -o jsonpath='{.data.client_secret}')'"}}'   # mends "broken"
  k explain convcred.spec.target
  curl -s ${this.#servers.operator.url}/metrics | grep ^convercus
The operator's log: ${this.#servers.operator.logFile}
Ctrl-C ends the demo and removes everything.
`;
  }

  /** About once a second: the output of kubectl, and what a pod would read. */
  async look(signal: AbortSignal): Promise<string> {
    await sleep(1_000, undefined, { signal }).catch(() => {});
    for (const reader of this.#readers) await this.#mount(reader);
    this.#table = await this.#cluster.kubectl(['get', 'convcred', '-n', NAMESPACE]);
    const files = this.#readers.map(
      ({ name, file, seen }) =>
        `${name}: ${file} ends in …${(seen.at(-1) ?? '').slice(-8)}, changed ${times(Math.max(seen.length - 1, 0))}`,
    );
    return `${this.#table}\n${files.join('\n')}`;
  }

  /** Replaces the file atomically, as kubelet does. */
  async #mount({ name, file, seen }: Reader): Promise<void> {
    const key = file.split('/').at(-1);
    const encoded = await this.#cluster
      .kubectl(['get', 'secret', `${name}-token`, '-n', NAMESPACE, '-o', `jsonpath={.data.${key}}`])
      .catch(() => '');
    if (encoded === '') return;
    await writeFile(`${file}.new`, Buffer.from(encoded, 'base64'), { mode: 0o600 });
    await rename(`${file}.new`, file);
    const content = await readFile(file, 'utf8');
    if (content !== seen.at(-1)) seen.push(content);
  }

  /** Why the demo failed; undefined when it succeeded. */
  problems(): string[] {
    const rowOf = (name: string) =>
      this.#table.split('\n').find((row) => row.startsWith(name)) ?? '';
    return [
      ...this.#readers
        .filter(({ seen }) => seen.length === 0)
        .map(({ name }) => `${name}: no token was issued`),
      ...this.#readers
        .filter(({ seen }) => seen.length === 1)
        .map(({ name }) => `${name}: the token was not renewed`),
      ...(rowOf('broken').includes('ClientSecretRejected') || rowOf('broken').includes('True')
        ? []
        : ['broken: kubectl get does not show ClientSecretRejected']),
    ];
  }

  summary(): string {
    const counts = this.#readers.map(
      ({ name, seen }) => `${name} was issued a token and renewed it ${times(seen.length - 1)}`,
    );
    return `${counts.join('; ')}.`;
  }

  async stop(): Promise<void> {
    await this.#parts.disposeAsync();
  }

  get #cluster(): ControlPlane {
    return this.#servers.controlPlane;
  }

  get #servers(): Testbed<Provider> {
    if (this.#testbed === undefined) throw new Error('the demo is not started');
    return this.#testbed;
  }
}
