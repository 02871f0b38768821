import { Failure, isFailure } from '../lib/failure.ts';
import { Sensitive } from '../lib/sensitive.ts';
import type { CredentialsField, GrantRequest } from '../oauth/grants.ts';
import { type Credential, requiredFields, requiredKeys, type SecretField } from './credential.ts';
import type { SecretContents } from './secret.ts';
import { sourceFault } from './source-type.ts';

/** Values of the credentials Secret; those that are not read from it are empty, and the client id is absent. */
export type CredentialsValues = Readonly<Record<CredentialsField, Sensitive>> & {
  readonly clientId?: Sensitive;
};

const FIELD_NAMES: Readonly<Record<SecretField, string>> = {
  clientId: 'the client id',
  clientSecret: 'the client secret',
  username: 'the user name',
  password: 'the password',
  org: 'the organization code',
};

const EMPTY = new Sensitive('');

/** Reads the values that the grant needs. Fails with `InputMissing` or `InputInvalid`, naming Secret and key. */
export function credentialsIn(
  contents: SecretContents,
  credential: Credential,
): CredentialsValues | Failure {
  const fault = sourceFault(contents, credential.source.name);
  if (fault !== undefined) return fault;
  const values: Record<CredentialsField, Sensitive> & { clientId?: Sensitive } = {
    clientSecret: EMPTY,
    username: EMPTY,
    password: EMPTY,
    org: EMPTY,
  };
  for (const [field, key] of requiredFields(credential)) {
    const value = valueAt(contents, credential, { field, key });
    if (isFailure(value)) return value;
    values[field] = value;
  }
  return values;
}

function valueAt(
  contents: SecretContents,
  { source, grantType }: Credential,
  { field, key }: { readonly field: SecretField; readonly key: string },
): Sensitive | Failure {
  const value = contents.data.get(key)?.reveal();
  if (value === undefined || value.trim() === '') {
    const fault = value === undefined ? `has no key "${key}"` : `has an empty key "${key}"`;
    const why = isNeededByGrant(grantType, field) ? `, which grantType ${grantType} needs` : '';
    return new Failure(
      'InputMissing',
      `Secret "${source.name}" ${fault}; put ${FIELD_NAMES[field]} there${why}`,
    );
  }
  const problem = problemWith(value, field);
  if (problem === undefined) return new Sensitive(value);
  return new Failure('InputInvalid', `Key "${key}" of Secret "${source.name}" ${problem}`);
}

const isNeededByGrant = (grantType: Credential['grantType'], field: SecretField): boolean =>
  grantType !== 'client_credentials' && field !== 'clientId';

/**
 * In characters. Keycloak makes client secrets of 32. A shorter one might stand in a response by chance, and whether it
 * does would then show in what is told of that response.
 */
const MIN_CLIENT_SECRET = 8;

/** In characters. Values are kept in memory, and a Secret may hold a megabyte. */
const MAX_VALUE = 16 * 1024;

function problemWith(value: string, field: SecretField): string | undefined {
  const name = FIELD_NAMES[field];
  // What stands for bytes that are no UTF-8 text
  if (value.includes('\ufffd')) return `is not UTF-8 text; put ${name} there as it is`;
  if (value.length > MAX_VALUE) {
    return `has more than ${MAX_VALUE} characters, which is almost certainly not ${name} alone; put only that there`;
  }
  if (/[\r\n]$/.test(value)) {
    return `ends with a line break, which is almost certainly not part of ${name}; write it without one (printf %s, echo -n)`;
  }
  if (field === 'clientSecret' && value.trim().length < MIN_CLIENT_SECRET) {
    return `is shorter than ${MIN_CLIENT_SECRET} characters, which ${name} must not be; ask Convercus for another one`;
  }
  if (field === 'clientId' && !CLIENT_ID.test(value)) {
    return `is no client id; put ${name} there without spaces, at most 255 characters`;
  }
  return undefined;
}

/** The same as for spec.clientId. */
const CLIENT_ID = /^[\x21-\x7e]{1,255}$/;

export function credentialsSecretMissing(credential: Credential): Failure {
  const keys = requiredKeys(credential).map((key) => `"${key}"`);
  const wanted = keys.length === 1 ? `the key ${keys[0]}` : `the keys ${keys.join(', ')}`;
  return new Failure(
    'InputMissing',
    `Secret "${credential.source.name}" does not exist; create it with ${wanted}`,
  );
}

/** The token request of the credential with these values. */
export function requestFrom(credential: Credential, values: CredentialsValues): GrantRequest {
  const { grantType, realm, tokenUrl, scope } = credential;
  const environment = credential.environment.name;
  const { clientId = credential.clientId, clientSecret, username, password } = values;
  const endpoint = { environment, realm, tokenUrl, clientId, scope, clientSecret };
  switch (grantType) {
    case 'client_credentials':
      return { ...endpoint, grantType };
    case 'password':
      return { ...endpoint, grantType, username, password };
    case 'legacy_login':
      return {
        grantType,
        environment,
        loginUrl: tokenUrl,
        org: orgOf(credential, values),
        username,
        password,
      };
  }
}

const orgOf = ({ org }: Credential, values: CredentialsValues): Sensitive =>
  org === undefined ? values.org : new Sensitive(org);
