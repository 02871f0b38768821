import { Failure } from '../lib/failure.ts';
import { isObject, member } from '../lib/json.ts';
import { clusterNameOf } from './cluster-name.ts';

/**
 * What the schema of the CRD demands, checked once more: the object may have been stored under another schema, and a
 * realm such as `..` would lead to another endpoint. A message names the field and quotes nothing of its value.
 */

type Path = readonly string[];

/** A field of text. Lengths are in characters, as the API server counts them. */
export interface TextRule {
  readonly at: Path;
  readonly maxLength: number;
  readonly pattern: RegExp;
  readonly advice: string;
  readonly optional?: true;
}

/** Labels, annotations or data. */
export interface MapRule {
  readonly at: Path;
  readonly minEntries: number;
  readonly maxEntries: number;
  readonly maxKeyLength: number;
  readonly key: RegExp;
  readonly keyAdvice: string;
  readonly maxValueLength: number;
  readonly value?: { readonly pattern: RegExp; readonly advice: string };
  /** Of all keys and values together. */
  readonly maxTotal?: number;
}

export interface NumberRule {
  readonly at: Path;
  readonly from: number;
  readonly to: number;
}

const SECRET_NAME = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/;
const SECRET_NAME_ADVICE =
  'write the name of a Secret: lower-case letters, digits, "-" and ".", such as convercus-abc';
const SECRET_KEY = /^[-._a-zA-Z0-9]+$/;
const SECRET_KEY_ADVICE =
  'write a key of the Secret: letters, digits, "-", "_" and ".", such as client_secret';
const QUALIFIED_NAME =
  /^([a-z0-9]([-a-z0-9.]*[a-z0-9])?\/)?[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$/;

const secretName = (...at: Path) => ({
  at,
  maxLength: 253,
  pattern: SECRET_NAME,
  advice: SECRET_NAME_ADVICE,
});

const secretKey = (name: string): TextRule => ({
  at: ['spec', 'credentialsSecretRef', 'keys', name],
  maxLength: 253,
  pattern: SECRET_KEY,
  advice: SECRET_KEY_ADVICE,
});

const oneOf = (at: Path, ...names: readonly string[]): TextRule => ({
  at,
  maxLength: 63,
  pattern: new RegExp(`^(${names.join('|')})$`),
  advice: `write one of: ${names.join(', ')}`,
});

export const TEXT_RULES: readonly TextRule[] = [
  {
    at: ['spec', 'program'],
    maxLength: 64,
    pattern: /^[A-Za-z0-9][A-Za-z0-9_-]*$/,
    advice: 'write the name of the program, letters and digits, such as ABC',
  },
  {
    at: ['spec', 'environment'],
    maxLength: 63,
    pattern: /^[a-z0-9]([-a-z0-9]*[a-z0-9])?$/,
    advice:
      'write staging, production, or the name of a configured environment: lower-case letters, digits and "-"',
  },
  oneOf(['spec', 'grantType'], 'client_credentials', 'password', 'legacy_login'),
  {
    at: ['spec', 'clientId'],
    maxLength: 255,
    pattern: /^[\x21-\x7e]+$/,
    advice: 'write the client id without spaces, such as machine-2-machine',
  },
  {
    at: ['spec', 'scope'],
    maxLength: 1024,
    pattern: /^[\x21\x23-\x5b\x5d-\x7e]+( [\x21\x23-\x5b\x5d-\x7e]+)*$/,
    advice: 'write scopes separated by single spaces, such as "openid profile"',
  },
  {
    at: ['spec', 'realm'],
    maxLength: 255,
    pattern: /^[A-Za-z0-9_-][A-Za-z0-9._-]*$/,
    advice:
      'write the name of the realm alone, such as abc-staging; the address comes from the environment',
    optional: true,
  },
  {
    at: ['spec', 'org'],
    maxLength: 255,
    pattern: /^[\x21-\x7e]+$/,
    advice: 'write the organization code without spaces, such as abc',
    optional: true,
  },
  secretName('spec', 'credentialsSecretRef', 'name'),
  {
    ...secretKey('clientId'),
    advice: SECRET_KEY_ADVICE.replace('client_secret', 'client_id'),
    optional: true,
  },
  secretKey('clientSecret'),
  secretKey('username'),
  secretKey('password'),
  secretKey('org'),
  { ...secretName('spec', 'target', 'name'), optional: true },
  oneOf(['spec', 'target', 'creationPolicy'], 'Owner', 'Merge'),
  oneOf(['spec', 'target', 'deletionPolicy'], 'Delete', 'Retain'),
];

export const MAP_RULES: readonly MapRule[] = [
  {
    at: ['spec', 'target', 'labels'],
    minEntries: 0,
    maxEntries: 32,
    maxKeyLength: 317,
    key: QUALIFIED_NAME,
    keyAdvice: 'a label key is a name, or a DNS prefix, a slash and a name: example.com/team',
    maxValueLength: 63,
    value: {
      pattern: /^(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?$/,
      advice: 'a label value consists of letters, digits, "-", "_" and "."',
    },
  },
  {
    at: ['spec', 'target', 'annotations'],
    minEntries: 0,
    maxEntries: 32,
    maxKeyLength: 317,
    key: QUALIFIED_NAME,
    keyAdvice: 'an annotation key is a name, or a DNS prefix, a slash and a name: example.com/team',
    maxValueLength: 4096,
    maxTotal: 8192,
  },
  {
    at: ['spec', 'target', 'data'],
    minEntries: 1,
    maxEntries: 32,
    maxKeyLength: 253,
    key: SECRET_KEY,
    keyAdvice: 'a key of the Secret consists of letters, digits, "-", "_" and "."',
    maxValueLength: 4096,
    maxTotal: 16_384,
  },
];

/**
 * The sum of both is not checked: what was stored with more than 99 is served, for no renewal is planned later than at
 * 99 % (`renewalDate`).
 */
export const NUMBER_RULES: readonly NumberRule[] = [
  { at: ['spec', 'renewal', 'percent'], from: 10, to: 95 },
  { at: ['spec', 'renewal', 'jitterPercent'], from: 0, to: 20 },
];

/** The first fault of a ConvercusCredential as the API server has stored it. */
export function specFault(resource: unknown): Failure | undefined {
  const fault =
    firstFault(TEXT_RULES, (rule) => textFault(member(resource, ...rule.at), rule)) ??
    firstFault(MAP_RULES, (rule) => mapFault(member(resource, ...rule.at), rule)) ??
    firstFault(NUMBER_RULES, (rule) => numberFault(member(resource, ...rule.at), rule)) ??
    flagFault(member(resource, 'spec', 'suspend')) ??
    nameFault(member(resource, 'metadata', 'name'));
  return fault === undefined ? undefined : new Failure('InvalidSpec', fault);
}

function firstFault<R extends { readonly at: Path }>(
  rules: readonly R[],
  check: (rule: R) => string | undefined,
): string | undefined {
  for (const rule of rules) {
    const fault = check(rule);
    if (fault !== undefined) return `${rule.at.join('.')}: ${fault}`;
  }
  return undefined;
}

function textFault(value: unknown, rule: TextRule): string | undefined {
  if (value === undefined && rule.optional === true) return undefined;
  if (typeof value !== 'string') return rule.advice;
  if (isLongerThan(value, rule.maxLength)) return `at most ${rule.maxLength} characters`;
  return rule.pattern.test(value) ? undefined : rule.advice;
}

function mapFault(value: unknown, rule: MapRule): string | undefined {
  if (value === undefined) return undefined;
  if (!isObject(value)) return 'write keys and values';
  const entries = Object.entries(value);
  if (entries.length < rule.minEntries) return 'write at least one key';
  if (entries.length > rule.maxEntries) return `at most ${rule.maxEntries} keys`;
  for (const [key, text] of entries) {
    const fault = keyFault(key, rule) ?? valueFault(text, rule);
    if (fault !== undefined) return fault;
  }
  const { maxTotal = Infinity } = rule;
  const isTooLong = isLongerThan(entries.flat().join(''), maxTotal);
  return isTooLong ? `keys and values have at most ${maxTotal} characters together` : undefined;
}

function keyFault(key: string, rule: MapRule): string | undefined {
  const isKey = !isLongerThan(key, rule.maxKeyLength) && rule.key.test(key);
  return isKey ? undefined : rule.keyAdvice;
}

function valueFault(text: unknown, rule: MapRule): string | undefined {
  if (typeof text !== 'string') return 'write text as values';
  if (isLongerThan(text, rule.maxValueLength)) {
    return `a value has at most ${rule.maxValueLength} characters`;
  }
  return rule.value?.pattern.test(text) === false ? rule.value.advice : undefined;
}

function numberFault(value: unknown, { from, to }: NumberRule): string | undefined {
  if (value === undefined) return undefined;
  const isInside = typeof value === 'number' && value >= from && value <= to;
  return isInside ? undefined : `write a number from ${from} to ${to}`;
}

const flagFault = (value: unknown): string | undefined =>
  typeof value === 'boolean' ? undefined : 'spec.suspend: write true or false';

function nameFault(name: unknown): string | undefined {
  const own = typeof name === 'string' ? (clusterNameOf(name) ?? name) : '';
  const isName = own.length <= 63 && SECRET_NAME.test(own);
  return isName ? undefined : 'metadata.name: at most 63 characters: it becomes a label value';
}

/** Counts characters, not UTF-16 code units, where that makes a difference. */
function isLongerThan(text: string, max: number): boolean {
  if (text.length <= max) return false;
  if (text.length > 2 * max) return true;
  let count = 0;
  for (const _ of text) count += 1;
  return count > max;
}
