import { setTimeout as pause } from 'node:timers/promises';
import type { Backend } from '../../dev/keycloak/contract/backend.ts';
import { differencesOf, isBefore } from '../../dev/keycloak/contract/differences.ts';
import { tokenEndpointContract } from '../../dev/keycloak/contract/token-endpoint.contract.ts';
import { KeycloakAdmin } from '../../dev/keycloak/server/admin.ts';
import { keycloakVersion } from '../../dev/keycloak/server/distribution.ts';
import { startKeycloak } from '../../dev/keycloak/server/keycloak.ts';

type Server = { url: string; admin: KeycloakAdmin; stop(): Promise<void> };

const fieldsOf = (value: unknown): Record<string, unknown> => {
  if (typeof value !== 'object' || value === null) throw new Error('no such representation');
  return { ...value };
};

/** The server at KEYCLOAK_URL with KEYCLOAK_ADMIN_PASSWORD of user `admin`, if both are set; else a new one. */
async function startServer(): Promise<Server> {
  const { KEYCLOAK_URL: url, KEYCLOAK_ADMIN_PASSWORD: secret } = process.env;
  if (url === undefined || secret === undefined) return startKeycloak();
  return { url, admin: new KeycloakAdmin(url, secret), stop: async () => {} };
}

async function startBackend(): Promise<Backend> {
  const server = await startServer();
  const { url, admin } = server;
  const created = new Set<string>();
  const listOf = async (path: string): Promise<Record<string, unknown>[]> => {
    const found = await admin.get(path);
    return Array.isArray(found) ? found.map(fieldsOf) : [];
  };
  const pathOf = async (list: string, query: string): Promise<string> => {
    const [found] = await listOf(`${list}?${query}`);
    return `${list}/${String(fieldsOf(found)['id'])}`;
  };
  const change = async (path: string, changes: object): Promise<void> => {
    await admin.put(path, { ...fieldsOf(await admin.get(path)), ...changes });
  };
  const user = (realm: string, name: string): Promise<string> =>
    pathOf(`/realms/${realm}/users`, `exact=true&username=${name}`);
  const attacks = (realm: string): string => `/realms/${realm}/attack-detection/brute-force/users`;
  return {
    url,
    createRealm: async (realm) => {
      created.add(realm.realm);
      await admin.post('/realms', realm);
    },
    updateRealm: async (realm, changes) => void (await admin.put(`/realms/${realm}`, changes)),
    updateClient: async (realm, changes) =>
      change(await pathOf(`/realms/${realm}/clients`, `clientId=${changes.clientId}`), changes),
    updateUser: async (realm, changes) => change(await user(realm, changes.username), changes),
    deleteUser: async (realm, name) => void (await admin.delete(await user(realm, name))),
    logoutAll: async (realm) => void (await admin.post(`/realms/${realm}/logout-all`)),
    logoutUser: async (realm, name) => void (await admin.post(`${await user(realm, name)}/logout`)),
    failures: async (realm, name) => {
      const path = await user(realm, name);
      const id = path.slice(path.lastIndexOf('/') + 1);
      return Number(fieldsOf(await admin.get(`${attacks(realm)}/${id}`))['numFailures']);
    },
    changeKeys: async (realm) => {
      const { id } = fieldsOf(await admin.get(`/realms/${realm}`));
      const query = `parent=${String(id)}&type=org.keycloak.keys.KeyProvider`;
      for (const key of await listOf(`/realms/${realm}/components?${query}`)) {
        if (!String(key['providerId']).startsWith('hmac')) continue;
        await admin.delete(`/realms/${realm}/components/${String(key['id'])}`);
      }
    },
    limitSessions: async (realm, behavior) => {
      const flows = `/realms/${realm}/authentication/flows`;
      await admin.post(`${flows}/direct%20grant/copy`, { newName: 'limited' });
      const executions = `${flows}/limited/executions`;
      await admin.post(`${executions}/execution`, { provider: 'user-session-limits' });
      const [limit] = (await listOf(executions)).filter(
        ({ providerId }) => providerId === 'user-session-limits',
      );
      await admin.put(executions, { ...limit, requirement: 'REQUIRED' });
      await admin.post(
        `/realms/${realm}/authentication/executions/${String(limit?.['id'])}/config`,
        { alias: 'one', config: { userRealmLimit: '1', userClientLimit: '0', behavior } },
      );
      await admin.put(`/realms/${realm}`, { directGrantFlow: 'limited' });
    },
    forbidPasswords: async (realm) => {
      const executors = [{ executor: 'reject-ropc-grant', configuration: {} }];
      const conditions = [{ condition: 'any-client', configuration: {} }];
      const profiles = [{ name: 'no-passwords', executors }];
      const policy = { name: 'all', enabled: true, conditions, profiles: ['no-passwords'] };
      await admin.put(`/realms/${realm}/client-policies/profiles`, { profiles });
      await admin.put(`/realms/${realm}/client-policies/policies`, { policies: [policy] });
    },
    clearBruteForce: async (realm) => void (await admin.delete(attacks(realm))),
    elapse: (seconds) => pause(seconds * 1000),
    stop: async () => {
      try {
        for (const realm of created) await admin.delete(`/realms/${realm}`);
      } finally {
        await server.stop();
      }
    },
  };
}

tokenEndpointContract(`a real Keycloak ${keycloakVersion}`, startBackend, {
  rejected: isBefore(keycloakVersion, '26.6') ? 401 : 400,
  differences: differencesOf(keycloakVersion),
});
