import { Failure } from '../lib/failure.ts';
import type { Sensitive } from '../lib/sensitive.ts';
import type { EpochMs } from '../lib/time.ts';
import { type HttpResponse, jsonBody, textMember } from './http-response.ts';
import { failureFromResponse, isOAuthError, type TokenRequestContext } from './token-errors.ts';

/** What ends a session (Keycloak's logout endpoint with a refresh token, or RFC 7009). */
export interface LogoutRequest {
  readonly environment: string;
  readonly realm: string;
  readonly clientId: string;
  readonly clientSecret: Sensitive;
  readonly refreshToken: Sensitive;
}

/** `unknown-endpoint`: this server has no logout of this kind, so revoke instead. */
export type LogoutResult = 'ended' | 'unknown-endpoint' | Failure;

type LogoutResponseContext = TokenRequestContext & { readonly receivedAt: EpochMs };

/** Logging out what has ended already is a success: Keycloak answers 204 again, 400 `invalid_grant`, or 200 with an error. */
export function processLogoutResponse(
  response: HttpResponse,
  request: LogoutResponseContext,
): LogoutResult {
  const { status } = response;
  if (status >= 200 && status < 300) return 'ended';
  if (textMember(jsonBody(response), 'error') === 'invalid_grant') return 'ended';
  const isElsewhere = (status === 404 || status === 405) && !isOAuthError(jsonBody(response));
  const isRealmGone = /^realm does not exist/i.test(textMember(jsonBody(response), 'error') ?? '');
  if (isElsewhere) return isRealmGone ? 'ended' : 'unknown-endpoint';
  return failureFromResponse(response, request);
}
