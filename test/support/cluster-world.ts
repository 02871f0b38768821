import type { ClusterConvercusCredential } from '../../src/credential/cluster-api.ts';
import { conditionOf } from '../../src/credential/status.ts';
import type { Key } from '../../src/lib/key.ts';
import type { EpochMs, Ms } from '../../src/lib/time.ts';
import { aCredential, type CredentialOverrides } from './builders.ts';
import { CREDENTIALS_NAMESPACE } from './fake-cluster.ts';
import { GOOD_PASSWORD, GOOD_SECRET, settled, USERNAME, World } from './world.ts';

type Spec = ClusterConvercusCredential['spec'];

export interface ClusterOverrides {
  readonly metadata?: Partial<ClusterConvercusCredential['metadata']>;
  readonly spec?: Partial<Omit<Spec, 'target'>>;
  readonly target?: Partial<Spec['target']>;
  readonly status?: ClusterConvercusCredential['status'];
}

/** The resource loyalty, for namespaces with the label `token: loyalty`, every default filled in. */
export function aClusterCredential({
  metadata,
  spec,
  target,
  status,
}: ClusterOverrides = {}): ClusterConvercusCredential {
  const sibling = aCredential({ metadata: { name: 'loyalty' } } satisfies CredentialOverrides);
  const { namespace: _, ...common } = sibling.metadata;
  return {
    metadata: { ...common, uid: 'uid-of-cluster-loyalty', ...metadata },
    spec: {
      ...sibling.spec,
      namespaceSelector: { matchLabels: { token: 'loyalty' } },
      ...spec,
      target: {
        name: 'convercus-token',
        creationPolicy: 'Owner',
        deletionPolicy: 'Delete',
        data: { token: '{{access_token}}' },
        ...target,
      },
    },
    ...(status !== undefined && { status }),
  };
}

export const SELECTED = { token: 'loyalty' };
export const CLUSTER_SOURCE: Key = `${CREDENTIALS_NAMESPACE}/convercus-abc`;
export const CLUSTER_SESSION: Key = `${CREDENTIALS_NAMESPACE}/loyalty-cluster-session`;

/** A World whose keys are reconciled as a work queue has them: one after the other, when due or changed. */
export class ClusterWorld extends World {
  readonly #dueAt = new Map<Key, EpochMs>();

  /** A cluster credential, its credentials Secret, and namespaces that it selects. */
  static serving(namespaces: readonly string[], overrides: ClusterOverrides = {}): ClusterWorld {
    const world = new ClusterWorld();
    world.cluster.putSecret(CLUSTER_SOURCE, {
      data: { client_secret: GOOD_SECRET, username: USERNAME, password: GOOD_PASSWORD },
    });
    for (const name of namespaces) world.cluster.putNamespace(name, { labels: SELECTED });
    world.cluster.putCluster(aClusterCredential(overrides));
    return world;
  }

  target(namespace: string) {
    return this.cluster.stored(`${namespace}/convercus-token`);
  }

  /** The tokens in the targets of these namespaces. */
  tokens(...namespaces: readonly string[]): (string | undefined)[] {
    return namespaces.map((namespace) => this.target(namespace)?.data['token']);
  }

  get status(): NonNullable<ClusterConvercusCredential['status']> {
    return this.cluster.cluster('loyalty').status ?? {};
  }

  clusterSummary(type: string): string {
    const found = conditionOf(this.status, type);
    return found === undefined ? 'absent' : `${found.status} ${found.reason}`;
  }

  /** Everything that is due now, and what follows from it. */
  async work(): Promise<void> {
    for (let rounds = 0; ; rounds += 1) {
      await settled();
      const keys = this.#takeDue();
      if (keys.length === 0) return;
      if (rounds > 1_000) throw new Error('the reconciles follow each other too fast');
      await Promise.all(keys.map((key) => this.#reconcile(key)));
    }
  }

  /** Time passes, and keys are reconciled when they are due. */
  async workFor(length: Ms): Promise<void> {
    const end = this.clock.now() + length;
    for (;;) {
      await this.work();
      const next = Math.min(...this.#dueAt.values());
      if (next > end) break;
      this.clock.step(Math.max(next - this.clock.now(), 0));
    }
    this.clock.step(end - this.clock.now());
    await this.work();
  }

  /** Another process begins, with all keys. */
  restartAll(): void {
    this.restart();
    this.#dueAt.clear();
    this.enqueued.clear();
    this.cluster.forgetInstances();
    const { clusterCredentials } = this.cluster;
    for (const key of this.cluster.keys()) this.cluster.changed.add(key);
    for (const key of clusterCredentials.keys()) this.cluster.changed.add(key);
  }

  #takeDue(): Key[] {
    const now = this.clock.now();
    const due = [...this.#dueAt].filter(([, at]) => at <= now).map(([key]) => key);
    const keys = new Set([...this.enqueued, ...this.cluster.changed, ...due]);
    this.enqueued.clear();
    this.cluster.changed.clear();
    for (const key of keys) this.#dueAt.delete(key);
    return [...keys];
  }

  async #reconcile(key: Key): Promise<void> {
    const action = await this.reconcileOnce(key);
    if (action === 'await-change') return;
    this.#dueAt.set(key, Math.min(action.requeueAt, this.#dueAt.get(key) ?? Infinity));
  }
}
