import type { EpochMs } from '../../lib/time.ts';
import type { Context } from '../context.ts';
import { addressOf, type Shown } from '../kind.ts';
import { DEFAULT_CONFIG, type OperatorConfig } from '../operator-config.ts';
import {
  isLeading,
  type Leader,
  leaders,
  operatorNamespaceOf,
  operatorPods,
} from '../operator-pods.ts';
import { duration, plain } from '../output.ts';
import { type Check, fail, ok, skip } from './check.ts';

/**
 * Whether the operator is there, runs, and has a leader.
 * @param config undefined when the person may not read it
 */
export async function operatorChecks(
  context: Context,
  config: OperatorConfig | undefined,
): Promise<Check[]> {
  const namespace = await operatorNamespaceOf(context);
  const pods = await operatorPods(context, namespace);
  const { leaderElection } = config ?? DEFAULT_CONFIG;
  if (!leaderElection.enabled) {
    const text = "not needed: leaderElection.enabled of the operator's configuration is false";
    return [podsCheck(pods, namespace), skip('Leader', text)];
  }
  const leases = leaderElection.namespace ?? namespace;
  const found = await leaders(context, leases, pods);
  const now = context.host.now();
  return [podsCheck(pods, namespace), leaderCheck(found, { namespace, leases, now })];
}

function podsCheck(pods: Awaited<ReturnType<typeof operatorPods>>, namespace: string): Check {
  const where = `namespace ${namespace}`;
  if (pods === undefined) return skip('Operator', `you may not list pods in ${where}`);
  if (pods.length === 0) {
    return skip(
      'Operator',
      `no pod of it in ${where}; if it runs elsewhere, add --operator-namespace`,
    );
  }
  const ready = pods.filter(({ isReady }) => isReady).length;
  const versions = [...new Set(pods.map(({ version }) => version))].join(', ');
  const text = `${versions}, ${ready} of ${pods.length} ready in ${where}`;
  if (ready > 0) return ok('Operator', text);
  return fail(
    'Operator',
    text,
    `See why: kubectl describe pods -n ${namespace} -l app.kubernetes.io/name=convercus-operator`,
  );
}

interface Place {
  /** Of the operator. */
  readonly namespace: string;
  /** Of its Leases. */
  readonly leases: string;
  readonly now: EpochMs;
}

function leaderCheck(
  found: readonly Leader[] | undefined,
  { namespace, leases, now }: Place,
): Check {
  if (found === undefined) return skip('Leader', `you may not list leases in namespace ${leases}`);
  const leading = found.filter((each) => isLeading(each, now));
  const told = leading.map(
    ({ holder, renewedAt }) => `${holder} (lease ${duration(Math.max(now - renewedAt, 0))} old)`,
  );
  if (leading.length > 0) return ok('Leader', told.join(', '));
  const [last] = found;
  const text =
    last === undefined
      ? `no lease of the operator in namespace ${leases}`
      : `no replica leads: lease ${last.lease} was renewed ${duration(now - last.renewedAt)} ago`;
  return fail(
    'Leader',
    text,
    `Look at the operator: kubectl convercus logs --operator-namespace ${namespace}; kubectl get pods -n ${namespace}`,
  );
}

/** Of the release that serves the credential, or of the first; undefined when there is none. */
export async function configFor(
  context: Context,
  credential: Shown,
  configs: readonly OperatorConfig[],
): Promise<OperatorConfig | undefined> {
  if (configs.length > 1) {
    for (const config of configs) {
      const { result } = await servedCheck(context, credential, config);
      if (result === 'ok') return config;
    }
  }
  return configs[0];
}

/** Whether the operator serves this credential, and has seen its spec. */
export async function servedChecks(
  context: Context,
  credential: Shown,
  config: OperatorConfig | undefined,
): Promise<Check[]> {
  const { metadata, status } = credential;
  // -1 by the schema: not seen at all
  const { observedGeneration = -1 } = status ?? {};
  const isSeen = observedGeneration === metadata.generation;
  const seen = isSeen
    ? ok('Seen', `the operator has reported on generation ${metadata.generation}`)
    : fail(
        'Seen',
        `the spec is generation ${metadata.generation}, the operator has reported on ${observedGeneration < 0 ? 'none' : observedGeneration}`,
        'It does not run, may not read this namespace, or serves other namespaces or labels.',
      );
  if (config === undefined) {
    return [skip('Served', "you may not read the operator's configuration"), seen];
  }
  return [await servedCheck(context, credential, config), seen];
}

async function servedCheck(
  context: Context,
  credential: Shown,
  { namespaces, selector, clusterCredentials }: OperatorConfig,
): Promise<Check> {
  const { resource, namespace, name } = addressOf(credential);
  if (namespace === undefined && !clusterCredentials.enabled) {
    return fail(
      'Served',
      "clusterCredentials.enabled of the operator's configuration is not true",
      'Ask its administrator to switch it on.',
    );
  }
  if (namespace !== undefined && namespaces.length > 0 && !namespaces.includes(namespace)) {
    return fail(
      'Served',
      `namespace ${namespace} is not among watch.namespaces of the operator (${plain(namespaces.join(', '), 200)})`,
      'Ask its administrator to add it.',
    );
  }
  const where = namespace === undefined ? 'the whole cluster' : `namespace ${namespace}`;
  if (selector === '') return ok('Served', `${where} is watched`);
  // The API server alone knows the grammar of selectors
  const query = { labelSelector: selector, fieldSelector: `metadata.name=${name}` };
  const matching = await context.cluster.list(resource, namespace, query);
  if (matching.length > 0)
    return ok('Served', `${where} is watched; the labels match ${plain(selector, 200)}`);
  return fail(
    'Served',
    `its labels do not match the operator's selector ${plain(selector, 200)}`,
    namespace === undefined
      ? `Add them: kubectl label clusterconvercuscredential ${name} …`
      : `Add them: kubectl label convercuscredential ${name} -n ${namespace} …`,
  );
}
