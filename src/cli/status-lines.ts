import { requiredKeys } from '../credential/credential.ts';
import { readRejection } from '../credential/status.ts';
import type { EpochMs } from '../lib/time.ts';
import type { Context } from './context.ts';
import type { SeenEvent } from './events.ts';
import { type Faulty, fixFor } from './fixes.ts';
import { addressOf, argumentsOf, type Shown } from './kind.ts';
import { clockTime, duration, field, plain, until, wrapped } from './output.ts';
import type { SecretFacts } from './secret-facts.ts';
import { nextTry, type State } from './state.ts';

/** Lines of `status` that both kinds of credentials have. */

export type Facts = SecretFacts | 'absent' | 'forbidden';

/** What is known of a credential and of what it depends on. */
export interface Seen {
  readonly credential: Shown;
  readonly state: State;
  readonly now: EpochMs;
  readonly source: Facts;
  /** Undefined: the person may not read them. */
  readonly events: readonly SeenEvent[] | undefined;
}

const presenceOf = (facts: Facts): Faulty['source'] => {
  if (typeof facts !== 'string') return 'there';
  return facts === 'absent' ? 'absent' : 'unknown';
};

export function headerOf({ paint }: Context, credential: Shown): string {
  const { metadata, spec, status, cluster } = credential;
  const where = cluster === undefined ? metadata.namespace : 'cluster';
  const facts = [
    spec.program,
    spec.environment,
    spec.grantType,
    status?.tokenUrl ?? 'no token endpoint known yet',
  ];
  return (
    paint('bold', `${addressOf(credential).name} (${where})`) + `   ${plain(facts.join(' · '))}`
  );
}

export function tokenLines({ paint }: Context, { credential, state, now }: Seen): string[] {
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

export function renewalLines({ paint }: Context, { credential, state, now }: Seen): string[] {
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

function lastRenewal({ status }: Shown): string[] {
  const renewed = status?.conditions?.find(({ type }) => type === 'Renewed');
  return renewed?.status === 'True' ? [`last: ${plain(renewed.reason, 60)}`] : [];
}

function retryLine({ status }: Shown, state: State, now: EpochMs): string {
  const retryAt = state.nextAttemptAt ?? readRejection(status)?.retryAt;
  if (retryAt === undefined || retryAt <= now) return nextTry(state, now);
  return `tried again ${clockTime(retryAt, now)} (${until(retryAt, now)})`;
}

export function sourceLine(context: Context, { credential, source, now }: Seen): string {
  const { namespace } = credential.metadata;
  const where = credential.cluster === undefined ? '' : ` in ${namespace}`;
  const { credentialsSecretRef: ref, grantType, org } = credential.spec;
  const keys = requiredKeys({ grantType, source: ref, org }).map((key) => plain(key, 60));
  const named = `Secret ${plain(ref.name, 253)}${where}, ${keys.length === 1 ? 'key' : 'keys'} ${keys.join(', ')}`;
  return `${named}${factsText({ ...context, namespace }, source, now)}`;
}

export function factsText({ paint, namespace }: Context, facts: Facts, now: EpochMs): string {
  if (facts === 'forbidden')
    return `; you may not read Secrets in ${namespace}, so it was not looked at`;
  if (facts === 'absent') return `: ${paint('red', 'does not exist')}`;
  const { changedAt, changedBy } = facts;
  if (changedAt === undefined) return ', exists';
  return `, changed ${clockTime(changedAt, now)} by ${changedBy}`;
}

const MAX_EVENTS = 3;

export function eventLines(events: readonly SeenEvent[] | undefined, now: EpochMs): string[] {
  if (events === undefined) return ['you may not read events'];
  if (events.length === 0) return ['none within the last hour'];
  return events.slice(0, MAX_EVENTS).map(({ at, type, reason, message, count }) => {
    const times = count > 1 ? ` (${count} times)` : '';
    return plain(`${until(at, now)}  ${type} ${reason}${times}: ${message}`, 160);
  });
}

/** The command that leads on, where there is one. */
export function doLines(seen: Seen): string[] {
  const { state } = seen;
  const of = argumentsOf(seen.credential);
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

export const secretData = (facts: Facts): object =>
  typeof facts === 'string'
    ? { state: facts }
    : { state: 'there', changedAt: dateOf(facts.changedAt), changedBy: facts.changedBy };

export const eventData = (events: readonly SeenEvent[] | undefined): object[] | undefined =>
  events?.map(({ at, ...event }) => ({ at: dateOf(at), ...event }));

const dateOf = (at: EpochMs | undefined): string | undefined =>
  at === undefined ? undefined : new Date(at).toISOString();

/** Exit code 1 unless the token is valid and its renewal goes on. */
export const exitCodeOf = ({ isReady, renewal, isStalled }: State): 0 | 1 =>
  isReady && renewal !== 'failing' && renewal !== 'overdue' && !isStalled ? 0 : 1;
