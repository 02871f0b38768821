/** The identity provider as a process of its own, told what to do by messages of its parent. Ends with it. */
import { startIdentityProvider } from '../identity-provider/identity-provider.ts';
import type { Order } from './provider.ts';

const provider = await startIdentityProvider({ logLimit: 2_000_000 });

process.on('message', ({ id, order }: { id: number; order: Order }) => {
  process.send?.({ id, answer: carryOut(order) });
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
      provider.faults.add(order.fault);
      return undefined;
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
