import { describe, expect, it } from '@jest/globals';
import * as fc from 'fast-check';
import {
  isReauthenticationDue,
  isRefreshable,
  isSessionOf,
  type Session,
  sessionAfterRefresh,
  sessionFromLogin,
} from '../../src/credential/session.ts';
import { sessionFrom, sessionSecretFrom } from '../../src/credential/session-secret.ts';
import { Sensitive } from '../../src/lib/sensitive.ts';
import { type EpochMs, hours, type Ms, minutes, seconds } from '../../src/lib/time.ts';
import type { PasswordRequest } from '../../src/oauth/grants.ts';
import type { Token } from '../../src/oauth/token.ts';
import { aParsedCredential, aToken, CANARY, START } from '../support/builders.ts';

const CREDENTIAL = aParsedCredential({ spec: { grantType: 'password' } });
const VALIDITY = minutes(5);

const request = (username = `${CANARY}-user`): PasswordRequest => ({
  grantType: 'password',
  environment: 'staging',
  realm: 'abc-staging',
  tokenUrl: CREDENTIAL.tokenUrl,
  clientId: 'machine-2-machine',
  scope: 'openid',
  clientSecret: new Sensitive('secret'),
  username: new Sensitive(username),
  password: new Sensitive('password'),
});

const tokenAt = (now: EpochMs, refreshExpiresAt?: EpochMs, validity = VALIDITY): Token =>
  aToken({
    issuedAt: now,
    expiresAt: now + validity,
    refreshToken: { value: new Sensitive(`${CANARY}-refresh-${now}`), expiresAt: refreshExpiresAt },
  });

const sessionOf = (token: Token): Session => {
  const session = sessionFromLogin(CREDENTIAL, request(), { token, sourceVersion: 'uid/1' });
  if (session === undefined) throw new Error('no session');
  return session;
};

/** A login, and refreshes every four minutes, each with the end that `endAt` says. */
function used(length: Ms, endAt: (now: EpochMs) => EpochMs): Session {
  let session = sessionOf(tokenAt(START, endAt(START)));
  for (let now = START + minutes(4); now <= START + length; now += minutes(4)) {
    session = sessionAfterRefresh(session, tokenAt(now, endAt(now)));
  }
  return session;
}

describe('a session', () => {
  it('is left out of backups: a restored one would present a used refresh token', () => {
    const { labels } = sessionSecretFrom(CREDENTIAL, sessionOf(tokenAt(START)), 'absent');
    expect(labels['velero.io/exclude-from-backup']).toBe('true');
  });

  it('is none when the server gives no refresh token', () => {
    const login = { token: aToken(), sourceVersion: 'uid/1' };
    expect(sessionFromLogin(CREDENTIAL, request(), login)).toBeUndefined();
  });

  it('comes back from its Secret as it went in', () => {
    fc.assert(
      fc.property(
        fc.string({ minLength: 1 }),
        fc.option(fc.integer({ min: START, max: START + hours(999) }), { nil: undefined }),
        (text, end) => {
          const session = {
            ...sessionOf(tokenAt(START, end)),
            refreshToken: new Sensitive(text),
            username: new Sensitive(text),
          };
          const { data, type = '' } = sessionSecretFrom(CREDENTIAL, session, 'absent');
          const found = sessionFrom({ data: new Map(Object.entries(data)), type });
          expect(found).toEqual(session);
          expect(found?.refreshToken.reveal()).toBe(text);
        },
      ),
    );
  });

  it.each([
    ['no key', {}],
    ['no JSON', { refresh_token: 'x', username: 'x', 'session.json': '{' }],
    ['no start', { refresh_token: 'x', username: 'x', 'session.json': '{"longest":1}' }],
    ['no longest', { refresh_token: 'x', username: 'x', 'session.json': '{"startedAt":1}' }],
    ['no refresh token', { username: 'x', 'session.json': '{"startedAt":1,"longest":1}' }],
  ])('is none in a Secret with %s', (_, data) => {
    const entries = Object.entries(data).map(
      ([key, value]) => [key, new Sensitive(value)] as const,
    );
    expect(sessionFrom({ data: new Map(entries), type: 'convercus.io/session' })).toBeUndefined();
  });

  it('is none in a Secret of another type', () => {
    const { data } = sessionSecretFrom(CREDENTIAL, sessionOf(tokenAt(START)), 'absent');
    const found = { data: new Map(Object.entries(data)), type: 'Opaque' };
    expect(sessionFrom(found)).toBeUndefined();
  });

  it('shows nothing secret but in the values of its Secret', () => {
    const { data: _, ...rest } = sessionSecretFrom(CREDENTIAL, sessionOf(tokenAt(START)), 'absent');
    expect(JSON.stringify(rest)).not.toContain(CANARY);
    expect(rest).not.toHaveProperty('owner');
  });

  it.each<[string, Partial<Session>, boolean]>([
    ['who logged in', {}, true],
    ['another incarnation of the credential', { credentialUid: 'x' }, false],
    ['another realm', { tokenUrl: 'https://auth.test/x' }, false],
    ['another client', { clientId: 'x' }, false],
    ['another scope', { scope: 'openid more' }, false],
    ['another user', { username: new Sensitive('x') }, false],
  ])('speaks for %s: %j', (_, changes, expected) => {
    const session = { ...sessionOf(tokenAt(START)), ...changes };
    expect(isSessionOf(session, CREDENTIAL, request())).toBe(expected);
  });

  it('can be refreshed until just before its end, and for ever without one', () => {
    const session = sessionOf(tokenAt(START, START + hours(1)));
    expect(isRefreshable(session, START + hours(1) - seconds(2) - 1)).toBe(true);
    expect(isRefreshable(session, START + hours(1) - seconds(2))).toBe(false);
    expect(isRefreshable({ ...session, refreshExpiresAt: undefined }, START + hours(9999))).toBe(
      true,
    );
  });

  it('keeps the newest refresh token, or the last when the server sends none', () => {
    const session = used(minutes(4), () => START + hours(1));
    expect(session.refreshToken.reveal()).toBe(`${CANARY}-refresh-${START + minutes(4)}`);
    const after = sessionAfterRefresh(session, aToken());
    expect(after.refreshToken).toBe(session.refreshToken);
    expect(after.refreshExpiresAt).toBe(session.refreshExpiresAt);
  });
});

describe('the next login', () => {
  it('is not planned for a session that slides with use', () => {
    const session = used(hours(2), (now) => now + minutes(30));
    expect(session.reauthenticateAt).toBeUndefined();
    expect(isReauthenticationDue(session, START + hours(2))).toBe(false);
  });

  it('is planned for some time between 80 and 90 % of a session with a maximum', () => {
    const end = START + hours(1);
    const second = (now: EpochMs) => end + (now % 3 === 0 ? 0 : seconds(1));
    fc.assert(
      fc.property(fc.double({ min: -1, max: 1, noNaN: true }), (jitter) => {
        const first = sessionOf(tokenAt(START, end));
        const token = { ...tokenAt(START + minutes(4), second(START)), jitter };
        const { reauthenticateAt = 0 } = sessionAfterRefresh(first, token);
        const share = (reauthenticateAt - START) / hours(1);
        return share >= 0.799 && share <= 0.901;
      }),
    );
  });

  it('stays where it was planned', () => {
    const end = () => START + hours(1);
    expect(used(minutes(40), end).reauthenticateAt).toBe(used(minutes(4), end).reauthenticateAt);
  });

  it('is due at its moment, or when a refresh would bring a cut token', () => {
    const session = used(minutes(4), () => START + hours(1));
    const { reauthenticateAt = 0 } = session;
    expect(isReauthenticationDue(session, reauthenticateAt - 1)).toBe(false);
    expect(isReauthenticationDue(session, reauthenticateAt)).toBe(true);
    const short = {
      ...session,
      refreshExpiresAt: START + minutes(10),
      reauthenticateAt: START + minutes(9),
    };
    expect(isReauthenticationDue(short, START + minutes(4))).toBe(false);
    expect(isReauthenticationDue(short, START + minutes(6))).toBe(true);
  });

  it('is no longer planned when the session slides after all', () => {
    const session = used(minutes(4), () => START + hours(1));
    const after = sessionAfterRefresh(session, tokenAt(START + minutes(8), START + hours(2)));
    expect(after.reauthenticateAt).toBeUndefined();
  });
});
