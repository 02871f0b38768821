import type { ConvercusCredential } from '../credential/api.ts';
import { requiredKeys, targetNameOf } from '../credential/credential.ts';
import { readRejection } from '../credential/status.ts';
import type { EpochMs } from '../lib/time.ts';
import { type Consumer, consumersAmong, PODS, verdictOf } from './consumers.ts';
import type { Context } from './context.ts';
import { oneCredential } from './credentials.ts';
import { eventsOf, type SeenEvent } from './events.ts';
import { ifAllowed } from './exit-code.ts';
import { type Faulty, fixFor } from './fixes.ts';
import { list, summaryOf } from './list.ts';
import { clockTime, duration, field, plain, type Result, until, wrapped } from './output.ts';
import { type SecretFacts, secretFacts } from './secret-facts.ts';
import { nextTry, type State, stateOf } from './state.ts';

/** `kubectl convercus status [NAME]` */
export async function status(context: Context, name: string | undefined): Promise<Result> {
  if (name === undefined) return list(context, {});
  const seen = await gather(context, name);
  const { isReady, renewal, isStalled } = seen.state;
  const isWell = isReady && renewal !== 'failing' && renewal !== 'overdue' && !isStalled;
  return { data: dataOf(seen), text: textOf(context, seen), exitCode: isWell ? 0 : 1 };
}

type Facts = SecretFacts | 'absent' | 'forbidden';

interface Seen {
  readonly credential: ConvercusCredential;
  readonly state: State;
  readonly now: EpochMs;
  readonly source: Facts;
  readonly target: Facts;
  /** Undefined: the person may not read them. */
  readonly consumers: readonly Consumer[] | undefined;
  readonly events: readonly SeenEvent[] | undefined;
}

async function gather(context: Context, name: string): Promise<Seen> {
  const { cluster, namespace, host } = context;
  const credential = await oneCredential(context, name);
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

function dataOf({ credential, state, source, target, ...rest }: Seen): object {
  const { spec } = credential;
  return {
    ...summaryOf({ credential, state }),
    message: state.message,
    tokenUrl: credential.status?.tokenUrl,
    source: { name: spec.credentialsSecretRef.name, ...secretData(source) },
    target: { name: targetNameOf(credential), ...secretData(target) },
    consumers: rest.consumers,
    events: rest.events?.map(({ at, ...event }) => ({ at: dateOf(at), ...event })),
  };
}

const presenceOf = (facts: Facts): Faulty['source'] => {
  if (typeof facts !== 'string') return 'there';
  return facts === 'absent' ? 'absent' : 'unknown';
};

const secretData = (facts: Facts): object =>
  typeof facts === 'string'
    ? { state: facts }
    : { state: 'there', changedAt: dateOf(facts.changedAt), changedBy: facts.changedBy };

const dateOf = (at: EpochMs | undefined): string | undefined =>
  at === undefined ? undefined : new Date(at).toISOString();

function textOf(context: Context, seen: Seen): string {
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

function headerOf({ paint }: Context, { metadata, spec, status }: ConvercusCredential): string {
  const facts = [
    spec.program,
    spec.environment,
    spec.grantType,
    status?.tokenUrl ?? 'no token endpoint known yet',
  ];
  return (
    paint('bold', `${metadata.name} (${metadata.namespace})`) + `   ${plain(facts.join(' · '))}`
  );
}

function tokenLines({ paint }: Context, { credential, state, now }: Seen): string[] {
  const { expiresAt, issuedAt, isReady } = state;
  if (expiresAt === undefined) return [paint('red', 'none yet')];
  const issued = issuedAt === undefined ? '' : `, issued ${clockTime(issuedAt, now)}`;
  const scope = credential.spec.scope ? `, scope "${plain(credential.spec.scope, 120)}"` : '';
  if (expiresAt <= now) {
    return [
      `${paint('red', 'EXPIRED')} ${duration(now - expiresAt)} ago (${clockTime(expiresAt, now)})${issued}${scope}`,
    ];
  }
  const left = `${duration(expiresAt - now)} left (expires ${clockTime(expiresAt, now)})${issued}${scope}`;
  return [
    isReady ? `${paint('green', 'valid')}, ${left}` : `${paint('red', 'not in place')}, ${left}`,
  ];
}

function renewalLines({ paint }: Context, { credential, state, now }: Seen): string[] {
  const { renewal, renewAt, reason, failingSince } = state;
  const due = renewAt === undefined ? '' : `${clockTime(renewAt, now)} (${until(renewAt, now)})`;
  switch (renewal) {
    case 'ok':
      return [`${paint('green', 'ok')}, next ${due}`, ...lastRenewal(credential)];
    case 'pending':
      return [`${paint('yellow', 'pending')}: the first token is requested`];
    case 'suspended':
      return [
        `${paint('yellow', 'suspended')}: the token is not renewed and stays until it expires`,
      ];
    case 'not seen yet':
      return [`${paint('yellow', 'not seen yet')}: the operator has not reported on this spec`];
    case 'overdue':
      return [`${paint('red', 'OVERDUE')}: was due ${due}; the operator has not reported since`];
    case 'failing': {
      const since = failingSince === undefined ? '' : ` since ${clockTime(failingSince, now)}`;
      const head = `${paint('red', 'FAILING')}${since}: ${plain(reason, 60)}`;
      return [head, ...wrapped(plain(state.message)), retryLine(credential, state, now)];
    }
  }
}

function lastRenewal({ status }: ConvercusCredential): string[] {
  const renewed = status?.conditions?.find(({ type }) => type === 'Renewed');
  return renewed?.status === 'True' ? [`last: ${plain(renewed.reason, 60)}`] : [];
}

function retryLine({ status }: ConvercusCredential, state: State, now: EpochMs): string {
  const retryAt = state.nextAttemptAt ?? readRejection(status)?.retryAt;
  if (retryAt === undefined || retryAt <= now) return nextTry(state, now);
  return `tried again ${clockTime(retryAt, now)} (${until(retryAt, now)})`;
}

function sourceLine(context: Context, { credential, source, now }: Seen): string {
  const { credentialsSecretRef: ref, grantType, org } = credential.spec;
  const keys = requiredKeys({ grantType, source: ref, org }).map((key) => plain(key, 60));
  const named = `Secret ${plain(ref.name, 253)}, ${keys.length === 1 ? 'key' : 'keys'} ${keys.join(', ')}`;
  return `${named}${factsText(context, source, now)}`;
}

function targetLine(context: Context, { credential, target, now }: Seen): string {
  const { creationPolicy, deletionPolicy, data } = credential.spec.target;
  const keys = Object.keys(data ?? { token: '' }).map((key) => plain(key, 60));
  const named = `Secret ${plain(targetNameOf(credential), 253)}, ${keys.length === 1 ? 'key' : 'keys'} ${keys.join(', ')} (${creationPolicy}, ${deletionPolicy})`;
  return `${named}${factsText(context, target, now)}`;
}

function factsText({ paint, namespace }: Context, facts: Facts, now: EpochMs): string {
  if (facts === 'forbidden')
    return `; you may not read Secrets in ${namespace}, so it was not looked at`;
  if (facts === 'absent') return `: ${paint('red', 'does not exist')}`;
  const { changedAt, changedBy } = facts;
  if (changedAt === undefined) return ', exists';
  return `, changed ${clockTime(changedAt, now)} by ${changedBy}`;
}

function consumerLines({ paint, namespace }: Context, { consumers }: Seen): string[] {
  if (consumers === undefined) return [`you may not list pods in ${namespace}`];
  if (consumers.length === 0) return ['no pod uses the target'];
  return consumers.map((each) => {
    const pods = `${each.pods} ${each.pods === 1 ? 'pod' : 'pods'}`;
    return `${each.workload} (${pods}, ${each.uses.join(', ')})   ${verdictOf(each, paint)}`;
  });
}

const MAX_EVENTS = 3;

function eventLines(events: readonly SeenEvent[] | undefined, now: EpochMs): string[] {
  if (events === undefined) return ['you may not read events'];
  if (events.length === 0) return ['none within the last hour'];
  return events.slice(0, MAX_EVENTS).map(({ at, type, reason, message, count }) => {
    const times = count > 1 ? ` (${count} times)` : '';
    return plain(`${until(at, now)}  ${type} ${reason}${times}: ${message}`, 160);
  });
}

/** The command that leads on, where there is one. */
function doLines(seen: Seen): string[] {
  const { state } = seen;
  const { namespace, name } = seen.credential.metadata;
  const of = `${name} -n ${namespace}`;
  const commands = {
    ok: state.isReady ? [] : [`find out why: kubectl convercus doctor ${of}`],
    overdue: [`find out whether the operator runs: kubectl convercus doctor ${of}`],
    pending: [`find out why it takes long: kubectl convercus doctor ${of}`],
    'not seen yet': [`find out why: kubectl convercus doctor ${of}`],
    suspended: [`go on: kubectl convercus resume ${of}`],
    failing: failingLines(seen, of),
  }[state.renewal];
  return commands.length === 0 ? [] : [field('Do', commands)];
}

function failingLines({ credential, state, source }: Seen, of: string): string[] {
  const fix = fixFor(state.reason, { credential, source: presenceOf(source) });
  return [
    ...(fix === undefined ? [] : [fix]),
    `check the whole way: kubectl convercus doctor ${of}`,
    `after the fix: kubectl convercus renew ${of} --wait 1m`,
  ];
}
