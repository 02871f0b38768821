import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ensureBinaries } from './binaries.ts';
import { ControlPlane, type User } from './control-plane.ts';
import { outputOf, silent } from './server-process.ts';

const SERVICE_ACCOUNT = /^system:serviceaccount:([^:]+):([^:]+)$/;

/** The cluster of a kubeconfig, for tests that neither stop its API server nor read its audit log. */
export class ExistingCluster extends ControlPlane {
  readonly #kubeconfig: string;
  readonly #users = new Map<string, string>();

  private constructor(kubeconfig: string, kubectl: string, dir: string, url: string) {
    super({ kubectl, kubeApiserver: '', etcd: '' }, {}, dir, { url, ports: [] });
    this.#kubeconfig = kubeconfig;
  }

  /**
   * Uses kubectl of the PATH where there is one. Users are service accounts, which are created with their namespaces.
   * @throws when the cluster can't be reached, or a user is no service account
   */
  static async connect(kubeconfig: string, users: readonly User[]): Promise<ExistingCluster> {
    const kubectl =
      (await outputOf('kubectl', ['version', '--client'])) === undefined
        ? (await ensureBinaries(silent)).kubectl
        : 'kubectl';
    const dir = await mkdtemp(join(tmpdir(), 'existing-cluster-'));
    const view = ['config', 'view', '--raw', '--minify', '--flatten', '-o', 'json'];
    const shown = await outputOf(kubectl, [`--kubeconfig=${kubeconfig}`, ...view]);
    if (shown === undefined) throw new Error(`kubectl can't read the kubeconfig ${kubeconfig}`);
    const [{ cluster }] = JSON.parse(shown).clusters;
    const existing = new ExistingCluster(kubeconfig, kubectl, dir, cluster.server);
    const ca = Buffer.from(cluster['certificate-authority-data'] ?? '', 'base64');
    await writeFile(existing.caFile, ca);
    try {
      await existing.kubectl(['get', '--raw', '/readyz'], { timeoutSeconds: 30 });
      for (const user of users) await existing.#addUser(user);
      return existing;
    } catch (error) {
      await existing.stop();
      throw error;
    }
  }

  override get caFile(): string {
    return join(this.dir, 'ca.crt');
  }

  override get adminKubeconfig(): string {
    return this.#kubeconfig;
  }

  override userKubeconfig(name: string): string {
    const path = this.#users.get(name);
    if (path === undefined) throw new Error(`There is no kubeconfig of ${name}`);
    return path;
  }

  override async startApiServer(): Promise<void> {
    throw notOurs('started');
  }

  override async stopApiServer(): Promise<void> {
    throw notOurs('stopped');
  }

  /** The cluster goes on; only our files go. */
  override async stop(): Promise<void> {
    await rm(this.dir, { recursive: true, force: true });
  }

  async #addUser({ name }: User): Promise<void> {
    const [, namespace = '', account = ''] = SERVICE_ACCOUNT.exec(name) ?? [];
    if (account === '') throw new Error(`${name} is no service account, so a cluster has none`);
    const items = [
      { apiVersion: 'v1', kind: 'Namespace', metadata: { name: namespace } },
      { apiVersion: 'v1', kind: 'ServiceAccount', metadata: { name: account, namespace } },
    ];
    const input = JSON.stringify({ apiVersion: 'v1', kind: 'List', items });
    await this.kubectl(['apply', '-f', '-'], { input });
    this.#users.set(name, await this.serviceAccountKubeconfig(namespace, account));
  }
}

const notOurs = (what: string): Error =>
  new Error(`The API server of E2E_KUBECONFIG is not ours and can't be ${what} by a test`);
