import { generateKeyPairSync, randomBytes, randomUUID } from 'node:crypto';
import { abcRealm } from '../convercus/realm.ts';
import type { Realm } from '../keycloak/realm-file.ts';

export type Grant = 'client_credentials' | 'password';

/** One credential and what its Secret holds. Each value is unique, so that a search for it finds leaks only. */
export interface Account {
  /** `namespace/name` of the ConvercusCredential. */
  readonly key: string;
  readonly namespace: string;
  readonly name: string;
  /** The credentials Secret. */
  readonly secretName: string;
  readonly clientId: string;
  readonly clientSecret: string;
  /** For the password grant. */
  readonly username: string;
  readonly password: string;
}

export interface AccountOptions {
  readonly count: number;
  /** Default: 1. */
  readonly namespaces?: number;
  /** Begins the names of namespaces and realm; default: `abc`. */
  readonly prefix?: string;
  /** Default: client_credentials. */
  readonly grant?: Grant;
  /** Client credentials of one client, and so one token for all; otherwise each has a client of its own. */
  readonly sharesClient?: boolean;
}

const SHARED_CLIENT = 'machine-2-machine';

export const newSecret = (kind: string): string => `canary-${kind}-${randomUUID()}`;

/** Accounts of the password grant share a client: their tokens differ by the user. */
export function accountsFor(options: AccountOptions): Account[] {
  const { count, namespaces = 1, prefix = 'abc', grant = 'client_credentials' } = options;
  const { sharesClient = grant === 'password' } = options;
  const sharedSecret = newSecret('secret');
  return Array.from({ length: count }, (_, i) => {
    const namespace = `${prefix}-${i % namespaces}`;
    const name = `c-${i}`;
    return {
      key: `${namespace}/${name}`,
      namespace,
      name,
      secretName: sharesClient && grant === 'client_credentials' ? 'source' : `source-${i}`,
      clientId: sharesClient ? SHARED_CLIENT : `machine-${i}`,
      clientSecret: sharesClient ? sharedSecret : newSecret('secret'),
      username: grant === 'password' ? newSecret('user') : '',
      password: grant === 'password' ? newSecret('password') : '',
    };
  });
}

/** What its Secret holds. */
export function secretData({ clientSecret, username, password }: Account): Record<string, string> {
  return { client_secret: clientSecret, ...(username === '' ? {} : { username, password }) };
}

/** The realm of these accounts. It has keys of its own, so that it accepts its tokens after a restart of its server. */
export async function realmFor(
  name: string,
  accounts: readonly Account[],
  settings: Readonly<Record<string, unknown>>,
): Promise<Realm> {
  const { clients, users, ...realm } = await abcRealm('', '');
  const client = firstOf(clients);
  const user = firstOf(users);
  const secrets = new Map(accounts.map(({ clientId, clientSecret }) => [clientId, clientSecret]));
  return {
    ...realm,
    realm: name,
    clients: [...secrets].map(([clientId, secret]) => ({ ...client, clientId, secret })),
    users: accounts
      .filter(({ username }) => username !== '')
      .map(({ username, password }) => ({
        ...user,
        username,
        email: `${username}@example.test`,
        credentials: [{ type: 'password', value: password, temporary: false }],
      })),
    components: { 'org.keycloak.keys.KeyProvider': newKeys() },
    ...settings,
  };
}

const firstOf = (list: unknown): object => Object(Array.isArray(list) ? list[0] : undefined);

function newKeys(): object[] {
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
