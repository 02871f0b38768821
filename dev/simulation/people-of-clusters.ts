import { RENEW_REQUEST_ANNOTATION } from '../../src/credential/credential.ts';
import type { Dice } from './dice.ts';
import { clientOf, NAMESPACES, SELECTED, SOURCES } from './names.ts';
import { encoded, keyOf, type StoredObject } from './objects.ts';
import { type Action, newSpec, SHARED } from './people.ts';
import { type Spec, specOf, targetNameOf } from './rules/rule.ts';
import type { World } from './world.ts';

/** Edits by administrators: ClusterConvercusCredentials and labels of namespaces. */

const KIND = 'clusterconvercuscredentials';
const NAMES = ['x', 'y'];

type ClusterSpec = Spec & {
  readonly namespaces?: readonly string[];
  readonly namespaceSelector?: object;
};

function newClusterSpec(dice: Dice): ClusterSpec {
  const { target, ...spec } = newSpec(dice, 'cluster');
  const name = dice.chance(0.2) ? SHARED : 'cluster-token';
  const { deletionPolicy, data = { token: '{{access_token}}' } } = target;
  return {
    ...spec,
    ...newSelection(dice),
    target: { name, creationPolicy: 'Owner', deletionPolicy, data: dataOf(data) },
  };
}

const dataOf = (data: Readonly<Record<string, string>>) =>
  'key-cluster' in data ? { token: '{{access_token}}' } : data;

const newSelection = (dice: Dice): Pick<ClusterSpec, 'namespaces' | 'namespaceSelector'> =>
  dice.pick([
    { namespaceSelector: { matchLabels: SELECTED } },
    { namespaceSelector: { matchLabels: SELECTED } },
    { namespaceSelector: {} },
    { namespaces: [dice.pick(NAMESPACES)] },
    { namespaces: ['ghost'], namespaceSelector: { matchLabels: SELECTED } },
  ]);

function put(world: World, metadata: StoredObject['metadata'], spec: Spec): void {
  const before = world.server.get(KIND, `/${metadata.name}`);
  const { labels, annotations, name } = metadata;
  world.server.put(
    KIND,
    {
      metadata: {
        ...before?.metadata,
        namespace: '',
        name,
        ...(labels && { labels }),
        ...(annotations && { annotations }),
      },
      spec: { ...spec },
    },
    'kubectl',
  );
}

function create(world: World, dice: Dice): void {
  const name = dice.pick(NAMES);
  if (world.server.get(KIND, `/${name}`) !== undefined) return;
  const labels = { release: dice.pick(['one', 'two']) };
  const metadata = { namespace: '', name, labels, uid: '', resourceVersion: '' };
  put(world, metadata, newClusterSpec(dice));
}

function pick(world: World, dice: Dice): StoredObject | undefined {
  const all = world.clusterCredentials();
  return all.length === 0 ? undefined : dice.pick(all);
}

const editing =
  (change: (spec: Spec, dice: Dice) => Partial<ClusterSpec>): Action =>
  (world, dice) => {
    const found = pick(world, dice);
    if (found === undefined) return;
    put(world, found.metadata, { ...specOf(found), ...change(specOf(found), dice) });
  };

function remove(world: World, dice: Dice): StoredObject | undefined {
  const found = pick(world, dice);
  if (found !== undefined) world.server.remove(KIND, keyOf(found.metadata), 'people');
  return found;
}

function recreate(world: World, dice: Dice): void {
  const found = remove(world, dice);
  if (found !== undefined) put(world, found.metadata, specOf(found));
}

/** Its target in one of the namespaces. */
const inNamespace =
  (change: (world: World, key: string, dice: Dice) => void): Action =>
  (world, dice) => {
    const found = pick(world, dice);
    if (found !== undefined) change(world, `${dice.pick(NAMESPACES)}/${targetNameOf(found)}`, dice);
  };

const occupy = inNamespace((world, key) => {
  const [namespace = '', name = ''] = key.split('/');
  world.server.remove('secrets', key, 'people');
  const metadata = { namespace, name };
  const data = encoded({ theirs: 'x' });
  world.server.put('secrets', { type: 'Opaque', metadata, data }, 'kubectl');
});

const editTarget = inNamespace((world, key) => {
  const found = world.server.get('secrets', key);
  if (found === undefined) return;
  const data = { ...found.data, ...encoded({ token: 'edited', header: 'edited' }) };
  world.server.put('secrets', { ...found, data }, 'kubectl-edit');
});

/** Two labels say whose it is. */
const labelTarget = inNamespace((world, key) => {
  const found = world.server.get('secrets', key);
  if (found === undefined) return;
  const labels = { ...found.metadata.labels, 'convercus.io/credential': 'a' };
  world.server.put(
    'secrets',
    { ...found, metadata: { ...found.metadata, labels } },
    'kubectl-edit',
  );
});

function labelNamespace(world: World, dice: Dice): void {
  const name = dice.pick(NAMESPACES);
  const state = world.server.namespaces.get(name);
  if (state === undefined) return;
  world.setNamespace(name, state, dice.chance(0.5) ? SELECTED : { cluster: 'no' });
}

/** Off and on again before anything may have followed from it. */
function flipNamespace(world: World, dice: Dice): void {
  labelNamespace(world, dice);
  world.later(dice.between(0, 3_000), () => labelNamespace(world, dice));
}

export const CLUSTER_EDITS = {
  createCluster: create,
  removeCluster: (world: World, dice: Dice) => void remove(world, dice),
  recreateCluster: recreate,
  selectCluster: editing((_, dice) => newSelection(dice)),
  editClusterGrant: editing((_, dice) => ({
    grantType: dice.pick(['client_credentials', 'password', 'legacy_login']),
  })),
  editClusterSource: editing((spec, dice) => {
    const name = dice.pick(SOURCES);
    return {
      clientId: clientOf(name),
      credentialsSecretRef: { ...spec.credentialsSecretRef, name },
    };
  }),
  editClusterLabels: editing(({ target }, dice) => ({
    target: { ...target, labels: { team: dice.pick(['x', 'y']) } },
  })),
  editClusterDeletionPolicy: editing(({ target }, dice) => ({
    target: { ...target, deletionPolicy: dice.pick(['Delete', 'Retain']) },
  })),
  suspendCluster: editing(({ suspend }) => ({ suspend: !suspend })),
  requestClusterRenewal: (world, dice) => {
    const found = pick(world, dice);
    if (found === undefined) return;
    const annotations = { [RENEW_REQUEST_ANNOTATION]: `r${dice.below(1e6)}` };
    put(world, { ...found.metadata, annotations }, specOf(found));
  },
  moveClusterToAnotherRelease: (world, dice) => {
    const found = pick(world, dice);
    if (found === undefined) return;
    world.safety.sessions.hasMoved = world.setting.releases === 2;
    const labels = { ...found.metadata.labels, release: dice.pick(['one', 'two']) };
    const selection = dice.chance(0.5) ? newSelection(dice) : {};
    put(world, { ...found.metadata, labels }, { ...specOf(found), ...selection });
  },
  occupyClusterTarget: occupy,
  editClusterTarget: editTarget,
  labelClusterTarget: labelTarget,
  dropClusterTarget: inNamespace((world, key) => world.server.remove('secrets', key, 'people')),
  labelNamespace,
  flipNamespace,
} as const satisfies Record<string, Action>;

/** Corrects every cluster credential, so that it can be served. */
export function putClustersRight(world: World, dice: Dice): void {
  for (const found of world.clusterCredentials()) {
    const spec = specOf(found);
    put(world, found.metadata, { ...spec, suspend: spec.suspend && dice.chance(0.5) });
  }
}
