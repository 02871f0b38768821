/** As much of a CRD's OpenAPI schema as is compared. */
export interface Schema {
  readonly type?: string;
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly additionalProperties?: Schema | boolean;
  readonly items?: Schema;
  readonly required?: readonly string[];
  readonly enum?: readonly unknown[];
  readonly default?: unknown;
  readonly pattern?: string;
  readonly format?: string;
  readonly 'x-kubernetes-validations'?: readonly { readonly rule: string }[];
  readonly [keyword: string]: unknown;
}

export interface Crd {
  readonly spec: {
    readonly scope: string;
    readonly versions: readonly {
      readonly name: string;
      readonly served: boolean;
      readonly schema: { readonly openAPIV3Schema: Schema };
    }[];
  };
}

const LOWER_BOUNDS = ['minimum', 'minLength', 'minItems', 'minProperties'] as const;
const UPPER_BOUNDS = ['maximum', 'maxLength', 'maxItems', 'maxProperties'] as const;

/**
 * What may break stored objects or those who write them, by the rules of crdify: a version or field that is gone,
 * another type, pattern, format, enum or default, a tighter bound, a field that is required now, a further rule.
 */
export function incompatibilities(before: Crd, after: Crd): string[] {
  const scope = before.spec.scope === after.spec.scope ? [] : ['scope: changed'];
  const versions = before.spec.versions
    .filter(({ served }) => served)
    .flatMap(({ name, schema }) => {
      const now = after.spec.versions.find((each) => each.name === name && each.served);
      if (now === undefined) return [`${name}: not served any more`];
      return compare(schema.openAPIV3Schema, now.schema.openAPIV3Schema, name);
    });
  return [...scope, ...versions];
}

function compare(before: Schema, after: Schema, at: string): string[] {
  return [
    ...changedKeywords(before, after),
    ...tighterBounds(before, after),
    ...newlyRequired(before, after),
    ...newRules(before, after),
  ]
    .map((fault) => `${at}: ${fault}`)
    .concat(compareFields(before, after, at));
}

function changedKeywords(before: Schema, after: Schema): string[] {
  const keywords = ['type', 'format', 'pattern', 'enum', 'default'] as const;
  return keywords
    .filter((keyword) => JSON.stringify(before[keyword]) !== JSON.stringify(after[keyword]))
    .map((keyword) => `${keyword} changed`);
}

function tighterBounds(before: Schema, after: Schema): string[] {
  const bound = (schema: Schema, keyword: string, absent: number): number => {
    const value = schema[keyword];
    return typeof value === 'number' ? value : absent;
  };
  const lower = LOWER_BOUNDS.filter(
    (keyword) => bound(after, keyword, -Infinity) > bound(before, keyword, -Infinity),
  );
  const upper = UPPER_BOUNDS.filter(
    (keyword) => bound(after, keyword, Infinity) < bound(before, keyword, Infinity),
  );
  return [...lower, ...upper].map((keyword) => `${keyword} tightened`);
}

function newlyRequired(before: Schema, after: Schema): string[] {
  const known = new Set(before.required);
  return (after.required ?? [])
    .filter((name) => !known.has(name))
    .map((name) => `${name} is required now`);
}

function newRules(before: Schema, after: Schema): string[] {
  const rulesOf = (schema: Schema) =>
    (schema['x-kubernetes-validations'] ?? []).map(({ rule }) => rule);
  const known = new Set(rulesOf(before));
  return rulesOf(after)
    .filter((rule) => !known.has(rule))
    .map((rule) => `new rule ${rule}`);
}

function compareFields(before: Schema, after: Schema, at: string): string[] {
  const fields = Object.entries(before.properties ?? {}).flatMap(([name, field]) => {
    const now = after.properties?.[name];
    return now === undefined ? [`${at}.${name}: removed`] : compare(field, now, `${at}.${name}`);
  });
  return [
    ...fields,
    ...compareInner(before.items, after.items, `${at}[]`),
    ...compareInner(valuesOf(before), valuesOf(after), `${at}.*`),
  ];
}

const compareInner = (before: Schema | undefined, after: Schema | undefined, at: string) =>
  before === undefined ? [] : after === undefined ? [`${at}: removed`] : compare(before, after, at);

const valuesOf = ({ additionalProperties }: Schema): Schema | undefined =>
  typeof additionalProperties === 'object' ? additionalProperties : undefined;
