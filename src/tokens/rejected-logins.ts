import { LOCKOUT_WINDOW, type LockoutEvidence, type Rejection } from '../credential/lockout.ts';
import type { Clock } from '../lib/clock.ts';
import { FairLruMap } from '../lib/fair-lru-map.ts';
import type { EpochMs, Ms } from '../lib/time.ts';

const MAX_USERS = 10_000;
/** Different passwords of a user that may be rejected within LOCKOUT_WINDOW before all further ones have to wait. */
export const MAX_REJECTED_PASSWORDS = 3;

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

interface RejectedPassword {
  /** A digest. */
  readonly password: string;
  /** By the monotonic clock. */
  readonly at: Ms;
  /** When another password of the user was rejected last before it, or had no answer. */
  readonly otherAt: Ms | undefined;
}

/**
 * Which passwords were accepted, and which were rejected last for each user. How long ago that was is measured by the
 * monotonic clock, for a lock does not end when the clock of this machine is set.
 */
export class RejectedLogins {
  readonly #clock: Clock;
  /** By namespace and password. */
  readonly #accepted = new FairLruMap<true>(MAX_USERS);
  /** The last of each user that was rejected, or had no answer. */
  readonly #rejected = new FairLruMap<RejectedPassword>(MAX_USERS);
  /** The last passwords of each user and namespace, the oldest first. */
  readonly #passwords = new FairLruMap<readonly RejectedPassword[]>(MAX_USERS);

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  accepted({ user, password, namespaces }: Login): void {
    for (const namespace of namespaces) {
      this.#accepted.set(keyIn(namespace, password), true, namespace);
      this.#passwords.delete(keyIn(namespace, user));
    }
  }

  /** A login without an answer of the server, which may have rejected it all the same, and have locked the account. */
  unanswered(login: Login): void {
    this.#noteLatest(login);
  }

  /** What this rejection may mean, besides a wrong password. */
  rejected(
    login: RejectedLogin,
    loginHistory: LoginHistory,
  ): Omit<LockoutEvidence, 'isUnreadable'> {
    const { user, password, at, attempts } = login;
    const namespaces = [...login.namespaces];
    const rejected = this.#noteLatest(login);
    const { otherAt } = rejected;
    const sinceOther =
      otherAt === undefined
        ? at - (loginHistory.othersRejectedAt ?? -Infinity)
        : rejected.at - otherAt;
    for (const namespace of namespaces) {
      const others = this.#passwordsOf(namespace, user).filter(
        (other) => other.password !== password,
      );
      const passwords = [...others, rejected].slice(-MAX_REJECTED_PASSWORDS);
      this.#passwords.set(keyIn(namespace, user), passwords, namespace);
    }
    return {
      count: attempts,
      worked: loginHistory.hasWorked || namespaces.some((each) => this.#isAccepted(each, password)),
      followedRejection: sinceOther < LOCKOUT_WINDOW,
    };
  }

  /**
   * Too many other passwords of the user were rejected for the namespace: how long this one has to wait. Undefined when
   * it may be presented now, as one that has been accepted before, and one that was rejected and has rules of its own.
   */
  waitOf({
    user,
    password,
    namespace,
  }: Omit<Login, 'namespaces'> & { readonly namespace: string }): Ms | undefined {
    if (this.#isAccepted(namespace, password)) return undefined;
    const end = this.#clock.monotonic() - LOCKOUT_WINDOW;
    const rejected = this.#passwordsOf(namespace, user).filter(({ at }) => at > end);
    const isKnown = rejected.some((each) => each.password === password);
    const [oldest] = rejected;
    const isFew = rejected.length < MAX_REJECTED_PASSWORDS;
    if (isKnown || isFew || oldest === undefined) return undefined;
    return oldest.at - end;
  }

  #noteLatest({ user, password, namespaces }: Login): RejectedPassword {
    const last = this.#rejected.get(user);
    const otherAt = last?.password === password ? last.otherAt : last?.at;
    const latest = { password, at: this.#clock.monotonic(), otherAt };
    for (const namespace of namespaces) this.#rejected.set(user, latest, namespace);
    return latest;
  }

  #passwordsOf(namespace: string, user: string): readonly RejectedPassword[] {
    return this.#passwords.get(keyIn(namespace, user)) ?? [];
  }

  /** For that namespace: of another one it would tell which of many guesses is right, without a login. */
  #isAccepted(namespace: string, password: string): boolean {
    return this.#accepted.get(keyIn(namespace, password)) === true;
  }
}

const keyIn = (namespace: string, digest: string): string => `${namespace}/${digest}`;
