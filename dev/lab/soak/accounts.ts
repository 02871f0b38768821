import { generateKeyPairSync, randomBytes, randomUUID } from 'node:crypto';
import { abcRealm } from '../../convercus/realm.ts';
import type { Realm } from '../../keycloak/realm-file.ts';

export type Grant = 'client_credentials' | 'password';

/** One credential: what its Secret holds. Every value can be told from all others wherever it turns up. */
export interface Account {
  readonly name: string;
  readonly clientId: string;
  readonly clientSecret: string;
  readonly username: string;
  readonly password: string;
}

export const NAMESPACE = 'shop';
export const REALM = 'abc-staging';

const canary = (what: string): string => `canary-${what}-${randomUUID()}`;

/**
 * Users of one client each for the password grant; for client credentials a client each, for those who share a
 * client share their tokens as well.
 */
export function accountsFor(grant: Grant, count: number, prefix = 'loyalty'): Account[] {
  const shared = canary('secret');
  return Array.from({ length: count }, (_, index) => {
    const name = `${prefix}-${index + 1}`;
    const own = grant === 'client_credentials';
    return {
      name,
      clientId: own ? name : 'machine-2-machine',
      clientSecret: own ? canary('secret') : shared,
      username: canary('user'),
      password: canary('password'),
    };
  });
}

/** The realm of these accounts, which keeps its keys when the server loses everything else. */
export async function realmOf(
  accounts: readonly Account[],
  settings: Record<string, unknown>,
): Promise<Realm> {
  const { clients, users, ...realm } = await abcRealm('', '');
  const client = firstOf(clients);
  const user = firstOf(users);
  const secrets = new Map(accounts.map(({ clientId, clientSecret }) => [clientId, clientSecret]));
  return {
    ...realm,
    realm: REALM,
    clients: [...secrets].map(([clientId, secret]) => ({ ...client, clientId, secret })),
    users: accounts.map(({ username, password }) => ({
      ...user,
      username,
      email: `${username}@example.test`,
      credentials: [{ type: 'password', value: password, temporary: false }],
    })),
    components: { 'org.keycloak.keys.KeyProvider': ownKeys() },
    ...settings,
  };
}

const firstOf = (list: unknown): object => Object(Array.isArray(list) ? list[0] : undefined);

/** With keys of its own a realm takes its tokens for valid again after an import into an empty server. */
function ownKeys(): object[] {
  const { privateKey } = generateKeyPairSync('rsa', {
    modulusLength: 2048,
    publicKeyEncoding: { type: 'spki', format: 'pem' },
    privateKeyEncoding: { type: 'pkcs8', format: 'pem' },
  });
  const secret = (bytes: number) => ({
    kid: [randomUUID()],
    secret: [randomBytes(bytes).toString('base64url')],
  });
  return [
    { name: 'rsa', providerId: 'rsa', config: { privateKey: [privateKey], algorithm: ['RS256'] } },
    { name: 'hmac', providerId: 'hmac-generated', config: { ...secret(64), algorithm: ['HS512'] } },
    { name: 'aes', providerId: 'aes-generated', config: secret(16) },
  ].map((key) => ({ ...key, subComponents: {}, config: { priority: ['100'], ...key.config } }));
}

export const sourceOf = ({ name, clientSecret, username, password }: Account): object => ({
  apiVersion: 'v1',
  kind: 'Secret',
  metadata: { name: `${name}-source`, namespace: NAMESPACE },
  stringData: { client_secret: clientSecret, username, password },
});

export const credentialOf = (
  { name, clientId }: Account,
  grantType: Grant,
  environment = 'staging',
): object => ({
  apiVersion: 'convercus.io/v1alpha1',
  kind: 'ConvercusCredential',
  metadata: { name, namespace: NAMESPACE },
  spec: {
    program: 'ABC',
    environment,
    realm: REALM,
    grantType,
    clientId,
    credentialsSecretRef: { name: `${name}-source` },
  },
});
