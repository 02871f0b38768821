import { clusterKeyOf, clusterNameOf } from '../credential/cluster-name.ts';
import type { Key } from '../lib/key.ts';
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
  /** When the wait is long enough to be told. */
  reportAt: EpochMs;
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
  readonly #outcomes = new Map<Key, Token | TokenFailure>();
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
    const outcome = this.#take(key);
    if (outcome !== undefined && (isTokenFailure(outcome) || now < outcome.expiresAt)) {
      this.leave(key);
      return outcome;
    }
    const presented = tokens.digests.ofCredential(demand.request, credential.uid);
    const isLatest = this.#presented.get(clusterKeyIn(key)) === presented;
    const cached = isLatest ? tokens.cached(presented, demand) : undefined;
    if (cached !== undefined) {
      this.leave(key);
      return cached;
    }
    return this.#wait(key, demanded, now);
  }

  /** The instance wants no token for now. */
  leave(key: Key): void {
    this.#outcomes.delete(key);
    this.#waitsFor(key)?.delete(key);
  }

  /** The most urgent demand of those that wait. */
  mostUrgent(clusterKey: Key): SessionDemand | undefined {
    const waits = [...(this.#waits.get(clusterKey)?.entries() ?? [])];
    const present = waits.filter(([key]) => this.#deps.lister.credential(key) !== undefined);
    const [first] = present
      .map(([, { demanded }]) => demanded)
      .sort((a, b) => a.demand.deadline - b.demand.deadline);
    return first;
  }

  /** A login or refresh has brought a token, and its session is stored. */
  issued(clusterKey: Key, { token, presented }: IssuedToken): void {
    this.#presented.set(clusterKey, presented);
    this.settle(clusterKey, token);
  }

  /** Each instance that waits gets it. */
  settle(clusterKey: Key, outcome: Token | TokenFailure): void {
    const waits = this.#waits.get(clusterKey) ?? new Map<Key, Wait>();
    this.#waits.delete(clusterKey);
    for (const key of waits.keys()) {
      this.#outcomes.set(key, outcome);
      this.#deps.enqueueFirst(key);
    }
  }

  forget(clusterKey: Key): void {
    for (const key of this.#waits.get(clusterKey)?.keys() ?? []) this.#outcomes.delete(key);
    this.#waits.delete(clusterKey);
    this.#presented.delete(clusterKey);
  }

  #take(key: Key): Token | TokenFailure | undefined {
    const outcome = this.#outcomes.get(key);
    this.#outcomes.delete(key);
    return outcome;
  }

  #wait(key: Key, demanded: SessionDemand, now: EpochMs): TokenFailure | Pending {
    const { demand } = demanded;
    const clusterKey = clusterKeyIn(key);
    const waits = this.#waits.get(clusterKey) ?? new Map<Key, Wait>();
    this.#waits.set(clusterKey, waits);
    const known = waits.get(key);
    const isOverdue = known !== undefined && now >= known.reportAt;
    const reportAt = known === undefined || isOverdue ? now + demand.maxWait : known.reportAt;
    waits.set(key, { demanded, reportAt });
    this.#deps.enqueueFirst(clusterKey);
    if (!isOverdue) return { reportAt };
    return { failure: throttled(hostOf(demand.request)), retryAt: reportAt };
  }

  #waitsFor(key: Key): Map<Key, Wait> | undefined {
    return this.#waits.get(clusterKeyIn(key));
  }
}

/** The key of the ClusterConvercusCredential of an instance. */
function clusterKeyIn(key: Key): Key {
  const at = key.indexOf('/');
  return clusterKeyOf(clusterNameOf(key.slice(at + 1)) ?? '');
}
