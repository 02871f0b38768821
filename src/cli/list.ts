import type { ConvercusCredential } from '../credential/api.ts';
import type { EpochMs, Ms } from '../lib/time.ts';
import { type Context, scopeOf } from './context.ts';
import { credentialsIn } from './credentials.ts';
import { duration, plain, type Result, table } from './output.ts';
import { type State, stateOf } from './state.ts';

export interface ListOptions {
  readonly notReady?: boolean;
  /** Only those whose token expires within this time, or has expired. */
  readonly expiring?: Ms;
  readonly selector?: string;
}

interface Row {
  readonly credential: ConvercusCredential;
  readonly state: State;
}

/** `kubectl convercus list` */
export async function list(context: Context, options: ListOptions): Promise<Result> {
  const now = context.host.now();
  const all = await credentialsIn(context, options.selector);
  const rows = all
    .map((credential) => ({ credential, state: stateOf(credential, now) }))
    .filter((row) => isWanted(row, options, now));
  const data = rows.map(summaryOf);
  if (rows.length === 0) return { data, text: noneText(context, all.length) };
  return { data, text: tableOf(context, rows, now) };
}

function isWanted({ state }: Row, { notReady, expiring }: ListOptions, now: EpochMs): boolean {
  if (notReady === true && state.isReady) return false;
  return (
    expiring === undefined || (state.expiresAt !== undefined && state.expiresAt <= now + expiring)
  );
}

function noneText(context: Context, all: number): string {
  const where = scopeOf(context) === undefined ? 'the cluster' : `namespace ${context.namespace}`;
  if (all > 0) return `None of the ${all} ConvercusCredentials of ${where} is like that.`;
  return `There is no ConvercusCredential in ${where}${context.isEverywhere ? '.' : '; of all namespaces: kubectl convercus list -A'}`;
}

/** What `--output` tells of each. */
export function summaryOf({ credential, state }: Row): object {
  const { namespace, name } = credential.metadata;
  const { program, environment, grantType } = credential.spec;
  return {
    namespace,
    name,
    program,
    environment,
    grantType,
    ready: state.isReady,
    renewal: state.renewal,
    reason: state.reason,
    stalled: state.isStalled,
    issuedAt: credential.status?.issuedAt,
    expiresAt: credential.status?.expiresAt,
    renewAt: credential.status?.renewAt,
    nextAttemptAt: credential.status?.nextAttemptAt,
  };
}

function tableOf(context: Context, rows: readonly Row[], now: EpochMs): string {
  const withNamespace = context.isEverywhere ? ['NAMESPACE'] : [];
  return table(
    [...withNamespace, 'NAME', 'PROGRAM', 'READY', 'RENEWAL', 'TOKEN', 'NEXT'],
    rows.map(({ credential, state }) => [
      ...(context.isEverywhere ? [credential.metadata.namespace] : []),
      credential.metadata.name,
      plain(`${credential.spec.program} ${credential.spec.environment}`, 60),
      state.isReady ? context.paint('green', 'yes') : context.paint('red', 'no'),
      renewalText(context, state),
      tokenText(state, now),
      nextText(state, now),
    ]),
  );
}

function renewalText({ paint }: Context, { renewal, reason }: State): string {
  if (renewal === 'ok') return paint('green', renewal);
  if (renewal === 'failing') return paint('red', plain(reason, 60));
  return paint('yellow', renewal);
}

function tokenText({ expiresAt }: State, now: EpochMs): string {
  if (expiresAt === undefined) return 'none';
  return expiresAt > now
    ? `${duration(expiresAt - now)} left`
    : `expired ${duration(now - expiresAt)} ago`;
}

function nextText({ renewAt, renewal, nextAttemptAt }: State, now: EpochMs): string {
  if (renewal === 'suspended') return '-';
  const at = renewal === 'failing' ? nextAttemptAt : renewAt;
  if (at === undefined) return '-';
  return at >= now ? `in ${duration(at - now)}` : `${duration(now - at)} ago`;
}
