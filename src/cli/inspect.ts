import type { ConvercusCredential } from '../credential/api.ts';
import {
  isObject,
  type JsonObject,
  listAt,
  member,
  numberAt,
  objectOf,
  parseJson,
  textAt,
} from '../lib/json.ts';
import { holdsSecret, Sensitive } from '../lib/sensitive.ts';
import { type EpochMs, seconds } from '../lib/time.ts';
import { claimsOf } from '../oauth/token.ts';
import type { Context } from './context.ts';
import { oneCredential } from './credentials.ts';
import { clockTime, field, plain, type Result, until } from './output.ts';
import { tokenOf } from './token-in-target.ts';

/** Claims whose values are shown; of all others the names, for they may hold what is personal. */
const SHOWN = [
  'iss',
  'azp',
  'client_id',
  'aud',
  'scope',
  'typ',
  'sub',
  'realm_access',
  'resource_access',
  'iat',
  'nbf',
  'exp',
];

/** `kubectl convercus inspect NAME`: what the token says of itself, never the token. */
export async function inspect(context: Context, name: string): Promise<Result> {
  const credential = await oneCredential(context, name);
  const { secret, key, token } = await tokenOf(context, credential);
  const all = claimsOf(token.reveal());
  const claims = all && withoutClient(all, credential);
  const where = { namespace: context.namespace, name, secret, key };
  if (claims === undefined) {
    const text = `The token in Secret ${secret}, key ${key}, is opaque: no JWT, ${token.reveal().length} characters. Only its issuer can say what it holds.`;
    return { data: { ...where, format: 'opaque' }, text };
  }
  const header = headerOf(token.reveal());
  const now = context.host.now();
  const exp = seconds(numberAt(claims, 'exp') ?? Infinity);
  const shown = Object.fromEntries(
    SHOWN.filter((claim) => claim in claims).map((claim) => [claim, cleaned(claims[claim])]),
  );
  const others = Object.keys(claims).filter((claim) => !SHOWN.includes(claim));
  const data = {
    ...where,
    format: 'JWT',
    header,
    claims: shown,
    otherClaims: others.map((other) => plain(other, 60)),
  };
  return {
    data,
    text: textOf(context, { claims, header, others, now }),
    exitCode: exp <= now ? 1 : 0,
  };
}

/** A client id that comes from a Secret is shown nowhere: issuers write it into other claims as well. */
function withoutClient(claims: JsonObject, { spec }: ConvercusCredential): JsonObject {
  if (spec.credentialsSecretRef.keys.clientId === undefined) return claims;
  const { azp, client_id: clientId, ...rest } = claims;
  const ids = [azp, clientId].filter((id) => typeof id === 'string' && id !== '').map(String);
  // What it is can't be told, so what may hold it is left out
  const shown = ids.length > 0 ? rest : pick(rest, ['iss', 'typ', 'iat', 'nbf', 'exp']);
  return objectOf(
    without(
      shown,
      ids.map((id) => new Sensitive(id)),
    ),
  );
}

const pick = (claims: JsonObject, names: readonly string[]): JsonObject =>
  Object.fromEntries(Object.entries(claims).filter(([name]) => names.includes(name)));

/** Texts and names anywhere inside are left out when they hold one of the secrets. */
function without(value: unknown, secrets: readonly Sensitive[]): unknown {
  if (Array.isArray(value)) {
    return value.filter((each) => isShown(each, secrets)).map((each) => without(each, secrets));
  }
  if (!isObject(value)) return value;
  return Object.fromEntries(
    Object.entries(value)
      .filter(([name, each]) => isShown(name, secrets) && isShown(each, secrets))
      .map(([name, each]) => [name, without(each, secrets)]),
  );
}

const isShown = (value: unknown, secrets: readonly Sensitive[]): boolean =>
  typeof value !== 'string' || !holdsSecret(value, secrets);

/** Algorithm and key, which are public. */
function headerOf(token: string): { readonly alg: string; readonly kid: string } {
  const header = parseJson(Buffer.from(token.split('.')[0] ?? '', 'base64url').toString());
  return {
    alg: plain(textAt(header, 'alg') ?? '', 20),
    kid: plain(textAt(header, 'kid') ?? '', 80),
  };
}

function cleaned(value: unknown): unknown {
  if (typeof value === 'string') return plain(value);
  if (Array.isArray(value)) return value.map(cleaned);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).map(([name, each]) => [plain(name, 120), cleaned(each)]),
  );
}

interface Seen {
  readonly claims: JsonObject;
  readonly header: { readonly alg: string; readonly kid: string };
  readonly others: readonly string[];
  readonly now: EpochMs;
}

function textOf({ paint }: Context, { claims, header, others, now }: Seen): string {
  const text = (name: string): string => plain(textAt(claims, name) ?? '');
  const time = (name: string): string => {
    const at = seconds(numberAt(claims, name) ?? Number.NaN);
    return Number.isFinite(at) && Math.abs(at) < 8e15
      ? `${clockTime(at, now)} (${until(at, now)})`
      : 'not told';
  };
  const exp = seconds(numberAt(claims, 'exp') ?? Infinity);
  const lines: [string, string][] = [
    ['Issuer', text('iss')],
    ['Client', text('azp') || text('client_id')],
    ['Audience', textsOf(claims['aud']).join(', ')],
    ['Scope', text('scope')],
    ['Subject', text('sub')],
    ['Roles', rolesOf(claims).join(', ')],
    ['Issued', time('iat')],
    [
      'Expires',
      `${time('exp')}${exp <= now ? ` ${paint('red', 'EXPIRED')} by this computer's clock` : ''}`,
    ],
    ['Signed', `${header.alg}, key ${header.kid} (not verified here)`],
    ['Others', others.map((name) => plain(name, 60)).join(', ')],
  ];
  return lines
    .filter(([, value]) => value !== '')
    .map(([label, value]) => field(label, [value]))
    .join('\n');
}

const textsOf = (value: unknown): string[] =>
  (Array.isArray(value) ? value : [value])
    .filter((each) => typeof each === 'string')
    .map((each) => plain(each));

/** Roles of the realm, and `client:role` of its clients, as Keycloak writes them. */
function rolesOf(claims: JsonObject): string[] {
  const ofRealm = textsOf(listAt(claims, 'realm_access', 'roles'));
  const ofClients = Object.keys(objectOf(member(claims, 'resource_access'))).flatMap((client) =>
    textsOf(listAt(claims, 'resource_access', client, 'roles')).map(
      (role) => `${plain(client, 60)}:${role}`,
    ),
  );
  return [...ofRealm, ...ofClients];
}
