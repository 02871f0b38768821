import type {
  ClientRepresentation,
  RealmRepresentation,
  RealmSettings,
  SessionLimit,
  UserRepresentation,
} from '../dialect/realm.ts';

/** A server that has to keep the contract, with what an administrator can do to it. */
export type Backend = {
  readonly url: string;
  createRealm(realm: RealmRepresentation): Promise<void>;
  updateRealm(realm: string, changes: Partial<RealmSettings>): Promise<void>;
  updateClient(realm: string, changes: ClientRepresentation): Promise<void>;
  updateUser(realm: string, changes: UserRepresentation): Promise<void>;
  deleteUser(realm: string, username: string): Promise<void>;
  logoutAll(realm: string): Promise<void>;
  logoutUser(realm: string, username: string): Promise<void>;
  /** The number of failed logins that the server has counted. */
  failures(realm: string, username: string): Promise<number>;
  clearBruteForce(realm: string): Promise<void>;
  /** Makes refresh tokens that were signed before invalid. */
  changeKeys(realm: string): Promise<void>;
  /** At most one session for each user: the next login ends the oldest session, or is denied. */
  limitSessions(realm: string, beyond: SessionLimit): Promise<void>;
  /** Adds a client policy that rejects the password grant. */
  forbidPasswords(realm: string): Promise<void>;
  /** Resolves when that much time has passed on the server. */
  elapse(seconds: number): Promise<void>;
  stop(): Promise<void>;
};
