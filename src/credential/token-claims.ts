import { type JsonObject, listAt, textAt } from '../lib/json.ts';
import { cleanText, holdsSecret, type Sensitive } from '../lib/sensitive.ts';
import { claimsOf } from '../oauth/token.ts';
import type { ConvercusCredential } from './api.ts';

export type TokenClaims = NonNullable<NonNullable<ConvercusCredential['status']>['token']>;

/** The bounds of the CRD. */
const MAX_LENGTH = 256;
const MAX_ITEMS = 16;

/**
 * What status shows of an access token, which is no secret: who issued it, for whom and for what (RFC 7519, 4.1; scope:
 * RFC 9068, 2.2.3). The signature is not checked. Undefined for an opaque token.
 * @param presented if a claim holds one of these, such as the user name, nothing is shown
 */
export function tokenClaimsOf(
  accessToken: Sensitive,
  presented: readonly Sensitive[],
): TokenClaims | undefined {
  const claims = claimsOf(accessToken.reveal());
  if (claims === undefined) return undefined;
  const shown = shownOf(claims);
  return holdsSecret(JSON.stringify(shown), presented) ? undefined : shown;
}

function shownOf(claims: JsonObject): TokenClaims {
  const issuer = textOf(textAt(claims, 'iss'));
  const subject = textOf(textAt(claims, 'sub'));
  const single = textAt(claims, 'aud');
  const audience = textsOf(single === undefined ? listAt(claims, 'aud') : [single]);
  const scopes = textsOf((textAt(claims, 'scope') ?? '').split(' '));
  return {
    ...(issuer === undefined ? {} : { issuer }),
    ...(subject === undefined ? {} : { subject }),
    ...(audience.length === 0 ? {} : { audience }),
    ...(scopes.length === 0 ? {} : { scopes }),
  };
}

const textOf = (text: string | undefined): string | undefined =>
  text === undefined ? undefined : cleanText(text, MAX_LENGTH) || undefined;

const textsOf = (items: readonly unknown[]): string[] =>
  items
    .map((item) => (typeof item === 'string' ? textOf(item) : undefined))
    .filter((item) => item !== undefined)
    .slice(0, MAX_ITEMS);
