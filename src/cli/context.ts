import type { Cluster } from './cluster.ts';
import type { Host } from './host.ts';
import type { Format, Paint } from './output.ts';

/** What every command gets. */
export interface Context {
  readonly host: Host;
  readonly cluster: Cluster;
  readonly paint: Paint;
  readonly format: Format;
  /** Of `--namespace`, else of the kubeconfig's context. */
  readonly namespace: string;
  /** Of `--all-namespaces`. */
  readonly isEverywhere: boolean;
  /** Of `--operator-namespace`. */
  readonly operatorNamespace: string | undefined;
}

/** Undefined for all namespaces. */
export const scopeOf = ({ namespace, isEverywhere }: Context): string | undefined =>
  isEverywhere ? undefined : namespace;
