import { expect } from '@jest/globals';
import { clientCredentials, machine, type ParsedResponse, refresh } from './lab.ts';
import {
  CLIENT_UNKNOWN,
  GARBAGE,
  logoutError,
  MISMATCH,
  NOT_ACTIVE,
  type Row,
  row,
  SECRET_REFUSED,
  tokenError,
} from './rows.ts';

export const empty =
  (status: number) =>
  (response: ParsedResponse): void =>
    expect(response).toMatchObject({ status, type: 'none', text: '' });
const unknownToken = (response: ParsedResponse): void =>
  expect(response).toMatchObject({ status: 200, type: 'json', body: { error: 'invalid_token' } });
export const leaving = (token: string): Record<string, string> => ({
  ...machine,
  refresh_token: token,
});
export const revoking = (token: string): Record<string, string> => ({ ...machine, token });

export const LOGOUT: Row[] = [
  row('ends the session', async (lab) => lab.logout(leaving(await lab.login())), empty(204)),
  row(
    'says the same when repeated',
    async (lab) => {
      const form = leaving(await lab.login());
      await lab.logout(form);
      return lab.logout(form);
    },
    empty(204),
  ),
  tokenError(
    'refresh after logout',
    async (lab) => {
      const token = await lab.login();
      await lab.logout(leaving(token));
      return lab.token(refresh(token));
    },
    NOT_ACTIVE,
  ),
  tokenError(
    'a used token ends the session too',
    async (lab) => {
      const first = await lab.login();
      const newest = await lab.renew(first);
      await lab.logout(leaving(first));
      return lab.token(refresh(newest));
    },
    NOT_ACTIVE,
  ),
  row(
    'leaves other sessions of the user alone',
    async (lab) => {
      const other = await lab.login();
      await lab.logout(leaving(await lab.login()));
      return lab.token(refresh(other));
    },
    ({ status }) => expect(status).toBe(200),
  ),
  row(
    'works after the refresh token has expired',
    async (lab) => {
      const token = await lab.login('idle');
      await lab.backend.elapse(6.5);
      return lab.logout(leaving(token), 'idle');
    },
    empty(204),
  ),
  logoutError('garbage', (lab) => lab.logout(leaving('garbage')), GARBAGE),
  logoutError(
    'another client',
    async (lab) => lab.logout({ ...leaving(await lab.login()), client_id: 'other' }),
    MISMATCH,
  ),
  logoutError(
    'wrong secret',
    async (lab) => lab.logout({ ...leaving(await lab.login()), client_secret: 'wrong' }),
    SECRET_REFUSED,
  ),
  logoutError(
    'unknown client',
    async (lab) => lab.logout({ ...leaving(await lab.login()), client_id: 'unknown' }),
    CLIENT_UNKNOWN,
  ),
  logoutError(
    'an access token',
    async (lab) => {
      const { body } = await lab.token(clientCredentials);
      return lab.logout(leaving(String(body['access_token'])));
    },
    GARBAGE,
  ),
  row(
    'a page without a refresh token',
    (lab) => lab.logout(machine),
    ({ status, type }) => expect({ status, type }).toEqual({ status: 200, type: 'html' }),
  ),
];

export const REVOKE: Row[] = [
  row('ends the session', async (lab) => lab.revoke(revoking(await lab.login())), empty(200)),
  row(
    'says so in the body when repeated',
    async (lab) => {
      const form = revoking(await lab.login());
      await lab.revoke(form);
      return lab.revoke(form);
    },
    unknownToken,
  ),
  tokenError(
    'refresh after it',
    async (lab) => {
      const token = await lab.login();
      await lab.revoke(revoking(token));
      return lab.token(refresh(token));
    },
    NOT_ACTIVE,
  ),
  row(
    'leaves other sessions of the user alone',
    async (lab) => {
      const other = await lab.login();
      await lab.revoke(revoking(await lab.login()));
      return lab.token(refresh(other));
    },
    ({ status }) => expect(status).toBe(200),
  ),
  row('garbage', (lab) => lab.revoke(revoking('garbage')), unknownToken),
  row(
    'an access token',
    async (lab) => {
      const { body } = await lab.token(clientCredentials);
      return lab.revoke(revoking(String(body['access_token'])));
    },
    empty(200),
  ),
  row(
    'with a hint',
    async (lab) => lab.revoke({ ...revoking(await lab.login()), token_type_hint: 'refresh_token' }),
    empty(200),
  ),
  logoutError(
    'wrong secret',
    async (lab) => lab.revoke({ ...revoking(await lab.login()), client_secret: 'wrong' }),
    SECRET_REFUSED,
  ),
  logoutError('no token', (lab) => lab.revoke(machine), [
    400,
    'invalid_request',
    'Token not provided',
  ]),
  logoutError(
    'another client',
    async (lab) => lab.revoke({ ...revoking(await lab.login()), client_id: 'other' }),
    [400, 'invalid_request', 'Unmatching clients'],
  ),
];
