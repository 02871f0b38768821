import type { ClusterConvercusCredential } from '../credential/cluster-api.ts';
import type { NamespaceMeta } from '../credential/instance.ts';
import { isObject, listAt, member, numberAt, objectOf, textAt, textsAt } from '../lib/json.ts';
import { optionalMeta, specFrom, statusFrom } from './objects.ts';

/** A ClusterConvercusCredential, whole: there are few, and their instances share its spec. */
export function clusterCredentialFrom(object: unknown): ClusterConvercusCredential | undefined {
  const name = textAt(object, 'metadata', 'name');
  const uid = textAt(object, 'metadata', 'uid');
  if (name === undefined || uid === undefined) return undefined;
  const generation = numberAt(object, 'metadata', 'generation') ?? 0;
  const status = statusFrom(member(object, 'status'));
  const spec = member(object, 'spec');
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the API server has validated and defaulted spec and status against the schema that the type is generated from
  return {
    metadata: { name, uid, generation, ...optionalMeta(object) },
    spec: { ...specFrom(spec), ...selectionFrom(spec), target: targetFrom(member(spec, 'target')) },
    ...(status === undefined ? {} : { status }),
  } as ClusterConvercusCredential;
}

/** Without a name it would get that of a ConvercusCredential; the empty one is refused. */
const targetFrom = (target: unknown): object => ({
  ...objectOf(target),
  name: textAt(target, 'name') ?? '',
});

/** What was stored under another schema selects nothing. */
function selectionFrom(spec: unknown): object {
  const selector = member(spec, 'namespaceSelector');
  const namespaces = listAt(spec, 'namespaces').filter((each) => typeof each === 'string');
  return {
    namespaces,
    namespaceSelector: isObject(selector) && isSelector(selector) ? selector : undefined,
  };
}

function isSelector(selector: unknown): boolean {
  const labels = member(selector, 'matchLabels') ?? {};
  const requirements = member(selector, 'matchExpressions') ?? [];
  return isObject(labels) && Array.isArray(requirements) && requirements.every(isRequirement);
}

const isRequirement = (requirement: unknown): boolean =>
  textAt(requirement, 'key') !== undefined && Array.isArray(member(requirement, 'values') ?? []);

/** Undefined when it is no stored Namespace. */
export function namespaceFrom(object: unknown): NamespaceMeta | undefined {
  const name = textAt(object, 'metadata', 'name');
  if (name === undefined) return undefined;
  return {
    name,
    labels: textsAt(object, 'metadata', 'labels'),
    isTerminating: textAt(object, 'metadata', 'deletionTimestamp') !== undefined,
  };
}
