import type { Failure } from '../lib/failure.ts';
import type { Sensitive } from '../lib/sensitive.ts';
import type { EpochMs, Ms } from '../lib/time.ts';
import { clientIdOf, type PasswordRequest, type RefreshRequest } from '../oauth/grants.ts';
import { type RefreshToken, ROUNDING, type Token } from '../oauth/token.ts';
import type { Credential } from './credential.ts';

/** Where a session was started: all that a log-out needs, even when the credential is gone. */
export interface SessionOrigin {
  /** Of the ConvercusCredential that logged in. */
  readonly credentialUid: string;
  readonly environment: string;
  readonly realm: string;
  readonly tokenUrl: string;
  /** Sensitive when it comes from the credentials Secret. */
  readonly clientId: string | Sensitive;
  /** A refresh may not ask for more than the login did. */
  readonly scope: string;
  /** Where the client secret was read, and the client id if it is not that of the spec. */
  readonly source: { readonly name: string; readonly key: string; readonly clientIdKey?: string };
}

/** The session is over: its refresh token must never be sent again. */
export const isSessionOver = ({ kind }: Pick<Failure, 'kind'>): boolean =>
  kind === 'SessionEnded' || kind === 'RefreshTokenReused';

/** One login at the provider, with its newest refresh token. */
export interface Session extends SessionOrigin {
  readonly refreshToken: Sensitive;
  readonly username: Sensitive;
  /** Version of the credentials Secret whose password was accepted. */
  readonly credentialsVersion: string;
  readonly startedAt: EpochMs;
  /** Undefined: never. */
  readonly refreshExpiresAt: EpochMs | undefined;
  /** The next login, planned once SSO Session Max was seen to limit the session. */
  readonly reauthenticateAt: EpochMs | undefined;
  /** Longest validity of an access token of this session so far. */
  readonly maxTokenLifetime: Ms;
}

/** Undefined when the server gave no refresh token: then each renewal is a login. */
export function sessionFromLogin(
  credential: Credential,
  { username, clientId }: PasswordRequest,
  { token, sourceVersion }: { readonly token: Token; readonly sourceVersion: string },
): Session | undefined {
  if (token.refreshToken === undefined) return undefined;
  return {
    ...originOf(credential),
    clientId,
    username,
    credentialsVersion: sourceVersion,
    refreshToken: token.refreshToken.value,
    startedAt: token.issuedAt,
    refreshExpiresAt: token.refreshToken.expiresAt,
    reauthenticateAt: undefined,
    maxTokenLifetime: token.expiresAt - token.issuedAt,
  };
}

/** If the refresh token's expiry moves, SSO Session Idle limits the session; if it stays, SSO Session Max does. */
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
  a !== undefined && b !== undefined && Math.abs(a - b) <= ROUNDING;

/** Random between 80 and 90 % of the session, so that credentials that logged in together spread. */
const reauthenticationDate = (startedAt: EpochMs, end: EpochMs, jitter: number): EpochMs =>
  Math.round(startedAt + (end - startedAt) * (0.85 + 0.05 * jitter));

function originOf(credential: Credential): Omit<SessionOrigin, 'clientId'> {
  const { name, keys } = credential.source;
  const clientId = keys.clientId === undefined ? {} : { clientIdKey: keys.clientId };
  return {
    credentialUid: credential.uid,
    environment: credential.environment.name,
    realm: credential.realm,
    tokenUrl: credential.tokenUrl,
    scope: credential.scope,
    source: { name, key: keys.clientSecret, ...clientId },
  };
}

/** The session is of the credential's user and client, so its refresh token may be used for the credential. */
export function isSessionOf(
  session: Session,
  credential: Credential,
  request: PasswordRequest,
): boolean {
  return (
    session.credentialUid === credential.uid &&
    session.tokenUrl === credential.tokenUrl &&
    clientIdOf(session) === clientIdOf(request) &&
    session.scope === credential.scope &&
    session.username.reveal() === request.username.reveal()
  );
}

export const isRefreshable = ({ refreshExpiresAt }: Session, now: EpochMs): boolean =>
  refreshExpiresAt === undefined || now < refreshExpiresAt - ROUNDING;

/**
 * A new login is due although the session is not over: near SSO Session Max tokens get ever shorter, so they would be
 * renewed ever more often.
 */
export function isReauthenticationDue(
  { reauthenticateAt, refreshExpiresAt, maxTokenLifetime }: Session,
  now: EpochMs,
) {
  if (reauthenticateAt === undefined || refreshExpiresAt === undefined) return false;
  return now >= reauthenticateAt || refreshExpiresAt - now < maxTokenLifetime - ROUNDING;
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
