import { expect } from '@jest/globals';
import { claimsOf, clientCredentials, Lab, machine, password, refresh } from './lab.ts';
import {
  about,
  DETACHED,
  EXPIRED,
  GARBAGE,
  ID,
  MISMATCH,
  OFFLINE_OVER,
  REUSED,
  type Row,
  row,
  SCOPE_NOPE,
  SESSION,
  STALE,
  tokenError,
  tokens,
  without,
} from './rows.ts';

/** Sends a refresh token that is older than one that was used in a later second. */
async function outOfTurn(lab: Lab): Promise<{ oldest: string; newest: string }> {
  const oldest = await lab.login();
  await lab.backend.elapse(1.1);
  const middle = await lab.renew(oldest);
  await lab.backend.elapse(1.1);
  return { oldest, newest: await lab.renew(middle) };
}

/** Two refreshes within the second of the login; repeated until they are, on a slow server. */
async function threeOfOneSecond(lab: Lab): Promise<[string, string, string]> {
  const first = await lab.login();
  const second = await lab.renew(first);
  const third = await lab.renew(second);
  const sameSecond = claimsOf(first)['iat'] === claimsOf(third)['iat'];
  return sameSecond ? [first, second, third] : threeOfOneSecond(lab);
}

export const REFRESH: Row[] = [
  tokens('gives a new refresh token', async (lab) => lab.token(refresh(await lab.login())), {
    ...ID,
    ...SESSION,
  }),
  row(
    'stays in the session',
    async (lab) => {
      const first = await lab.token(password);
      const next = await lab.token(refresh(String(first.body['refresh_token'])));
      expect(next.body['session_state']).toBe(first.body['session_state']);
      expect(next.body['refresh_token']).not.toBe(first.body['refresh_token']);
      return next;
    },
    ({ status }) => expect(status).toBe(200),
  ),
  tokens(
    'keeps the scope of the login whatever is requested',
    async (lab) => lab.token({ ...refresh(await lab.login()), scope: 'profile' }),
    { ...ID, ...SESSION },
  ),
  tokenError(
    'a used token',
    async (lab) => {
      const first = await lab.login();
      await lab.renew(first);
      return lab.token(refresh(first));
    },
    REUSED,
  ),
  tokenError(
    'the newest token after a used one was seen',
    async (lab) => {
      const first = await lab.login();
      const newest = await lab.renew(first);
      await lab.token(refresh(first));
      return lab.token(refresh(newest));
    },
    DETACHED,
  ),
  tokenError(
    'a token older than a used one',
    async (lab) => lab.token(refresh((await outOfTurn(lab)).oldest)),
    STALE,
  ),
  tokenError(
    'the newest token after a stale one was seen',
    async (lab) => {
      const { oldest, newest } = await outOfTurn(lab);
      await lab.token(refresh(oldest));
      return lab.token(refresh(newest));
    },
    DETACHED,
  ),
  tokens(
    'a replay goes unseen while the newest token is of the same second',
    async (lab) => {
      const [first, second, third] = await threeOfOneSecond(lab);
      expect(new Set([first, second, third]).size).toBe(3);
      return lab.token(refresh(first));
    },
    { ...ID, ...SESSION },
  ),
  row(
    'four at once: one is served, the session is lost',
    async (lab) => {
      const form = refresh(await lab.login());
      const responses = await Promise.all([1, 2, 3, 4].map(() => lab.token(form)));
      const [winner, ...more] = responses.filter(({ status }) => status === 200);
      expect(more).toEqual([]);
      return lab.token(refresh(String(winner?.body['refresh_token'])));
    },
    ({ body }) =>
      expect(body).toMatchObject({ error: DETACHED[1], error_description: DETACHED[2] }),
  ),
  tokens(
    'the same token again while rotation is off',
    async (lab) => {
      const first = await lab.login('unrotated');
      await lab.renew(first, 'unrotated');
      return lab.token(refresh(first), 'unrotated');
    },
    { ...ID, ...SESSION },
  ),
  tokens(
    'a second use where one reuse is allowed',
    async (lab) => {
      const first = await lab.login('reuse-once');
      await lab.renew(first, 'reuse-once');
      return lab.token(refresh(first), 'reuse-once');
    },
    { ...ID, ...SESSION },
  ),
  tokenError(
    'a third use where one reuse is allowed',
    async (lab) => {
      const first = await lab.login('reuse-once');
      await lab.renew(first, 'reuse-once');
      await lab.renew(first, 'reuse-once');
      return lab.token(refresh(first), 'reuse-once');
    },
    REUSED,
  ),
  tokenError('no refresh token', (lab) => lab.token(without(refresh(''), 'refresh_token')), [
    400,
    'invalid_request',
    'No refresh token',
  ]),
  tokenError('garbage', (lab) => lab.token(refresh('garbage')), GARBAGE),
  tokenError(
    'an access token',
    async (lab) => {
      const { body } = await lab.token(clientCredentials);
      return lab.token(refresh(String(body['access_token'])));
    },
    GARBAGE,
  ),
  tokenError(
    'a token of another realm',
    async (lab) => lab.token(refresh(await lab.login('unrotated'))),
    GARBAGE,
  ),
  tokenError(
    'a token of another client',
    async (lab) => lab.token({ ...refresh(await lab.login()), client_id: 'other' }),
    MISMATCH,
  ),
  tokenError(
    'unknown scope',
    async (lab) => lab.token({ ...refresh(await lab.login()), scope: 'nope' }),
    SCOPE_NOPE,
  ),
  tokens(
    'a refused secret or scope does not use up the token',
    async (lab) => {
      const form = refresh(await lab.login());
      await lab.token({ ...form, client_secret: 'wrong' });
      await lab.token({ ...form, scope: 'nope' });
      return lab.token(form);
    },
    { ...ID, ...SESSION },
  ),
];

const offline = { ...password, username: 'offline', scope: 'openid offline_access' };
const OFFLINE = { ...SESSION, refresh_expires_in: 0 };

async function goOffline(lab: Lab): Promise<string> {
  const { body } = await lab.token(offline);
  return String(body['refresh_token']);
}

export const OFFLINE_ACCESS: Row[] = [
  tokens('gives a refresh token that does not expire', (lab) => lab.token(offline), {
    ...ID,
    ...OFFLINE,
  }),
  row(
    'names the type of the token and no end',
    (lab) => lab.token(offline),
    ({ body }) => {
      const claims = claimsOf(body['refresh_token']);
      expect(claims).toMatchObject({ typ: 'Offline' });
      expect(claims).not.toHaveProperty('exp');
    },
  ),
  tokens('a refresh gives the next', async (lab) => lab.token(refresh(await goOffline(lab))), {
    ...ID,
    ...OFFLINE,
  }),
  tokenError(
    'a used token',
    async (lab) => {
      const first = await goOffline(lab);
      await lab.renew(first);
      return lab.token(refresh(first));
    },
    REUSED,
  ),
  tokenError(
    'the newest token after a used one was seen',
    async (lab) => {
      const first = await goOffline(lab);
      const newest = await lab.renew(first);
      await lab.token(refresh(first));
      return lab.token(refresh(newest));
    },
    DETACHED,
  ),
  tokenError(
    'after logout',
    async (lab) => {
      const token = await goOffline(lab);
      expect(await lab.logout({ ...machine, refresh_token: token })).toMatchObject({ status: 204 });
      return lab.token(refresh(token));
    },
    OFFLINE_OVER,
  ),
  tokenError(
    'after revoke',
    async (lab) => {
      const token = await goOffline(lab);
      expect(await lab.revoke({ ...machine, token })).toMatchObject({ status: 200 });
      return lab.token(refresh(token));
    },
    OFFLINE_OVER,
  ),
];

export const LIFETIMES: Row[] = [
  tokens('session max binds both tokens', (lab) => lab.token(password, 'ending'), {
    ...ID,
    ...SESSION,
    expires_in: about(10),
    refresh_expires_in: about(10),
  }),
  row(
    'expires_in shrinks towards session max',
    async (lab) => {
      const first = await lab.login('ending');
      await lab.backend.elapse(5);
      return lab.token(refresh(first), 'ending');
    },
    ({ body }) =>
      expect(body).toMatchObject({ expires_in: about(5), refresh_expires_in: about(5) }),
  ),
  tokenError(
    'after session max',
    async (lab) => {
      const first = await lab.login('ending');
      await lab.backend.elapse(11.5);
      return lab.token(refresh(first), 'ending');
    },
    EXPIRED,
  ),
  row(
    'idle time starts again with every refresh',
    async (lab) => {
      const first = await lab.login('idle');
      await lab.backend.elapse(2);
      return lab.token(refresh(first), 'idle');
    },
    // 3 if the idle time did not start again; else 5, or 4 when a second has passed
    ({ body }) => expect(body['refresh_expires_in']).toBeGreaterThan(3),
  ),
  tokenError(
    'after the idle time',
    async (lab) => {
      const first = await lab.login('idle');
      await lab.backend.elapse(6.5);
      return lab.token(refresh(first), 'idle');
    },
    EXPIRED,
  ),
];
