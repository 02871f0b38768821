import { type ControlPlane, startControlPlane } from '../../dev/envtest/control-plane.ts';
import { manifest } from '../../dev/testbed/objects.ts';
import { Account, type ChartRelease, installChart } from './installed-chart.ts';

/** A right on Secrets. */
export interface Right {
  readonly verbs: readonly string[];
  readonly resourceNames?: readonly string[];
  /** In all namespaces when absent. */
  readonly namespace?: string;
}

interface Options<Name extends string> {
  readonly release: ChartRelease;
  readonly namespaces: readonly string[];
  /** What the authors may write: the plural of a resource of ours. */
  readonly resource: string;
  /** Their rights on Secrets. */
  readonly authors: Readonly<Record<Name, readonly Right[]>>;
}

/** An API server with the chart's policies, an administrator, and authors of credentials with different rights. */
export class Authors<Name extends string> {
  readonly controlPlane: ControlPlane;
  readonly admin: Account;
  readonly #accounts: ReadonlyMap<string, Account>;

  private constructor(
    controlPlane: ControlPlane,
    admin: Account,
    accounts: ReadonlyMap<string, Account>,
  ) {
    this.controlPlane = controlPlane;
    this.admin = admin;
    this.#accounts = accounts;
  }

  static async start<Name extends string>({
    release,
    namespaces,
    resource,
    authors,
  }: Options<Name>): Promise<Authors<Name>> {
    const users = Object.keys(authors).map((name) => ({ name }));
    const controlPlane = await startControlPlane({ users, log: console.log });
    for (const name of [...namespaces, release.namespace]) {
      await controlPlane.kubectl(['create', 'namespace', name]);
    }
    await installChart(controlPlane, release);
    const accounts = new Map<string, Account>();
    for (const [name, rights] of Object.entries<readonly Right[]>(authors)) {
      accounts.set(name, await Account.of(controlPlane.userKubeconfig(name)));
      const input = manifest(grantsOf(name, resource, rights));
      await controlPlane.kubectl(['apply', '-f', '-'], { input });
    }
    const admin = await Account.of(controlPlane.adminKubeconfig);
    return new Authors(controlPlane, admin, accounts);
  }

  as(name: Name): Account {
    const account = this.#accounts.get(name);
    if (account === undefined) throw new Error(`no account ${name}`);
    return account;
  }

  async stop(): Promise<void> {
    for (const account of [...this.#accounts.values(), this.admin]) await account.close();
    await this.controlPlane.stop();
  }
}

const RBAC = { apiVersion: 'rbac.authorization.k8s.io/v1' };
const GROUP = { apiGroup: 'rbac.authorization.k8s.io' };

function grantsOf(user: string, resource: string, rights: readonly Right[]): object[] {
  const verbs = ['get', 'list', 'create', 'update', 'patch', 'delete'];
  const credentials = { apiGroups: ['convercus.io'], resources: [resource], verbs };
  const secrets = { apiGroups: [''], resources: ['secrets'] };
  return [
    ...grantOf(user, user, credentials),
    ...rights.flatMap(({ namespace, ...right }, at) =>
      grantOf(user, `${user}-${at}`, { ...secrets, ...right }, namespace),
    ),
  ];
}

/** @param namespace absent: in the whole cluster */
function grantOf(user: string, name: string, rule: object, namespace?: string): object[] {
  const kind = namespace === undefined ? 'ClusterRoleBinding' : 'RoleBinding';
  const roleRef = { ...GROUP, kind: 'ClusterRole', name };
  const subjects = [{ ...GROUP, kind: 'User', name: user }];
  return [
    { ...RBAC, kind: 'ClusterRole', metadata: { name }, rules: [rule] },
    { ...RBAC, kind, metadata: { name, namespace }, roleRef, subjects },
  ];
}
