import type { SecretMeta } from '../credential/secret.ts';
import { credentialOfManager, managerFor } from '../credential/target-secret.ts';
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
 * As client-go's `csaupgrade`: all fields of the manager count as applied, so that its next Apply removes those that it
 * does not name any more.
 */
export function upgradeManagedFields(
  managedFields: readonly unknown[],
  manager: string,
): unknown[] {
  const isOurs = (entry: unknown): boolean => textAt(entry, 'manager') === manager;
  const [first, ...rest] = managedFields.filter(isOurs);
  if (first === undefined) return [...managedFields];
  const fieldsV1 = rest.reduce<unknown>(
    (union, entry) => united(union, member(entry, 'fieldsV1')),
    member(first, 'fieldsV1'),
  );
  const others = managedFields.filter((entry) => !isOurs(entry));
  return [...others, { ...objectOf(first), operation: 'Apply', fieldsV1 }];
}

/** `fieldsV1` is an object of objects. */
const united = (one: unknown, other: unknown): object => {
  const union: Record<string, unknown> = { ...objectOf(one) };
  for (const [name, inner] of Object.entries(objectOf(other))) {
    union[name] = Object.hasOwn(union, name) ? united(union[name], inner) : inner;
  }
  return union;
};
