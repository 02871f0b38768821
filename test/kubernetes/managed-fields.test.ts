import { describe, expect, it } from '@jest/globals';
import * as fc from 'fast-check';
import {
  annotatedBy,
  fieldOwnershipOf,
  mergedBy,
  upgradeManagedFields,
} from '../../src/kubernetes/managed-fields.ts';
import { listAt, member, objectOf, textAt } from '../../src/lib/json.ts';
import { runs } from '../support/runs.ts';

const OURS = 'convercus-operator.loyalty';
const POLICY = 'f:convercus.io/deletion-policy';

type FieldsV1 = { [field: string]: FieldsV1 };

const { fields } = fc.letrec<{ fields: FieldsV1 }>((tie) => ({
  fields: fc.dictionary(
    fc.constantFrom('f:metadata', 'f:annotations', POLICY, 'f:data', 'f:token', 'f:__proto__', '.'),
    fc.oneof({ maxDepth: 3, withCrossShrink: true }, fc.constant({}), tie('fields')),
  ),
}));

const entries = fc.array(
  fc.record({
    manager: fc.constantFrom(OURS, 'convercus-operator.other', 'kubectl-edit', 'helm', ''),
    operation: fc.constantFrom('Apply', 'Update'),
    fieldsV1: fields,
  }),
);

const isOurs = (entry: unknown): boolean => textAt(entry, 'manager') === OURS;

/** The paths of all fields. */
function pathsOf(value: unknown, parent = ''): string[] {
  return Object.entries(objectOf(value)).flatMap(([name, inner]) => [
    `${parent}/${name}`,
    ...pathsOf(inner, `${parent}/${name}`),
  ]);
}

/** As the API server would have to accept it: JSON, nested as deep. */
function nested(depth: number): unknown {
  return JSON.parse(`${'{"f:a":'.repeat(depth)}{}${'}'.repeat(depth)}`);
}

describe('managed fields that are upgraded', () => {
  it('keep the entries of others as they are, in their order', () => {
    fc.assert(
      fc.property(entries, (managedFields) => {
        const upgraded = upgradeManagedFields(managedFields, OURS);
        const others = managedFields.filter((entry) => !isOurs(entry));
        expect(upgraded.filter((entry) => !isOurs(entry))).toEqual(others);
      }),
      { numRuns: runs(100) },
    );
  });

  it('have one entry of ours at most, an Apply, with the fields of all before and no other', () => {
    fc.assert(
      fc.property(entries, (managedFields) => {
        const before = managedFields.filter(isOurs);
        const ours = upgradeManagedFields(managedFields, OURS).filter(isOurs);
        expect(ours.map((entry) => textAt(entry, 'operation'))).toEqual(
          before.length === 0 ? [] : ['Apply'],
        );
        const paths = before.flatMap(({ fieldsV1 }) => pathsOf(fieldsV1));
        expect(new Set(pathsOf(member(ours[0], 'fieldsV1')))).toEqual(new Set(paths));
      }),
      { numRuns: runs(100) },
    );
  });

  it('are the same when they are upgraded again', () => {
    fc.assert(
      fc.property(entries, (managedFields) => {
        const once = upgradeManagedFields(managedFields, OURS);
        expect(upgradeManagedFields(once, OURS)).toEqual(once);
      }),
      { numRuns: runs(100) },
    );
  });

  it.each([100, 10_000, 100_000])('come to an end at %i levels', (depth) => {
    const entry = { manager: OURS, operation: 'Update', fieldsV1: nested(depth) };
    const theirs = { ...entry, manager: 'forged' };
    const upgraded = upgradeManagedFields([entry, theirs, entry], OURS);
    expect(upgraded[0]).toBe(theirs);
    expect(pathsOf(member(upgraded[1], 'fieldsV1')).length).toBeLessThan(20);
  });
});

describe('managed fields', () => {
  it('name 16 mergers at most, each once', () => {
    const entry = (name: string) => ({
      manager: `convercus-operator.${name}`,
      operation: 'Apply',
      fieldsV1: { 'f:metadata': { 'f:annotations': { [POLICY]: {} } } },
    });
    const forged = Array.from({ length: 1_000 }, (_, each) => entry(`m-${each >> 1}`));
    const found = mergedBy({ managedFields: forged });
    expect(found).toHaveLength(16);
    expect(new Set(found).size).toBe(16);
  });

  const anything = fc.array(fc.oneof(fc.jsonValue(), entries)).map((each) => each.flat());
  it('of any shape are read without an error', () => {
    fc.assert(
      fc.property(fc.oneof(anything, fc.jsonValue()), (managedFields) => {
        const meta = { managedFields };
        annotatedBy(meta);
        fieldOwnershipOf(meta, 'loyalty');
        upgradeManagedFields(listAt(meta, 'managedFields'), OURS);
        for (const name of mergedBy(meta)) expect(['loyalty', 'other']).toContain(name);
      }),
      { numRuns: runs(100) },
    );
  });

  it.each([10_000, 100_000])('of %i levels are read without an error', (depth) => {
    const entry = { manager: OURS, operation: 'Apply', fieldsV1: nested(depth) };
    const meta = { managedFields: [entry] };
    expect(mergedBy(meta)).toEqual([]);
    expect(annotatedBy(meta)).toBeUndefined();
    expect(fieldOwnershipOf(meta, undefined)).toBe('sole');
  });
});
