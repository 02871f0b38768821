import { LEASES, type Resource } from '../kubernetes/resources.ts';
import { listAt, member, numberAt, textAt } from '../lib/json.ts';
import { type EpochMs, parseTime, seconds } from '../lib/time.ts';
import type { Context } from './context.ts';
import { ifAllowed } from './exit-code.ts';
import { plain } from './output.ts';

export const PODS: Resource = { apiVersion: 'v1', plural: 'pods' };
export const DEPLOYMENTS: Resource = { apiVersion: 'apps/v1', plural: 'deployments' };
export const OPERATOR_LABELS = { labelSelector: 'app.kubernetes.io/name=convercus-operator' };
/** In its pods; there may be others for a mesh or for logs. */
export const CONTAINER = 'operator';
const DEFAULT_NAMESPACE = 'convercus-operator';

/** Where the operator runs: as told, else where a Deployment of it is, else where its documents put it. */
export async function operatorNamespaceOf(context: Context): Promise<string> {
  if (context.operatorNamespace !== undefined) return context.operatorNamespace;
  const deployments = await ifAllowed(
    context.cluster.list(DEPLOYMENTS, undefined, OPERATOR_LABELS),
  );
  return textAt(deployments?.[0], 'metadata', 'namespace') ?? DEFAULT_NAMESPACE;
}

export interface OperatorPod {
  readonly name: string;
  readonly isReady: boolean;
  /** The tag or digest of its image. */
  readonly version: string;
}

/** Undefined when the person may not list pods there. */
export async function operatorPods(
  { cluster }: Context,
  namespace: string,
): Promise<OperatorPod[] | undefined> {
  const pods = await ifAllowed(cluster.list(PODS, namespace, OPERATOR_LABELS));
  return pods?.map((pod) => ({
    name: plain(textAt(pod, 'metadata', 'name') ?? '', 253),
    isReady: listAt(pod, 'status', 'conditions').some(
      (each) => textAt(each, 'type') === 'Ready' && textAt(each, 'status') === 'True',
    ),
    version: plain(
      textAt(listAt(pod, 'spec', 'containers')[0], 'image')?.replace(/^.*[:@]/, '') ?? '',
      80,
    ),
  }));
}

/** Names of the ConfigMaps that a pod of the operator mounts. */
export async function mountedConfigMaps(
  { cluster }: Context,
  namespace: string,
): Promise<ReadonlySet<string>> {
  const pods = (await ifAllowed(cluster.list(PODS, namespace, OPERATOR_LABELS))) ?? [];
  const volumes = pods.flatMap((pod) => listAt(pod, 'spec', 'volumes'));
  return new Set(volumes.map((volume) => textAt(volume, 'configMap', 'name') ?? ''));
}

export interface Leader {
  readonly lease: string;
  /** Empty when no replica leads. */
  readonly holder: string;
  readonly renewedAt: EpochMs;
  /** In seconds. */
  readonly duration: number;
}

/**
 * One for each release of the operator: by its name, or by a pod that holds it, since a release may have any name.
 * Undefined when the person may not list Leases there.
 */
export async function leaders(
  { cluster }: Context,
  namespace: string,
  pods: readonly OperatorPod[] | undefined,
): Promise<Leader[] | undefined> {
  const leases = await ifAllowed(cluster.list(LEASES, namespace));
  const names = new Set(pods?.map(({ name }) => name));
  const isOfOperator = (lease: unknown): boolean =>
    /convercus/.test(textAt(lease, 'metadata', 'name') ?? '') ||
    names.has(textAt(lease, 'spec', 'holderIdentity') ?? '');
  return leases?.filter(isOfOperator).map((lease) => ({
    lease: plain(textAt(lease, 'metadata', 'name') ?? '', 253),
    holder: plain(textAt(lease, 'spec', 'holderIdentity') ?? '', 253),
    renewedAt: parseTime(textAt(lease, 'spec', 'renewTime')) ?? 0,
    duration: numberAt(member(lease, 'spec'), 'leaseDurationSeconds') ?? 0,
  }));
}

/** A fresh Lease: it was renewed within twice its duration. */
export const isLeading = ({ holder, renewedAt, duration }: Leader, now: EpochMs): boolean =>
  holder !== '' && now - renewedAt < seconds(duration) * 2;
