/** The identity provider in a process of its own. Its parent calls the operations by messages; it ends with its parent. */

import { startConvercus } from '../convercus/convercus.ts';
import type { LegacyAccount } from '../convercus/legacy-login.ts';
import type { Fault } from '../keycloak/dialect/faults.ts';
import type {
  ClientRepresentation,
  RealmRepresentation,
  RealmSettings,
  UserRepresentation,
} from '../keycloak/dialect/realm.ts';

const provider = await startConvercus({ logLimit: 2_000_000 });
const { realms, legacy, faults, log } = provider;
const removals = new Map<string, () => void>();

const operations = {
  addRealm: (realm: RealmRepresentation) => void realms.add(realm),
  updateRealm: (realm: string, settings: Partial<RealmSettings>) =>
    realms.get(realm).update(settings),
  putClient: (realm: string, client: ClientRepresentation) =>
    void realms.get(realm).putClient(client),
  putUser: (realm: string, user: UserRepresentation) => void realms.get(realm).putUser(user),
  /** Replaces the account of the same organization and user name. */
  putLegacyAccount(account: LegacyAccount) {
    const { accounts } = legacy;
    const isSame = ({ org, userName }: LegacyAccount) =>
      org === account.org && userName === account.userName;
    const at = accounts.findIndex(isSame);
    accounts.splice(at < 0 ? accounts.length : at, 1, account);
  },
  setLegacyLifespan(seconds: number) {
    legacy.lifespan = seconds;
  },
  /** Times in seconds since 1970, as Keycloak keeps them. */
  sessions: (realm: string) =>
    [...realms.get(realm).sessions.values()].map(({ id, user, started }) => ({
      id,
      username: user.username,
      started,
    })),
  /** As a server does that has lost them: no token is revoked. */
  endSessions(realm: string, usernames: readonly string[]) {
    const { sessions } = realms.get(realm);
    for (const { id, user } of sessions.values())
      if (usernames.includes(user.username)) sessions.delete(id);
  },
  logoutAll: (realm: string) => realms.get(realm).logoutAll(),
  /** @param name for `removeFault` */
  addFault: (fault: Fault, name = '') => void removals.set(name, faults.add(fault)),
  removeFault: (name: string) => removals.get(name)?.(),
  clearFaults: (): void => faults.clear(),
  /** All requests, as far as they are kept. */
  entries: () => log.entries,
  clearLog: () => log.clear(),
  countRequests: () => Object.values(log.counts()).reduce((sum, count) => sum + count, 0),
};

export type Operations = typeof operations;

export interface Call {
  readonly id: number;
  readonly operation: keyof Operations;
  readonly args: readonly unknown[];
}

process.on('message', ({ id, operation, args }: Call) => {
  process.send?.({ id, result: Reflect.apply(operations[operation], undefined, args) });
});
process.on('disconnect', () => process.exit(0));
process.send?.({ url: provider.url });
