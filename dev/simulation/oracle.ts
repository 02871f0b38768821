import { sessionNameOf } from '../../src/credential/credential.ts';
import { type Condition, conditionOf as conditionIn } from '../../src/credential/status.ts';
import { credentialOfManager } from '../../src/credential/target-secret.ts';
import { parseTime } from '../../src/lib/time.ts';
import { clusterProblems } from './clusters.ts';
import {
  credentialNamed,
  credentialsNamespaceOf,
  instancesOf,
  isInstance,
  ownerNameIn,
} from './instances.ts';
import {
  decoded,
  hasForeignAnnotations,
  keyOf,
  mergeAllowedTo,
  type StoredObject,
} from './objects.ts';
import { START } from './replica.ts';
import {
  isServed,
  makesTarget,
  type Spec,
  specOf,
  statusOf,
  targetNameOf,
  tokensIn,
} from './rules/rule.ts';
import { sessionIn } from './rules/sessions.ts';
import { isFor, isReleasedWith } from './rules/targets.ts';
import type { World } from './world.ts';

/**
 * Checks the state of each credential after all faults and edits have ended, from its spec and the world alone.
 * @returns what is wrong; empty when everything is right
 */
export function problemsOf(world: World): string[] {
  const served = [...world.credentials(), ...instancesOf(world)].filter((credential) =>
    isServed(world.setting.releases, credential),
  );
  const problems = served.flatMap((credential) => {
    const problem = problemWith(world, credential, served);
    return problem === undefined
      ? []
      : [`${keyOf(credential.metadata)}: ${problem}; ${conditionsOf(credential)}`];
  });
  return [...problems, ...clusterProblems(world), ...strays(world)];
}

function problemWith(
  world: World,
  credential: StoredObject,
  served: readonly StoredObject[],
): string | undefined {
  const spec = specOf(credential);
  const { namespace, generation } = credential.metadata;
  const ready = conditionOf(credential, 'Ready');
  if (ready?.observedGeneration !== generation)
    return `status is of generation ${ready?.observedGeneration}, not ${generation}`;
  const rivals = served.filter(
    (other) =>
      other.metadata.namespace === namespace && targetNameOf(other) === targetNameOf(credential),
  );
  const isRefused = ready?.reason === 'TargetNotOurs';
  const target = world.server.get('secrets', `${namespace}/${targetNameOf(credential)}`);
  if (target !== undefined && !isAllowed(target, credential)) {
    const reason = conditionOf(credential, 'Renewed')?.reason ?? '';
    const isSaid = ['MergeNotAllowed', 'TargetNotOurs'].includes(reason);
    return isSaid ? undefined : 'not told that the Secret does not allow to merge';
  }
  if (isRefused && isOthers(target, credential)) return undefined;
  if (isRefused && rivals.length > 1) {
    const isServedElsewhere = rivals.some(
      (duplicate) => conditionOf(duplicate, 'Ready')?.reason !== 'TargetNotOurs',
    );
    return isServedElsewhere ? undefined : 'none of those that name the target has it';
  }
  if (spec.suspend)
    return ready?.reason === 'Suspended' || ready?.reason === 'TokenExpired'
      ? undefined
      : 'not told to be suspended';
  if (ready?.status !== 'True') return 'not ready';
  if (target === undefined) return 'no target';
  return targetProblem(world, credential, target) ?? sessionProblem(world, credential);
}

const isAllowed = (target: StoredObject, credential: StoredObject): boolean =>
  specOf(credential).target.creationPolicy === 'Owner' ||
  mergeAllowedTo(target) === credential.metadata.name;

/**
 * True if the operator can't recognize the Secret as its own: `Retain` left it for a credential that is gone or has
 * another target, or people removed the label of a Secret without owner, or set fields of a Secret with Merge.
 */
function isOthers(target: StoredObject | undefined, { metadata, ...rest }: StoredObject): boolean {
  if (target === undefined) return false;
  if (specOf(rest).target.creationPolicy === 'Merge') return hasForeignAnnotations(target);
  const { labels = {}, ownerReferences } = target.metadata;
  return ownerReferences === undefined && ownerNameIn(labels) !== metadata.name;
}

function targetProblem(
  world: World,
  credential: StoredObject,
  target: StoredObject,
): string | undefined {
  const spec = specOf(credential);
  const status = statusOf(credential);
  const { annotations = {}, resourceVersion, ownerReferences = [] } = target.metadata;
  const { uid } = credential.metadata;
  const namespace = credentialsNamespaceOf(credential);
  if (spec.target.creationPolicy === 'Owner') {
    if (target.type !== 'convercus.io/token') return `target is of the type ${target.type}`;
    const owner = ownerReferences[0]?.uid;
    if (owner !== (spec.target.deletionPolicy === 'Delete' ? uid : undefined))
      return `target belongs to ${owner}`;
  }
  const data = decoded(target.data);
  for (const [key, template] of Object.entries(spec.target.data ?? { token: '{{access_token}}' })) {
    if (data[key] === undefined) return `target has no key ${key}`;
    if (template.includes('access_token') && tokensIn(data[key]).length === 0)
      return `no token under ${key}`;
  }
  const problem = tokenProblem(world, spec, target);
  if (problem !== undefined) return problem;
  const source = world.server.get(
    'secrets',
    `${namespace}/${spec.credentialsSecretRef.name}`,
  )?.metadata;
  const version = `${source?.uid}/${source?.resourceVersion}`;
  if (annotations['convercus.io/source-version'] !== version)
    return 'token of another version of the credentials Secret';
  if (isInstance(credential)) return undefined; // one status for all
  if (status?.expiresAt !== seconds(annotations['convercus.io/expires-at']))
    return 'status has another expiry';
  const shown = status?.target?.resourceVersion;
  return shown === resourceVersion
    ? undefined
    : `status has version ${shown} of the target, not ${resourceVersion}`;
}

const seconds = (text = ''): string => text.replace(/\.\d+/, '');

function tokenProblem(world: World, spec: Spec, target: StoredObject): string | undefined {
  const keys = Object.keys(spec.target.data ?? { token: '' });
  const data = decoded(target.data);
  const tokens = keys.flatMap((key) => tokensIn(data[key] ?? ''));
  for (const token of tokens) {
    const issued = world.provider.issued.get(token);
    if (issued === undefined) return 'a token that was never issued';
    if (!isFor(spec, issued))
      return `a token of ${issued.grantType} ${issued.realm} ${issued.clientId} ${issued.scope}`;
    const expired = Math.round((world.now - issued.expiresAt) / 1_000);
    if (expired >= 0) return `token has expired ${expired} s ago`;
    const validity = issued.expiresAt - issued.issuedAt;
    if (world.now - issued.issuedAt > LATEST_RENEWAL * validity + 60_000) return 'renewal is late';
  }
  const renewAt = parseTime(target.metadata.annotations?.['convercus.io/renew-at']) ?? 0;
  const late = START + world.now - renewAt;
  return late > 60_000 ? `renewal is ${late / 1_000} s late` : undefined;
}

function sessionProblem(world: World, credential: StoredObject): string | undefined {
  const { name, uid } = credential.metadata;
  const namespace = credentialsNamespaceOf(credential);
  const secret = world.server.get('secrets', `${namespace}/${sessionNameOf(name)}`);
  const isPassword = specOf(credential).grantType === 'password';
  if (!isPassword)
    return secret?.type === 'convercus.io/session' ? 'session of another grant is left' : undefined;
  if (secret === undefined) return 'no session is stored';
  const facts = decoded(secret.data)['session.json'] ?? '';
  return facts.includes(uid) ? undefined : 'the session is that of another credential';
}

/** The renewal is due at 80 ± 5 % of the lifetime, so at 85 % at the latest. */
const LATEST_RENEWAL = 0.86;

/** Secrets of the operator that no credential needs. */
function strays(world: World): string[] {
  const all = [...world.credentials(), ...world.clusterCredentials()];
  const owners = new Set(all.map(({ metadata }) => metadata.uid));
  return [...world.server.all('secrets')].flatMap((secret) => {
    const { type, metadata, data } = secret;
    const { namespace, name, labels = {}, ownerReferences } = metadata;
    const credential = credentialNamed(world, namespace, ownerNameIn(labels));
    if (type === 'convercus.io/session' && credential === undefined) {
      return [
        `session ${namespace}/${name} (${sessionIn(decoded(data)['refresh_token'] ?? '').slice(0, 6)}) is left`,
      ];
    }
    const owner = type === 'convercus.io/token' ? ownerReferences?.[0]?.uid : undefined;
    const isLeft = owner !== undefined && (!owners.has(owner) || isFormer(secret, credential));
    return isLeft ? [`target ${namespace}/${name} is left`] : keysLeft(world, secret);
  });
}

/** Its credential, which can be served, has another target by now. */
const isFormer = ({ metadata }: StoredObject, credential: StoredObject | undefined): boolean =>
  credential !== undefined &&
  !isInstance(credential) &&
  metadata.ownerReferences?.[0]?.uid === credential.metadata.uid &&
  !makesTarget(credential.metadata.name, specOf(credential), metadata.name);

/** Fields of credentials that are gone or have another target, and that were to go with them. */
function keysLeft({ server }: World, secret: StoredObject): string[] {
  const { namespace, name, managedFields = [] } = secret.metadata;
  return managedFields
    .filter(({ manager }) => isReleasedWith(secret, manager))
    .map(({ manager }) => credentialOfManager(manager))
    .filter((owner) => {
      const credential = server.get('convercuscredentials', `${namespace}/${owner}`);
      return credential === undefined || targetNameOf(credential) !== name;
    })
    .map((owner) => `fields of credential ${owner} are left in ${namespace}/${name}`);
}

const conditionOf = (credential: StoredObject, type: string): Condition | undefined =>
  conditionIn(statusOf(credential), type);

const conditionsOf = (credential: StoredObject): string =>
  ['Ready', 'Renewed']
    .map((type) => conditionOf(credential, type))
    .map(
      (condition) =>
        `${condition?.type}=${condition?.status} ${condition?.reason}: ${condition?.message}`,
    )
    .join('; ');
