import { targetNameOf } from '../credential/credential.ts';
import { clusterStatus } from './cluster-status.ts';
import { type Consumer, consumersAmong, verdictOf } from './consumers.ts';
import type { Context } from './context.ts';
import { oneCredential } from './credentials.ts';
import { eventsOf } from './events.ts';
import { ifAllowed, usageError } from './exit-code.ts';
import type { Shown } from './kind.ts';
import { list, summaryOf } from './list.ts';
import { PODS } from './operator-pods.ts';
import { field, plain, type Result } from './output.ts';
import { secretFacts } from './secret-facts.ts';
import { stateOf } from './state.ts';
import {
  doLines,
  eventData,
  eventLines,
  exitCodeOf,
  type Facts,
  factsText,
  headerOf,
  renewalLines,
  type Seen,
  secretData,
  sourceLine,
  tokenLines,
} from './status-lines.ts';

/** `kubectl convercus status [NAME]` */
export async function status(context: Context, name: string | undefined): Promise<Result> {
  if (name === undefined) return list(context, {});
  if (context.isEverywhere) {
    throw usageError(
      'A credential can not be named across all namespaces; give its namespace with -n',
    );
  }
  const credential = await oneCredential(context, name);
  if (credential.cluster !== undefined) return clusterStatus(context, credential);
  const seen = await gather(context, credential);
  return { data: dataOf(seen), text: textOf(context, seen), exitCode: exitCodeOf(seen.state) };
}

interface SeenOne extends Seen {
  readonly target: Facts;
  /** Undefined: the person may not read them. */
  readonly consumers: readonly Consumer[] | undefined;
}

async function gather(context: Context, credential: Shown): Promise<SeenOne> {
  const { cluster, namespace, host } = context;
  const secret = targetNameOf(credential);
  const [source, target, pods, events] = await Promise.all([
    secretFacts(context, credential.spec.credentialsSecretRef.name),
    secretFacts(context, secret),
    ifAllowed(cluster.list(PODS, namespace)),
    eventsOf(context, credential.metadata),
  ]);
  const now = host.now();
  const consumers = pods && consumersAmong(pods, secret);
  return { credential, state: stateOf(credential, now), now, source, target, consumers, events };
}

function dataOf({ credential, state, source, target, ...rest }: SeenOne): object {
  const { spec } = credential;
  return {
    ...summaryOf({ credential, state }),
    message: state.message,
    tokenUrl: credential.status?.tokenUrl,
    source: { name: spec.credentialsSecretRef.name, ...secretData(source) },
    target: { name: targetNameOf(credential), ...secretData(target) },
    consumers: rest.consumers,
    events: eventData(rest.events),
  };
}

function textOf(context: Context, seen: SeenOne): string {
  const { credential, events } = seen;
  return [
    headerOf(context, credential),
    field('Token', tokenLines(context, seen)),
    field('Renewal', renewalLines(context, seen)),
    field('Source', [sourceLine(context, seen)]),
    field('Target', [targetLine(context, seen)]),
    field('Consumers', consumerLines(context, seen)),
    field('Events', eventLines(events, seen.now)),
    ...doLines(seen),
  ].join('\n');
}

function targetLine(context: Context, { credential, target, now }: SeenOne): string {
  const { creationPolicy, deletionPolicy, data } = credential.spec.target;
  const keys = Object.keys(data ?? { token: '' }).map((key) => plain(key, 60));
  const named = `Secret ${plain(targetNameOf(credential), 253)}, ${keys.length === 1 ? 'key' : 'keys'} ${keys.join(', ')} (${creationPolicy}, ${deletionPolicy})`;
  return `${named}${factsText(context, target, now)}`;
}

function consumerLines({ paint, namespace }: Context, { consumers }: SeenOne): string[] {
  if (consumers === undefined) return [`you may not list pods in ${namespace}`];
  if (consumers.length === 0) return ['no pod uses the target'];
  return consumers.map((each) => {
    const pods = `${each.pods} ${each.pods === 1 ? 'pod' : 'pods'}`;
    return `${each.workload} (${pods}, ${each.uses.join(', ')})   ${verdictOf(each, paint)}`;
  });
}
