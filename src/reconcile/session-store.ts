import { type Credential, sessionNameOf } from '../domain/credential.ts';
import { Failure, isFailure } from '../domain/failure.ts';
import type { SecretMeta } from '../domain/secret.ts';
import type { Session } from '../domain/session.ts';
import { readSession, renderSession } from '../domain/session-secret.ts';
import { type EpochMs, hours } from '../domain/time.ts';
import type { PasswordRequest } from '../domain/token.ts';
import type { Cluster, PassContext } from '../ports.ts';
import type { Subject } from './gather.ts';
import type { Memory } from './memory.ts';
import type { Wish } from './wish.ts';

/** A session that ends so often within an hour has another holder, and both would throw each other out for ever. */
const CONTENTION = 3;

/** What a `password` credential wants in the middle of a pass. */
export interface SessionWish extends Wish<PasswordRequest> {
  /** Version of the Secret that user name and password come from. */
  readonly sourceVersion: string;
  /** The Secret of its session, as far as it is known. */
  readonly session: SecretMeta | 'absent';
}

export interface Asking {
  readonly subject: Subject;
  readonly wish: SessionWish;
  readonly context: PassContext;
}

/** The session as it is now. Read only when its Secret is another than the one that was written or read last. */
export async function currentSession(
  cluster: Cluster,
  { subject, wish, context }: Asking,
): Promise<Session | undefined | Failure> {
  const { memory, credential } = subject;
  if (memory.unstored !== undefined) return memory.unstored;
  if (wish.session === 'absent') return undefined;
  const known = memory.session;
  if (known?.meta.resourceVersion === wish.session.resourceVersion) return known.session;
  const { namespace, name } = credential;
  const contents = await cluster.readSecret(namespace, sessionNameOf(name), context.signal);
  if (isFailure(contents)) return contents;
  if (contents === 'absent') return undefined;
  const session = readSession(contents);
  if (session !== undefined) {
    memory.session = { meta: contents.meta, session };
  }
  return session;
}

/** Where the session of a credential is stored. */
export interface SessionPlace {
  readonly metadata: Pick<Credential, 'namespace' | 'name'>;
  readonly memory: Memory;
  readonly existing: SecretMeta | 'absent';
}

export const placeOf = ({ subject: { credential, memory }, wish }: Asking): SessionPlace => ({
  metadata: credential,
  memory,
  existing: wish.session,
});

/** Writes the session that a request has brought, if that has not been done yet. */
export async function storeSession(
  cluster: Cluster,
  { metadata, memory, existing }: SessionPlace,
  signal: AbortSignal,
): Promise<Failure | undefined> {
  const session = memory.unstored;
  if (session === undefined) return undefined;
  const written = await cluster.applySecret(renderSession(metadata, session, existing), signal);
  if (isFailure(written)) return written;
  memory.unstored = undefined;
  memory.session = { meta: written, session };
  return undefined;
}

/** The same after a session was stored in the middle of a pass. */
export function sinceStored(asking: Asking): Asking {
  const { subject, wish } = asking;
  return { ...asking, wish: { ...wish, session: subject.memory.session?.meta ?? wish.session } };
}

/** Notes that a session has ended before its time. A Failure when that happens too often. */
export function contentionOf(memory: Memory, ended: Failure, now: EpochMs): Failure | undefined {
  memory.sessionEnds = [...(memory.sessionEnds ?? []), now].filter((at) => at > now - hours(1));
  if (memory.sessionEnds.length < CONTENTION) return undefined;
  return new Failure(
    'SessionContention',
    `The session has ended ${CONTENTION} times within an hour; somebody else seems to use the same user, or to end its sessions. ${ended.message}`,
  );
}

/** Best effort: at worst a dead refresh token is sent once more after a restart. */
export async function forgetSession(
  cluster: Cluster,
  { metadata: { namespace, name }, memory, existing }: SessionPlace,
  signal: AbortSignal,
): Promise<void> {
  memory.session = undefined;
  if (existing === 'absent') return;
  await cluster.deleteSecret({ namespace, name: sessionNameOf(name), uid: existing.uid }, signal);
}
