/** A response before faults change it. */
export type EndpointResponse = { status: number; headers: Record<string, string>; body: string };

/** Thrown by the code of an endpoint; carries the response, with Keycloak's status and JSON body. */
export class OAuthError extends Error {
  readonly response: EndpointResponse;

  constructor(response: EndpointResponse) {
    super('OAuth error');
    this.response = response;
  }
}

const SECURITY_HEADERS = {
  'Referrer-Policy': 'no-referrer',
  'Strict-Transport-Security': 'max-age=31536000; includeSubDomains',
  'X-Content-Type-Options': 'nosniff',
  'X-Frame-Options': 'SAMEORIGIN',
};
const OAUTH_HEADERS = {
  'Content-Type': 'application/json',
  'Cache-Control': 'no-store',
  Pragma: 'no-cache',
  ...SECURITY_HEADERS,
};

/** A response of an OAuth endpoint: JSON that is not cached. */
export const oauthResponse = (status: number, body: unknown): EndpointResponse => ({
  status,
  headers: { ...OAUTH_HEADERS },
  body: JSON.stringify(body),
});

export const oauthError = (status: number, error: string, description: string): OAuthError =>
  new OAuthError(oauthResponse(status, { error, error_description: description }));

/** A response of Keycloak's web framework, without the OAuth headers. */
export const jsonResponse = (status: number, body: unknown): EndpointResponse => ({
  status,
  headers: { 'Content-Type': 'application/json', ...SECURITY_HEADERS },
  body: JSON.stringify(body),
});

export const emptyResponse = (
  status: number,
  headers: Record<string, string> = {},
): EndpointResponse => ({
  status,
  headers: { ...SECURITY_HEADERS, ...headers },
  body: '',
});

export const htmlResponse = (status: number, title: string): EndpointResponse => ({
  status,
  headers: { 'Content-Type': 'text/html;charset=utf-8', ...SECURITY_HEADERS },
  body: `<!DOCTYPE html>\n<html lang="en"><head><title>${title}</title></head><body><h1>${title}</h1></body></html>\n`,
});
