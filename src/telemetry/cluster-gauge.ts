import type { ClusterConvercusCredential } from '../credential/cluster-api.ts';
import { inText } from './text-format.ts';

export type ClusterCredential = Pick<ClusterConvercusCredential, 'metadata' | 'status'>;

const NAME = 'convercus_cluster_credential_namespaces';
const HELP =
  'How many namespaces of a cluster credential are in each state; one can be ready and failing.';

/** By cluster credential, not by namespace: these are in its status. */
export function clusterGauge(credentials: Iterable<ClusterCredential>): string {
  let text = `# HELP ${NAME} ${HELP}\n# TYPE ${NAME} gauge\n`;
  for (const { metadata, status } of credentials) {
    const { selected = 0, ready = 0, failing = 0, terminating = 0 } = status?.namespaces ?? {};
    for (const [state, count] of Object.entries({ selected, ready, failing, terminating })) {
      text += `${NAME}{${inText({ name: metadata.name, state })}} ${count}\n`;
    }
  }
  return text;
}
