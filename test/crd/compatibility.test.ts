import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from '@jest/globals';
import { parse } from 'yaml';
import { type Crd, incompatibilities, type Schema } from './incompatibilities.ts';

const ROOT = join(import.meta.dirname, '../..');

const crdAt = (path: string): Crd => parse(readFileSync(join(ROOT, path), 'utf8'));

describe('the CRD', () => {
  /**
   * The base is the CRD of the last release. What is told here breaks stored objects or manifests: find another way, or,
   * in a new minor version, take the CRD as the new base and say in docs/upgrade.md what to do.
   */
  it('is compatible with test/crd/base.yaml', () => {
    const current = crdAt('crds/convercus.io_convercuscredentials.yaml');
    expect(incompatibilities(crdAt('test/crd/base.yaml'), current)).toEqual([]);
  });

  it('of 0.1.0 has lost no field and no version', () => {
    const current = crdAt('crds/convercus.io_convercuscredentials.yaml');
    const found = incompatibilities(crdAt('test/upgrade/0.1.0/crd.yaml'), current);
    expect(found.filter((each) => /removed|required|served|type changed/.test(each))).toEqual([]);
  });
});

const crdWith = (schema: Schema, version = { name: 'v1', served: true }, scope = 'Namespaced') => ({
  spec: { scope, versions: [{ ...version, schema: { openAPIV3Schema: schema } }] },
});

const BASE: Schema = {
  type: 'object',
  required: ['a'],
  properties: {
    a: { type: 'string', enum: ['x', 'y'], default: 'x', minLength: 1, maxLength: 9 },
    list: { type: 'array', maxItems: 3, items: { type: 'integer', minimum: 0, maximum: 9 } },
    map: { type: 'object', additionalProperties: { type: 'string', pattern: '^a$' } },
  },
};

const withFields = (fields: Record<string, Schema>): Schema => ({
  ...BASE,
  properties: { ...BASE.properties, ...fields },
});
const a = BASE.properties?.['a'] ?? {};
const { a: _, ...others } = BASE.properties ?? {};

describe('two CRDs', () => {
  it.each<[string, Schema, string]>([
    ['a removed field', { ...BASE, properties: others }, 'v1.a: removed'],
    ['a new required field', { ...BASE, required: ['a', 'b'] }, 'v1: b is required now'],
    ['another type', withFields({ a: { ...a, type: 'integer' } }), 'v1.a: type changed'],
    ['an enum with less', withFields({ a: { ...a, enum: ['x'] } }), 'v1.a: enum changed'],
    ['an enum with more', withFields({ a: { ...a, enum: ['x', 'y', 'z'] } }), 'v1.a: enum changed'],
    ['another default', withFields({ a: { ...a, default: 'y' } }), 'v1.a: default changed'],
    ['a shorter text', withFields({ a: { ...a, maxLength: 8 } }), 'v1.a: maxLength tightened'],
    ['a longer text', withFields({ a: { ...a, minLength: 2 } }), 'v1.a: minLength tightened'],
    [
      'a bound where there was none',
      withFields({ map: { ...BASE.properties?.['map'], maxProperties: 1 } }),
      'v1.map: maxProperties tightened',
    ],
    [
      'items of a smaller range',
      withFields({
        list: { type: 'array', maxItems: 3, items: { type: 'integer', minimum: 1, maximum: 9 } },
      }),
      'v1.list[]: minimum tightened',
    ],
    [
      'values of another pattern',
      withFields({ map: { type: 'object', additionalProperties: { type: 'string' } } }),
      'v1.map.*: pattern changed',
    ],
    [
      'a further rule',
      { ...BASE, 'x-kubernetes-validations': [{ rule: 'self.a == 1' }] },
      'v1: new rule self.a == 1',
    ],
  ])('differ by %s', (__, schema, expected) => {
    expect(incompatibilities(crdWith(BASE), crdWith(schema))).toEqual([expected]);
  });

  it('differ by a version that is not served any more, and by their scope', () => {
    const unserved = crdWith(BASE, { name: 'v1', served: false });
    expect(incompatibilities(crdWith(BASE), unserved)).toEqual(['v1: not served any more']);
    const cluster = crdWith(BASE, { name: 'v1', served: true }, 'Cluster');
    expect(incompatibilities(crdWith(BASE), cluster)).toEqual(['scope: changed']);
  });

  it.each<[string, Schema]>([
    ['a new field', withFields({ b: { type: 'string' } })],
    ['a field that is no longer required', { ...BASE, required: [] }],
    ['a wider bound', withFields({ a: { ...a, maxLength: 10, minLength: 0 } })],
    ['another description', withFields({ a: { ...a, description: 'new' } })],
    ['a rule less', { ...BASE, 'x-kubernetes-validations': [] }],
  ])('are compatible with %s', (__, schema) => {
    expect(incompatibilities(crdWith(BASE), crdWith(schema))).toEqual([]);
  });
});
