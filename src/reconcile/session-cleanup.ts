import { sessionNameOf } from '../credential/credential.ts';
import type { SecretContents, SecretMeta } from '../credential/secret.ts';
import type { Session } from '../credential/session.ts';
import { holdsSession, sessionFrom } from '../credential/session-secret.ts';
import { sourceFault } from '../credential/source-type.ts';
import { type Failure, isFailure } from '../lib/failure.ts';
import { type Key, type ObjectName, splitKey } from '../lib/key.ts';
import type { Sensitive } from '../lib/sensitive.ts';
import { type Action, seconds } from '../lib/time.ts';
import { sleep } from '../lib/with-timeout.ts';
import type { LogoutRequest } from '../oauth/grants.ts';
import type { SessionStep } from '../tokens/token-client.ts';
import { isPending } from '../tokens/token-demand.ts';
import type { Dependencies } from './dependencies.ts';
import { retryRequest } from './retry.ts';
import type { CredentialState } from './state.ts';

const MAX_LOGOUT_TRIES = 3;
const LOGOUT_RETRY_INTERVAL = seconds(10);
/** Of the client secret in the background: an API server that is away for five minutes leaves no session. */
const MAX_READS = 30;

/** The session of a credential that is gone, or has another grant by now. */
interface LeftoverSession {
  readonly key: Key;
  readonly state: CredentialState;
  /** The Secret of the session. */
  readonly meta: SecretMeta | 'absent';
  readonly session: Session | undefined;
}

/**
 * Logs out sessions that no credential needs any more. Best effort: a log-out is given up after three tries. One that
 * can't be tried, because the API server does not let its client secret be read, is not.
 */
export class SessionCleanup {
  readonly #deps: Dependencies;

  constructor(deps: Dependencies) {
    this.#deps = deps;
  }

  /** Name of the credential, and namespace of its session: of a ClusterConvercusCredential, which has none, ours. */
  #placeOf(key: Key): ObjectName {
    const { namespace, name } = splitKey(key);
    const { clusterCredentials } = this.#deps;
    return {
      namespace: namespace === '' ? (clusterCredentials?.namespace ?? '') : namespace,
      name,
    };
  }

  /** Logs the session out, if there may be one, then deletes its Secret. */
  async cleanUp(key: Key, state: CredentialState, signal: AbortSignal): Promise<Action> {
    if (this.#mayHaveSession(key, state)) return this.#cleanUpLeftover(key, state, signal);
    this.#deps.tokens.leaveLogout(key);
    state.failedCleanups = undefined;
    return 'await-change';
  }

  async #cleanUpLeftover(key: Key, state: CredentialState, signal: AbortSignal): Promise<Action> {
    const { namespace, name } = this.#placeOf(key);
    const { cluster, tokens } = this.#deps;
    const found = await cluster.readSecret(namespace, sessionNameOf(name), signal);
    if (isFailure(found)) return this.#retry(state, found);
    const leftover = leftoverFrom(key, state, found);
    const isUsed = await this.#isUsed(leftover, signal);
    if (isFailure(isUsed)) return this.#retry(state, isUsed);
    if (isUsed) {
      state.failedCleanups = undefined;
      tokens.leaveLogout(key);
      return 'await-change';
    }
    // The Secret may go before the log-out has succeeded, as when a namespace is deleted
    const { meta, session } = leftover;
    if (meta !== 'absent' && session !== undefined) state.session = { meta, session };
    this.logOutSuperseded({ namespace, name }, state, signal);
    if (meta === 'absent' && session === undefined) return 'await-change';
    const again = session && (await this.#logOut(leftover, session, signal));
    if (again !== undefined) return again;
    state.session = undefined;
    state.unstoredSession = undefined;
    state.presented = undefined;
    return this.#remove(leftover, signal);
  }

  /** Sessions that were replaced, in the background. */
  logOutSuperseded(at: ObjectName, state: CredentialState, signal: AbortSignal): void {
    const sessions = state.supersededSessions ?? [];
    state.supersededSessions = undefined;
    for (const session of sessions) {
      const request = () => this.#requestFor(session, at.namespace, state, signal);
      this.#logOutInBackground(at, session, request, signal);
    }
  }

  /** Sessions that only this process knows, before it forgets the credential. */
  logOutRemaining(key: Key, state: CredentialState, signal: AbortSignal): void {
    if (state.unstoredSession !== undefined) {
      state.supersededSessions = [...(state.supersededSessions ?? []), state.unstoredSession];
    }
    this.logOutSuperseded(this.#placeOf(key), state, signal);
  }

  /** A login or refresh that no credential wants any more has brought it. It is stored nowhere, so it ends now or idles. */
  logOutAbandoned(
    session: Session,
    { credential, request }: SessionStep,
    signal: AbortSignal,
  ): void {
    const logout = requestFrom(session, request.clientSecret);
    this.#logOutInBackground(credential, session, () => Promise.resolve(logout), signal);
  }

  /** There may be a session to clean up. */
  #mayHaveSession(key: Key, state: CredentialState): boolean {
    return (
      this.#deps.lister.hasSession(key) ||
      state.session !== undefined ||
      state.supersededSessions !== undefined ||
      state.unstoredSession !== undefined
    );
  }

  /** Another release may look after the credential, or a watch may be late: only the API server knows. */
  async #isUsed(
    { key, meta, session }: LeftoverSession,
    signal: AbortSignal,
  ): Promise<boolean | Failure> {
    if (meta === 'absent') return false;
    const { namespace, name } = this.#placeOf(key);
    const credential = await this.#deps.cluster.readCredential(namespace, name, signal);
    if (isFailure(credential)) return credential;
    if (credential === 'absent') return false;
    if (credential.spec.grantType !== 'password') return false;
    return session === undefined || credential.metadata.uid === session.credentialUid;
  }

  /** Undefined when the session is over, or its log-out is given up. */
  async #logOut(
    { key, state }: LeftoverSession,
    session: Session,
    signal: AbortSignal,
  ): Promise<Action | undefined> {
    const { tokens, clock } = this.#deps;
    const at = this.#placeOf(key);
    const request = await this.#requestFor(session, at.namespace, state, signal);
    if (request === undefined) return undefined;
    if (isFailure(request)) return this.#retry(state, request);
    const outcome = tokens.logOut(key, request);
    if (outcome === 'ended') return undefined;
    if (isPending(outcome)) return { requeueAt: outcome.reportAt };
    state.failedLogouts += 1;
    if (state.failedLogouts < MAX_LOGOUT_TRIES) {
      return { requeueAt: clock.now() + LOGOUT_RETRY_INTERVAL };
    }
    this.#report(at, session, outcome);
    return undefined;
  }

  /** Undefined when the session can't be ended any more because its client secret is gone. */
  async #requestFor(
    session: Session,
    namespace: string,
    state: CredentialState,
    signal: AbortSignal,
  ): Promise<LogoutRequest | undefined | Failure> {
    const { name, key } = session.source;
    const contents = await this.#deps.cluster.readSecret(namespace, name, signal);
    if (isFailure(contents)) return contents;
    const isRefused = contents === 'absent' || sourceFault(contents, name) !== undefined;
    const found = isRefused ? undefined : contents.data.get(key);
    const clientSecret = found ?? state.credentials?.values.clientSecret;
    return clientSecret && requestFrom(session, clientSecret);
  }

  #logOutInBackground(
    at: ObjectName,
    session: Session,
    request: () => Promise<LogoutRequest | undefined | Failure>,
    signal: AbortSignal,
  ): void {
    this.#tryLogOut(request, signal)
      .then((failure) => failure && this.#report(at, session, failure))
      .catch(() => undefined); // aborted: it expires by itself
  }

  async #tryLogOut(
    request: () => Promise<LogoutRequest | undefined | Failure>,
    signal: AbortSignal,
  ): Promise<Failure | undefined> {
    const { tokens, clock } = this.#deps;
    let [tries, reads] = [0, 0];
    for (;;) {
      const logout = await request();
      if (logout === undefined) return undefined;
      const isRead = !isFailure(logout);
      if (isRead) tries += 1;
      else reads += 1;
      const failure = isRead ? await tokens.logOutInBackground(logout) : logout;
      if (failure === undefined || tries === MAX_LOGOUT_TRIES || reads === MAX_READS)
        return failure;
      await sleep({ ms: LOGOUT_RETRY_INTERVAL, clock, signal });
      signal.throwIfAborted();
    }
  }

  #report(
    { namespace, name }: ObjectName,
    { credentialUid: uid }: Session,
    failure: Failure,
  ): void {
    const { cluster, log } = this.#deps;
    const message = `The session could not be logged out and lives on at the provider until it expires. ${failure.message}`;
    const about = { metadata: { namespace, name, uid } };
    cluster.recordEvent(about, { type: 'Warning', reason: 'LogoutFailed', message });
    log.warn(message, { namespace, name, reason: 'LogoutFailed' });
  }

  #retry(state: CredentialState, failure: Failure): Action {
    return retryRequest(this.#deps, state, failure, 'failedCleanups');
  }

  async #remove({ key, meta, state }: LeftoverSession, signal: AbortSignal): Promise<Action> {
    const { cluster, log } = this.#deps;
    const { namespace, name } = this.#placeOf(key);
    if (meta !== 'absent') {
      const secret = { namespace, name: sessionNameOf(name), uid: meta.uid };
      const failure = await cluster.deleteSecret(secret, signal);
      if (failure !== undefined) return this.#retry(state, failure);
      log.info('The Secret of a session that is not needed any more was removed', {
        namespace,
        name,
      });
    }
    state.failedLogouts = 0;
    state.failedCleanups = undefined;
    return 'await-change';
  }
}

/** What could not be stored is newer than what was. A Secret that is gone or unreadable does not end its session. */
function leftoverFrom(
  key: Key,
  state: CredentialState,
  found: SecretContents | 'absent',
): LeftoverSession {
  const { name } = splitKey(key);
  const stored = found !== 'absent' && holdsSession(found, name) ? found : undefined;
  const read = stored && sessionFrom(stored);
  const session = state.unstoredSession ?? read ?? state.session?.session;
  return { key, state, meta: stored?.meta ?? 'absent', session };
}

const requestFrom = (
  { environment, realm, clientId, refreshToken }: Session,
  clientSecret: Sensitive,
): LogoutRequest => ({ environment, realm, clientId, clientSecret, refreshToken });
