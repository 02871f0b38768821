import { describe, expect, it } from '@jest/globals';
import * as fc from 'fast-check';
import { tokenClaimsOf } from '../../src/credential/token-claims.ts';
import { Sensitive } from '../../src/lib/sensitive.ts';
import { anyCharacter } from '../support/arbitraries.ts';

function jwt(claims: unknown): Sensitive {
  const [header, payload] = [{ alg: 'none' }, claims].map((part) =>
    Buffer.from(JSON.stringify(part) ?? '').toString('base64url'),
  );
  return new Sensitive(`${header}.${payload}.c2ln`);
}

describe('what status shows of a token', () => {
  it('is who issued it, for whom and for what', () => {
    const claims = {
      iss: 'https://id.test/realms/abc',
      sub: 'f0a1',
      aud: ['account', 'api'],
      scope: 'openid profile',
      email: 'hidden@example.org',
    };
    expect(tokenClaimsOf(jwt(claims), [])).toEqual({
      issuer: 'https://id.test/realms/abc',
      subject: 'f0a1',
      audience: ['account', 'api'],
      scopes: ['openid', 'profile'],
    });
  });

  it('is a list of one for a single audience, and leaves out what the token does not say', () => {
    expect(tokenClaimsOf(jwt({ aud: 'account' }), [])).toEqual({ audience: ['account'] });
  });

  it('is nothing for an opaque token', () => {
    expect(tokenClaimsOf(new Sensitive('opaque-token'), [])).toBeUndefined();
  });

  it('is nothing when the token names what came from a Secret', () => {
    const claims = { iss: 'https://id.test', sub: 'Machine-User' };
    expect(tokenClaimsOf(jwt(claims), [new Sensitive('machine-user')])).toBeUndefined();
    expect(tokenClaimsOf(jwt(claims), [new Sensitive('other-user'), new Sensitive('')])).toEqual({
      issuer: 'https://id.test',
      subject: 'Machine-User',
    });
  });

  it('fits the CRD, and holds no control characters, whatever the token says', () => {
    const text = fc.oneof(
      fc.string({ unit: anyCharacter, maxLength: 600 }),
      fc.constant('a\u001b[31m'),
    );
    const claims = fc.record(
      {
        iss: fc.oneof(text, fc.anything()),
        sub: text,
        aud: fc.oneof(text, fc.array(fc.oneof(text, fc.anything()), { maxLength: 40 })),
        scope: fc.array(text, { maxLength: 40 }).map((scopes) => scopes.join(' ')),
      },
      { requiredKeys: [] },
    );
    fc.assert(
      fc.property(claims, (of) => {
        const { issuer, subject, audience = [], scopes = [] } = tokenClaimsOf(jwt(of), []) ?? {};
        expect(audience.length).toBeLessThanOrEqual(16);
        expect(scopes.length).toBeLessThanOrEqual(16);
        for (const shown of [issuer, subject, ...audience, ...scopes]) {
          expect(shown?.length ?? 0).toBeLessThanOrEqual(256);
          expect(shown ?? '').not.toMatch(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/u);
        }
      }),
    );
  });
});
