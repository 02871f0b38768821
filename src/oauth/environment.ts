import { Failure } from '../lib/failure.ts';
import { sanitize } from '../lib/sensitive.ts';

/** One Convercus environment, as the administrator configured it. Tenants name it; they never write a URL. */
export interface Environment {
  readonly name: string;
  /** Realm pattern with `{program}`. */
  readonly realm: string;
  /** Token endpoint with `{realm}`. */
  readonly tokenUrl: string;
  /** Legacy login endpoint. */
  readonly loginUrl: string;
  readonly apiUrl: string;
  readonly insecureHttp: boolean;
  /** PEM file with additional trust, or empty. */
  readonly caFile: string;
}

export type Environments = ReadonlyMap<string, Environment>;

/** What Convercus publishes (API Authentication page): the two environments that every program has. */
export const BUILT_IN_ENVIRONMENTS: readonly Environment[] = [
  {
    name: 'staging',
    realm: '{program}-staging',
    tokenUrl: 'https://auth-staging.convercus.io/realms/{realm}/protocol/openid-connect/token',
    loginUrl: 'https://staging.convercus.io/auth/login',
    apiUrl: 'https://staging.convercus.io',
    insecureHttp: false,
    caFile: '',
  },
  {
    name: 'production',
    realm: '{program}',
    tokenUrl: 'https://auth.convercus.io/realms/{realm}/protocol/openid-connect/token',
    loginUrl: 'https://api.convercus.io/auth/login',
    apiUrl: 'https://api.convercus.io',
    insecureHttp: false,
    caFile: '',
  },
];

export const realmOf = (environment: Environment, program: string): string =>
  environment.realm.replaceAll('{program}', program.toLowerCase());

export const tokenUrlOf = (environment: Environment, realm: string): string =>
  environment.tokenUrl.replaceAll('{realm}', encodeURIComponent(realm));

/** Names those that everybody has. Which others there are is between the administrator and who may use them. */
export const unknownEnvironment = (name: string): Failure =>
  new Failure(
    'InvalidSpec',
    `spec.environment "${sanitize(name, [])}" is not configured; ` +
      `use ${BUILT_IN_ENVIRONMENTS.map(({ name }) => name).join(', ')} or another one that the administrator of the operator has configured`,
  );
