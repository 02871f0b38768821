import type { ClusterConvercusCredential } from '../credential/cluster-api.ts';
import { targetNameOf } from '../credential/credential.ts';
import type { Context } from './context.ts';
import { eventsOf } from './events.ts';
import type { Shown } from './kind.ts';
import { summaryOf } from './list.ts';
import { field, type Paint, plain, type Result } from './output.ts';
import { secretFacts } from './secret-facts.ts';
import { stateOf } from './state.ts';
import {
  doLines,
  eventData,
  eventLines,
  exitCodeOf,
  headerOf,
  renewalLines,
  type Seen,
  secretData,
  sourceLine,
  tokenLines,
} from './status-lines.ts';

/** Of resources without a namespace. */
const EVENT_NAMESPACE = 'default';

type Status = ClusterConvercusCredential['status'];

/** `kubectl convercus status cconvcred/NAME` */
export async function clusterStatus(context: Context, credential: Shown): Promise<Result> {
  const { namespace, uid } = credential.metadata;
  const [source, events] = await Promise.all([
    secretFacts({ ...context, namespace }, credential.spec.credentialsSecretRef.name),
    eventsOf(context, { namespace: EVENT_NAMESPACE, uid }),
  ]);
  const now = context.host.now();
  const seen = { credential, state: stateOf(credential, now), now, source, events };
  return { data: dataOf(seen), text: textOf(context, seen), exitCode: exitCodeOf(seen.state) };
}

function dataOf({ credential, state, source, events }: Seen): object {
  const { spec, status, metadata, cluster } = credential;
  return {
    ...summaryOf({ credential, state }),
    message: state.message,
    tokenUrl: status?.tokenUrl,
    failures: cluster?.status?.failures,
    source: {
      namespace: metadata.namespace,
      name: spec.credentialsSecretRef.name,
      ...secretData(source),
    },
    target: { name: targetNameOf(credential) },
    events: eventData(events),
  };
}

function textOf(context: Context, seen: Seen): string {
  const { credential, state, events } = seen;
  const status = credential.cluster?.status;
  const { ready = 0 } = status?.namespaces ?? {};
  // Those that have it can use it, whatever the others lack
  const token = { ...seen, state: { ...state, isReady: ready > 0 } };
  const isIdle = status?.namespaces?.selected === 0;
  return [
    headerOf(context, credential),
    field('Token', tokenLines(context, token)),
    ...(isIdle ? [] : [field('Renewal', renewalLines(context, seen))]),
    field('Namespaces', namespaceLines(context.paint, status)),
    field('Source', [sourceLine(context, seen)]),
    field('Target', [targetLine(credential)]),
    field('Events', eventLines(events, seen.now)),
    ...(isIdle
      ? [field('Do', ['compare the labels: kubectl get namespaces --show-labels'])]
      : doLines(seen)),
  ].join('\n');
}

/** How many there are, and what is to be told of the first ten. */
export function namespaceLines(paint: Paint, status: Status): string[] {
  const { namespaces, failures = [] } = status ?? {};
  if (namespaces === undefined) return ['not counted yet'];
  const { selected, ready, failing, terminating = 0 } = namespaces;
  const counts = [
    selected === 0
      ? paint('red', 'none is selected')
      : `${ready} of ${selected} have a valid token`,
    ...(failing > 0 ? [paint('red', `${failing} fail`)] : []),
    ...(terminating > 0 ? [`${terminating} are being deleted`] : []),
  ];
  const told = failures.map(({ namespace, reason, message }) =>
    plain(`${namespace}: ${reason}: ${message}`, 300),
  );
  return [counts.join(', '), ...told];
}

function targetLine(credential: Shown): string {
  const { deletionPolicy, data } = credential.spec.target;
  const keys = Object.keys(data ?? { token: '' }).map((key) => plain(key, 60));
  const name = plain(targetNameOf(credential), 253);
  return `Secret ${name}, ${keys.length === 1 ? 'key' : 'keys'} ${keys.join(', ')} (${deletionPolicy}), in each of them`;
}
