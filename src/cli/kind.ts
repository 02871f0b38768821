import type { ConvercusCredential } from '../credential/api.ts';
import type { ClusterConvercusCredential } from '../credential/cluster-api.ts';
import { CLUSTER_KIND, clusterNameOf } from '../credential/cluster-name.ts';
import { type CredentialResource, instanceIn } from '../credential/instance.ts';
import { CLUSTER_CREDENTIALS, CREDENTIALS } from '../kubernetes/resources.ts';
import type { Address } from './cluster.ts';
import { usageError } from './exit-code.ts';

/**
 * A credential of either kind. A ClusterConvercusCredential is shown as its instance in the namespace of its credentials
 * Secret, with the status of all.
 */
export type Shown = CredentialResource & { readonly cluster?: ClusterConvercusCredential };

export function shownCluster(
  cluster: ClusterConvercusCredential,
  credentialsNamespace: string,
): Shown {
  const where = { name: credentialsNamespace, isTerminating: false };
  const { status, ...instance } = instanceIn(cluster, where, credentialsNamespace);
  return {
    ...instance,
    ...(cluster.status && { status: { ...status, ...cluster.status } }),
    cluster,
  };
}

interface Reference {
  readonly isOfCluster: boolean;
  readonly name: string;
}

/** How kubectl knows the two kinds, in lower case. */
const TYPES: Readonly<Record<string, boolean>> = Object.fromEntries([
  ...typesOf('convercuscredential', 'convcred').map((type) => [type, false]),
  ...typesOf('clusterconvercuscredential', 'cconvcred').map((type) => [type, true]),
]);

function typesOf(singular: string, short: string): string[] {
  return [short, singular, `${singular}s`, `${singular}s.convercus.io`];
}

/** Whether `type` names the kind of the cluster. @throws when it names neither */
export function isClusterType(type: string): boolean {
  const isOfCluster = TYPES[type.toLowerCase()];
  if (isOfCluster !== undefined) return isOfCluster;
  throw usageError(
    `There is no kind "${type}" here; write convcred, or cconvcred for a ClusterConvercusCredential`,
  );
}

/** Of `NAME` or, as kubectl has it, `TYPE/NAME`. */
export function referenceFrom(text: string): Reference {
  const at = text.indexOf('/');
  if (at < 0) return { isOfCluster: false, name: text };
  return { isOfCluster: isClusterType(text.slice(0, at)), name: text.slice(at + 1) };
}

type Named = Pick<ConvercusCredential, 'metadata'>;

/** Where its object is. */
export function addressOf({ metadata: { namespace, name } }: Named): Address {
  const clusterName = clusterNameOf(name);
  return clusterName === undefined
    ? { resource: CREDENTIALS, namespace, name }
    : { resource: CLUSTER_CREDENTIALS, namespace: undefined, name: clusterName };
}

/** As `--output` tells which it is. */
export function identityOf({ metadata: { namespace, name } }: Named): object {
  const clusterName = clusterNameOf(name);
  return clusterName === undefined
    ? { namespace, name }
    : { kind: CLUSTER_KIND, name: clusterName };
}

/** `loyalty`, or `cconvcred/loyalty`: the argument that means it. */
export function argumentOf({ metadata: { name } }: Named): string {
  const clusterName = clusterNameOf(name);
  return clusterName === undefined ? name : `cconvcred/${clusterName}`;
}

/** What follows the verb of a command about it. */
export const argumentsOf = (credential: Named): string =>
  clusterNameOf(credential.metadata.name) === undefined
    ? `${credential.metadata.name} -n ${credential.metadata.namespace}`
    : argumentOf(credential);

/** `shop/loyalty`, or `cconvcred/loyalty`. */
export const titleOf = (credential: Named): string =>
  clusterNameOf(credential.metadata.name) === undefined
    ? `${credential.metadata.namespace}/${credential.metadata.name}`
    : argumentOf(credential);
