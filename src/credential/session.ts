import type { Failure } from '../lib/failure.ts';
import type { Sensitive } from '../lib/sensitive.ts';
import { type EpochMs, type Ms, seconds } from '../lib/time.ts';
import type { PasswordRequest, RefreshRequest } from '../oauth/grants.ts';
import type { RefreshToken, Token } from '../oauth/token.ts';
import type { Credential } from './credential.ts';

/** Where a session lives and who may end it; also what a log-out needs when the credential is gone. */
export interface SessionOrigin {
  /** Of the ConvercusCredential that logged in. */
  readonly credentialUid: string;
  readonly environment: string;
  readonly realm: string;
  readonly tokenUrl: string;
  readonly clientId: string;
  /** A refresh may not ask for more than the login did. */
  readonly scope: string;
  /** Where the client secret was read. */
  readonly source: { readonly name: string; readonly key: string };
}

/** The session is over: its refresh token must never be sent again. */
export const isSessionOver = ({ kind }: Failure): boolean =>
  kind === 'SessionEnded' || kind === 'RefreshTokenReused';

/** One login at the provider and the newest refresh token of it. */
export interface Session extends SessionOrigin {
  readonly refreshToken: Sensitive;
  readonly username: Sensitive;
  /** Version of the credentials Secret whose password was accepted. */
  readonly credentialsVersion: string;
  readonly startedAt: EpochMs;
  /** Undefined: never. */
  readonly refreshExpiresAt: EpochMs | undefined;
  /** The session's maximum was seen to bind, so the next login is planned for this moment. */
  readonly reauthenticateAt: EpochMs | undefined;
  /** The longest validity of an access token that this session has given. */
  readonly maxTokenLifetime: Ms;
}

/** Answers of one session differ by so much without meaning anything: servers count in whole seconds. */
const TOLERANCE: Ms = seconds(2);

/** Undefined when the server gave no refresh token: then each renewal is a login. */
export function sessionFromLogin(
  credential: Credential,
  { username }: PasswordRequest,
  { token, sourceVersion }: { readonly token: Token; readonly sourceVersion: string },
): Session | undefined {
  if (token.refreshToken === undefined) return undefined;
  return {
    ...originOf(credential),
    username,
    credentialsVersion: sourceVersion,
    refreshToken: token.refreshToken.value,
    startedAt: token.issuedAt,
    refreshExpiresAt: token.refreshToken.expiresAt,
    reauthenticateAt: undefined,
    maxTokenLifetime: token.expiresAt - token.issuedAt,
  };
}

/** The session after a refresh. Its end tells which limit binds: one that moves slides with use, one that stays is the maximum. */
export function sessionAfterRefresh(session: Session, token: Token): Session {
  const { value, expiresAt } = token.refreshToken ?? sameToken(session);
  return {
    ...session,
    refreshToken: value,
    refreshExpiresAt: expiresAt,
    reauthenticateAt: isSame(expiresAt, session.refreshExpiresAt)
      ? (session.reauthenticateAt ??
        reauthenticationDate(session.startedAt, expiresAt, token.jitter))
      : undefined,
    maxTokenLifetime: Math.max(session.maxTokenLifetime, token.expiresAt - token.issuedAt),
  };
}

const sameToken = ({ refreshToken, refreshExpiresAt }: Session): RefreshToken => ({
  value: refreshToken,
  expiresAt: refreshExpiresAt,
});

const isSame = (a: EpochMs | undefined, b: EpochMs | undefined): a is EpochMs =>
  a !== undefined && b !== undefined && Math.abs(a - b) <= TOLERANCE;

/** At a random point between 80 and 90 % of the session, so that those who logged in together do not do so again. */
const reauthenticationDate = (startedAt: EpochMs, end: EpochMs, jitter: number): EpochMs =>
  Math.round(startedAt + (end - startedAt) * (0.85 + 0.05 * jitter));

const originOf = (credential: Credential): SessionOrigin => ({
  credentialUid: credential.uid,
  environment: credential.environment.name,
  realm: credential.realm,
  tokenUrl: credential.tokenUrl,
  clientId: credential.clientId,
  scope: credential.scope,
  source: { name: credential.source.name, key: credential.source.keys.clientSecret },
});

/** The session belongs to this user of this client, so that its refresh token speaks for the credential. */
export function isSessionOf(
  session: Session,
  credential: Credential,
  { username }: PasswordRequest,
): boolean {
  return (
    session.credentialUid === credential.uid &&
    session.tokenUrl === credential.tokenUrl &&
    session.clientId === credential.clientId &&
    session.scope === credential.scope &&
    session.username.reveal() === username.reveal()
  );
}

export const isRefreshable = ({ refreshExpiresAt }: Session, now: EpochMs): boolean =>
  refreshExpiresAt === undefined || now < refreshExpiresAt - TOLERANCE;

/**
 * Time to log in afresh although the session still lives: near its maximum the server gives ever shorter tokens,
 * and renewing those would go on ever faster.
 */
export function isReauthenticationDue(
  { reauthenticateAt, refreshExpiresAt, maxTokenLifetime }: Session,
  now: EpochMs,
) {
  if (reauthenticateAt === undefined || refreshExpiresAt === undefined) return false;
  return now >= reauthenticateAt || refreshExpiresAt - now < maxTokenLifetime - TOLERANCE;
}

export const refreshRequest = (
  { refreshToken }: Session,
  { environment, realm, tokenUrl, clientId, scope, clientSecret }: PasswordRequest,
): RefreshRequest => ({
  grantType: 'refresh_token',
  environment,
  realm,
  tokenUrl,
  clientId,
  scope,
  clientSecret,
  refreshToken,
});
