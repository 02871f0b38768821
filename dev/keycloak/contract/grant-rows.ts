import { expect } from '@jest/globals';
import { claimsOf, clientCredentials, machine, ODD, password } from './lab.ts';
import {
  ASSERTION_WANTED,
  about,
  as,
  basic,
  CLIENT_UNKNOWN,
  DPOP_WANTED,
  DUPLICATED,
  GRANT_MISSING,
  GRANT_UNKNOWN,
  ID,
  MTLS_WANTED,
  NO_OFFLINE,
  NO_REALM,
  NOT_SET_UP,
  prose,
  REALM_DISABLED,
  type Row,
  refused,
  row,
  type Said,
  SCOPE_NOPE,
  SECRET_REFUSED,
  SESSION,
  sorted,
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
        azp: 'machine-2-machine',
        typ: 'Bearer',
        sub: expect.stringMatching(/^[0-9a-f-]{36}$/),
        preferred_username: 'service-account-machine-2-machine',
      });
      expect(Number(claims['exp']) - Number(claims['iat'])).toBe(1800);
      expect(String(body['access_token']).length).toBeGreaterThan(1100);
      expect(sorted(body['scope'])).toBe('email openid profile');
    },
  ),
  refused(
    'wrong secret',
    (lab) => lab.token({ ...clientCredentials, client_secret: 'wrong' }),
    SECRET_REFUSED,
  ),
  refused(
    'no secret',
    (lab) => lab.token(without(clientCredentials, 'client_secret')),
    SECRET_REFUSED,
  ),
  refused('unknown client', (lab) => lab.token(as('unknown')), CLIENT_UNKNOWN),
  refused(
    'no client_id',
    (lab) => lab.token(without(clientCredentials, 'client_id')),
    CLIENT_UNKNOWN,
  ),
  refused('client disabled', (lab) => lab.token(as('disabled')), CLIENT_UNKNOWN),
  refused('bearer-only client', (lab) => lab.token(as('bearer')), [
    400,
    'invalid_client',
    'Bearer-only not allowed',
  ]),
  refused('public client', (lab) => lab.token(as('public')), [
    401,
    'unauthorized_client',
    'Public client not allowed to retrieve service account',
  ]),
  refused('service accounts off', (lab) => lab.token(as('no-service-account')), [
    401,
    'unauthorized_client',
    'Client not enabled to retrieve service account',
  ]),
  refused('service account disabled', (lab) => lab.token(as('service-account-off')), [
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
  tokens('a client that asks for refresh tokens', (lab) => lab.token(as('session-keeper')), {
    ...ID,
    ...SESSION,
  }),
  tokens(
    'session max below the lifespan cuts the token',
    (lab) => lab.token(clientCredentials, 'ending'),
    { ...ID, expires_in: about(10), refresh_expires_in: 0 },
  ),
  refused('unknown scope', (lab) => lab.token({ ...clientCredentials, scope: 'openid nope' }), [
    400,
    'invalid_scope',
    'Invalid scopes: openid nope',
  ]),
  refused('empty scope', (lab) => lab.token({ ...clientCredentials, scope: '' }), [
    400,
    'invalid_scope',
    'Invalid scopes: ',
  ]),
  refused(
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
    'a client whose tokens live for no time',
    (lab) => lab.token(as('no-time')),
    ({ body }) => {
      expect(body).toMatchObject({ refresh_expires_in: 0 });
      // What is left when the answer is written: -1 after the turn of a second
      expect([0, -1]).toContain(body['expires_in']);
      const { iat, exp } = claimsOf(body['access_token']);
      expect(exp).toBe(iat);
    },
  ),
  refused('a certificate is wanted', (lab) => lab.token(as('mtls')), MTLS_WANTED),
  refused('a DPoP proof is wanted', (lab) => lab.token(as('dpop')), DPOP_WANTED),
  refused(
    'the secret is checked before the certificate',
    (lab) => lab.token({ ...as('mtls'), client_secret: 'wrong' }),
    SECRET_REFUSED,
  ),
  refused(
    'the secret is checked before the proof',
    (lab) => lab.token({ ...as('dpop'), client_secret: 'wrong' }),
    SECRET_REFUSED,
  ),
  refused(
    'the scope is checked before the certificate',
    (lab) => lab.token({ ...as('mtls'), scope: 'nope' }),
    SCOPE_NOPE,
  ),
  refused(
    'the proof is checked before the scope',
    (lab) => lab.token({ ...as('dpop'), scope: 'nope' }),
    DPOP_WANTED,
  ),
  refused('a signed assertion is wanted', (lab) => lab.token(as('signed')), ASSERTION_WANTED),
  refused('a certified client', (lab) => lab.token(as('certified')), CLIENT_UNKNOWN),
  refused(
    'service account deleted',
    async (lab) => {
      await lab.backend.deleteUser('one-session', 'service-account-machine-2-machine');
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
  refused(
    'Basic authentication with a stray percent sign',
    (lab) => lab.token({ grant_type: 'client_credentials' }, 'plain', basic('odd:a%zz')),
    [400, 'unauthorized_client', 'Unexpected error when authenticating client'],
  ),
  tokens(
    'Basic authentication',
    (lab) =>
      lab.token({ grant_type: 'client_credentials' }, 'plain', basic('machine-2-machine:known')),
    { refresh_expires_in: 0 },
  ),
  tokens(
    'the form wins over Basic authentication',
    (lab) => lab.token(clientCredentials, 'plain', basic('machine-2-machine:wrong')),
    { ...ID, refresh_expires_in: 0 },
  ),
];

export const REQUEST: Row[] = [
  prose('unknown realm', (lab) => lab.token(clientCredentials, 'nowhere'), NO_REALM),
  prose('realm in upper case', (lab) => lab.token(clientCredentials, 'PLAIN'), NO_REALM),
  row(
    'a page for those who ask for HTML',
    (lab) => lab.token(clientCredentials, 'nowhere', { accept: 'text/html' }),
    (response) => expect(response).toMatchObject({ status: 404, type: 'html' }),
  ),
  prose('wrong path in a realm', (lab) => lab.post('/realms/plain/nope', clientCredentials), [
    404,
    'HTTP 404 Not Found',
  ]),
  prose(
    'path of an old installation',
    (lab) => lab.post('/auth/realms/plain/protocol/openid-connect/token', clientCredentials),
    [404, 'Unable to find matching target resource method'],
  ),
  prose('unknown protocol', (lab) => lab.post('/realms/plain/protocol/nope/token', ''), [
    404,
    'Protocol not found',
  ]),
  prose('a semicolon in the path', (lab) => lab.token(clientCredentials, 'plain;a=b'), [
    400,
    'invalidCharacter',
  ]),
  prose('GET', (lab) => lab.ask('/realms/plain/protocol/openid-connect/token', { method: 'GET' }), [
    405,
    'HTTP 405 Method Not Allowed',
  ]),
  refused('realm disabled', (lab) => lab.token(clientCredentials, 'disabled'), REALM_DISABLED),
  refused('HTTP where HTTPS is required', (lab) => lab.token(clientCredentials, 'https'), [
    403,
    'invalid_request',
    'HTTPS required',
  ]),
  refused(
    'realm is checked before the grant type',
    (lab) => lab.token('', 'disabled'),
    REALM_DISABLED,
  ),
  refused('no grant type', (lab) => lab.token(machine), GRANT_MISSING),
  refused(
    'a JSON body',
    (lab) =>
      lab.token(JSON.stringify(clientCredentials), 'plain', { 'content-type': 'application/json' }),
    GRANT_MISSING,
  ),
  refused(
    'unknown grant type',
    (lab) => lab.token({ ...clientCredentials, grant_type: 'nope' }),
    GRANT_UNKNOWN,
  ),
  refused(
    'grant type is checked before the client',
    (lab) => lab.token({ grant_type: 'nope', client_id: 'unknown' }),
    GRANT_UNKNOWN,
  ),
  refused('a parameter twice', (lab) => lab.token(twice(clientCredentials, 'scope')), DUPLICATED),
  refused(
    'the client_id twice',
    (lab) => lab.token(twice(clientCredentials, 'client_id')),
    DUPLICATED,
  ),
  refused(
    'client is checked before doubles',
    (lab) => lab.token(twice({ ...clientCredentials, client_secret: 'wrong' }, 'scope')),
    SECRET_REFUSED,
  ),
  prose(
    'a stray percent sign',
    (lab) => lab.token('grant_type=client_credentials&client_id=a&client_secret=a%zz'),
    [500, 'unknown_error'],
  ),
  row(
    'discovery',
    (lab) => lab.ask('/realms/plain/.well-known/openid-configuration', { method: 'GET' }),
    (response) => {
      expect(response).toMatchObject({ status: 200, type: 'json' });
      expect(response.body['token_endpoint']).toMatch(
        /\/realms\/plain\/protocol\/openid-connect\/token$/,
      );
    },
  ),
];

export const passwordRows = (rejected: Said): Row[] => [
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
  refused(
    'a line break after the password',
    (lab) => lab.token({ ...password, password: 'right\n' }),
    rejected,
  ),
  refused(
    'the proof is checked before the password',
    (lab) => lab.token({ ...password, client_id: 'dpop', password: 'wrong' }),
    DPOP_WANTED,
  ),
  refused(
    'the password is checked before the certificate',
    (lab) => lab.token({ ...password, client_id: 'mtls', password: 'wrong' }),
    rejected,
  ),
  refused(
    'offline access without the role',
    (lab) => lab.token({ ...password, scope: 'openid offline_access' }),
    NO_OFFLINE,
  ),
  refused('wrong password', (lab) => lab.token({ ...password, password: 'wrong' }), rejected),
  refused('no password', (lab) => lab.token(without(password, 'password')), rejected),
  refused('unknown user', (lab) => lab.token({ ...password, username: 'unknown' }), rejected),
  refused('empty user name', (lab) => lab.token({ ...password, username: '' }), rejected),
  refused(
    'a service account',
    (lab) => lab.token({ ...password, username: 'service-account-machine-2-machine' }),
    rejected,
  ),
  refused('no user name', (lab) => lab.token(without(password, 'username')), [
    401,
    'invalid_request',
    'Missing parameter: username',
  ]),
  refused('user disabled', (lab) => lab.token({ ...password, username: 'disabled' }), [
    400,
    'invalid_grant',
    'Account disabled',
  ]),
  refused(
    'user disabled, wrong password',
    (lab) => lab.token({ ...password, username: 'disabled', password: 'wrong' }),
    rejected,
  ),
  ...['must-act', 'nameless', 'without-email'].map((username) =>
    refused(
      `account not set up: ${username}`,
      (lab) => lab.token({ ...password, username }),
      NOT_SET_UP,
    ),
  ),
  refused(
    'direct access grants off',
    (lab) => lab.token({ ...password, client_id: 'no-direct-grants' }),
    [400, 'unauthorized_client', 'Client not allowed for direct access grants'],
  ),
  refused('consent required', (lab) => lab.token({ ...password, client_id: 'consent' }), [
    400,
    'invalid_client',
    'Client requires user consent',
  ]),
  refused(
    'wrong client secret',
    (lab) => lab.token({ ...password, client_secret: 'wrong' }),
    SECRET_REFUSED,
  ),
  refused(
    'scope is checked before the user',
    (lab) => lab.token({ ...password, password: 'wrong', scope: 'nope' }),
    SCOPE_NOPE,
  ),
];
