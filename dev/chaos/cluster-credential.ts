import { expiryOf } from '../testbed/objects.ts';
import { OPERATOR_NAMESPACE } from '../testbed/operator.ts';
import { clientOf } from './population.ts';

/** A ClusterConvercusCredential for all namespaces of a run, which presents what some credentials there present. */

const SOURCE = 'source-of-all';
const CLIENT = { realm: 'sha-staging', clientId: 'machine-2-machine' };

/** Of the namespaces that it selects. */
export const CLUSTER_LABELS = { 'example.test/chaos': 'yes' };
/** The client whose secret it presents. */
export const CLUSTER_CLIENT = clientOf(CLIENT);
export const CLUSTER_PATH = '/apis/convercus.io/v1alpha1/clusterconvercuscredentials';
export const CLUSTER_SOURCE_PATH = `/api/v1/namespaces/${OPERATOR_NAMESPACE}/secrets/${SOURCE}`;
export const CLUSTER_TARGETS_PATH =
  '/api/v1/secrets?labelSelector=convercus.io%2Fcluster-credential%3Dchaos';

export const CLUSTER_CREDENTIAL = {
  apiVersion: 'convercus.io/v1alpha1',
  kind: 'ClusterConvercusCredential',
  metadata: { name: 'chaos' },
  spec: {
    program: 'SHA',
    environment: 'staging',
    clientId: CLIENT.clientId,
    credentialsSecretRef: { name: SOURCE },
    namespaceSelector: { matchLabels: CLUSTER_LABELS },
    target: { name: 'chaos-token' },
    renewal: { percent: 50 },
  },
};

export const clusterSource = (clientSecret: string) => ({
  metadata: { name: SOURCE },
  stringData: { client_secret: clientSecret },
});

interface Lists {
  /** Of ClusterConvercusCredentials. */
  readonly credentials: string;
  readonly targets: string;
}

/** What is wrong with it, from lists as the API server sends them. Each of the namespaces has a valid token, no other. */
export function clusterProblems(
  namespaces: readonly string[],
  { credentials, targets }: Lists,
  now: number,
): string[] {
  const [credential] = JSON.parse(credentials).items;
  const counts = credential?.status?.namespaces ?? {};
  const { selected = 0, ready = 0, failing = 0 } = counts;
  const isTold = selected === namespaces.length && ready === selected && failing === 0;
  const valid = new Map<string, boolean>(
    JSON.parse(targets).items.map(
      ({ metadata, data }: { metadata: { namespace: string }; data?: { token?: string } }) => [
        metadata.namespace,
        expiryOf(Buffer.from(data?.token ?? '', 'base64').toString()) > now,
      ],
    ),
  );
  const missing = namespaces.filter((namespace) => valid.get(namespace) !== true);
  const left = [...valid.keys()].filter((namespace) => !namespaces.includes(namespace));
  return [
    ...(isTold ? [] : [`cluster credential: ${ready} of ${selected} ready, ${failing} failing`]),
    ...missing.map((namespace) => `cluster credential: no valid token in ${namespace}`),
    ...left.map((namespace) => `cluster credential: a target is left in ${namespace}`),
  ];
}
