import type {
  Draft,
  FieldsV1,
  ManagedFieldsEntry,
  OwnerReference,
  StoredObject,
} from './objects.ts';

/**
 * Field ownership of a Secret as in server-side apply (KEP 555): `metadata.managedFields` of a real API server for the
 * fields that the operator and people set, which are data, labels, annotations, owner references and the type.
 */

/** The value of each field by its path in the notation of FieldsV1. */
type Fields = ReadonlyMap<string, string>;

const SEPARATOR = '|';

export function fieldsOf({ type, data = {}, metadata }: Draft): Fields {
  const { labels = {}, annotations = {}, ownerReferences = [] } = metadata;
  const owners = ownerReferences.map((owner): [string, string] => [
    owner.uid,
    JSON.stringify(owner),
  ]);
  return new Map([
    ...(type === undefined ? [] : [['f:type', type] as const]),
    ...pathsOf('f:data', Object.entries(data)),
    ...pathsOf(`f:metadata${SEPARATOR}f:labels`, Object.entries(labels)),
    ...pathsOf(`f:metadata${SEPARATOR}f:annotations`, Object.entries(annotations)),
    ...pathsOf(`f:metadata${SEPARATOR}f:ownerReferences`, owners),
  ]);
}

const pathsOf = (parent: string, entries: readonly [string, string][]): [string, string][] =>
  entries.map(([name, value]) => [`${parent}${SEPARATOR}f:${name}`, value]);

export interface Conflict {
  readonly path: string;
  readonly manager: string;
}

/** The fields under ownership. Name, namespace, uid and version are set when the object is stored. */
export type Part = Pick<Draft, 'type' | 'data' | 'metadata'>;

/** The object after an apply of `manager`, or the conflicts that prevent it. */
export function applied(
  before: StoredObject,
  draft: Draft,
  { manager, force }: { readonly manager: string; readonly force: boolean },
): Part | readonly Conflict[] {
  const [current, wanted] = [fieldsOf(before), fieldsOf(draft)];
  const entries = before.metadata.managedFields ?? [];
  const isOurs = (entry: ManagedFieldsEntry): boolean =>
    entry.manager === manager && entry.operation === 'Apply';
  const others = entries.filter((entry) => !isOurs(entry)).map(ownershipOf);
  const differs = (path: string): boolean => current.get(path) !== wanted.get(path);
  // A field that the same manager set by another operation is a conflict too
  const conflicts = [...wanted.keys()]
    .filter(differs)
    .flatMap((path) =>
      others
        .filter(({ paths }) => paths.has(path))
        .map((owner) => ({ path, manager: owner.manager })),
    );
  if (conflicts.length > 0 && !force) return conflicts;
  const left = others.map((owner) => ({
    ...owner,
    paths: new Set([...owner.paths].filter((path) => !(wanted.has(path) && differs(path)))),
  }));
  const dropped = [...(entries.filter(isOurs).map(ownershipOf)[0]?.paths ?? [])].filter(
    (path) => !wanted.has(path) && !left.some(({ paths }) => paths.has(path)),
  );
  const fields = new Map([...current, ...wanted]);
  for (const path of dropped) fields.delete(path);
  const ours: Ownership = { manager, operation: 'Apply', paths: new Set(wanted.keys()) };
  return withFields(before, fields, [...left, ours]);
}

/** The object after a PUT, POST or PATCH of `manager`, which becomes the owner of changed fields. */
export function updated(before: StoredObject | undefined, draft: Draft, manager: string): Part {
  const [current, wanted] = [before === undefined ? new Map() : fieldsOf(before), fieldsOf(draft)];
  const changed = new Set(
    [...wanted.keys()].filter((path) => current.get(path) !== wanted.get(path)),
  );
  const kept = (before?.metadata.managedFields ?? []).map(ownershipOf).map((owner) => ({
    ...owner,
    paths: new Set([...owner.paths].filter((path) => wanted.has(path) && !changed.has(path))),
  }));
  const isOurs = (owner: Ownership): boolean =>
    owner.manager === manager && owner.operation === 'Update';
  const alreadyOurs = kept.find(isOurs)?.paths ?? [];
  const ours: Ownership = {
    manager,
    operation: 'Update',
    paths: new Set([...alreadyOurs, ...changed]),
  };
  const base = before ?? { metadata: draft.metadata };
  return withFields(base, wanted, [...kept.filter((owner) => !isOurs(owner)), ours]);
}

interface Ownership {
  readonly manager: string;
  readonly operation: ManagedFieldsEntry['operation'];
  readonly paths: ReadonlySet<string>;
}

function withFields(before: Draft, fields: Fields, owners: readonly Ownership[]): Part {
  const part = (parent: string): Record<string, string> =>
    Object.fromEntries(
      [...fields]
        .filter(([path]) => path.startsWith(`${parent}${SEPARATOR}f:`))
        .map(([path, value]) => [path.slice(parent.length + 3), value]),
    );
  const references = Object.values(part(`f:metadata${SEPARATOR}f:ownerReferences`));
  const ownerReferences: OwnerReference[] = references.map((text) => JSON.parse(text));
  const { ownerReferences: _, ...metadata } = before.metadata;
  return {
    type: fields.get('f:type') ?? 'Opaque',
    data: part('f:data'),
    metadata: {
      ...metadata,
      labels: part(`f:metadata${SEPARATOR}f:labels`),
      annotations: part(`f:metadata${SEPARATOR}f:annotations`),
      ...(ownerReferences.length === 0 ? {} : { ownerReferences }),
      managedFields: owners.filter(({ paths }) => paths.size > 0).map(entryOf),
    },
  };
}

interface MutableFields {
  [field: string]: MutableFields;
}

const ownershipOf = ({ manager, operation, fieldsV1 }: ManagedFieldsEntry): Ownership => ({
  manager,
  operation,
  paths: new Set(leavesOf(fieldsV1)),
});

function* leavesOf(fields: FieldsV1, parent = ''): Iterable<string> {
  for (const [name, inner] of Object.entries(fields)) {
    const path = parent === '' ? name : `${parent}${SEPARATOR}${name}`;
    if (Object.keys(inner).length === 0) yield path;
    else yield* leavesOf(inner, path);
  }
}

function entryOf({ manager, operation, paths }: Ownership): ManagedFieldsEntry {
  const fieldsV1: MutableFields = {};
  for (const path of paths) {
    let at: MutableFields = fieldsV1;
    for (const name of path.split(SEPARATOR)) {
      at[name] ??= {};
      at = at[name];
    }
  }
  return { manager, operation, fieldsV1 };
}
