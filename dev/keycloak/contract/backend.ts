import type {
  ClientRepresentation,
  RealmRepresentation,
  RealmSettings,
  SessionLimit,
  UserRepresentation,
} from '../dialect/realm.ts';

/** A server under the contract, and the hands that an administrator has on it. */
export type Backend = {
  readonly url: string;
  createRealm(realm: RealmRepresentation): Promise<void>;
  updateRealm(realm: string, changes: Partial<RealmSettings>): Promise<void>;
  updateClient(realm: string, changes: ClientRepresentation): Promise<void>;
  updateUser(realm: string, changes: UserRepresentation): Promise<void>;
  deleteUser(realm: string, username: string): Promise<void>;
  logoutAll(realm: string): Promise<void>;
  logoutUser(realm: string, username: string): Promise<void>;
  /** Failed logins that the server has counted so far. */
  failures(realm: string, username: string): Promise<number>;
  clearBruteForce(realm: string): Promise<void>;
  /** Refresh tokens that were signed before are garbage from now on. */
  changeKeys(realm: string): Promise<void>;
  /** At most one session for each user: the next login ends the oldest, or is denied. */
  limitSessions(realm: string, beyond: SessionLimit): Promise<void>;
  /** A client policy that knows no password grant. */
  forbidPasswords(realm: string): Promise<void>;
  /** Lets time pass on the server. */
  elapse(seconds: number): Promise<void>;
  stop(): Promise<void>;
};
