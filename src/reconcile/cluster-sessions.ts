import { clusterKeyOf, clusterNameOf } from '../credential/cluster-name.ts';
import type { Credential } from '../credential/credential.ts';
import { type Key, splitKey } from '../lib/key.ts';
import type { EpochMs } from '../lib/time.ts';
import type { Token } from '../oauth/token.ts';
import {
  hostOf,
  isTokenFailure,
  type Pending,
  type TokenFailure,
  throttled,
} from '../tokens/token-demand.ts';
import type { Dependencies } from './dependencies.ts';
import type { IssuedToken, SessionDemand } from './sessions.ts';
import type { Subject } from './state.ts';

/** What an instance waits for. */
interface Wait {
  readonly demanded: SessionDemand;
  /** Of the spec that it is for. */
  readonly specHash: string;
  /** When the wait is long enough to be told. */
  reportAt: EpochMs;
}

interface Settled {
  readonly outcome: Token | TokenFailure;
  /** Digest of what was presented for it; undefined for a failure that concerns every request. */
  readonly presented: string | undefined;
}

/**
 * Between the instances of a `password` credential and the one session that they share. A refresh token may be sent
 * once, so no instance logs in or refreshes: it waits here, and the key of the ClusterConvercusCredential, which is
 * never reconciled twice at once, asks for all of them (reconcile/cluster-reconciler.ts).
 */
export class ClusterSessions {
  readonly #deps: Dependencies;
  /** By key of the ClusterConvercusCredential, then by that of the instance. */
  readonly #waits = new Map<Key, Map<Key, Wait>>();
  /** What has come for an instance, once. */
  readonly #outcomes = new Map<Key, Settled>();
  /** By key of the ClusterConvercusCredential: digest of what was presented for the latest token. */
  readonly #presented = new Map<Key, string>();

  constructor(deps: Dependencies) {
    this.#deps = deps;
  }

  /** As `Sessions.obtain`, for an instance. */
  obtain({ key, credential }: Subject, demanded: SessionDemand): Token | TokenFailure | Pending {
    const { tokens, clock } = this.#deps;
    const { demand } = demanded;
    const now = clock.now();
    const presented = tokens.digests.ofCredential(demand.request, credential.uid);
    const outcome = this.#take(key, presented);
    if (outcome !== undefined && (isTokenFailure(outcome) || now < outcome.expiresAt)) {
      this.leave(key);
      return outcome;
    }
    const isLatest = this.#presented.get(clusterKeyIn(key)) === presented;
    const cached = isLatest ? tokens.cached(presented, demand) : undefined;
    if (cached !== undefined) {
      this.leave(key);
      return cached;
    }
    return this.#wait(key, demanded, credential);
  }

  /** The instance wants no token for now. */
  leave(key: Key): void {
    this.#outcomes.delete(key);
    this.#waits.get(clusterKeyIn(key))?.delete(key);
  }

  /** The most urgent demand of those that wait with the spec of now. One with a former spec will ask again. */
  mostUrgent(clusterKey: Key, { specHash }: Credential): SessionDemand | undefined {
    const waits = [...(this.#waits.get(clusterKey)?.entries() ?? [])];
    const [first] = waits
      .filter(([key]) => this.#deps.lister.credential(key) !== undefined)
      .filter(([, wait]) => wait.specHash === specHash)
      .map(([, { demanded }]) => demanded)
      .sort((a, b) => a.demand.deadline - b.demand.deadline);
    return first;
  }

  /** A login or refresh has brought a token, and its session is stored. */
  issued(clusterKey: Key, { token, presented }: IssuedToken): void {
    this.#presented.set(clusterKey, presented);
    this.settle(clusterKey, token, presented);
  }

  /**
   * Each instance that waits gets it.
   * @param presented digest; an instance that presents something else by now, as after an edit, waits on
   */
  settle(clusterKey: Key, outcome: Token | TokenFailure, presented?: string): void {
    const waits = this.#waits.get(clusterKey) ?? new Map<Key, Wait>();
    this.#waits.delete(clusterKey);
    for (const key of waits.keys()) {
      this.#outcomes.set(key, { outcome, presented });
      this.#deps.enqueueFirst(key);
    }
  }

  forget(clusterKey: Key): void {
    this.#waits.delete(clusterKey);
    this.#presented.delete(clusterKey);
  }

  #take(key: Key, presented: string): Token | TokenFailure | undefined {
    const settled = this.#outcomes.get(key);
    this.#outcomes.delete(key);
    const isForIt = (settled?.presented ?? presented) === presented;
    return isForIt ? settled?.outcome : undefined;
  }

  #wait(key: Key, demanded: SessionDemand, { specHash }: Credential): TokenFailure | Pending {
    const { demand } = demanded;
    const now = this.#deps.clock.now();
    const clusterKey = clusterKeyIn(key);
    const waits = this.#waits.get(clusterKey) ?? new Map<Key, Wait>();
    this.#waits.set(clusterKey, waits);
    const known = waits.get(key);
    const isOverdue = known !== undefined && now >= known.reportAt;
    const reportAt = known === undefined || isOverdue ? now + demand.maxWait : known.reportAt;
    waits.set(key, { demanded, specHash, reportAt });
    this.#deps.enqueueFirst(clusterKey);
    if (!isOverdue) return { reportAt };
    return { failure: throttled(hostOf(demand.request)), retryAt: reportAt };
  }
}

/** The key of the ClusterConvercusCredential of an instance. */
export const clusterKeyIn = (key: Key): Key =>
  clusterKeyOf(clusterNameOf(splitKey(key).name) ?? '');
