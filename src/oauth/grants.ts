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
