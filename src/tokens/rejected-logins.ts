import { LOCKOUT_WINDOW, type LockoutEvidence, type Rejection } from '../credential/lockout.ts';
import { FairLruMap } from '../lib/fair-lru-map.ts';
import { type EpochMs, isFromTheFuture } from '../lib/time.ts';

const MAX_USERS = 10_000;
/** Different values of a user that may be rejected within LOCKOUT_WINDOW before all further ones have to wait. */
export const MAX_REJECTED_VALUES = 3;

/** What status, target and session say of earlier logins. */
export interface LoginHistory {
  /** What is presented now has been rejected before. */
  readonly rejection?: Rejection;
  /** When another password was rejected for this credential. */
  readonly othersRejectedAt?: EpochMs;
  /** The token or session in place was obtained with what is presented now. */
  readonly hasWorked: boolean;
}

/** By digests. */
interface Login {
  readonly user: string;
  /** User and password together. */
  readonly password: string;
  /** Of the credentials that have presented it. */
  readonly namespaces: Iterable<string>;
}

interface RejectedLogin extends Login {
  readonly at: EpochMs;
  readonly attempts: number;
}

type RejectedValue = Pick<RejectedLogin, 'password' | 'at'>;

/** Which passwords were accepted, and which were rejected last for each user. */
export class RejectedLogins {
  /** By namespace and password. */
  readonly #accepted = new FairLruMap<true>(MAX_USERS);
  /** The last of each user. */
  readonly #rejected = new FairLruMap<RejectedLogin>(MAX_USERS);
  /** The last values of each user and namespace, the oldest first. */
  readonly #values = new FairLruMap<readonly RejectedValue[]>(MAX_USERS);

  accepted({ user, password, namespaces }: Login): void {
    for (const namespace of namespaces) {
      this.#accepted.set(keyIn(namespace, password), true, namespace);
      this.#values.delete(keyIn(namespace, user));
    }
  }

  /** What this rejection may mean, besides a wrong password. */
  rejected(
    login: RejectedLogin,
    loginHistory: LoginHistory,
  ): Omit<LockoutEvidence, 'isUnreadable'> {
    const { user, password, at, attempts } = login;
    const namespaces = [...login.namespaces];
    const last = this.#rejected.get(user);
    const isOther = last !== undefined && last.password !== password;
    const otherRejectedAt = isOther ? last.at : (loginHistory.othersRejectedAt ?? -Infinity);
    for (const namespace of namespaces) {
      this.#rejected.set(user, login, namespace);
      const others = this.#valuesOf(namespace, user).filter((value) => value.password !== password);
      const values = [...others, { password, at }].slice(-MAX_REJECTED_VALUES);
      this.#values.set(keyIn(namespace, user), values, namespace);
    }
    return {
      count: attempts,
      worked: loginHistory.hasWorked || namespaces.some((each) => this.#isAccepted(each, password)),
      followedRejection: at - otherRejectedAt < LOCKOUT_WINDOW,
    };
  }

  /**
   * Too many other values of the user were rejected for the namespace: when this one may be presented. Undefined when
   * it may be now, as one that has been accepted before, and one that was rejected and has rules of its own.
   */
  allowedAt(
    { user, password, namespace }: Omit<Login, 'namespaces'> & { readonly namespace: string },
    now: EpochMs,
  ): EpochMs | undefined {
    if (this.#isAccepted(namespace, password)) return undefined;
    const values = this.#valuesOf(namespace, user).filter(
      ({ at }) => at + LOCKOUT_WINDOW > now && !isFromTheFuture(at, now),
    );
    const isKnown = values.some((value) => value.password === password);
    const [oldest] = values;
    if (isKnown || oldest === undefined || values.length < MAX_REJECTED_VALUES) return undefined;
    return oldest.at + LOCKOUT_WINDOW;
  }

  #valuesOf(namespace: string, user: string): readonly RejectedValue[] {
    return this.#values.get(keyIn(namespace, user)) ?? [];
  }

  /** For that namespace: of another one it would tell which of many guesses is right, without a login. */
  #isAccepted(namespace: string, password: string): boolean {
    return this.#accepted.get(keyIn(namespace, password)) === true;
  }
}

const keyIn = (namespace: string, digest: string): string => `${namespace}/${digest}`;
