/** The identity provider as a process of its own, told what to do by messages of its parent. Ends with it. */
import { startConvercus } from '../convercus/convercus.ts';
import type { LegacyAccount } from '../convercus/legacy-login.ts';
import type { Realm } from '../keycloak/dialect/realm.ts';
import type { LiveSession, Order } from './provider.ts';

const provider = await startConvercus({ logLimit: 2_000_000 });
/** The faults, by name. */
const switchOff = new Map<string, () => void>();

process.on('message', ({ id, order }: { id: number; order: Order }) => {
  process.send?.({ id, response: carryOut(order) });
});
process.on('disconnect', () => process.exit(0));
process.send?.({ url: provider.url });

function carryOut(order: Order): unknown {
  switch (order.do) {
    case 'realm':
      provider.realms.add(order.realm);
      return undefined;
    case 'settings':
      provider.realms.get(order.realm).update(order.settings);
      return undefined;
    case 'fault':
      switchOff.set(order.name ?? '', provider.faults.add(order.fault));
      return undefined;
    case 'client':
      provider.realms.get(order.realm).putClient(order.client);
      return undefined;
    case 'user':
      provider.realms.get(order.realm).putUser(order.user);
      return undefined;
    case 'account':
      putAccount(order.account);
      return undefined;
    case 'legacy-lifespan':
      provider.legacy.lifespan = order.seconds;
      return undefined;
    case 'end-sessions':
      endSessions(provider.realms.get(order.realm), order.usernames);
      return undefined;
    case 'log-out-all':
      provider.realms.get(order.realm).logoutAll();
      return undefined;
    case 'sessions':
      return [...provider.realms.get(order.realm).sessions.values()].map(
        ({ id, user: { username }, started, lastRefresh }): LiveSession => ({
          id,
          username,
          started,
          lastRefresh,
        }),
      );
    case 'well':
      switchOff.get(order.name)?.();
      return undefined;
    case 'entries':
      return provider.log.entries;
    case 'requests':
      return provider.log.entries.map(({ time, realm, clientId, status }) => ({
        time,
        realm,
        clientId,
        status,
      }));
    case 'forget':
      provider.log.clear();
      return undefined;
    case 'cpu': {
      const { user, system } = process.cpuUsage();
      return (user + system) / 1e6;
    }
    case 'count':
      return Object.values(provider.log.counts()).reduce((sum, count) => sum + count, 0);
  }
}

function putAccount(account: LegacyAccount): void {
  const { accounts } = provider.legacy;
  const isSame = ({ org, userName }: LegacyAccount) =>
    org === account.org && userName === account.userName;
  const at = accounts.findIndex(isSame);
  accounts.splice(at < 0 ? accounts.length : at, 1, account);
}

/** As a server does that has lost them: nothing is revoked. */
function endSessions({ sessions }: Realm, usernames: readonly string[]): void {
  for (const { id, user } of sessions.values())
    if (usernames.includes(user.username)) sessions.delete(id);
}
