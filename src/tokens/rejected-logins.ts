import { LOCKOUT_WINDOW, type LockoutEvidence, type Rejection } from '../credential/lockout.ts';
import { LruMap } from '../lib/lru-map.ts';
import type { EpochMs } from '../lib/time.ts';

const MAX_USERS = 10_000;

/** What status, target and session say of earlier logins. */
export interface LoginHistory {
  /** What is presented now has been rejected before. */
  readonly rejection?: Rejection;
  /** When another password was rejected for this credential. */
  readonly othersRejectedAt?: EpochMs;
  /** The token or session in place was obtained with what is presented now. */
  readonly hasWorked: boolean;
}

interface RejectedLogin {
  /** Digest of the user. */
  readonly user: string;
  /** Digest of user and password together. */
  readonly password: string;
  readonly at: EpochMs;
  readonly attempts: number;
}

/** Which passwords were accepted, and which was rejected last for each user, for all credentials together. */
export class RejectedLogins {
  readonly #accepted = new LruMap<true>(MAX_USERS);
  readonly #rejected = new LruMap<RejectedLogin>(MAX_USERS);

  accepted(password: string): void {
    this.#accepted.set(password, true);
  }

  /** What this rejection may mean, besides a wrong password. */
  rejected(login: RejectedLogin, loginHistory: LoginHistory): LockoutEvidence {
    const { user, password, at, attempts } = login;
    const last = this.#rejected.get(user);
    const isOther = last !== undefined && last.password !== password;
    const otherRejectedAt = isOther ? last.at : (loginHistory.othersRejectedAt ?? -Infinity);
    this.#rejected.set(user, login);
    return {
      count: attempts,
      worked: loginHistory.hasWorked || this.#accepted.get(password) === true,
      followedRejection: at - otherRejectedAt < LOCKOUT_WINDOW,
    };
  }
}
