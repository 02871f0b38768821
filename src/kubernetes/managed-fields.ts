import type { SecretMeta } from '../credential/secret.ts';
import {
  credentialOfManager,
  DELETION_POLICY_ANNOTATION,
  managerFor,
} from '../credential/target-secret.ts';
import { TOKEN_ANNOTATIONS } from '../credential/token-annotations.ts';
import { listAt, member, objectOf, textAt } from '../lib/json.ts';

/**
 * `managedFields` of an object: which manager has set which fields, one entry for each manager and operation. What a
 * manager has set by Update (POST, PUT, PATCH), an Apply of the same manager does not remove.
 */

/**
 * `sole`: no other manager has set a field, so the object may be replaced. Not while it is being deleted: its finalizers
 * are the API server's.
 * @param credentialName as the labels say, which counts when several managers are ours
 */
export function fieldOwnershipOf(
  objectMeta: unknown,
  credentialName: string | undefined,
): SecretMeta['fieldOwnership'] {
  const entries = listAt(objectMeta, 'managedFields');
  const manager = onlyManagerIn(entries) ?? (credentialName && managerFor(credentialName));
  const ours = entries.filter((entry) => textAt(entry, 'manager') === manager);
  if (manager === undefined || ours.length === 0) return undefined;
  const isLeaving = textAt(objectMeta, 'deletionTimestamp') !== undefined;
  if (ours.length === entries.length && !isLeaving) return 'sole';
  return ours.some((entry) => textAt(entry, 'operation') === 'Update') ? 'shared' : undefined;
}

/** A user may have removed or changed our labels, which changes nothing about what we have set. */
function onlyManagerIn(entries: readonly unknown[]): string | undefined {
  const managers = new Set(entries.map((entry) => textAt(entry, 'manager') ?? ''));
  const ours = [...managers].filter((manager) => credentialOfManager(manager) !== undefined);
  return ours.length === 1 ? ours[0] : undefined;
}

/** The credential whose manager has set the token annotations; undefined when there is none, or more than one. */
export function annotatedBy(objectMeta: unknown): string | undefined {
  const setters = listAt(objectMeta, 'managedFields').filter(
    (entry) => member(entry, ...FIELDS_OF_TOKEN_ANNOTATIONS) !== undefined,
  );
  const names = new Set(setters.map((entry) => textAt(entry, 'manager') ?? ''));
  const [name = ''] = names;
  return names.size === 1 ? credentialOfManager(name) : undefined;
}

const FIELDS_OF_TOKEN_ANNOTATIONS = [
  'fieldsV1',
  'f:metadata',
  'f:annotations',
  `f:${TOKEN_ANNOTATIONS.contentHash}`,
];

/**
 * The credentials that have merged into a Secret and whose fields there go when they go: each of them has applied the
 * annotation that says so. With `Retain` a credential has not, nor has version 0.1.0.
 */
export function mergedBy(objectMeta: unknown): string[] {
  const names = listAt(objectMeta, 'managedFields')
    .filter((entry) => textAt(entry, 'operation') === 'Apply')
    .filter((entry) => member(entry, ...FIELD_OF_DELETION_POLICY) !== undefined)
    .map((entry) => credentialOfManager(textAt(entry, 'manager') ?? ''))
    .filter((name) => name !== undefined);
  return [...new Set(names)].slice(0, MAX_MERGERS);
}

/** One credential may merge at a time. An owner who forges thousands of managers gets no work done for each of them. */
const MAX_MERGERS = 16;

const FIELD_OF_DELETION_POLICY = [
  'fieldsV1',
  'f:metadata',
  'f:annotations',
  `f:${DELETION_POLICY_ANNOTATION}`,
];

/**
 * As client-go's `csaupgrade`: all fields of the manager count as applied, so that its next Apply removes those that it
 * does not name any more.
 */
export function upgradeManagedFields(
  managedFields: readonly unknown[],
  manager: string,
): unknown[] {
  const isOurs = (entry: unknown): boolean => textAt(entry, 'manager') === manager;
  const ours = managedFields.filter(isOurs);
  const [first] = ours;
  if (first === undefined) return [...managedFields];
  const fieldsV1 = noFields();
  for (const entry of ours) addFields(fieldsV1, member(entry, 'fieldsV1'));
  const others = managedFields.filter((entry) => !isOurs(entry));
  return [...others, { ...objectOf(first), operation: 'Apply', fieldsV1 }];
}

/** More than the fields of a Secret have. An entry that people have forged may be nested thousands of levels deep. */
const MAX_DEPTH = 16;

/** `fieldsV1`: an object of objects. */
interface Fields {
  [name: string]: Fields;
}

/** Without a prototype, so that any name is a name like others. */
const noFields = (): Fields => Object.create(null);

/**
 * Into the same object, for there may be thousands of entries that people have forged: with a copy for each of them
 * 10,000 took most of a minute. What lies deeper than MAX_DEPTH is left out: no field is there.
 */
function addFields(union: Fields, fields: unknown, depth = 0): void {
  if (depth === MAX_DEPTH) return;
  for (const [name, below] of Object.entries(objectOf(fields))) {
    union[name] ??= noFields();
    addFields(union[name], below, depth + 1);
  }
}
