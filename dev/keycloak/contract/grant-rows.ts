import { expect } from '@jest/globals';
import { claimsOf, clientCredentials, machine, ODD, password } from './lab.ts';
import {
  ASSERTION_REQUIRED,
  about,
  as,
  basic,
  CLIENT_UNKNOWN,
  DPOP_REQUIRED,
  DUPLICATED,
  type ExpectedError,
  frameworkError,
  GRANT_MISSING,
  GRANT_UNKNOWN,
  ID,
  MTLS_REQUIRED,
  NO_OFFLINE,
  NO_REALM,
  NOT_SET_UP,
  REALM_DISABLED,
  type Row,
  row,
  SCOPE_NOPE,
  SECRET_REFUSED,
  SESSION,
  sorted,
  tokenError,
  tokens,
  twice,
  without,
} from './rows.ts';

export const CLIENT_CREDENTIALS: Row[] = [
  tokens('gives an access token and an id token', (lab) => lab.token(clientCredentials), {
    ...ID,
    refresh_expires_in: 0,
  }),
  tokens(
    'gives no id token without the scope openid',
    (lab) => lab.token(without(clientCredentials, 'scope')),
    { refresh_expires_in: 0 },
  ),
  row(
    'names the service account',
    (lab) => lab.token(clientCredentials),
    ({ body }) => {
      const claims = claimsOf(body['access_token']);
      expect(claims).toMatchObject({
        iss: expect.stringMatching(/\/realms\/plain$/),
        azp: 'app',
        typ: 'Bearer',
        sub: expect.stringMatching(/^[0-9a-f-]{36}$/),
        preferred_username: 'service-account-app',
      });
      expect(Number(claims['exp']) - Number(claims['iat'])).toBe(1800);
      expect(String(body['access_token']).length).toBeGreaterThan(1100);
      expect(sorted(body['scope'])).toBe('email openid profile');
    },
  ),
  tokenError(
    'wrong secret',
    (lab) => lab.token({ ...clientCredentials, client_secret: 'wrong' }),
    SECRET_REFUSED,
  ),
  tokenError(
    'no secret',
    (lab) => lab.token(without(clientCredentials, 'client_secret')),
    SECRET_REFUSED,
  ),
  tokenError('unknown client', (lab) => lab.token(as('unknown')), CLIENT_UNKNOWN),
  tokenError(
    'no client_id',
    (lab) => lab.token(without(clientCredentials, 'client_id')),
    CLIENT_UNKNOWN,
  ),
  tokenError('client disabled', (lab) => lab.token(as('disabled')), CLIENT_UNKNOWN),
  tokenError('bearer-only client', (lab) => lab.token(as('bearer')), [
    400,
    'invalid_client',
    'Bearer-only not allowed',
  ]),
  tokenError('public client', (lab) => lab.token(as('public')), [
    401,
    'unauthorized_client',
    'Public client not allowed to retrieve service account',
  ]),
  tokenError('service accounts off', (lab) => lab.token(as('no-service-account')), [
    401,
    'unauthorized_client',
    'Client not enabled to retrieve service account',
  ]),
  tokenError('service account disabled', (lab) => lab.token(as('service-account-off')), [
    401,
    'invalid_request',
    "User 'service-account-service-account-off' disabled",
  ]),
  tokens('consent required changes nothing', (lab) => lab.token(as('consent')), {
    ...ID,
    refresh_expires_in: 0,
  }),
  tokens('the client sets a lifespan of its own', (lab) => lab.token(as('short')), {
    ...ID,
    expires_in: about(77),
    refresh_expires_in: 0,
  }),
  tokens('a client with use_refresh_token', (lab) => lab.token(as('session-keeper')), {
    ...ID,
    ...SESSION,
  }),
  tokens(
    'session max below the lifespan cuts the token',
    (lab) => lab.token(clientCredentials, 'ending'),
    { ...ID, expires_in: about(10), refresh_expires_in: 0 },
  ),
  tokenError('unknown scope', (lab) => lab.token({ ...clientCredentials, scope: 'openid nope' }), [
    400,
    'invalid_scope',
    'Invalid scopes: openid nope',
  ]),
  tokenError('empty scope', (lab) => lab.token({ ...clientCredentials, scope: '' }), [
    400,
    'invalid_scope',
    'Invalid scopes: ',
  ]),
  tokenError(
    'a line break after the secret',
    (lab) => lab.token({ ...clientCredentials, client_secret: 'known\n' }),
    SECRET_REFUSED,
  ),
  tokens(
    'a secret that needs form encoding',
    (lab) => lab.token({ ...as('odd'), client_secret: ODD }),
    { ...ID, refresh_expires_in: 0 },
  ),
  tokens('a client until session max', (lab) => lab.token(as('until-max')), {
    ...ID,
    expires_in: about(30 * 86_400),
    refresh_expires_in: 0,
  }),
  row(
    'a client whose tokens have a lifespan of 0',
    (lab) => lab.token(as('no-time')),
    ({ body }) => {
      expect(body).toMatchObject({ refresh_expires_in: 0 });
      // Keycloak writes the time that is left: -1 when a second has passed
      expect([0, -1]).toContain(body['expires_in']);
      const { iat, exp } = claimsOf(body['access_token']);
      expect(exp).toBe(iat);
    },
  ),
  tokenError('a certificate is required', (lab) => lab.token(as('mtls')), MTLS_REQUIRED),
  tokenError('a DPoP proof is required', (lab) => lab.token(as('dpop')), DPOP_REQUIRED),
  tokenError(
    'the secret is checked before the certificate',
    (lab) => lab.token({ ...as('mtls'), client_secret: 'wrong' }),
    SECRET_REFUSED,
  ),
  tokenError(
    'the secret is checked before the proof',
    (lab) => lab.token({ ...as('dpop'), client_secret: 'wrong' }),
    SECRET_REFUSED,
  ),
  tokenError(
    'the scope is checked before the certificate',
    (lab) => lab.token({ ...as('mtls'), scope: 'nope' }),
    SCOPE_NOPE,
  ),
  tokenError(
    'the proof is checked before the scope',
    (lab) => lab.token({ ...as('dpop'), scope: 'nope' }),
    DPOP_REQUIRED,
  ),
  tokenError(
    'a signed assertion is required',
    (lab) => lab.token(as('signed')),
    ASSERTION_REQUIRED,
  ),
  tokenError('a certified client', (lab) => lab.token(as('certified')), CLIENT_UNKNOWN),
  tokenError(
    'service account deleted',
    async (lab) => {
      await lab.backend.deleteUser('one-session', 'service-account-app');
      return lab.token(clientCredentials, 'one-session');
    },
    [401, 'invalid_request', 'The associated service account for the client does not exist'],
  ),
  tokens(
    'a client registered for Basic authentication takes a form',
    (lab) => lab.token(as('for-basic')),
    { ...ID, refresh_expires_in: 0 },
  ),
  tokens(
    'Basic authentication, form-encoded',
    (lab) =>
      lab.token(
        { grant_type: 'client_credentials' },
        'plain',
        basic(`odd:${encodeURIComponent(ODD)}`),
      ),
    { refresh_expires_in: 0 },
  ),
  tokenError(
    'Basic authentication with a stray percent sign',
    (lab) => lab.token({ grant_type: 'client_credentials' }, 'plain', basic('odd:a%zz')),
    [400, 'unauthorized_client', 'Unexpected error when authenticating client'],
  ),
  tokens(
    'Basic authentication',
    (lab) => lab.token({ grant_type: 'client_credentials' }, 'plain', basic('app:known')),
    { refresh_expires_in: 0 },
  ),
  tokens(
    'the form wins over Basic authentication',
    (lab) => lab.token(clientCredentials, 'plain', basic('app:wrong')),
    { ...ID, refresh_expires_in: 0 },
  ),
];

export const REQUEST: Row[] = [
  frameworkError('unknown realm', (lab) => lab.token(clientCredentials, 'nowhere'), NO_REALM),
  frameworkError('realm in upper case', (lab) => lab.token(clientCredentials, 'PLAIN'), NO_REALM),
  row(
    'a page when the client accepts HTML',
    (lab) => lab.token(clientCredentials, 'nowhere', { accept: 'text/html' }),
    (response) => expect(response).toMatchObject({ status: 404, type: 'html' }),
  ),
  frameworkError(
    'wrong path in a realm',
    (lab) => lab.post('/realms/plain/nope', clientCredentials),
    [404, 'HTTP 404 Not Found'],
  ),
  frameworkError(
    'path of an old installation',
    (lab) => lab.post('/auth/realms/plain/protocol/openid-connect/token', clientCredentials),
    [404, 'Unable to find matching target resource method'],
  ),
  frameworkError('unknown protocol', (lab) => lab.post('/realms/plain/protocol/nope/token', ''), [
    404,
    'Protocol not found',
  ]),
  frameworkError('a semicolon in the path', (lab) => lab.token(clientCredentials, 'plain;a=b'), [
    400,
    'invalidCharacter',
  ]),
  frameworkError(
    'GET',
    (lab) => lab.send('/realms/plain/protocol/openid-connect/token', { method: 'GET' }),
    [405, 'HTTP 405 Method Not Allowed'],
  ),
  tokenError('realm disabled', (lab) => lab.token(clientCredentials, 'disabled'), REALM_DISABLED),
  tokenError('HTTP where HTTPS is required', (lab) => lab.token(clientCredentials, 'https'), [
    403,
    'invalid_request',
    'HTTPS required',
  ]),
  tokenError(
    'realm is checked before the grant type',
    (lab) => lab.token('', 'disabled'),
    REALM_DISABLED,
  ),
  tokenError('no grant type', (lab) => lab.token(machine), GRANT_MISSING),
  tokenError(
    'a JSON body',
    (lab) =>
      lab.token(JSON.stringify(clientCredentials), 'plain', { 'content-type': 'application/json' }),
    GRANT_MISSING,
  ),
  tokenError(
    'unknown grant type',
    (lab) => lab.token({ ...clientCredentials, grant_type: 'nope' }),
    GRANT_UNKNOWN,
  ),
  tokenError(
    'grant type is checked before the client',
    (lab) => lab.token({ grant_type: 'nope', client_id: 'unknown' }),
    GRANT_UNKNOWN,
  ),
  tokenError(
    'a parameter twice',
    (lab) => lab.token(twice(clientCredentials, 'scope')),
    DUPLICATED,
  ),
  tokenError(
    'the client_id twice',
    (lab) => lab.token(twice(clientCredentials, 'client_id')),
    DUPLICATED,
  ),
  tokenError(
    'client is checked before doubles',
    (lab) => lab.token(twice({ ...clientCredentials, client_secret: 'wrong' }, 'scope')),
    SECRET_REFUSED,
  ),
  frameworkError(
    'a stray percent sign',
    (lab) => lab.token('grant_type=client_credentials&client_id=a&client_secret=a%zz'),
    [500, 'unknown_error'],
  ),
  row(
    'discovery',
    (lab) => lab.send('/realms/plain/.well-known/openid-configuration', { method: 'GET' }),
    (response) => {
      expect(response).toMatchObject({ status: 200, type: 'json' });
      expect(response.body['token_endpoint']).toMatch(
        /\/realms\/plain\/protocol\/openid-connect\/token$/,
      );
    },
  ),
];

export const passwordRows = (rejected: ExpectedError): Row[] => [
  tokens('gives access, refresh and id tokens', (lab) => lab.token(password), {
    ...ID,
    ...SESSION,
  }),
  row(
    'names the user and the session',
    (lab) => lab.token(password),
    ({ body }) => {
      const { session_state: sid } = body;
      expect(claimsOf(body['access_token'])).toMatchObject({ sid, preferred_username: 'api-user' });
      expect(claimsOf(body['refresh_token'])).toMatchObject({ sid, typ: 'Refresh' });
    },
  ),
  tokens(
    'the e-mail address in capitals as user name',
    (lab) => lab.token({ ...password, username: 'API-USER@EXAMPLE.TEST' }),
    { ...ID, ...SESSION },
  ),
  tokens(
    'a password that needs form encoding',
    (lab) => lab.token({ ...password, username: 'odd', password: ODD }),
    { ...ID, ...SESSION },
  ),
  tokens(
    'a client until session max',
    (lab) => lab.token({ ...password, client_id: 'until-max' }),
    { ...ID, ...SESSION, expires_in: about(30 * 86_400) },
  ),
  tokenError(
    'a line break after the password',
    (lab) => lab.token({ ...password, password: 'right\n' }),
    rejected,
  ),
  tokenError(
    'the proof is checked before the password',
    (lab) => lab.token({ ...password, client_id: 'dpop', password: 'wrong' }),
    DPOP_REQUIRED,
  ),
  tokenError(
    'the password is checked before the certificate',
    (lab) => lab.token({ ...password, client_id: 'mtls', password: 'wrong' }),
    rejected,
  ),
  tokenError(
    'offline access without the role',
    (lab) => lab.token({ ...password, scope: 'openid offline_access' }),
    NO_OFFLINE,
  ),
  tokenError('wrong password', (lab) => lab.token({ ...password, password: 'wrong' }), rejected),
  tokenError('no password', (lab) => lab.token(without(password, 'password')), rejected),
  tokenError('unknown user', (lab) => lab.token({ ...password, username: 'unknown' }), rejected),
  tokenError('empty user name', (lab) => lab.token({ ...password, username: '' }), rejected),
  tokenError(
    'a service account',
    (lab) => lab.token({ ...password, username: 'service-account-app' }),
    rejected,
  ),
  tokenError('no user name', (lab) => lab.token(without(password, 'username')), [
    401,
    'invalid_request',
    'Missing parameter: username',
  ]),
  tokenError('user disabled', (lab) => lab.token({ ...password, username: 'disabled' }), [
    400,
    'invalid_grant',
    'Account disabled',
  ]),
  tokenError(
    'user disabled, wrong password',
    (lab) => lab.token({ ...password, username: 'disabled', password: 'wrong' }),
    rejected,
  ),
  ...['must-act', 'nameless', 'without-email'].map((username) =>
    tokenError(
      `account not set up: ${username}`,
      (lab) => lab.token({ ...password, username }),
      NOT_SET_UP,
    ),
  ),
  tokenError(
    'direct access grants off',
    (lab) => lab.token({ ...password, client_id: 'no-direct-grants' }),
    [400, 'unauthorized_client', 'Client not allowed for direct access grants'],
  ),
  tokenError('consent required', (lab) => lab.token({ ...password, client_id: 'consent' }), [
    400,
    'invalid_client',
    'Client requires user consent',
  ]),
  tokenError(
    'wrong client secret',
    (lab) => lab.token({ ...password, client_secret: 'wrong' }),
    SECRET_REFUSED,
  ),
  tokenError(
    'scope is checked before the user',
    (lab) => lab.token({ ...password, password: 'wrong', scope: 'nope' }),
    SCOPE_NOPE,
  ),
];
