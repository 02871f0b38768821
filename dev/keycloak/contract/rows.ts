import { expect } from '@jest/globals';
import { clientCredentials, type Lab, type ParsedResponse } from './lab.ts';

export type SendRequest = (lab: Lab) => Promise<ParsedResponse>;
/** Status, `error` and `error_description`. */
export type ExpectedError = [number, string, string];
export type Row = { title: string; send: SendRequest; check: (response: ParsedResponse) => void };

export const JWT = /^[\w-]+\.[\w-]+\.[\w-]+$/;
export const WEEK = 604_800;
export const CLIENT = 'Invalid client or Invalid client credentials';
export const USER = 'Invalid user credentials';

export const SECRET_REFUSED: ExpectedError = [401, 'unauthorized_client', CLIENT];
export const CLIENT_UNKNOWN: ExpectedError = [401, 'invalid_client', CLIENT];
export const REALM_DISABLED: ExpectedError = [403, 'access_denied', 'Realm not enabled'];
export const DUPLICATED: ExpectedError = [400, 'invalid_request', 'duplicated parameter'];
export const GRANT_UNKNOWN: ExpectedError = [
  400,
  'unsupported_grant_type',
  'Unsupported grant_type',
];
export const GRANT_MISSING: ExpectedError = [
  400,
  'invalid_request',
  'Missing form parameter: grant_type',
];
export const SCOPE_NOPE: ExpectedError = [400, 'invalid_scope', 'Invalid scopes: nope'];
export const NOT_SET_UP = invalidGrant('Account is not fully set up');
export const USER_DISABLED = invalidGrant('User disabled');
export const EXPIRED = invalidGrant('Token is not active');
export const NOT_ACTIVE = invalidGrant('Session not active');
export const DETACHED = invalidGrant("Session doesn't have required client");
export const REUSED = invalidGrant('Maximum allowed refresh token reuse exceeded');
export const STALE = invalidGrant('Stale token');
export const GARBAGE = invalidGrant('Invalid refresh token');
export const MISMATCH = invalidGrant(
  "Invalid refresh token. Token client and authorized client don't match",
);
export const MTLS_REQUIRED: ExpectedError = [
  400,
  'invalid_request',
  'Client Certification missing for MTLS HoK Token Binding',
];
export const DPOP_REQUIRED: ExpectedError = [400, 'invalid_request', 'DPoP proof is missing'];
export const ASSERTION_REQUIRED: ExpectedError = [
  400,
  'invalid_client',
  'Parameter client_assertion_type is missing',
];
export const NO_CONSENT: ExpectedError = [
  400,
  'invalid_scope',
  'Client no longer has requested consent from user',
];
export const NO_OFFLINE: ExpectedError = [
  400,
  'not_allowed',
  'Offline tokens not allowed for the user or client',
];
export const OFFLINE_OVER = invalidGrant('Offline user session not found');
export const NO_PASSWORDS = invalidGrant(
  'resource owner password credentials grant is prohibited.',
);
export const NO_REALM: [number, string] = [404, 'Realm does not exist'];

export function invalidGrant(description: string): ExpectedError {
  return [400, 'invalid_grant', description];
}

/** Keycloak reports one second less when a second passes between session and token. */
export const about = (seconds: number): unknown => ({
  asymmetricMatch: (value: unknown) => typeof value === 'number' && Math.abs(value - seconds) <= 2,
});
export const sorted = (scope: unknown): string => String(scope).split(' ').sort().join(' ');

export function row(
  title: string,
  send: SendRequest,
  check: (response: ParsedResponse) => void,
): Row {
  return { title, send, check };
}

/** An error response of the token endpoint: JSON that is not cached, with exactly these two fields. */
export function tokenError(
  title: string,
  send: SendRequest,
  [status, error, text]: ExpectedError,
): Row {
  return row(title, send, (response) => {
    expect(response).toMatchObject({ status, type: 'json' });
    expect(response.body).toEqual({ error, error_description: text });
    expect(response.cacheControl).toBe('no-store');
  });
}

/** An error response of the logout or revoke endpoint: the same without cache headers. */
export function logoutError(
  title: string,
  send: SendRequest,
  [status, error, text]: ExpectedError,
): Row {
  return row(title, send, (response) => {
    expect(response).toMatchObject({ status, type: 'json', cacheControl: '' });
    expect(response.body).toEqual({ error, error_description: text });
  });
}

/** An error response of Keycloak's web framework, with a sentence in `error`. */
export function frameworkError(
  title: string,
  send: SendRequest,
  [status, error]: [number, string],
): Row {
  return row(title, send, (response) => {
    expect(response).toMatchObject({ status, type: 'json', cacheControl: '', body: { error } });
  });
}

export function tokens(title: string, send: SendRequest, more: Record<string, unknown>): Row {
  return row(title, send, (response) => {
    expect(response).toMatchObject({ status: 200, type: 'json', cacheControl: 'no-store' });
    expect(response.body).toEqual({
      access_token: expect.stringMatching(JWT),
      token_type: 'Bearer',
      'not-before-policy': 0,
      scope: expect.any(String),
      expires_in: about(1800),
      ...more,
    });
  });
}

export const SESSION = {
  refresh_token: expect.stringMatching(JWT),
  refresh_expires_in: about(WEEK),
  session_state: expect.stringMatching(/^[\w-]{20,}$/),
};
export const ID = { id_token: expect.stringMatching(JWT) };
export const as = (clientId: string): Record<string, string> => ({
  ...clientCredentials,
  client_id: clientId,
});
export const basic = (text: string): Record<string, string> => ({
  authorization: `Basic ${btoa(text)}`,
});
export const without = (form: Record<string, string>, name: string): Record<string, string> =>
  Object.fromEntries(Object.entries(form).filter(([key]) => key !== name));
export const twice = (form: Record<string, string>, name: string): string =>
  `${new URLSearchParams(form).toString()}&${name}=again`;
