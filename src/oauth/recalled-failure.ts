import { Failure, type FailureKind } from '../lib/failure.ts';
import type { Ms } from '../lib/time.ts';
import { hostOf, secretsOf, type TokenRequest, urlOf } from './grants.ts';
import { MESSAGES as LOGIN_MESSAGES } from './legacy-login.ts';
import { networkFailure } from './network-errors.ts';
import { endpointWords, type Messages, MESSAGES as TOKEN_MESSAGES } from './token-errors.ts';

/** What is remembered of a failure. It holds no text of the server, so its size is bounded. */
export interface FailureRecord {
  readonly kind: FailureKind;
  readonly code: string | undefined;
  readonly retryAfter: Ms | undefined;
}

const TOKEN_LIFETIME_MESSAGES: Messages<'ShortLivedToken' | 'ClockSkew'> = {
  ShortLivedToken: [
    'The server gave out a token that had expired or was about to',
    'Ask Convercus how long tokens of this account live; the operator tries again.',
  ],
  ClockSkew: [
    "The server gave out a token that had expired by the server's own clock",
    'Ask Convercus to check that clock; the operator tries again.',
  ],
};

/** The failure of an equal request, in words that fit this one. */
export function recalledFailure(record: FailureRecord, request: TokenRequest): Failure {
  const { kind, code, retryAfter } = record;
  const details = {
    ...(code !== undefined && { code }),
    ...(retryAfter !== undefined && { retryAfter }),
  };
  return new Failure(kind, messageFor(record, request), details);
}

function messageFor({ kind, code }: FailureRecord, request: TokenRequest): string {
  const host = hostOf(urlOf(request));
  if (NETWORK_KINDS.has(kind) && code !== undefined) return networkFailure(code, host).message;
  const messages: Partial<Messages<FailureKind>> = {
    ...(request.grantType === 'legacy_login' ? LOGIN_MESSAGES : TOKEN_MESSAGES),
    ...TOKEN_LIFETIME_MESSAGES,
  };
  const [what, todo] = messages[kind] ?? ['An equal request failed before', ''];
  const where =
    request.grantType === 'legacy_login'
      ? `login at ${host}`
      : endpointWords({ ...request, host, secrets: secretsOf(request) });
  return [`${what} (${where}).`, todo, answered(code)].filter(Boolean).join(' ');
}

const NETWORK_KINDS: ReadonlySet<FailureKind> = new Set(['NetworkError', 'TLSError']);

function answered(code: string | undefined): string {
  if (code === undefined) return '';
  return `The server answered ${/^\d+$/.test(code) ? `HTTP ${code}` : code}.`;
}
