import type { ClusterConvercusCredential } from '../credential/cluster-api.ts';
import { clusterKeyOf, instanceNameOf } from '../credential/cluster-name.ts';
import {
  parseCredential,
  type Settings,
  sessionNameOf,
  targetNameOf,
} from '../credential/credential.ts';
import { instanceIn } from '../credential/instance.ts';
import type { TokenAnnotations } from '../credential/secret.ts';
import { isSessionSecret } from '../credential/session-secret.ts';
import { isOwnedBy } from '../credential/target-secret.ts';
import { isFailure } from '../lib/failure.ts';
import { type Action, earlierAction } from '../lib/time.ts';
import type { Token } from '../oauth/token.ts';
import { isPending, isTokenFailure, type TokenFailure } from '../tokens/token-demand.ts';
import type { ClusterSessions } from './cluster-sessions.ts';
import { ClusterStatusUpdater } from './cluster-status-updater.ts';
import type { ClusterLister, Dependencies } from './dependencies.ts';
import { secretMeta } from './gather.ts';
import { retryRequest } from './retry.ts';
import type { SessionCleanup } from './session-cleanup.ts';
import type { Sessions } from './sessions.ts';
import type { SharedCredentials } from './shared-credentials.ts';
import type { CredentialState, CredentialStates, Subject, Unparsed } from './state.ts';

interface Parts {
  readonly deps: Dependencies;
  readonly lister: ClusterLister;
  readonly settings: Settings;
  readonly states: CredentialStates;
  readonly sessions: Sessions;
  readonly clusterSessions: ClusterSessions;
  readonly cleanup: SessionCleanup;
  readonly shared: SharedCredentials;
}

/**
 * Reconciles the key of a ClusterConvercusCredential itself: its session, if its grant is `password`, and its status,
 * which is made of those of its instances. Their tokens and targets are theirs (reconcile/reconciler.ts).
 */
export class ClusterReconciler {
  readonly #parts: Parts;
  readonly #status: ClusterStatusUpdater;

  constructor(parts: Parts) {
    this.#parts = parts;
    this.#status = new ClusterStatusUpdater(parts.deps, parts.lister);
  }

  /** @param name of the ClusterConvercusCredential */
  async reconcile(name: string, signal: AbortSignal): Promise<Action> {
    const { deps, lister, states } = this.#parts;
    const key = clusterKeyOf(name);
    const resource = lister.credential(name);
    const state = states.of(key, resource?.metadata.uid);
    if (resource === undefined) return this.#reconcileGone(name, state, signal);
    if (resource.metadata.deletionTimestamp !== undefined) {
      deps.tokens.leave(key);
      return 'await-change';
    }
    const session = await this.#reconcileSession(resource, state, signal);
    const status = await this.#status.update(resource, signal);
    states.tidy(key);
    return earlierAction(session, status);
  }

  async #reconcileGone(name: string, state: CredentialState, signal: AbortSignal): Promise<Action> {
    const { deps, clusterSessions, cleanup, shared, states } = this.#parts;
    const key = clusterKeyOf(name);
    deps.tokens.leave(key);
    clusterSessions.forget(key);
    shared.forget(instanceNameOf(name));
    this.#status.forget(name);
    const action = await cleanup.cleanUp(key, state, signal);
    if (action !== 'await-change') return action;
    cleanup.logOutRemaining(key, state, signal);
    states.forget(key);
    return action;
  }

  /** The session is held as by an instance beside the credentials Secret. */
  async #reconcileSession(
    cluster: ClusterConvercusCredential,
    state: CredentialState,
    signal: AbortSignal,
  ): Promise<Action> {
    const { deps, lister, settings, sessions, clusterSessions, cleanup } = this.#parts;
    const { namespace } = lister;
    const key = clusterKeyOf(cluster.metadata.name);
    const resource = instanceIn(cluster, { name: namespace, isTerminating: false }, namespace);
    const holder: Unparsed = { key, resource, state };
    const issued = await sessions.storeIssued(holder, signal);
    if (issued !== undefined && isTokenFailure(issued)) {
      clusterSessions.settle(key, issued);
      return retryRequest(deps, state, issued.failure, 'failedRequests');
    }
    if (issued !== undefined) clusterSessions.issued(key, issued);
    // Parsed for no namespace: in that of the credentials Secret a target with the name of that Secret or of the session
    // is refused, which concerns only the instance there
    const elsewhere = instanceIn(cluster, { name: '', isTerminating: false }, namespace);
    const parsed = parseCredential(elsewhere, settings);
    if (isFailure(parsed)) {
      await sessions.leave(holder, sessions.knownSecret(resource), signal);
      return 'await-change'; // its instances tell it
    }
    const credential = { ...parsed, namespace };
    if (credential.grantType === 'password') {
      this.#logOutSuperseded(cluster, state, signal);
      return this.#obtain({ ...holder, credential }, signal);
    }
    const isFormer = (token: TokenAnnotations) => token.specHash !== credential.specHash;
    return this.#isHeld(cluster, isFormer) ? 'await-change' : cleanup.cleanUp(key, state, signal);
  }

  /** A token for the instances that wait. */
  async #obtain(subject: Subject, signal: AbortSignal): Promise<Action> {
    const { deps, sessions, clusterSessions } = this.#parts;
    const { key, state, credential } = subject;
    const at = { namespace: credential.source.namespace, name: sessionNameOf(credential.name) };
    const existing = await secretMeta(deps, at, signal);
    if (isFailure(existing)) return retryRequest(deps, state, existing, 'failedRequests');
    state.failedRequests = 0;
    // Others may have made a Secret of that name since an instance began to wait; the instance reports that
    const isTaken = existing !== 'absent' && !isSessionSecret(existing, credential.name);
    const demanded = isTaken ? undefined : clusterSessions.mostUrgent(key, credential);
    if (demanded === undefined) {
      await sessions.leave(subject, existing, signal);
      return 'await-change';
    }
    const demand = { ...demanded, existing, issued: undefined };
    const outcome = await sessions.obtain(subject, demand, signal);
    if (isPending(outcome)) return { requeueAt: outcome.reportAt };
    // It keeps its place in the queue; each instance tells of its own wait
    if (isWaiting(outcome) && outcome.retryAt !== undefined) return { requeueAt: outcome.retryAt };
    const { request } = demanded.demand;
    const presented = deps.tokens.digests.ofCredential(request, credential.uid);
    clusterSessions.settle(key, outcome, presented);
    return 'await-change';
  }

  /** Once no target holds a token that may be of a session before. */
  #logOutSuperseded(
    cluster: ClusterConvercusCredential,
    state: CredentialState,
    signal: AbortSignal,
  ): void {
    const { lister, cleanup } = this.#parts;
    const { loggedInAt = Infinity } = state;
    if (state.supersededSessions === undefined) return;
    if (this.#isHeld(cluster, ({ issuedAt }) => issuedAt < loggedInAt)) return;
    const at = { namespace: lister.namespace, name: instanceNameOf(cluster.metadata.name) };
    cleanup.logOutSuperseded(at, state, signal);
  }

  /** Some target holds such a token, and it is valid. */
  #isHeld(
    { metadata: { name } }: ClusterConvercusCredential,
    isSuch: (token: TokenAnnotations) => boolean,
  ): boolean {
    const { deps, lister } = this.#parts;
    const now = deps.clock.now();
    return lister.instances(name).some(({ metadata, spec }) => {
      const target = deps.lister.secret(metadata.namespace, targetNameOf({ metadata, spec }));
      if (typeof target !== 'object' || !isOwnedBy(metadata, target)) return false;
      const token = target.tokenAnnotations;
      return token !== undefined && token.expiresAt > now && isSuch(token);
    });
  }
}

/** For its turn, for so long that it is told. */
const isWaiting = (outcome: Token | TokenFailure): outcome is TokenFailure =>
  isTokenFailure(outcome) && outcome.failure.kind === 'Throttled' && outcome.isCached !== true;
