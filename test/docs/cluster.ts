import { spawn } from 'node:child_process';
import { chmod, mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { ensureTool } from '../../dev/packaging/tools.ts';
import { manifest } from '../../dev/testbed/objects.ts';
import { Testbed } from '../../dev/testbed/testbed.ts';
import { ROOT } from './markdown.ts';

/** Where the pages put their credentials. */
const NAMESPACE = 'shop';
const RELEASE = 'convercus-operator';

/** What stands in the pages for a name of the reader's. */
const STAND_INS: Readonly<Record<string, string>> = {
  NAME: 'loyalty',
  CREDENTIAL: 'loyalty',
  NAMESPACE,
  SECRET: 'convercus-abc',
  TARGET: 'loyalty-token',
  HOST: 'auth-staging.example.com',
  RELEASE,
  HOLDER: 'holder',
  NEW: '0.1.1',
};

/** Neither a variable of the shell (`read -rs SECRET`, `$SECRET`) nor the title of a column (`SECRET:.spec`). */
const STAND_IN = new RegExp(
  `(?<![\\w$"'{-]|read -rs )(?:${Object.keys(STAND_INS).join('|')})(?![\\w=:])`,
  'g',
);

/** An empty result of grep is none of a failed command: here no pod writes a log. */
const PRELUDE = 'set -eu -o pipefail; grep() { command grep "$@" || [ $? = 1 ]; }\n';

interface AnyObject {
  readonly metadata: { readonly name: string; readonly namespace?: string };
}

/** A reader's shell in a checkout, beside a cluster with an operator and an identity provider, but without nodes. */
export class DocumentedCluster implements AsyncDisposable {
  /** What the reader knows, by the keys of the credentials Secret. */
  readonly values: Readonly<Record<string, string>>;
  readonly #testbed: Testbed;
  readonly #dir: string;

  private constructor(testbed: Testbed, dir: string, values: Readonly<Record<string, string>>) {
    this.#testbed = testbed;
    this.#dir = dir;
    this.values = values;
  }

  static async start(): Promise<DocumentedCluster> {
    const testbed = await Testbed.start({
      release: 'none',
      operators: [],
      namespaces: ['argocd'], // the quick start creates `shop`
    });
    const { clientSecret, password } = await testbed.addRealm('abc-staging');
    testbed.provider.legacy.accounts.push({ org: 'ABC', userName: 'api-user', password });
    const dir = await mkdtemp(join(tmpdir(), 'reader-'));
    await prepareFolder(dir, testbed.controlPlane.binaries.kubectl);
    return new DocumentedCluster(testbed, dir, {
      client_secret: clientSecret,
      secret: clientSecret,
      username: 'api-user',
      user: 'api-user',
      password,
      pass: password,
      org: 'ABC',
    });
  }

  /**
   * Runs commands with the stand-ins filled in and what a reader types as standard input: client secret, user name, password.
   * @returns standard output
   * @throws with what was printed when one of them fails
   */
  async shell(commands: string): Promise<string> {
    const script = PRELUDE + commands.replace(STAND_IN, (name) => STAND_INS[name] ?? name);
    const child = spawn('bash', ['-c', script], {
      cwd: this.#dir,
      timeout: 120_000,
      env: {
        PATH: `${join(this.#dir, 'bin')}:${process.env['PATH']}`,
        HOME: this.#dir,
        KUBECONFIG: this.#testbed.controlPlane.adminKubeconfig,
        REG: 'registry.example.com/team',
      },
    });
    child.stdin.on('error', () => {}); // it may end without reading
    child.stdin.end(`${this.#typed.join('\n')}\n`);
    const closed = new Promise<number | null>((resolve, reject) => {
      child.once('error', reject).once('close', resolve);
    });
    const [output, complaint, code] = await Promise.all([
      text(child.stdout),
      text(child.stderr),
      closed,
    ]);
    if (code === 0) return output;
    throw new Error(`exit code ${code}\n${script}\n${output}${complaint}`);
  }

  get #typed(): (string | undefined)[] {
    return ['client_secret', 'username', 'password'].map((key) => this.values[key]);
  }

  kubectl(...args: string[]): Promise<string> {
    return this.#testbed.controlPlane.kubectl(args);
  }

  apply(input: string, ...flags: string[]): Promise<string> {
    const args = ['apply', '--server-side', '--force-conflicts', ...flags, '-f', '-'];
    return this.#testbed.controlPlane.kubectl(args, { input });
  }

  /** Creates a credential, in place of one of its name, and waits until it is Ready. */
  async credential({ metadata }: AnyObject, text: string): Promise<void> {
    const { name, namespace = NAMESPACE } = metadata;
    const where = ['-n', namespace];
    await this.kubectl('delete', 'convcred', name, ...where, '--ignore-not-found');
    await this.kubectl('delete', 'secret', `${name}-token`, ...where, '--ignore-not-found');
    await this.apply(text);
    await this.ready(name, namespace);
  }

  /** Creates a cluster credential, and waits until it is Ready. */
  async clusterCredential({ metadata: { name } }: AnyObject, text: string): Promise<void> {
    await this.apply(text);
    const flags = ['--for=condition=Ready', '--timeout=90s'];
    await this.kubectl('wait', `clusterconvercuscredential/${name}`, ...flags);
  }

  async ready(name: string, namespace = NAMESPACE): Promise<void> {
    const flags = ['--for=condition=Ready', '--timeout=90s', '-n', namespace];
    await this.kubectl('wait', `convcred/${name}`, ...flags);
  }

  /** Nothing is left of the operator but its CRD. */
  async uninstall(): Promise<void> {
    await this.#stopOperators();
    await this.shell('helm uninstall RELEASE -n RELEASE --ignore-not-found');
  }

  /** As the service account that the chart has made. */
  async startOperator(config: Readonly<Record<string, unknown>> = {}): Promise<void> {
    if (this.#testbed.operators.length === 0) await this.#testbed.startOperator({ config });
  }

  /** As the chart has it started again with `clusterCredentials.enabled`. */
  async serveClusterCredentials(): Promise<void> {
    await this.#stopOperators();
    const clusterCredentials = { enabled: true, namespace: RELEASE };
    await this.startOperator({ clusterCredentials });
  }

  async clear(): Promise<void> {
    const kinds =
      'clusterconvercuscredentials.convercus.io,convercuscredentials.convercus.io,secrets,pods,cronjobs';
    for (const kind of kinds.split(',')) {
      await this.kubectl('delete', kind, '--all', '-n', NAMESPACE, '--wait=false').catch(
        (error: unknown) => {
          if (!String(error).includes("doesn't have a resource type")) throw error;
        },
      );
    }
  }

  /** What a page takes for granted, unless it is there: a Secret, a credential that works and one that does not. */
  async furnish(): Promise<void> {
    const secret = (name: string, stringData: object) => ({
      apiVersion: 'v1',
      kind: 'Secret',
      metadata: { name, namespace: NAMESPACE },
      stringData,
    });
    const objects = [
      secret('convercus-abc', this.values),
      secret('convercus-wrong', { client_secret: 'not-the-client-secret' }),
      secret('convercus-token', { other: 'of the owner' }),
      credential('broken', 'convercus-wrong'),
      credential('merging', 'convercus-abc', { creationPolicy: 'Merge' }),
      CRON_JOB,
      { apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'warehouse' } },
      { ...POD, metadata: { name: 'holder', namespace: RELEASE } },
    ];
    await this.apply(manifest(objects));
    const present = await this.kubectl('get', 'convcred', '-n', NAMESPACE, '-o', 'name');
    if (!present.includes('/loyalty')) {
      // There is no garbage collection here
      await this.kubectl(
        'delete',
        'secret',
        'loyalty-token',
        '-n',
        NAMESPACE,
        '--ignore-not-found',
      );
      await this.apply(manifest([credential('loyalty', 'convercus-abc')]));
    }
    await this.ready('loyalty');
    await this.#furnishClusterCredential();
  }

  /** If the kind is served, and unless there is one of the page. */
  async #furnishClusterCredential(): Promise<void> {
    const kind = 'clusterconvercuscredentials';
    const crd = ['get', 'crd', `${kind}.convercus.io`, '--ignore-not-found', '-o', 'name'];
    if ((await this.kubectl(...crd)) === '') return;
    if ((await this.kubectl('get', kind, '-o', 'name')).includes('/loyalty')) return;
    const object = credential('loyalty', 'convercus-abc', { name: 'convercus-access' });
    const spec = { ...object.spec, namespaces: [NAMESPACE] };
    const metadata = { name: 'loyalty' };
    await this.apply(manifest([{ ...object, kind: 'ClusterConvercusCredential', metadata, spec }]));
  }

  async #stopOperators(): Promise<void> {
    for (const operator of this.#testbed.operators.splice(0)) await operator.stop();
  }

  /** The keys of the credentials Secret; none when there is no such Secret. */
  async keys(): Promise<string[]> {
    const where = ['convercus-abc', '-n', NAMESPACE, '--ignore-not-found', '-o', 'json'];
    const found = await this.kubectl('get', 'secret', ...where);
    return found === '' ? [] : Object.keys(JSON.parse(found).data ?? {});
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#testbed.stop();
    await rm(this.#dir, { recursive: true, force: true });
  }
}

const credential = (name: string, secret: string, target: object = {}) => ({
  apiVersion: 'convercus.io/v1alpha1',
  kind: 'ConvercusCredential',
  metadata: { name, namespace: NAMESPACE },
  spec: { program: 'ABC', environment: 'staging', credentialsSecretRef: { name: secret }, target },
});

const POD_SPEC = {
  restartPolicy: 'Never',
  containers: [{ name: 'app', image: 'registry.example.com/team/app:1' }],
};
const POD = { apiVersion: 'v1', kind: 'Pod', spec: POD_SPEC };
const CRON_JOB = {
  apiVersion: 'batch/v1',
  kind: 'CronJob',
  metadata: { name: 'loyalty', namespace: NAMESPACE },
  spec: { schedule: '*/20 * * * *', jobTemplate: { spec: { template: { spec: POD_SPEC } } } },
};

/** What the commands use of a checkout, and programs: `helm` does not wait for pods, which no node would run. */
async function prepareFolder(dir: string, kubectl: string): Promise<void> {
  for (const name of ['charts', 'deploy', 'crds', 'docs']) {
    await symlink(join(ROOT, name), join(dir, name));
  }
  const bin = join(dir, 'bin');
  await mkdir(bin);
  await symlink(kubectl, join(bin, 'kubectl'));
  const helm = await ensureTool('helm', console.log);
  const script = `#!/bin/bash\nargs=()\nfor arg; do [ "$arg" = --wait ] || args+=("$arg"); done\nexec ${helm} "\${args[@]}"\n`;
  await writeFile(join(bin, 'helm'), script);
  await chmod(join(bin, 'helm'), 0o755);
}
