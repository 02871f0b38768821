import { describe, expect, it } from '@jest/globals';
import * as fc from 'fast-check';
import { applied, fieldsOf, type Part, updated } from '../../../dev/simulation/field-ownership.ts';
import {
  type Draft,
  encoded,
  type FieldsV1,
  type ManagedFieldsEntry,
  type StoredObject,
} from '../../../dev/simulation/objects.ts';

describe('field ownership', () => {
  const values = fc.constantFrom('1', '2', '3');
  const texts = fc.dictionary(fc.constantFrom('a', 'b', 'c'), values, { maxKeys: 3 });
  const drafts = fc.record({ data: texts, labels: texts, annotations: texts }).map(
    ({ data, labels, annotations }): Draft => ({
      type: 'Opaque',
      data: encoded(data),
      metadata: { labels, annotations },
    }),
  );
  const managers = fc.constantFrom('one', 'two', 'three');
  const writes = fc.record({
    draft: drafts,
    manager: managers,
    how: fc.constantFrom('apply', 'force', 'update' as const),
  });
  /** The object after some writes. */
  const objects = fc
    .array(writes, { maxLength: 8 })
    .map((history) => history.reduce<StoredObject>(written, EMPTY));

  it('every field that has an owner is there', () => {
    fc.assert(
      fc.property(objects, (object) => {
        const fields = fieldsOf(object);
        for (const { paths } of ownersOf(object)) {
          expect([...paths].filter((path) => !fields.has(path))).toEqual([]);
        }
      }),
    );
  });

  it('an apply brings what it says, or names whose it is', () => {
    fc.assert(
      fc.property(objects, drafts, managers, (object, draft, manager) => {
        const made = applied(object, draft, { manager, force: false });
        if (isPart(made)) expect(holdsAll(made, draft)).toBe(true);
        else {
          const owners = ownersOf(object);
          const [current, wanted] = [fieldsOf(object), fieldsOf(draft)];
          for (const { path, manager } of made) {
            expect(current.get(path)).not.toBe(wanted.get(path));
            expect(
              owners.some((owner) => owner.name.startsWith(`${manager} `) && owner.paths.has(path)),
            ).toBe(true);
          }
        }
        expect(holdsAll(forced(object, draft, manager), draft)).toBe(true);
      }),
    );
  });

  it('the same apply once more changes nothing, and meets no conflict', () => {
    fc.assert(
      fc.property(objects, drafts, managers, (object, draft, manager) => {
        const first = stored(object, forced(object, draft, manager));
        const again = applied(first, draft, { manager, force: false });
        expect(isPart(again) && sortedPart(again)).toEqual(sortedPart(first));
      }),
    );
  });

  it('what an apply does not name any more goes, unless another has it', () => {
    fc.assert(
      fc.property(objects, drafts, managers, (object, draft, manager) => {
        const fields = fieldsOf(stored(object, forced(object, draft, manager)));
        const wanted = fieldsOf(draft);
        const before = ownersOf(object);
        const ours = before.find(({ name }) => name === `${manager} Apply`)?.paths ?? new Set();
        for (const path of fieldsOf(object).keys()) {
          if (wanted.has(path)) continue;
          const isOthers = before.some(
            ({ name, paths }) => name !== `${manager} Apply` && paths.has(path),
          );
          expect(fields.has(path)).toBe(!ours.has(path) || isOthers);
        }
      }),
    );
  });

  it('an update makes what it changes its own, and leaves the rest to its owners', () => {
    fc.assert(
      fc.property(objects, drafts, managers, (object, draft, manager) => {
        const after = stored(object, updated(object, draft, manager));
        expect(fieldsOf(after)).toEqual(fieldsOf(draft));
        const [current, wanted] = [fieldsOf(object), fieldsOf(draft)];
        for (const [path, value] of wanted) {
          const owners = (of: StoredObject): string[] =>
            ownersOf(of)
              .filter(({ paths }) => paths.has(path))
              .map(({ name }) => name)
              .sort();
          const isChanged = current.get(path) !== value;
          expect(owners(after)).toEqual(isChanged ? [`${manager} Update`] : owners(object));
        }
      }),
    );
  });
});

const EMPTY: StoredObject = {
  apiVersion: 'v1',
  kind: 'Secret',
  type: 'Opaque',
  metadata: { name: 'a', namespace: 'shop', uid: '1', resourceVersion: '1' },
};

interface Write {
  readonly draft: Draft;
  readonly manager: string;
  readonly how: string;
}

function written(object: StoredObject, { draft, manager, how }: Write): StoredObject {
  if (how === 'update') return stored(object, updated(object, draft, manager));
  const made = applied(object, draft, { manager, force: how === 'force' });
  return isPart(made) ? stored(object, made) : object;
}

function forced(object: StoredObject, draft: Draft, manager: string): Part {
  const made = applied(object, draft, { manager, force: true });
  if (!isPart(made)) throw new Error('a forced apply meets no conflict');
  return made;
}

const isPart = (made: ReturnType<typeof applied>): made is Part => 'metadata' in made;

const stored = (object: StoredObject, part: Part): StoredObject => ({
  ...object,
  ...part,
  metadata: { ...object.metadata, ...part.metadata },
});

const holdsAll = (part: Part, draft: Draft): boolean =>
  [...fieldsOf(draft)].every(([path, value]) => fieldsOf(part).get(path) === value);

/** `manager operation` and the paths of its fields. */
const ownersOf = ({
  metadata,
}: Pick<StoredObject, 'metadata'>): { name: string; paths: Set<string> }[] =>
  (metadata.managedFields ?? []).map((entry) => ({
    name: `${entry.manager} ${entry.operation}`,
    paths: new Set(pathsOf(entry.fieldsV1)),
  }));

function pathsOf(fields: FieldsV1, parent: readonly string[] = []): string[] {
  return Object.entries(fields).flatMap(([name, inner]) => {
    const path = [...parent, name];
    return Object.keys(inner).length === 0 ? [path.join('|')] : pathsOf(inner, path);
  });
}

const sortedPart = (part: Part) => ({
  fields: Object.fromEntries(fieldsOf(part)),
  owners: (part.metadata.managedFields ?? [])
    .map((entry: ManagedFieldsEntry) =>
      JSON.stringify([entry.manager, entry.operation, pathsOf(entry.fieldsV1).sort()]),
    )
    .sort(),
});
