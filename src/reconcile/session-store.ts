import type { ReconcileContext } from '../controller/reconcile-context.ts';
import { type Credential, sessionNameOf } from '../credential/credential.ts';
import type { SecretMeta } from '../credential/secret.ts';
import type { Session } from '../credential/session.ts';
import { sessionFrom, sessionSecretFrom } from '../credential/session-secret.ts';
import { Failure, isFailure } from '../lib/failure.ts';
import { type EpochMs, hours } from '../lib/time.ts';
import type { PasswordRequest } from '../oauth/grants.ts';
import type { TokenDemand } from '../tokens/token-demand.ts';
import type { ClusterClient } from './cluster-client.ts';
import type { CredentialState, Subject } from './state.ts';

/** A session that ends so often within an hour has another holder, and both would throw each other out for ever. */
const MAX_SESSION_ENDS = 3;

/** What a `password` credential wants in the middle of a pass. */
export interface SessionDemand extends TokenDemand<PasswordRequest> {
  /** Version of the Secret that user name and password come from. */
  readonly sourceVersion: string;
  /** The Secret of its session, as far as it is known. */
  readonly session: SecretMeta | 'absent';
}

export interface SessionCall {
  readonly subject: Subject;
  readonly demand: SessionDemand;
  readonly context: ReconcileContext;
}

/** The session as it is now. Read only when its Secret is another than the one that was written or read last. */
export async function currentSession(
  cluster: ClusterClient,
  { subject, demand, context }: SessionCall,
): Promise<Session | undefined | Failure> {
  const { state, credential } = subject;
  if (state.unstoredSession !== undefined) return state.unstoredSession;
  if (demand.session === 'absent') return undefined;
  const known = state.session;
  if (known?.meta.resourceVersion === demand.session.resourceVersion) return known.session;
  const { namespace, name } = credential;
  const contents = await cluster.readSecret(namespace, sessionNameOf(name), context.signal);
  if (isFailure(contents)) return contents;
  if (contents === 'absent') return undefined;
  const session = sessionFrom(contents);
  if (session !== undefined) {
    state.session = { meta: contents.meta, session };
  }
  return session;
}

/** Where the session of a credential is stored. */
export interface SessionLocation {
  readonly metadata: Pick<Credential, 'namespace' | 'name'>;
  readonly state: CredentialState;
  readonly existing: SecretMeta | 'absent';
}

export const sessionLocationOf = ({
  subject: { credential, state },
  demand,
}: SessionCall): SessionLocation => ({
  metadata: credential,
  state,
  existing: demand.session,
});

/** Writes the session that a request has brought, if that has not been done yet. */
export async function storeSession(
  cluster: ClusterClient,
  { metadata, state, existing }: SessionLocation,
  signal: AbortSignal,
): Promise<Failure | undefined> {
  const session = state.unstoredSession;
  if (session === undefined) return undefined;
  const written = await cluster.applySecret(sessionSecretFrom(metadata, session, existing), signal);
  if (isFailure(written)) return written;
  state.unstoredSession = undefined;
  state.session = { meta: written, session };
  return undefined;
}

/** The same after a session was stored in the middle of a pass. */
export function sinceStored(call: SessionCall): SessionCall {
  const { subject, demand } = call;
  return { ...call, demand: { ...demand, session: subject.state.session?.meta ?? demand.session } };
}

/** Notes that a session has ended before its time. A Failure when that happens too often. */
export function contentionOf(
  state: CredentialState,
  ended: Failure,
  now: EpochMs,
): Failure | undefined {
  state.sessionEnds = [...(state.sessionEnds ?? []), now].filter((at) => at > now - hours(1));
  if (state.sessionEnds.length < MAX_SESSION_ENDS) return undefined;
  return new Failure(
    'SessionContention',
    `The session has ended ${MAX_SESSION_ENDS} times within an hour; somebody else seems to use the same user, or to end its sessions. ${ended.message}`,
  );
}

/** Best effort: at worst a dead refresh token is sent once more after a restart. */
export async function forgetSession(
  cluster: ClusterClient,
  { metadata: { namespace, name }, state, existing }: SessionLocation,
  signal: AbortSignal,
): Promise<void> {
  state.session = undefined;
  if (existing === 'absent') return;
  await cluster.deleteSecret({ namespace, name: sessionNameOf(name), uid: existing.uid }, signal);
}
