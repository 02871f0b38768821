import type { ReconcileContext } from '../controller/reconcile-context.ts';
import { sessionNameOf } from '../credential/credential.ts';
import type { SecretContents, SecretMeta } from '../credential/secret.ts';
import type { Session } from '../credential/session.ts';
import { holdsSession, sessionFrom } from '../credential/session-secret.ts';
import type { Clock, Random } from '../lib/clock.ts';
import { type Failure, isFailure, retryAt } from '../lib/failure.ts';
import type { Key } from '../lib/key.ts';
import type { Log } from '../lib/log.ts';
import type { Sensitive } from '../lib/sensitive.ts';
import { type Action, earliestRequeue, hours, type Ms, minutes, seconds } from '../lib/time.ts';
import type { TokenClient } from '../tokens/token-client.ts';
import { isTokenFailure } from '../tokens/token-demand.ts';
import type { ClusterClient } from './cluster-client.ts';
import type { CredentialState } from './state.ts';

interface Ports {
  readonly cluster: ClusterClient;
  readonly tokenClient: TokenClient;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
}

const MAX_LOGOUT_TRIES = 3;
const LOGOUT_RETRY_INTERVAL = seconds(10);
/** How long one try waits for its turn at the host. */
const LOGOUT_MAX_WAIT = minutes(1);
/** Nobody waits for it, so it may take longer. */
const BACKGROUND_LOGOUT_MAX_WAIT = hours(1);

/**
 * The session of a credential that is gone, or is no `password` credential any more: logs it out, then deletes its
 * Secret. The log-out is best effort; nothing waits for it, and it is given up after three tries.
 */
export async function cleanUpSession(
  ports: Ports,
  key: Key,
  state: CredentialState,
  context: ReconcileContext,
): Promise<Action> {
  const { signal } = context;
  const [namespace = '', name = ''] = key.split('/');
  const found = await ports.cluster.readSecret(namespace, sessionNameOf(name), signal);
  if (isFailure(found)) return later(ports, state, found);
  const leftover = leftoverFrom({ namespace, name, state }, found);
  const needed = await isNeeded(ports.cluster, leftover, signal);
  if (isFailure(needed)) return later(ports, state, needed);
  if (needed) return 'await-change';
  remember(leftover);
  logOutAbandoned(ports, { namespace, name }, state, signal);
  logOutSuperseded(ports, { namespace, name }, state, signal);
  if (leftover.meta === 'absent' && leftover.session === undefined) return 'await-change';
  const again = await tryAnotherTime(ports, leftover, context);
  if (again !== undefined) return again;
  state.session = undefined;
  state.unstoredSession = undefined;
  state.tokenIdentity = undefined;
  return remove(ports, leftover, signal);
}

interface LeftoverSession {
  readonly namespace: string;
  readonly name: string;
  readonly state: CredentialState;
  /** The Secret of the session. */
  readonly meta: SecretMeta | 'absent';
  readonly session: Session | undefined;
}

/** What could not be stored is newer than what was; and a Secret that is gone or unreadable does not end its session. */
function leftoverFrom(
  { namespace, name, state }: Pick<LeftoverSession, 'namespace' | 'name' | 'state'>,
  found: SecretContents | 'absent',
): LeftoverSession {
  const stored = found !== 'absent' && holdsSession(found, name) ? found : undefined;
  const read = stored && sessionFrom(stored);
  const session = state.unstoredSession ?? read ?? state.session?.session;
  return { namespace, name, state, meta: stored?.meta ?? 'absent', session };
}

/** The Secret may go before the log-out has succeeded, as when a namespace is deleted. */
function remember({ meta, session, state }: LeftoverSession): void {
  if (meta !== 'absent' && session !== undefined) state.session = { meta, session };
}

/** Logs the session out. Undefined when it is over, or given up. */
async function tryAnotherTime(
  ports: Ports,
  { namespace, name, session, state }: LeftoverSession,
  { signal, parked }: ReconcileContext,
): Promise<Action | undefined> {
  if (session === undefined) return undefined;
  const attempt = { namespace, session, state, maxWait: LOGOUT_MAX_WAIT };
  const failure = await parked(() => endSession(ports, attempt, signal));
  if (failure === undefined) return undefined;
  if (failure.kind !== 'Throttled') state.failedLogouts += 1;
  if (state.failedLogouts < MAX_LOGOUT_TRIES)
    return { requeueAt: ports.clock.now() + LOGOUT_RETRY_INTERVAL };
  tellLogoutFailed(ports, { namespace, name, uid: session.credentialUid }, failure);
  return undefined;
}

/** Another release may look after the credential, or a watch may be late: only the API server knows. */
async function isNeeded(
  cluster: ClusterClient,
  { namespace, name, meta, session }: LeftoverSession,
  signal: AbortSignal,
): Promise<boolean | Failure> {
  if (meta === 'absent') return false;
  const credential = await cluster.readCredential(namespace, name, signal);
  if (isFailure(credential)) return credential;
  if (credential === 'absent') return false;
  if (credential.spec.grantType !== 'password') return false;
  return session === undefined || credential.metadata.uid === session.credentialUid;
}

interface LogoutAttempt {
  readonly namespace: string;
  readonly session: Session;
  readonly state: CredentialState;
  readonly maxWait: Ms;
}

/** Undefined when the session is over, or when nobody can end it any more because the client secret is gone. */
async function endSession(
  { cluster, tokenClient }: Pick<Ports, 'cluster' | 'tokenClient'>,
  attempt: LogoutAttempt,
  signal: AbortSignal,
): Promise<Failure | undefined> {
  const clientSecret = await clientSecretOf(cluster, attempt, signal);
  if (clientSecret === undefined || isFailure(clientSecret)) return clientSecret;
  const { environment, realm, clientId, refreshToken } = attempt.session;
  const request = { environment, realm, clientId, clientSecret, refreshToken };
  return tokenClient.logOut(request, attempt.maxWait);
}

async function clientSecretOf(
  cluster: ClusterClient,
  { namespace, session: { source }, state }: LogoutAttempt,
  signal: AbortSignal,
): Promise<Sensitive | undefined | Failure> {
  const contents = await cluster.readSecret(namespace, source.name, signal);
  if (isFailure(contents)) return contents;
  const known = contents === 'absent' ? undefined : contents.data.get(source.key);
  return known ?? state.source?.values.clientSecret;
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
export const hasUnstoredSession = ({
  supersededSessions,
  inFlight,
  unstoredSession,
}: CredentialState): boolean =>
  supersededSessions !== undefined || inFlight !== undefined || unstoredSession !== undefined;

/** What is known to this process alone is lost with its memory of the credential. */
export function logOutUnstoredSessions(
  ports: LogoutPorts,
  key: Key,
  state: CredentialState,
  signal: AbortSignal,
): void {
  const [namespace = '', name = ''] = key.split('/');
  logOutAbandoned(ports, { namespace, name }, state, signal);
  if (state.unstoredSession !== undefined)
    state.supersededSessions = [...(state.supersededSessions ?? []), state.unstoredSession];
  logOutSuperseded(ports, { namespace, name }, state, signal);
}

type LogoutPorts = Pick<Ports, 'cluster' | 'tokenClient' | 'clock' | 'log'>;
type CredentialName = Pick<LeftoverSession, 'namespace' | 'name'>;

/** Sessions that were replaced, in the background: nobody waits for their end. */
export function logOutSuperseded(
  ports: LogoutPorts,
  { namespace, name }: CredentialName,
  state: CredentialState,
  signal: AbortSignal,
): void {
  const supersededSessions = state.supersededSessions ?? [];
  state.supersededSessions = undefined;
  for (const session of supersededSessions) {
    endInBackground(ports, name, { namespace, session, state }, signal).catch(() => undefined); // aborted: it expires by itself
  }
}

/** A login whose answer nobody waits for any more: its session would live on unknown to anybody. */
function logOutAbandoned(
  ports: LogoutPorts,
  { namespace, name }: CredentialName,
  state: CredentialState,
  signal: AbortSignal,
): void {
  const step = state.inFlight;
  state.inFlight = undefined;
  step?.response
    .then((response) => (isTokenFailure(response) ? undefined : step.sessionWith(response)))
    .then(
      (session) => session && endInBackground(ports, name, { namespace, session, state }, signal),
    )
    .catch(() => undefined); // aborted: it expires by itself
}

async function endInBackground(
  ports: LogoutPorts,
  name: string,
  { namespace, session, state }: Omit<LogoutAttempt, 'maxWait'>,
  signal: AbortSignal,
): Promise<void> {
  const attempt = { namespace, session, state, maxWait: BACKGROUND_LOGOUT_MAX_WAIT };
  let failure = await endSession(ports, attempt, signal);
  for (let tries = 1; failure !== undefined && tries < MAX_LOGOUT_TRIES; tries += 1) {
    await pause(ports.clock, signal);
    failure = await endSession(ports, attempt, signal);
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
    const cancel = clock.after(LOGOUT_RETRY_INTERVAL, () => {
      signal.removeEventListener('abort', leave);
      resolve();
    });
    signal.addEventListener('abort', leave, { once: true });
  });
}

async function remove(
  ports: Ports,
  { namespace, name, meta, state }: LeftoverSession,
  signal: AbortSignal,
): Promise<Action> {
  const failure =
    meta === 'absent'
      ? undefined
      : await ports.cluster.deleteSecret(
          { namespace, name: sessionNameOf(name), uid: meta.uid },
          signal,
        );
  if (failure !== undefined) return later(ports, state, failure);
  state.failedLogouts = 0;
  ports.log.info('A session has been logged out and removed', { namespace, name });
  return 'await-change';
}

function later({ clock, random }: Ports, state: CredentialState, failure: Failure): Action {
  state.failedRequests += 1;
  return earliestRequeue(retryAt(failure, state.failedRequests, clock.now(), random()));
}
