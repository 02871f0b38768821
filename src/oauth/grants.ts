import { Sensitive } from '../lib/sensitive.ts';

/** The grants of spec.grantType: RFC 6749, 4.4 and 4.3, and the login endpoint of older programs. */
export type GrantType = 'client_credentials' | 'password' | 'legacy_login';

/** What a credentials Secret may hold. */
export type CredentialsField = 'clientSecret' | 'username' | 'password' | 'org';

/** What each grant presents, in the order in which missing keys are named. */
export const FIELDS_BY_GRANT: Readonly<Record<GrantType, readonly CredentialsField[]>> = {
  client_credentials: ['clientSecret'],
  password: ['clientSecret', 'username', 'password'],
  legacy_login: ['org', 'username', 'password'],
};

interface ClientRequest {
  /** Name of the environment. */
  readonly environment: string;
  readonly realm: string;
  /** Sensitive when it comes from a Secret. */
  readonly clientId: string | Sensitive;
  readonly clientSecret: Sensitive;
}

interface ScopedRequest extends ClientRequest {
  readonly tokenUrl: string;
  readonly scope: string;
}

/** RFC 6749, 4.4. */
export interface ClientCredentialsRequest extends ScopedRequest {
  readonly grantType: 'client_credentials';
}

/** RFC 6749, 4.3. */
export interface PasswordRequest extends ScopedRequest {
  readonly grantType: 'password';
  readonly username: Sensitive;
  readonly password: Sensitive;
}

/** RFC 6749, 6. */
export interface RefreshRequest extends ScopedRequest {
  readonly grantType: 'refresh_token';
  readonly refreshToken: Sensitive;
}

/** The login endpoint of older programs (vendor page, "Legacy Authentication"). */
export interface LoginRequest {
  readonly grantType: 'legacy_login';
  /** Name of the environment. */
  readonly environment: string;
  readonly loginUrl: string;
  readonly org: Sensitive;
  readonly username: Sensitive;
  readonly password: Sensitive;
}

/** Ends a session: Keycloak's logout endpoint with a refresh token, or RFC 7009. */
export interface LogoutRequest extends ClientRequest {
  readonly refreshToken: Sensitive;
}

/** What a credential of each grant type presents. */
export type GrantRequest = ClientCredentialsRequest | PasswordRequest | LoginRequest;

/** What a token endpoint gets. */
export type EndpointRequest = ClientCredentialsRequest | PasswordRequest | RefreshRequest;

/** Every request for a token. */
export type TokenRequest = EndpointRequest | LoginRequest;

/** The grants of a user, who may be locked out by wrong passwords. */
export const presentsPassword = (
  request: TokenRequest,
): request is PasswordRequest | LoginRequest =>
  request.grantType === 'password' || request.grantType === 'legacy_login';

export const urlOf = (request: TokenRequest): string =>
  request.grantType === 'legacy_login' ? request.loginUrl : request.tokenUrl;

export const clientIdOf = ({ clientId }: Pick<ClientRequest, 'clientId'>): string =>
  typeof clientId === 'string' ? clientId : clientId.reveal();

/** Host and port; the whole text when it is no URL. */
export const hostOf = (url: string): string => (URL.canParse(url) ? new URL(url).host : url);

/** Everything in a request that must not be shown. */
export const secretsOf = (request: TokenRequest | LogoutRequest): readonly Sensitive[] =>
  Object.values(request).filter((value) => value instanceof Sensitive);
