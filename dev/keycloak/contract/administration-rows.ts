import { expect } from '@jest/globals';
import type { Client } from '../dialect/realm.ts';
import { claimsOf, clientCredentials, type Lab, password, refresh } from './lab.ts';
import { empty, leaving, revoking } from './logout-rows.ts';
import {
  CLIENT_UNKNOWN,
  type ExpectedError,
  GARBAGE,
  ID,
  logoutError,
  NO_CONSENT,
  NO_PASSWORDS,
  NOT_ACTIVE,
  REALM_DISABLED,
  type Row,
  row,
  SESSION,
  STALE,
  tokenError,
  tokens,
  USER_DISABLED,
} from './rows.ts';

export const bruteForceRows = (rejected: ExpectedError): Row[] => [
  tokenError(
    'the right password of a locked user',
    async (lab) => {
      await lab.backend.clearBruteForce('guarded');
      await lab.fail('guarded', 3);
      return lab.token(password, 'guarded');
    },
    rejected,
  ),
  row(
    'one try less does not lock',
    async (lab) => {
      await lab.backend.clearBruteForce('guarded');
      await lab.fail('guarded', 2);
      return lab.token(password, 'guarded');
    },
    ({ status }) => expect(status).toBe(200),
  ),
  row(
    'success resets the count',
    async (lab) => {
      await lab.backend.clearBruteForce('guarded');
      for (let round = 0; round < 2; round += 1) {
        await lab.fail('guarded', 2);
        await lab.token(password, 'guarded');
        expect(await lab.backend.failures('guarded', 'api-user')).toBe(0);
      }
      return lab.token(password, 'guarded');
    },
    ({ status }) => expect(status).toBe(200),
  ),
  row(
    'a lock touches neither sessions nor the client',
    async (lab) => {
      await lab.backend.clearBruteForce('guarded');
      const token = await lab.login('guarded');
      await lab.fail('guarded', 3);
      expect((await lab.token(clientCredentials, 'guarded')).status).toBe(200);
      return lab.token(refresh(token), 'guarded');
    },
    ({ status }) => expect(status).toBe(200),
  ),
  tokenError(
    'two quick failures lock long before the limit',
    async (lab) => {
      await lab.fail('quick', 2);
      return lab.token(password, 'quick');
    },
    rejected,
  ),
  tokenError(
    'a permanent lock looks like a wrong password',
    async (lab) => {
      await lab.fail('permanent', 3);
      return lab.token(password, 'permanent');
    },
    rejected,
  ),
];

/** Runs `act` after the change and undoes the change. */
async function during<T>(change: Promise<void>, act: () => Promise<T>, undo: () => Promise<void>) {
  await change;
  try {
    return await act();
  } finally {
    await undo();
  }
}

/** Runs `act` while the client `app` of the realm `changing` is changed. */
async function whileClient<T>(lab: Lab, changes: Partial<Client>, act: () => Promise<T>) {
  const clientId = 'app';
  const usual = {
    clientId,
    enabled: true,
    notBefore: 0,
    consentRequired: false,
    directAccessGrantsEnabled: true,
  };
  return during(lab.backend.updateClient('changing', { clientId, ...changes }), act, () =>
    lab.backend.updateClient('changing', usual),
  );
}

const whileRealmIsDisabled = <T>(lab: Lab, act: () => Promise<T>): Promise<T> =>
  during(lab.backend.updateRealm('changing', { enabled: false }), act, () =>
    lab.backend.updateRealm('changing', { enabled: true }),
  );

export const CHANGES: Row[] = [
  tokenError(
    'user disabled in a session',
    async (lab) => {
      const token = await lab.login('changing');
      return during(
        lab.backend.updateUser('changing', { username: 'api-user', enabled: false }),
        () => lab.token(refresh(token), 'changing'),
        () => lab.backend.updateUser('changing', { username: 'api-user', enabled: true }),
      );
    },
    USER_DISABLED,
  ),
  tokens(
    'a disabled user does not lose the session',
    async (lab) => {
      const token = await lab.login('changing');
      await during(
        lab.backend.updateUser('changing', { username: 'api-user', enabled: false }),
        () => lab.token(refresh(token), 'changing'),
        () => lab.backend.updateUser('changing', { username: 'api-user', enabled: true }),
      );
      return lab.token(refresh(token), 'changing');
    },
    { ...ID, ...SESSION },
  ),
  tokenError(
    'client disabled in a session',
    async (lab) => {
      const token = await lab.login('changing');
      return during(
        lab.backend.updateClient('changing', { clientId: 'app', enabled: false }),
        () => lab.token(refresh(token), 'changing'),
        () => lab.backend.updateClient('changing', { clientId: 'app', enabled: true }),
      );
    },
    CLIENT_UNKNOWN,
  ),
  row(
    'secret changed: the old one is refused, the refresh token stays good for the new one',
    async (lab) => {
      const form = refresh(await lab.login('changing'));
      return during(
        lab.backend.updateClient('changing', { clientId: 'app', secret: 'newer' }),
        async () => {
          const old = await lab.token(form, 'changing');
          expect(old).toMatchObject({ status: 401, body: { error: 'unauthorized_client' } });
          return lab.token({ ...form, client_secret: 'newer' }, 'changing');
        },
        () => lab.backend.updateClient('changing', { clientId: 'app', secret: 'known' }),
      );
    },
    ({ status }) => expect(status).toBe(200),
  ),
  tokenError(
    'realm disabled in a session',
    async (lab) => {
      const token = await lab.login('changing');
      return during(
        lab.backend.updateRealm('changing', { enabled: false }),
        () => lab.token(refresh(token), 'changing'),
        () => lab.backend.updateRealm('changing', { enabled: true }),
      );
    },
    REALM_DISABLED,
  ),
  tokenError(
    'a refresh token from before not-before',
    async (lab) => {
      const token = await lab.login('changing');
      const notBefore = Number(claimsOf(token)['iat']) + 1;
      return during(
        lab.backend.updateRealm('changing', { notBefore }),
        () => lab.token(refresh(token), 'changing'),
        () => lab.backend.updateRealm('changing', { notBefore: 0 }),
      );
    },
    STALE,
  ),
  row(
    'not-before is announced with the next token',
    (lab) =>
      during(
        lab.backend.updateRealm('changing', { notBefore: 1_700_000_000 }),
        () => lab.token(clientCredentials, 'changing'),
        () => lab.backend.updateRealm('changing', { notBefore: 0 }),
      ),
    ({ body }) => expect(body).toMatchObject({ 'not-before-policy': 1_700_000_000 }),
  ),
  tokenError(
    'the user was logged out by an administrator',
    async (lab) => {
      const token = await lab.login('changing');
      await lab.backend.logoutUser('changing', 'api-user');
      return lab.token(refresh(token), 'changing');
    },
    NOT_ACTIVE,
  ),
  row(
    "not-before-policy follows the user's own instant",
    async (lab) => {
      await lab.backend.logoutUser('changing', 'api-user');
      return lab.token(password, 'changing');
    },
    ({ body }) => expect(body['not-before-policy']).toBeGreaterThan(1_700_000_000),
  ),
  row(
    'all were logged out: session over, not-before moved, a new login works',
    async (lab) => {
      const token = await lab.login('changing');
      await lab.backend.logoutAll('changing');
      expect((await lab.token(refresh(token), 'changing')).body['error']).toBe('invalid_grant');
      return lab.token(clientCredentials, 'changing');
    },
    ({ body }) => expect(body['not-before-policy']).toBeGreaterThan(1_700_000_000),
  ),
  tokenError(
    'a refresh token from before the not-before of the client',
    async (lab) => {
      const token = await lab.login('changing');
      const notBefore = Number(claimsOf(token)['iat']) + 1;
      return whileClient(lab, { notBefore }, () => lab.token(refresh(token), 'changing'));
    },
    STALE,
  ),
  row(
    "not-before-policy follows the client's own instant",
    (lab) =>
      whileClient(lab, { notBefore: 2_000_000_000 }, () =>
        lab.token(clientCredentials, 'changing'),
      ),
    ({ body }) => expect(body).toMatchObject({ 'not-before-policy': 2_000_000_000 }),
  ),
  tokenError(
    'consent is required during a session',
    async (lab) => {
      const token = await lab.login('changing');
      return whileClient(lab, { consentRequired: true }, () =>
        lab.token(refresh(token), 'changing'),
      );
    },
    NO_CONSENT,
  ),
  tokens(
    'a failure for lack of consent does not use up the token',
    async (lab) => {
      const token = await lab.login('changing');
      await whileClient(lab, { consentRequired: true }, () =>
        lab.token(refresh(token), 'changing'),
      );
      return lab.token(refresh(token), 'changing');
    },
    { ...ID, ...SESSION, 'not-before-policy': expect.any(Number) },
  ),
  tokens(
    'direct access grants switched off in a session change nothing',
    async (lab) => {
      const token = await lab.login('changing');
      return whileClient(lab, { directAccessGrantsEnabled: false }, () =>
        lab.token(refresh(token), 'changing'),
      );
    },
    { ...ID, ...SESSION, 'not-before-policy': expect.any(Number) },
  ),
  tokens(
    'an action required of the user changes nothing in a session',
    async (lab) => {
      const token = await lab.login('changing');
      const actions = (requiredActions: string[]) =>
        lab.backend.updateUser('changing', { username: 'api-user', requiredActions });
      return during(
        actions(['UPDATE_PASSWORD']),
        () => lab.token(refresh(token), 'changing'),
        () => actions([]),
      );
    },
    { ...ID, ...SESSION, 'not-before-policy': expect.any(Number) },
  ),
  logoutError(
    'client disabled: logout',
    async (lab) => {
      const token = await lab.login('changing');
      return whileClient(lab, { enabled: false }, () => lab.logout(leaving(token), 'changing'));
    },
    CLIENT_UNKNOWN,
  ),
  row(
    'user disabled: logout',
    async (lab) => {
      const token = await lab.login('changing');
      return during(
        lab.backend.updateUser('changing', { username: 'api-user', enabled: false }),
        () => lab.logout(leaving(token), 'changing'),
        () => lab.backend.updateUser('changing', { username: 'api-user', enabled: true }),
      );
    },
    empty(204),
  ),
  row(
    'realm disabled: logout',
    async (lab) => {
      const token = await lab.login('changing');
      return whileRealmIsDisabled(lab, () => lab.logout(leaving(token), 'changing'));
    },
    empty(204),
  ),
  logoutError(
    'realm disabled: revoke',
    async (lab) => {
      const token = await lab.login('changing');
      return whileRealmIsDisabled(lab, () => lab.revoke(revoking(token), 'changing'));
    },
    REALM_DISABLED,
  ),
  tokenError(
    'the keys of the realm changed',
    async (lab) => {
      const token = await lab.login('other-keys');
      await lab.backend.changeKeys('other-keys');
      expect((await lab.token(password, 'other-keys')).status).toBe(200);
      return lab.token(refresh(token), 'other-keys');
    },
    GARBAGE,
  ),
  tokenError(
    'one session for each user: the next login ends the oldest',
    async (lab) => {
      await lab.backend.limitSessions('one-session', 'Terminate oldest session');
      const token = await lab.login('one-session');
      const newest = await lab.login('one-session');
      expect((await lab.token(refresh(newest), 'one-session')).status).toBe(200);
      return lab.token(refresh(token), 'one-session');
    },
    NOT_ACTIVE,
  ),
  row(
    'one session for each user and no more',
    async (lab) => {
      await lab.backend.limitSessions('one-session-only', 'Deny new session');
      await lab.login('one-session-only');
      return lab.token(password, 'one-session-only');
    },
    (response) =>
      expect(response).toMatchObject({
        status: 403,
        type: 'json',
        cacheControl: 'no-store',
        body: { error: 'There are too many sessions' },
      }),
  ),
  tokenError(
    'a client policy forbids passwords',
    async (lab) => {
      await lab.backend.forbidPasswords('no-passwords');
      expect((await lab.token(clientCredentials, 'no-passwords')).status).toBe(200);
      return lab.token({ ...password, password: 'wrong' }, 'no-passwords');
    },
    NO_PASSWORDS,
  ),
  tokenError(
    'the user was deleted',
    async (lab) => {
      const token = await lab.login('changing');
      await lab.backend.deleteUser('changing', 'api-user');
      return lab.token(refresh(token), 'changing');
    },
    NOT_ACTIVE,
  ),
];
