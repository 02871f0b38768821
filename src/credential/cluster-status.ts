import { type EpochMs, parseTime } from '../lib/time.ts';
import type { ClusterConvercusCredential } from './cluster-api.ts';
import { renewRequestOf } from './credential.ts';
import type { CredentialResource } from './instance.ts';
import {
  type Condition,
  type ConditionDraft,
  conditionOf,
  dated,
  isReady,
  PENDING,
} from './status.ts';

export type ClusterStatus = NonNullable<ClusterConvercusCredential['status']>;
type NamespaceFailure = NonNullable<ClusterStatus['failures']>[number];

/** A ClusterConvercusCredential and what has come of it so far. */
export interface ClusterOutcome {
  readonly resource: ClusterConvercusCredential;
  /** By namespace, also those in namespaces that are being deleted. */
  readonly instances: readonly CredentialResource[];
  /** Namespaces that it lists and that do not exist. */
  readonly missing: readonly string[];
}

/** The bounds of the CRD. */
const MAX_FAILURES = 10;
const MAX_MESSAGE = 4_096;

/** Instances by how they are. One can be ready and failing: its token is valid, and the next one does not come. */
interface Groups {
  readonly selected: readonly CredentialResource[];
  readonly ready: readonly CredentialResource[];
  readonly notReady: readonly CredentialResource[];
  readonly failing: readonly CredentialResource[];
  readonly terminating: readonly CredentialResource[];
}

/** The whole status, aggregated from those of all instances. */
export function clusterStatusFor(outcome: ClusterOutcome, now: EpochMs): ClusterStatus {
  const { resource, instances } = outcome;
  const groups = groupsOf(instances, now);
  const { selected, ready, failing, terminating } = groups;
  const renewed = renewedCondition(groups, resource);
  const drafts = [readyCondition(groups), renewed, stalledCondition(groups)];
  const generation = observedGeneration(resource, selected);
  const reported = { ...resource, metadata: { generation } };
  return {
    observedGeneration: generation,
    conditions: drafts
      .filter((draft) => draft !== undefined)
      .map((draft) => dated(draft, reported, now)),
    namespaces: {
      selected: selected.length,
      ready: ready.length,
      failing: failing.length,
      terminating: terminating.length,
    },
    ...failuresOf(outcome, groups),
    ...firstOf(selected, 'tokenUrl'),
    ...tokenOf(selected, resource),
    ...failureTimes(failing),
    ...handledRenewRequest(resource, groups),
    ...latestRejection(selected),
  };
}

function groupsOf(instances: readonly CredentialResource[], now: EpochMs): Groups {
  const isLeaving = ({ metadata }: CredentialResource) => metadata.deletionTimestamp !== undefined;
  const selected = instances.filter((each) => !isLeaving(each));
  return {
    selected,
    ready: selected.filter(({ status }) => isReady(status, now)),
    notReady: selected.filter(({ status }) => !isReady(status, now)),
    failing: selected.filter((each) => conditionOf(each.status, 'Renewed')?.status === 'False'),
    terminating: instances.filter(isLeaving),
  };
}

/** Of the instance that lags most. One that is new has nothing to report yet. */
const observedGeneration = (
  { metadata }: ClusterConvercusCredential,
  selected: readonly CredentialResource[],
): number =>
  selected.reduce(
    (least, { status }) => Math.min(least, status?.observedGeneration ?? least),
    metadata.generation,
  );

const NONE_SELECTED = {
  reason: 'NoNamespaceSelected',
  message:
    'No namespace matches: spec.namespaceSelector selects none, and of spec.namespaces none exists',
} as const;

/** One that fails tells more than one that waits. */
const firstNotReady = ({ notReady, failing }: Groups): CredentialResource | undefined =>
  notReady.find((each) => failing.includes(each)) ?? notReady[0];

function readyCondition(groups: Groups): ConditionDraft {
  const { selected, ready } = groups;
  const type = 'Ready';
  if (selected.length === 0) return { type, status: 'False', ...NONE_SELECTED };
  const message = `${ready.length} of ${selected.length} namespaces hold a valid token`;
  const first = firstNotReady(groups);
  if (first === undefined) {
    const reason = conditionOf(ready[0]?.status, type)?.reason ?? 'TokenValid';
    return { type, status: 'True', reason, message };
  }
  const { status = 'Unknown', reason = PENDING.reason } = conditionOf(first.status, type) ?? {};
  // One that says True is not ready because its token has expired since
  if (status === 'True') return { type, status: 'False', reason: 'TokenExpired', message };
  return { type, status, reason, message };
}

function renewedCondition(
  { selected, failing }: Groups,
  { status: before }: ClusterConvercusCredential,
): ConditionDraft {
  const type = 'Renewed';
  if (selected.length === 0) return { type, status: 'Unknown', ...NONE_SELECTED };
  const failure = mostCommon(failing.map((each) => conditionOf(each.status, type)));
  if (failure !== undefined) {
    const { reason, message, count } = failure;
    const where = `In ${count} of ${selected.length} namespaces: `;
    return { type, status: 'False', reason, message: where + message };
  }
  const latest = selected.reduce((one, other) => (issuedAt(other) > issuedAt(one) ? other : one));
  const { status, reason, message } = conditionOf(latest.status, type) ?? PENDING;
  const known = conditionOf(before, type);
  // After a restart an instance does not know why it was renewed last
  if (status === 'True' && reason === 'TokenValid' && known?.status === 'True') return known;
  return { type, status, reason, message };
}

const issuedAt = ({ status }: CredentialResource): EpochMs => parseTime(status?.issuedAt) ?? 0;

/** The first condition of the reason that most of them have. */
function mostCommon(
  conditions: readonly (Condition | undefined)[],
): (Condition & { readonly count: number }) | undefined {
  const counts = new Map<string, number>();
  for (const each of conditions) {
    if (each !== undefined) counts.set(each.reason, (counts.get(each.reason) ?? 0) + 1);
  }
  const [top] = [...counts].sort(([, a], [, b]) => b - a);
  const found = conditions.find((each) => each?.reason === top?.[0]);
  return found === undefined || top === undefined ? undefined : { ...found, count: top[1] };
}

function stalledCondition({ failing }: Groups): ConditionDraft | undefined {
  const stalled = mostCommon(failing.map((each) => conditionOf(each.status, 'Stalled')));
  if (stalled === undefined) return undefined;
  const { reason, count } = stalled;
  const message = `Manual action is needed in ${count} namespaces: ${reason} (see failures)`;
  return { type: 'Stalled', status: 'True', reason, message };
}

function failuresOf(
  { missing }: ClusterOutcome,
  { failing, terminating }: Groups,
): Pick<ClusterStatus, 'failures'> {
  const failures = [
    ...failing.map(namespaceFailureOf),
    ...terminating.map(({ metadata: { namespace } }) => ({ namespace, ...TERMINATING })),
    ...missing.map((namespace) => ({ namespace, ...NOT_FOUND })),
  ].sort((a, b) => (a.namespace < b.namespace ? -1 : 1));
  return failures.length === 0 ? {} : { failures: failures.slice(0, MAX_FAILURES) };
}

const TERMINATING = {
  reason: 'NamespaceTerminating',
  message: 'The namespace is being deleted and gets no token any more',
} as const;

const NOT_FOUND = {
  reason: 'NamespaceNotFound',
  message: 'spec.namespaces lists it, and it does not exist; it gets the token when it is made',
} as const;

function namespaceFailureOf({
  metadata: { namespace },
  status,
}: CredentialResource): NamespaceFailure {
  const { reason = '', message = '' } = conditionOf(status, 'Renewed') ?? {};
  return { namespace, reason, message: message.slice(0, MAX_MESSAGE) };
}

/**
 * Of the token that expires first. After a restart instances do not know its claims: those of the status are kept while
 * it is the same token.
 */
function tokenOf(
  selected: readonly CredentialResource[],
  { status: before }: ClusterConvercusCredential,
): Pick<ClusterStatus, 'issuedAt' | 'expiresAt' | 'renewAt' | 'token'> {
  const holders = selected.filter(({ status }) => parseTime(status?.expiresAt) !== undefined);
  const first = holders.sort((a, b) => expiresAt(a) - expiresAt(b)).slice(0, 1);
  return {
    ...firstOf(first, 'issuedAt'),
    ...firstOf(first, 'expiresAt'),
    ...firstOf(first, 'renewAt'),
    ...(first[0]?.status?.issuedAt === before?.issuedAt ? tokenIn(before) : {}),
    ...firstOf(first, 'token'),
  };
}

const tokenIn = (status: ClusterStatus | undefined): Pick<ClusterStatus, 'token'> =>
  status?.token === undefined ? {} : { token: status.token };

const expiresAt = ({ status }: CredentialResource): EpochMs => parseTime(status?.expiresAt) ?? 0;

/** The latest failure, and the next try of any. */
function failureTimes(
  failing: readonly CredentialResource[],
): Pick<ClusterStatus, 'lastFailureTime' | 'nextAttemptAt'> {
  const last = timesOf(failing, 'lastFailureTime').at(-1);
  const [next] = timesOf(failing, 'nextAttemptAt');
  return {
    ...(last === undefined ? {} : { lastFailureTime: last }),
    ...(next === undefined ? {} : { nextAttemptAt: next }),
  };
}

/** In order: RFC 3339 in UTC sorts as text. */
const timesOf = (
  failing: readonly CredentialResource[],
  field: 'lastFailureTime' | 'nextAttemptAt',
): string[] =>
  failing
    .map(({ status }) => status?.[field])
    .filter((at) => at !== undefined)
    .sort();

/**
 * The request of now once every instance has handled it, but for those in which something else is in the way: after a
 * restart none asks again for what the status says is handled.
 */
function handledRenewRequest(
  { metadata, status: before }: ClusterConvercusCredential,
  { selected, failing }: Groups,
): Pick<ClusterStatus, 'lastHandledRenewRequest'> {
  const request = renewRequestOf(metadata);
  const isHandled = ({ status }: CredentialResource): boolean =>
    request !== undefined && status?.lastHandledRenewRequest === request;
  const isOpen = selected.some((each) => !isHandled(each) && !failing.includes(each));
  const isDone = selected.some(isHandled) && !isOpen;
  const handled = isDone ? request : before?.lastHandledRenewRequest;
  return handled === undefined ? {} : { lastHandledRenewRequest: handled };
}

function latestRejection(
  selected: readonly CredentialResource[],
): Pick<ClusterStatus, 'rejectedLogin'> {
  const latest = selected
    .map(({ status }) => status?.rejectedLogin)
    .filter((rejection) => rejection !== undefined)
    .sort((a, b) => (parseTime(a.at) ?? 0) - (parseTime(b.at) ?? 0))
    .at(-1);
  return latest === undefined ? {} : { rejectedLogin: latest };
}

type Shared = 'tokenUrl' | 'issuedAt' | 'expiresAt' | 'renewAt' | 'token';

/** That of the first instance that has one. */
function firstOf<F extends Shared>(
  selected: readonly CredentialResource[],
  field: F,
): Pick<ClusterStatus, F> | object {
  const value = selected.find(({ status }) => status?.[field] !== undefined)?.status?.[field];
  return value === undefined ? {} : { [field]: value };
}
