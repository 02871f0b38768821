/** The settings of a Keycloak realm export that this server implements. Seconds, unless the name has another unit. */
export type RealmSettings = {
  enabled: boolean;
  sslRequired: 'all' | 'external' | 'none';
  notBefore: number;
  accessTokenLifespan: number;
  ssoSessionIdleTimeout: number;
  ssoSessionMaxLifespan: number;
  revokeRefreshToken: boolean;
  refreshTokenMaxReuse: number;
  bruteForceProtected: boolean;
  bruteForceStrategy: 'MULTIPLE' | 'LINEAR';
  permanentLockout: boolean;
  failureFactor: number;
  waitIncrementSeconds: number;
  maxFailureWaitSeconds: number;
  maxDeltaTimeSeconds: number;
  quickLoginCheckMilliSeconds: number;
  minimumQuickLoginWaitSeconds: number;
};

export type Client = {
  clientId: string;
  enabled: boolean;
  publicClient: boolean;
  bearerOnly: boolean;
  clientAuthenticatorType: string;
  secret: string;
  serviceAccountsEnabled: boolean;
  directAccessGrantsEnabled: boolean;
  consentRequired: boolean;
  notBefore: number;
  defaultClientScopes: readonly string[];
  optionalClientScopes: readonly string[];
  attributes: Readonly<Record<string, string>>;
};

export type User = {
  id: string;
  username: string;
  enabled: boolean;
  email: string;
  emailVerified: boolean;
  firstName: string;
  lastName: string;
  requiredActions: readonly string[];
  realmRoles: readonly string[];
  credentials: readonly { type: string; value: string; temporary?: boolean }[];
  notBefore: number;
  serviceAccountClientId?: string;
};

export type ClientRepresentation = Partial<Client> & { clientId: string };
export type UserRepresentation = Partial<User> & { username: string };

/** The shape of a Keycloak realm export; keys that are not listed are ignored. */
export type RealmRepresentation = Partial<RealmSettings> & {
  realm: string;
  clients?: readonly ClientRepresentation[];
  users?: readonly UserRepresentation[];
};

export const DEFAULT_SETTINGS: RealmSettings = {
  enabled: true,
  sslRequired: 'external',
  notBefore: 0,
  accessTokenLifespan: 300,
  ssoSessionIdleTimeout: 1800,
  ssoSessionMaxLifespan: 36_000,
  revokeRefreshToken: false,
  refreshTokenMaxReuse: 0,
  bruteForceProtected: false,
  bruteForceStrategy: 'MULTIPLE',
  permanentLockout: false,
  failureFactor: 30,
  waitIncrementSeconds: 60,
  maxFailureWaitSeconds: 900,
  maxDeltaTimeSeconds: 43_200,
  quickLoginCheckMilliSeconds: 1000,
  minimumQuickLoginWaitSeconds: 60,
};

export const DEFAULT_CLIENT: Omit<Client, 'clientId'> = {
  enabled: true,
  publicClient: false,
  bearerOnly: false,
  clientAuthenticatorType: 'client-secret',
  secret: '',
  serviceAccountsEnabled: false,
  directAccessGrantsEnabled: false,
  consentRequired: false,
  notBefore: 0,
  defaultClientScopes: ['profile', 'email'],
  optionalClientScopes: ['address', 'phone', 'organization', 'microprofile-jwt', 'offline_access'],
  attributes: {},
};

export const newUser = (username: string, id: string): User => ({
  id,
  username,
  enabled: true,
  email: '',
  emailVerified: false,
  firstName: '',
  lastName: '',
  requiredActions: [],
  realmRoles: [],
  credentials: [],
  notBefore: 0,
});
