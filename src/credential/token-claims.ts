import { listAt, textAt } from '../lib/json.ts';
import { cleanText, type Sensitive } from '../lib/sensitive.ts';
import { claimsOf } from '../oauth/token.ts';
import type { ConvercusCredential } from './api.ts';

export type TokenClaims = NonNullable<NonNullable<ConvercusCredential['status']>['token']>;

/** The bounds of the CRD. */
const MAX_LENGTH = 256;
const MAX_ITEMS = 16;

/**
 * What status shows of an access token, which is no secret: who issued it, for whom and for what (RFC 7519, 4.1; scope:
 * RFC 9068, 2.2.3). The signature is not checked. Undefined for an opaque token.
 */
export function tokenClaimsOf(accessToken: Sensitive): TokenClaims | undefined {
  const claims = claimsOf(accessToken.reveal());
  if (claims === undefined) return undefined;
  const issuer = shown(textAt(claims, 'iss'));
  const subject = shown(textAt(claims, 'sub'));
  const single = textAt(claims, 'aud');
  const audience = shownList(single === undefined ? listAt(claims, 'aud') : [single]);
  const scopes = shownList((textAt(claims, 'scope') ?? '').split(' '));
  return {
    ...(issuer === undefined ? {} : { issuer }),
    ...(subject === undefined ? {} : { subject }),
    ...(audience.length === 0 ? {} : { audience }),
    ...(scopes.length === 0 ? {} : { scopes }),
  };
}

const shown = (text: string | undefined): string | undefined =>
  text === undefined ? undefined : cleanText(text, MAX_LENGTH) || undefined;

const shownList = (items: readonly unknown[]): string[] =>
  items
    .map((item) => (typeof item === 'string' ? shown(item) : undefined))
    .filter((item) => item !== undefined)
    .slice(0, MAX_ITEMS);
