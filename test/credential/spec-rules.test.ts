import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from '@jest/globals';
import * as fc from 'fast-check';
import { parse } from 'yaml';
import { parseCredential } from '../../src/credential/credential.ts';
import { MAP_RULES, NUMBER_RULES, specFault, TEXT_RULES } from '../../src/credential/spec-rules.ts';
import { credentialFrom } from '../../src/kubernetes/objects.ts';
import { isFailure } from '../../src/lib/failure.ts';
import { anyCharacter } from '../support/arbitraries.ts';
import { aCredential, SETTINGS } from '../support/builders.ts';

interface Schema {
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly additionalProperties?: Schema;
  readonly enum?: readonly string[];
  readonly 'x-kubernetes-validations'?: readonly { readonly rule: string; message: string }[];
  readonly [keyword: string]: unknown;
}

const CRD = join(import.meta.dirname, '../../crds/convercus.io_convercuscredentials.yaml');
const SCHEMA: Schema = parse(readFileSync(CRD, 'utf8')).spec.versions[0].schema.openAPIV3Schema;

const schemaAt = (path: readonly string[]): Schema =>
  path.reduce((schema, name) => schema.properties?.[name] ?? {}, SCHEMA);

const rulesOf = (schema: Schema): string[] =>
  (schema['x-kubernetes-validations'] ?? []).map(({ rule }) => rule);
const messagesOf = (schema: Schema): string[] =>
  (schema['x-kubernetes-validations'] ?? []).map(({ message }) => message);

/** The object with another value at that path. */
function withValue(
  object: object,
  [name = '', ...rest]: readonly string[],
  value: unknown,
): object {
  const inner: unknown = Object.entries(object).find(([key]) => key === name)?.[1];
  const isObject = typeof inner === 'object' && inner !== null;
  const changed = rest.length === 0 ? value : withValue(isObject ? inner : {}, rest, value);
  return { ...object, [name]: changed };
}

const faultWith = (path: readonly string[], value: unknown): string | undefined =>
  specFault(withValue(aCredential(), path, value))?.message;

const nameOf = (path: readonly string[]): string => path.join('.');

describe('the rules for a spec', () => {
  it('find no fault with a good one', () => {
    expect(specFault(aCredential())).toBeUndefined();
  });

  const rows = TEXT_RULES.map((rule) => [nameOf(rule.at), rule] as const);

  it.each(rows)('say of %s what the schema says', (_, rule) => {
    const schema = schemaAt(rule.at);
    if (schema.enum !== undefined) {
      expect(rule.pattern.source).toBe(`^(${schema.enum.join('|')})$`);
      return;
    }
    expect(rule.maxLength).toBe(schema['maxLength']);
    expect(rulesOf(schema)).toEqual([`self.matches(r'${rule.pattern.source}')`]);
    expect(messagesOf(schema)).toEqual([rule.advice]);
  });

  it.each(rows)(
    'refuse %s when it is too long, no text, or missing',
    (name, { at, maxLength, optional }) => {
      const message = expect.stringContaining(`${name}: `);
      expect(faultWith(at, 'a'.repeat(maxLength + 1))).toEqual(message);
      for (const value of ['', 5, null, {}, [], true])
        expect(faultWith(at, value)).toEqual(message);
      expect(faultWith(at, undefined)).toEqual(optional === true ? undefined : message);
    },
  );

  it.each(MAP_RULES.map((rule) => [nameOf(rule.at), rule] as const))(
    'say of %s what the schema says',
    (_, rule) => {
      const schema = schemaAt(rule.at);
      const values = schema.additionalProperties;
      expect(rule.maxEntries).toBe(schema['maxProperties']);
      expect(rule.minEntries).toBe(schema['minProperties'] ?? 0);
      expect(rule.maxValueLength).toBe(values?.['maxLength']);
      expect(rule.value?.pattern.source).toBe(values?.['pattern']);
      const pattern = rule.key.source.replaceAll('\\/', '/');
      expect(rulesOf(schema)).toContain(
        `self.all(key, key.size() <= ${rule.maxKeyLength} && key.matches('${pattern}'))`,
      );
      expect(messagesOf(schema)).toContain(rule.keyAdvice);
      // What is stored may stay, also for Kubernetes 1.32, which checks all rules when a status is written
      const unchanged = 'oldSelf.hasValue() && oldSelf.value() == self';
      const total = `${unchanged} || self.map(key, key.size() + self[key].size()).sum() <= ${rule.maxTotal}`;
      expect(rulesOf(schema).includes(total)).toBe(rule.maxTotal !== undefined);
    },
  );

  it.each(NUMBER_RULES.map((rule) => [nameOf(rule.at), rule] as const))(
    'say of %s what the schema says',
    (name, { at, from, to }) => {
      expect([from, to]).toEqual([schemaAt(at)['minimum'], schemaAt(at)['maximum']]);
      for (const value of [from - 1, to + 1, NaN, 'x', null, {}]) {
        expect(faultWith(at, value)).toBe(`${name}: write a number from ${from} to ${to}`);
      }
      expect(faultWith(at, to)).toBeUndefined();
    },
  );

  it('leave out no field of the schema', () => {
    const fields = ({ properties = {} }: Schema, at: readonly string[]): string[] =>
      Object.entries(properties).flatMap(([name, field]) =>
        field.properties === undefined ? nameOf([...at, name]) : fields(field, [...at, name]),
      );
    const ruled = [...TEXT_RULES, ...MAP_RULES, ...NUMBER_RULES].map(({ at }) => nameOf(at));
    expect(fields(schemaAt(['spec']), ['spec']).sort()).toEqual([...ruled, 'spec.suspend'].sort());
  });

  it('refuse a realm that would lead to another endpoint', () => {
    for (const realm of ['..', '.', '../master', 'a/b', 'a%2fb', 'a?b', 'a#b', '${x}']) {
      expect(faultWith(['spec', 'realm'], realm)).toContain('write the name of the realm alone');
    }
  });

  it('refuse a name that would not fit into a label', () => {
    expect(faultWith(['metadata', 'name'], 'x'.repeat(64))).toContain('at most 63 characters');
  });
});

describe('the size of a spec', () => {
  const DATA = ['spec', 'target', 'data'];
  const ANNOTATIONS = ['spec', 'target', 'annotations'];

  /** `count` keys of two characters with values so that all are `total` characters long. */
  function sized(total: number, count: number, unit = 'x'): Record<string, string> {
    const each = Math.floor(total / count) - 2;
    const keys = Array.from({ length: count }, (_, at) => `k${at.toString(36)}`);
    const rest = total - count * (each + 2);
    return Object.fromEntries(
      keys.map((key, at) => [key, unit.repeat(each + (at === 0 ? rest : 0))]),
    );
  }

  it.each([
    ['data', DATA, 16_384],
    ['annotations', ANNOTATIONS, 8_192],
  ])('of %s is counted in characters, keys included', (_, path, limit) => {
    const fault = `${nameOf(path)}: keys and values have at most ${limit} characters together`;
    for (const unit of ['x', 'ü', '😀']) {
      expect(faultWith(path, sized(limit, 8, unit))).toBeUndefined();
      expect(faultWith(path, sized(limit + 1, 8, unit))).toBe(fault);
    }
  });

  it.each([
    ['no key', {}, 'write at least one key'],
    ['33 keys', sized(33 * 8, 33), 'at most 32 keys'],
    ['a long value', { token: 'x'.repeat(4_097) }, 'a value has at most 4096 characters'],
    ['a long key', { ['k'.repeat(254)]: 'x' }, 'a key of the Secret consists of letters'],
    ['a key with a line break', { 'a\nb': 'x' }, 'a key of the Secret consists of letters'],
    ['a number', { token: 5 }, 'write text as values'],
    ['a list', ['x'], 'write keys and values'],
  ])('of data is refused with %s', (_, data, fault) => {
    expect(faultWith(DATA, data)).toContain(`spec.target.data: ${fault}`);
  });

  it.each([
    ['a long value', { team: 'x'.repeat(64) }, 'a value has at most 63 characters'],
    ['a blank', { team: 'a b' }, 'a label value consists of letters'],
    ['33 labels', sized(33 * 4, 33), 'at most 32 keys'],
  ])('of labels is refused with %s', (_, labels, fault) => {
    expect(faultWith(['spec', 'target', 'labels'], labels)).toContain(fault);
  });
});

describe('any object', () => {
  const anyValue = fc.jsonValue({ maxDepth: 3 });
  const text = fc.oneof(
    fc.string({ unit: anyCharacter, maxLength: 6_000 }),
    fc.constant('{{\u001b[31m}}'),
  );
  const paths = [...TEXT_RULES, ...MAP_RULES, ...NUMBER_RULES]
    .map(({ at }) => at)
    .concat([
      ['spec'],
      ['spec', 'target'],
      ['spec', 'credentialsSecretRef', 'keys'],
      ['metadata', 'name'],
    ]);
  const anEdit = fc.tuple(
    fc.constantFrom(...paths),
    fc.oneof(anyValue, text, fc.dictionary(text, fc.oneof(text, anyValue), { maxKeys: 40 })),
  );

  it('is parsed or refused in few plain words, whatever is in it', () => {
    fc.assert(
      fc.property(fc.array(anEdit, { maxLength: 4 }), (edits) => {
        const object = edits.reduce<object>(
          (it, [at, value]) => withValue(it, at, value),
          aCredential(),
        );
        const stored = credentialFrom(JSON.parse(JSON.stringify(object)));
        if (stored === undefined) return;
        const parsed = parseCredential(stored, SETTINGS);
        if (!isFailure(parsed)) return;
        expect(parsed.kind).toBe('InvalidSpec');
        expect(parsed.message.length).toBeLessThan(1_000);
        expect(parsed.message).not.toMatch(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/u);
      }),
    );
  });

  it('that is no ConvercusCredential at all is refused', () => {
    fc.assert(
      fc.property(anyValue, (value) => {
        expect(specFault(value)?.kind).toBe('InvalidSpec');
      }),
    );
  });
});
