import { sessionNameOf } from '../domain/credential.ts';
import { type Failure, isFailure, retryAt } from '../domain/failure.ts';
import type { SecretContents, SecretMeta } from '../domain/secret.ts';
import type { Sensitive } from '../domain/sensitive.ts';
import type { Session } from '../domain/session.ts';
import { holdsSession, readSession } from '../domain/session-secret.ts';
import {
  type Action,
  hours,
  lookAgainAtEarliest,
  type Ms,
  minutes,
  seconds,
} from '../domain/time.ts';
import type { Clock, Cluster, Key, Log, PassContext, Random } from '../ports.ts';
import type { Memory } from './memory.ts';
import type { TokenDesk } from './token-desk.ts';
import { isRefusal } from './wish.ts';

interface Ports {
  readonly cluster: Cluster;
  readonly desk: TokenDesk;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
}

const TRIES = 3;
const BETWEEN_TRIES = seconds(10);
/** How long one try waits for its turn at the host. */
const PATIENCE = minutes(1);
/** Nobody waits for it, so it may take longer. */
const PATIENCE_IN_BACKGROUND = hours(1);

/**
 * The session of a credential that is gone, or is no `password` credential any more: logs it out, then deletes its
 * Secret. The log-out is best effort; nothing waits for it, and it is given up after three tries.
 */
export async function sweepSession(
  ports: Ports,
  key: Key,
  memory: Memory,
  context: PassContext,
): Promise<Action> {
  const { signal } = context;
  const [namespace = '', name = ''] = key.split('/');
  const found = await ports.cluster.readSecret(namespace, sessionNameOf(name), signal);
  if (isFailure(found)) return later(ports, memory, found);
  const leftover = leftoverFrom({ namespace, name, memory }, found);
  const needed = await isNeeded(ports.cluster, leftover, signal);
  if (isFailure(needed)) return later(ports, memory, needed);
  if (needed) return 'await-change';
  remember(leftover);
  logOutAbandoned(ports, { namespace, name }, memory, signal);
  logOutRetired(ports, { namespace, name }, memory, signal);
  if (leftover.meta === 'absent' && leftover.session === undefined) return 'await-change';
  const again = await tryAnotherTime(ports, leftover, context);
  if (again !== undefined) return again;
  memory.session = undefined;
  memory.unstored = undefined;
  memory.tokenOf = undefined;
  return remove(ports, leftover, signal);
}

interface Leftover {
  readonly namespace: string;
  readonly name: string;
  readonly memory: Memory;
  /** The Secret of the session. */
  readonly meta: SecretMeta | 'absent';
  readonly session: Session | undefined;
}

/** What could not be stored is newer than what was; and a Secret that is gone or unreadable does not end its session. */
function leftoverFrom(
  { namespace, name, memory }: Pick<Leftover, 'namespace' | 'name' | 'memory'>,
  found: SecretContents | 'absent',
): Leftover {
  const stored = found !== 'absent' && holdsSession(found, name) ? found : undefined;
  const read = stored && readSession(stored);
  const session = memory.unstored ?? read ?? memory.session?.session;
  return { namespace, name, memory, meta: stored?.meta ?? 'absent', session };
}

/** The Secret may go before the log-out has succeeded, as when a namespace is deleted. */
function remember({ meta, session, memory }: Leftover): void {
  if (meta !== 'absent' && session !== undefined) memory.session = { meta, session };
}

/** Logs the session out. Undefined when it is over, or given up. */
async function tryAnotherTime(
  ports: Ports,
  { namespace, name, session, memory }: Leftover,
  { signal, parked }: PassContext,
): Promise<Action | undefined> {
  if (session === undefined) return undefined;
  const ending = { namespace, session, memory, patience: PATIENCE };
  const failure = await parked(() => endSession(ports, ending, signal));
  if (failure === undefined) return undefined;
  if (failure.kind !== 'Throttled') memory.failedLogouts += 1;
  if (memory.failedLogouts < TRIES) return { lookAgainAt: ports.clock.now() + BETWEEN_TRIES };
  tellLogoutFailed(ports, { namespace, name, uid: session.credentialUid }, failure);
  return undefined;
}

/** Another release may look after the credential, or a watch may be late: only the API server knows. */
async function isNeeded(
  cluster: Cluster,
  { namespace, name, meta, session }: Leftover,
  signal: AbortSignal,
): Promise<boolean | Failure> {
  if (meta === 'absent') return false;
  const credential = await cluster.readCredential(namespace, name, signal);
  if (isFailure(credential)) return credential;
  if (credential === 'absent') return false;
  if (credential.spec.grantType !== 'password') return false;
  return session === undefined || credential.metadata.uid === session.credentialUid;
}

interface Ending {
  readonly namespace: string;
  readonly session: Session;
  readonly memory: Memory;
  readonly patience: Ms;
}

/** Undefined when the session is over, or when nobody can end it any more because the client secret is gone. */
async function endSession(
  { cluster, desk }: Pick<Ports, 'cluster' | 'desk'>,
  ending: Ending,
  signal: AbortSignal,
): Promise<Failure | undefined> {
  const clientSecret = await clientSecretOf(cluster, ending, signal);
  if (clientSecret === undefined || isFailure(clientSecret)) return clientSecret;
  const { environment, realm, clientId, refreshToken } = ending.session;
  const request = { environment, realm, clientId, clientSecret, refreshToken };
  return desk.logOut(request, ending.patience);
}

async function clientSecretOf(
  cluster: Cluster,
  { namespace, session: { source }, memory }: Ending,
  signal: AbortSignal,
): Promise<Sensitive | undefined | Failure> {
  const contents = await cluster.readSecret(namespace, source.name, signal);
  if (isFailure(contents)) return contents;
  const known = contents === 'absent' ? undefined : contents.data.get(source.key);
  return known ?? memory.source?.values.clientSecret;
}

function tellLogoutFailed(
  { cluster, log }: Pick<Ports, 'cluster' | 'log'>,
  metadata: { readonly namespace: string; readonly name: string; readonly uid: string },
  failure: Failure,
): void {
  const message = `The session could not be logged out and lives on at the provider until it expires. ${failure.message}`;
  cluster.recordEvent({ metadata }, { type: 'Warning', reason: 'LogoutFailed', message });
  const { namespace, name } = metadata;
  log.warn(message, { namespace, name, reason: 'LogoutFailed' });
}

/** What only this process knows of: everything but a session that is stored. */
export const hasUnstored = ({ retired, underWay, unstored }: Memory): boolean =>
  retired !== undefined || underWay !== undefined || unstored !== undefined;

/** What is known to this process alone is lost with its memory of the credential. */
export function logOutUnstored(
  ports: Telling,
  key: Key,
  memory: Memory,
  signal: AbortSignal,
): void {
  const [namespace = '', name = ''] = key.split('/');
  logOutAbandoned(ports, { namespace, name }, memory, signal);
  if (memory.unstored !== undefined) memory.retired = [...(memory.retired ?? []), memory.unstored];
  logOutRetired(ports, { namespace, name }, memory, signal);
}

type Telling = Pick<Ports, 'cluster' | 'desk' | 'clock' | 'log'>;
type Named = Pick<Leftover, 'namespace' | 'name'>;

/** Sessions that were replaced, in the background: nobody waits for their end. */
export function logOutRetired(
  ports: Telling,
  { namespace, name }: Named,
  memory: Memory,
  signal: AbortSignal,
): void {
  const retired = memory.retired ?? [];
  memory.retired = undefined;
  for (const session of retired) {
    endInBackground(ports, name, { namespace, session, memory }, signal).catch(() => undefined); // aborted: it expires by itself
  }
}

/** A login whose answer nobody waits for any more: its session would live on unknown to anybody. */
function logOutAbandoned(
  ports: Telling,
  { namespace, name }: Named,
  memory: Memory,
  signal: AbortSignal,
): void {
  const step = memory.underWay;
  memory.underWay = undefined;
  step?.answer
    .then((answer) => (isRefusal(answer) ? undefined : step.sessionWith(answer)))
    .then(
      (session) => session && endInBackground(ports, name, { namespace, session, memory }, signal),
    )
    .catch(() => undefined); // aborted: it expires by itself
}

async function endInBackground(
  ports: Telling,
  name: string,
  { namespace, session, memory }: Omit<Ending, 'patience'>,
  signal: AbortSignal,
): Promise<void> {
  const ending = { namespace, session, memory, patience: PATIENCE_IN_BACKGROUND };
  let failure = await endSession(ports, ending, signal);
  for (let tries = 1; failure !== undefined && tries < TRIES; tries += 1) {
    await pause(ports.clock, signal);
    failure = await endSession(ports, ending, signal);
  }
  if (failure !== undefined) {
    tellLogoutFailed(ports, { namespace, name, uid: session.credentialUid }, failure);
  }
}

/** @throws the signal's reason when that fires first */
function pause(clock: Clock, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const leave = () => {
      cancel();
      reject(signal.reason);
    };
    const cancel = clock.after(BETWEEN_TRIES, () => {
      signal.removeEventListener('abort', leave);
      resolve();
    });
    signal.addEventListener('abort', leave, { once: true });
  });
}

async function remove(
  ports: Ports,
  { namespace, name, meta, memory }: Leftover,
  signal: AbortSignal,
): Promise<Action> {
  const failure =
    meta === 'absent'
      ? undefined
      : await ports.cluster.deleteSecret(
          { namespace, name: sessionNameOf(name), uid: meta.uid },
          signal,
        );
  if (failure !== undefined) return later(ports, memory, failure);
  memory.failedLogouts = 0;
  ports.log.info('A session has been logged out and removed', { namespace, name });
  return 'await-change';
}

function later({ clock, random }: Ports, memory: Memory, failure: Failure): Action {
  memory.failedRequests += 1;
  return lookAgainAtEarliest(retryAt(failure, memory.failedRequests, clock.now(), random()));
}
