import { sessionNameOf } from '../domain/credential.ts';
import { type Failure, isFailure, retryAt } from '../domain/failure.ts';
import type { SecretContents } from '../domain/secret.ts';
import type { Sensitive } from '../domain/sensitive.ts';
import type { Session } from '../domain/session.ts';
import { isSessionSecret, readSession } from '../domain/session-secret.ts';
import {
  type Action,
  hours,
  lookAgainAtEarliest,
  type Ms,
  minutes,
  seconds,
} from '../domain/time.ts';
import type { Clock, Cluster, Key, Log, PassContext, Random } from '../ports.ts';
import type { Subject } from './gather.ts';
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
 * A session Secret whose credential is gone, or is no `password` credential any more: logs the session out, then
 * deletes the Secret. The log-out is best effort; nothing waits for it, and it is given up after three tries.
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
  if (found === 'absent' || !isSessionSecret(found.meta, name)) return 'await-change';
  const leftover = { namespace, name, found, session: readSession(found), memory };
  const needed = await isNeeded(ports.cluster, leftover, signal);
  if (isFailure(needed)) return later(ports, memory, needed);
  if (needed) return 'await-change';
  return (await tryAnotherTime(ports, leftover, context)) ?? remove(ports, leftover, signal);
}

interface Leftover {
  readonly namespace: string;
  readonly name: string;
  readonly found: SecretContents;
  readonly session: Session | undefined;
  readonly memory: Memory;
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
  { namespace, name, session }: Leftover,
  signal: AbortSignal,
): Promise<boolean | Failure> {
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
export async function endSession(
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

/** In the background: the new token is in place, and nobody waits for the end of the old session. */
export function logOutRetired(
  ports: Pick<Ports, 'cluster' | 'desk' | 'log'>,
  { credential: { namespace, name, uid }, memory }: Subject,
  signal: AbortSignal,
): void {
  const session = memory.retired;
  if (session === undefined) return;
  memory.retired = undefined;
  endSession(ports, { namespace, session, memory, patience: PATIENCE_IN_BACKGROUND }, signal)
    .then((failure) => failure && tellLogoutFailed(ports, { namespace, name, uid }, failure))
    .catch(() => undefined); // aborted: the session expires by itself
}

/** A login may still be on its way when its credential is gone: its session would live on unknown to anybody. */
export function logOutAbandoned(
  ports: Pick<Ports, 'cluster' | 'desk'>,
  key: Key,
  memory: Memory,
  signal: AbortSignal,
): void {
  const step = memory.underWay;
  const [namespace = ''] = key.split('/');
  const patience = PATIENCE_IN_BACKGROUND;
  step?.answer
    .then((answer) => (isRefusal(answer) ? undefined : step.sessionWith(answer)))
    .then(
      (session) => session && endSession(ports, { namespace, session, memory, patience }, signal),
    )
    .catch(() => undefined); // aborted: the session expires by itself
}

async function remove(
  ports: Ports,
  { namespace, name, found, memory }: Leftover,
  signal: AbortSignal,
): Promise<Action> {
  const secret = { namespace, name: sessionNameOf(name), uid: found.meta.uid };
  const failure = await ports.cluster.deleteSecret(secret, signal);
  if (failure !== undefined) return later(ports, memory, failure);
  memory.failedLogouts = 0;
  ports.log.info('A session has been logged out and removed', { namespace, name });
  return 'await-change';
}

function later({ clock, random }: Ports, memory: Memory, failure: Failure): Action {
  memory.failedRequests += 1;
  return lookAgainAtEarliest(retryAt(failure, memory.failedRequests, clock.now(), random()));
}
