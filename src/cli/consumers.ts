import { targetNameOf } from '../credential/credential.ts';
import { selects } from '../credential/instance.ts';
import { namespaceFrom } from '../kubernetes/cluster-objects.ts';
import { NAMESPACES } from '../kubernetes/resources.ts';
import { listAt, member, textAt } from '../lib/json.ts';
import type { Context } from './context.ts';
import { oneCredential } from './credentials.ts';
import { identityOf, type Shown } from './kind.ts';
import { PODS } from './operator-pods.ts';
import { type Paint, plain, type Result, table } from './output.ts';

/** Pods of one workload that use a Secret. */
export interface Consumer {
  /** Such as `deploy/checkout`. */
  readonly workload: string;
  readonly pods: number;
  /** Such as `volume` or `env TOKEN`. */
  readonly uses: readonly string[];
  /** How it uses the Secret so that it never sees a new token; empty when it sees each. */
  readonly neverUpdated: readonly string[];
}

interface Use {
  readonly how: string;
  readonly isFixed: boolean;
}

/** @param pods as the API server lists them */
export function consumersAmong(pods: readonly unknown[], secret: string): Consumer[] {
  const byWorkload = new Map<string, { pods: number; uses: Use[] }>();
  for (const pod of pods.filter(isAlive)) {
    const uses = usesOf(member(pod, 'spec'), secret);
    if (uses.length === 0) continue;
    const workload = workloadOf(pod);
    const known = byWorkload.get(workload) ?? { pods: 0, uses: [] };
    byWorkload.set(workload, { pods: known.pods + 1, uses: [...known.uses, ...uses] });
  }
  return [...byWorkload].map(([workload, { pods, uses }]) => ({
    workload,
    pods,
    uses: unique(uses),
    neverUpdated: unique(uses.filter(({ isFixed }) => isFixed)),
  }));
}

const unique = (uses: readonly Use[]): string[] => [...new Set(uses.map(({ how }) => how))];

const isAlive = (pod: unknown): boolean =>
  !['Succeeded', 'Failed'].includes(textAt(pod, 'status', 'phase') ?? '');

function usesOf(spec: unknown, secret: string): Use[] {
  const volumes = new Set(
    listAt(spec, 'volumes')
      .filter((volume) => isOfSecret(volume, secret))
      .map((volume) => textAt(volume, 'name')),
  );
  return ['initContainers', 'containers', 'ephemeralContainers']
    .flatMap((kind) => listAt(spec, kind))
    .flatMap((container) => [...mountsOf(container, volumes), ...variablesOf(container, secret)]);
}

const isOfSecret = (volume: unknown, secret: string): boolean =>
  textAt(volume, 'secret', 'secretName') === secret ||
  listAt(volume, 'projected', 'sources').some(
    (source) => textAt(source, 'secret', 'name') === secret,
  );

const mountsOf = (container: unknown, volumes: ReadonlySet<string | undefined>): Use[] =>
  listAt(container, 'volumeMounts')
    .filter((mount) => volumes.has(textAt(mount, 'name')))
    .map((mount) => {
      const isFixed = (textAt(mount, 'subPath') ?? textAt(mount, 'subPathExpr') ?? '') !== '';
      return { how: isFixed ? 'subPath' : 'volume', isFixed };
    });

function variablesOf(container: unknown, secret: string): Use[] {
  const variables = listAt(container, 'env')
    .filter((each) => textAt(each, 'valueFrom', 'secretKeyRef', 'name') === secret)
    .map((each) => ({ how: `env ${plain(textAt(each, 'name') ?? '', 60)}`, isFixed: true }));
  const isAll = listAt(container, 'envFrom').some(
    (each) => textAt(each, 'secretRef', 'name') === secret,
  );
  return isAll ? [...variables, { how: 'envFrom', isFixed: true }] : variables;
}

const SHORT: Readonly<Record<string, string>> = { StatefulSet: 'sts', DaemonSet: 'ds' };

/** The workload that a person knows: of a ReplicaSet its Deployment, of a CronJob's Job the CronJob. */
function workloadOf(pod: unknown): string {
  const owner = listAt(pod, 'metadata', 'ownerReferences').find(
    (each) => member(each, 'controller') === true,
  );
  const kind = textAt(owner, 'kind') ?? 'Pod';
  const name = plain(textAt(owner, 'name') ?? textAt(pod, 'metadata', 'name') ?? '', 253);
  const hash = textAt(pod, 'metadata', 'labels', 'pod-template-hash');
  if (kind === 'ReplicaSet' && hash !== undefined && name.endsWith(`-${hash}`)) {
    return `deploy/${name.slice(0, -hash.length - 1)}`;
  }
  if (kind === 'Job') return `job/${name.replace(/-\d{8,}$/, '')}`;
  return `${SHORT[kind] ?? kind.toLowerCase()}/${name}`;
}

/** How many workloads see each new token. */
export const allSee = (count: number): string =>
  count === 1 ? '1 workload sees each new token' : `${count} workloads see each new token`;

export function verdictOf({ uses, neverUpdated }: Consumer, paint: Paint): string {
  if (neverUpdated.length === 0) return paint('green', 'ok');
  const which = neverUpdated.length < uses.length ? `${neverUpdated.join(', ')} ` : '';
  return `${paint('red', `${which}will never see a new token`)}: mount it as a volume without subPath`;
}

/** `kubectl convercus consumers NAME` */
export async function consumers(context: Context, name: string): Promise<Result> {
  const { cluster, namespace, paint } = context;
  const credential = await oneCredential(context, name);
  if (credential.cluster !== undefined) return consumersEverywhere(context, credential);
  const secret = targetNameOf(credential);
  const found = consumersAmong(await cluster.list(PODS, namespace), secret);
  const data = { name, namespace, secret, consumers: found };
  if (found.length === 0)
    return { data, text: `No pod of namespace ${namespace} uses Secret ${secret}.` };
  const rows = found.map((each) => cellsOf(each, paint));
  const header = ['WORKLOAD', 'PODS', 'USES', 'SEES NEW TOKENS'];
  return { data, text: table(header, rows), exitCode: found.some(isStale) ? 1 : 0 };
}

const isStale = ({ neverUpdated }: Consumer): boolean => neverUpdated.length > 0;

const cellsOf = (each: Consumer, paint: Paint): string[] => [
  each.workload,
  String(each.pods),
  each.uses.join(', '),
  verdictOf(each, paint),
];

/** In all namespaces that a cluster credential selects. */
async function consumersEverywhere(context: Context, credential: Shown): Promise<Result> {
  const found = await clusterConsumers(context, credential);
  const secret = targetNameOf(credential);
  const data = { ...identityOf(credential), secret, consumers: found };
  if (found.length === 0) {
    return { data, text: `No pod of the selected namespaces uses Secret ${secret}.` };
  }
  const rows = found.map((each) => [each.namespace, ...cellsOf(each, context.paint)]);
  const header = ['NAMESPACE', 'WORKLOAD', 'PODS', 'USES', 'SEES NEW TOKENS'];
  return { data, text: table(header, rows), exitCode: found.some(isStale) ? 1 : 0 };
}

/** By the labels and names that the operator selects by. The person has to list namespaces and all pods. */
export async function clusterConsumers(
  { cluster }: Context,
  credential: Shown,
): Promise<(Consumer & { readonly namespace: string })[]> {
  const { spec = {} } = credential.cluster ?? {};
  const secret = targetNameOf(credential);
  const namespaces = (await cluster.list(NAMESPACES, undefined))
    .map(namespaceFrom)
    .filter((namespace) => namespace !== undefined && selects(spec, namespace))
    .map((namespace) => namespace?.name ?? '');
  const pods = Map.groupBy(await cluster.list(PODS, undefined), (pod) =>
    textAt(pod, 'metadata', 'namespace'),
  );
  return namespaces.flatMap((namespace) =>
    consumersAmong(pods.get(namespace) ?? [], secret).map((each) => ({ namespace, ...each })),
  );
}
