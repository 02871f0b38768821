import type { Backend } from '../../dev/keycloak/contract/backend.ts';
import { tokenEndpointContract } from '../../dev/keycloak/contract/token-endpoint.contract.ts';
import {
  type IdentityProviderOptions,
  startIdentityProvider,
} from '../../dev/keycloak/dialect/identity-provider.ts';

async function startBackend(
  version: NonNullable<IdentityProviderOptions['version']>,
): Promise<Backend> {
  let ahead = 0;
  const provider = await startIdentityProvider({ version, clock: () => Date.now() + ahead });
  const { realms } = provider;
  return {
    url: provider.url,
    createRealm: async (realm) => void realms.add(realm),
    updateRealm: async (realm, changes) => realms.get(realm).update(changes),
    updateClient: async (realm, changes) => void realms.get(realm).putClient(changes),
    updateUser: async (realm, changes) => void realms.get(realm).putUser(changes),
    deleteUser: async (realm, username) => realms.get(realm).deleteUser(username),
    logoutAll: async (realm) => realms.get(realm).logoutAll(),
    logoutUser: async (realm, username) => realms.get(realm).logoutUser(username),
    failures: async (realm, username) => {
      const id = realms.get(realm).findUser(username)?.id ?? '';
      return realms.get(realm).failures.get(id)?.count ?? 0;
    },
    changeKeys: async (realm) => realms.get(realm).changeKeys(),
    limitSessions: async (realm, beyond) => {
      realms.get(realm).sessionLimit = beyond;
    },
    forbidPasswords: async (realm) => {
      realms.get(realm).forbidsPasswords = true;
    },
    clearBruteForce: async (realm) => realms.get(realm).clearBruteForce(),
    elapse: async (seconds) => {
      ahead += seconds * 1000;
    },
    stop: () => provider.close(),
  };
}

tokenEndpointContract('the dialect, as of Keycloak 26.7', () => startBackend('26.6'));
tokenEndpointContract('the dialect, as of Keycloak 26.5', () => startBackend('26.5'), {
  rejected: 401,
});
