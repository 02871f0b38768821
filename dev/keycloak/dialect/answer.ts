/** What a server says, before any fault bends it. */
export type Answer = { status: number; headers: Record<string, string>; body: string };

/** A refusal on the way to an answer; the status and JSON body are Keycloak's. */
export class TokenFailure extends Error {
  readonly response: Answer;

  constructor(response: Answer) {
    super('refused');
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

/** An answer of an OAuth endpoint: JSON that no cache may keep. */
export const oauthAnswer = (status: number, body: unknown): Answer => ({
  status,
  headers: { ...OAUTH_HEADERS },
  body: JSON.stringify(body),
});

export const refusal = (status: number, error: string, description: string): TokenFailure =>
  new TokenFailure(oauthAnswer(status, { error, error_description: description }));

/** An answer that the server's framework gives, without the OAuth headers. */
export const plainAnswer = (status: number, body: unknown): Answer => ({
  status,
  headers: { 'Content-Type': 'application/json', ...SECURITY_HEADERS },
  body: JSON.stringify(body),
});

export const emptyAnswer = (status: number, headers: Record<string, string> = {}): Answer => ({
  status,
  headers: { ...SECURITY_HEADERS, ...headers },
  body: '',
});

export const htmlAnswer = (status: number, title: string): Answer => ({
  status,
  headers: { 'Content-Type': 'text/html;charset=utf-8', ...SECURITY_HEADERS },
  body: `<!DOCTYPE html>\n<html lang="en"><head><title>${title}</title></head><body><h1>${title}</h1></body></html>\n`,
});
