import type { Member } from './population.ts';

/** What is wrong with a target for its readers. */
export type Kind = 'expired' | 'empty' | 'broken' | 'foreign' | 'other-scope';

/** The fields of a ConvercusCredential that are checked. */
export interface CredentialObject {
  readonly metadata: {
    readonly namespace: string;
    readonly name: string;
    readonly uid: string;
    readonly creationTimestamp: string;
  };
  readonly spec: { readonly scope: string };
  readonly status?: {
    readonly conditions?: readonly {
      readonly type: string;
      readonly status: string;
      readonly reason: string;
    }[];
  };
}

export interface SecretObject {
  readonly metadata: { readonly namespace: string; readonly name: string; readonly uid: string };
  readonly type?: string;
  readonly data?: Readonly<Record<string, string>>;
}

export interface Claims {
  readonly exp?: number;
  readonly iss?: string;
  readonly azp?: string;
  readonly sub?: string;
  readonly org?: string;
  readonly scope?: string;
  readonly preferred_username?: string;
  readonly sid?: string;
}

/** The claims of a token, whose signature is not checked; undefined when it is no JWT. */
export function claimsOf(token: string): Claims | undefined {
  const parts = token.split('.');
  if (parts.length !== 3) return undefined;
  try {
    const claims: unknown = JSON.parse(Buffer.from(parts[1] ?? '', 'base64url').toString());
    return typeof claims === 'object' && claims !== null ? claims : undefined;
  } catch {
    return undefined;
  }
}

const tokenIn = ({ data = {} }: SecretObject): string =>
  Buffer.from(data['token'] ?? '', 'base64').toString();

/** @param now milliseconds since 1970 */
export function judge(
  member: Member,
  { spec }: Pick<CredentialObject, 'spec'>,
  target: SecretObject | undefined,
  now: number,
): Kind | 'fine' {
  const token = target === undefined ? '' : tokenIn(target);
  if (token === '') return 'empty';
  const claims = claimsOf(token);
  if (claims?.exp === undefined) return 'broken';
  if (!isOf(member, claims)) return 'foreign';
  if (claims.exp * 1_000 <= now) return 'expired';
  return hasScope(member, claims, spec.scope) ? 'fine' : 'other-scope';
}

function isOf({ kind, program, realm, clientId, username }: Member, claims: Claims): boolean {
  if (kind === 'legacy') return claims.sub === username && claims.org === program;
  const user = kind === 'password' ? username : `service-account-${clientId}`;
  return (
    claims.azp === clientId &&
    claims.preferred_username === user &&
    (claims.iss ?? '').endsWith(`/realms/${realm}`)
  );
}

function hasScope({ kind }: Member, { scope = '' }: Claims, wanted: string): boolean {
  const granted = new Set(scope.split(' '));
  return kind === 'legacy' || wanted.split(' ').every((word) => granted.has(word));
}
