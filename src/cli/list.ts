import type { EpochMs, Ms } from '../lib/time.ts';
import { type Context, scopeOf } from './context.ts';
import { clusterCredentialsIn, credentialsIn } from './credentials.ts';
import { addressOf, identityOf, isClusterType, type Shown } from './kind.ts';
import { duration, type Paint, plain, type Result, table } from './output.ts';
import { type State, stateOf } from './state.ts';

export interface ListOptions {
  readonly notReady?: boolean;
  /** Only those whose token expires within this time, or has expired. */
  readonly expiring?: Ms;
  readonly selector?: string;
  /** Which kind; ConvercusCredentials without it. */
  readonly type?: string | undefined;
}

interface Row {
  readonly credential: Shown;
  readonly state: State;
}

/** `kubectl convercus list` */
export async function list(context: Context, options: ListOptions): Promise<Result> {
  const now = context.host.now();
  const isOfCluster = options.type !== undefined && isClusterType(options.type);
  const all = await (isOfCluster ? clusterCredentialsIn : credentialsIn)(context, options.selector);
  const rows = all
    .map((credential) => ({ credential, state: stateOf(credential, now) }))
    .filter((row) => isWanted(row, options, now));
  const data = rows.map(summaryOf);
  if (rows.length === 0) return { data, text: noneText(context, all.length, isOfCluster) };
  return {
    data,
    text: isOfCluster ? clusterTable(context, rows, now) : tableOf(context, rows, now),
  };
}

function isWanted({ state }: Row, { notReady, expiring }: ListOptions, now: EpochMs): boolean {
  if (notReady === true && state.isReady) return false;
  return (
    expiring === undefined || (state.expiresAt !== undefined && state.expiresAt <= now + expiring)
  );
}

function noneText(context: Context, all: number, isOfCluster: boolean): string {
  if (isOfCluster) {
    return all > 0
      ? `None of the ${all} ClusterConvercusCredentials is like that.`
      : 'There is no ClusterConvercusCredential.';
  }
  const where = scopeOf(context) === undefined ? 'the cluster' : `namespace ${context.namespace}`;
  if (all > 0) return `None of the ${all} ConvercusCredentials of ${where} is like that.`;
  return `There is no ConvercusCredential in ${where}${context.isEverywhere ? '.' : '; of all namespaces: kubectl convercus list -A'}`;
}

/** What `--output` tells of each. */
export function summaryOf({ credential, state }: Row): object {
  const { program, environment, grantType } = credential.spec;
  return {
    ...identityOf(credential),
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
    ...(credential.cluster && { namespaces: credential.cluster.status?.namespaces }),
  };
}

function tableOf(context: Context, rows: readonly Row[], now: EpochMs): string {
  const withNamespace = context.isEverywhere ? ['NAMESPACE'] : [];
  return table(
    [...withNamespace, 'NAME', 'PROGRAM', 'READY', 'RENEWAL', 'TOKEN', 'NEXT'],
    rows.map((row) => [
      ...(context.isEverywhere ? [row.credential.metadata.namespace] : []),
      row.credential.metadata.name,
      ...cellsOf(context, row, now),
    ]),
  );
}

function cellsOf({ paint }: Context, { credential, state }: Row, now: EpochMs): string[] {
  return [
    plain(`${credential.spec.program} ${credential.spec.environment}`, 60),
    state.isReady ? paint('green', 'yes') : paint('red', 'no'),
    renewalText(paint, state),
    tokenText(state, now),
    nextText(state, now),
  ];
}

function clusterTable(context: Context, rows: readonly Row[], now: EpochMs): string {
  return table(
    ['NAME', 'PROGRAM', 'READY', 'RENEWAL', 'TOKEN', 'NEXT', 'NAMESPACES'],
    rows.map((row) => [
      addressOf(row.credential).name,
      ...cellsOf(context, row, now),
      namespacesText(row.credential),
    ]),
  );
}

/** How many of its namespaces have a valid token. */
function namespacesText({ cluster }: Shown): string {
  const { ready, selected } = cluster?.status?.namespaces ?? {};
  return selected === undefined ? '-' : `${ready} of ${selected} ready`;
}

function renewalText(paint: Paint, { renewal, reason }: State): string {
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
