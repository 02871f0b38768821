import { RENEW_REQUEST_ANNOTATION } from '../../src/credential/credential.ts';
import {
  CREDENTIAL_LABEL,
  MERGE_ANNOTATION,
  TARGET_TYPE,
} from '../../src/credential/target-secret.ts';
import { hours, type Ms, minutes, rfc3339, seconds } from '../../src/lib/time.ts';
import type { Dice } from './dice.ts';
import { instancesOf, ownerNameIn } from './instances.ts';
import { clientOf, NAMESPACES, SOURCES } from './names.ts';
import { decoded, encoded, keyOf, mergeAllowedTo, type StoredObject } from './objects.ts';
import { CLIENTS } from './provider.ts';
import { START } from './replica.ts';
import { type Spec, specOf, statusOf, targetNameOf } from './rules/rule.ts';
import type { World } from './world.ts';

/** Edits by people, of objects that the dice pick. Without a fitting object nothing happens. */
export type Action = (world: World, dice: Dice) => void;

const NAMES = ['a', 'b', 'c'];
const MERGED = 'merged';
export const SHARED = 'shared';

const DATA: readonly Record<string, string>[] = [
  { token: '{{access_token}}' },
  { token: '{{access_token}}', header: 'Authorization: Bearer {{access_token}}' },
  // Too large for the cache, so that the operator reads it
  {
    header: 'Bearer {{access_token}}',
    until: '{{expires_at}}',
    note: 'x'.repeat(2_500),
    more: 'x'.repeat(2_500),
  },
];

const mergeTarget = (name: string) =>
  ({
    name: MERGED,
    creationPolicy: 'Merge',
    data: { [`key-${name}`]: '{{access_token}}' },
  }) as const;

export function newSpec(dice: Dice, name: string): Spec {
  const source = dice.pick(SOURCES);
  const kind = dice.weighted({ own: 65, shared: 15, merge: 20 });
  const target = {
    own: { creationPolicy: 'Owner', data: dice.pick(DATA) },
    shared: { name: SHARED, creationPolicy: 'Owner', data: dice.pick(DATA) },
    merge: mergeTarget(name),
  } as const;
  return {
    program: dice.pick(['ABC', 'ABC', 'XYZ']),
    environment: dice.pick(['staging', 'staging', 'production']),
    grantType: dice.weighted({ client_credentials: 50, password: 40, legacy_login: 10 }),
    clientId: clientOf(source),
    scope: dice.pick(['openid', 'openid', 'openid profile']),
    credentialsSecretRef: {
      name: source,
      keys: {
        clientSecret: 'client_secret',
        username: 'username',
        password: 'password',
        org: 'org',
      },
    },
    target: { deletionPolicy: dice.pick(['Delete', 'Delete', 'Retain']), ...target[kind] },
    ...(dice.chance(0.3) ? { renewal: { percent: dice.pick([50, 70]) } } : {}),
    suspend: dice.chance(0.05),
  };
}

function putCredential(world: World, metadata: StoredObject['metadata'], spec: Spec): void {
  const { namespace, name, labels, annotations } = metadata;
  const before = world.server.get('convercuscredentials', `${namespace}/${name}`);
  world.server.put(
    'convercuscredentials',
    {
      metadata: {
        ...before?.metadata,
        namespace,
        name,
        ...(labels && { labels }),
        ...(annotations && { annotations }),
      },
      spec: { ...spec },
      ...(before?.status === undefined ? {} : { status: before.status }),
    },
    'kubectl',
  );
}

function create(world: World, dice: Dice): void {
  const [namespace, name] = [dice.pick(NAMESPACES), dice.pick(NAMES)];
  if (world.server.get('convercuscredentials', `${namespace}/${name}`) !== undefined) return;
  const labels = { release: dice.pick(['one', 'two']) };
  const metadata = { namespace, name, labels, uid: '', resourceVersion: '' };
  const spec = newSpec(dice, name);
  putCredential(world, metadata, spec);
  if (spec.target.creationPolicy !== 'Merge' || dice.chance(0.3)) return;
  world.scheduler.after(dice.between(0, 5_000), () => {
    if (world.server.get('secrets', `${namespace}/${MERGED}`) === undefined)
      putMergedIn(world, namespace);
    if (dice.chance(0.8)) allowMerge(world, namespace, name);
  });
}

function putMergedIn(world: World, namespace: string): void {
  const metadata = { namespace, name: MERGED };
  const data = encoded({ theirs: 'x' });
  world.server.put('secrets', { type: 'Opaque', metadata, data }, 'kubectl');
}

/** `kubectl annotate`: lets one credential merge into the Secret, or none. */
function allowMerge(world: World, namespace: string, name: string | undefined): void {
  const found = world.server.get('secrets', `${namespace}/${MERGED}`);
  if (found === undefined || mergeAllowedTo(found) === name) return;
  const { [MERGE_ANNOTATION]: _, ...rest } = found.metadata.annotations ?? {};
  const annotations = name === undefined ? rest : { ...rest, [MERGE_ANNOTATION]: name };
  const metadata = { ...found.metadata, annotations };
  world.server.put('secrets', { ...found, metadata }, 'kubectl-annotate');
}

/** Names of the credentials that want to merge, whether they may or not. */
const mergersIn = (world: World, namespace: string): string[] =>
  world
    .credentials()
    .filter(({ metadata }) => metadata.namespace === namespace)
    .filter((credential) => specOf(credential).target.creationPolicy === 'Merge')
    .map(({ metadata }) => metadata.name);

function pickCredential(world: World, dice: Dice): StoredObject | undefined {
  const all = world.credentials();
  return all.length === 0 ? undefined : dice.pick(all);
}

const editing =
  (change: (spec: Spec, dice: Dice) => Partial<Spec>): Action =>
  (world, dice) => {
    const found = pickCredential(world, dice);
    if (found === undefined) return;
    const spec = specOf(found);
    putCredential(world, found.metadata, { ...spec, ...change(spec, dice) });
  };

const relabelling =
  (
    change: (metadata: StoredObject['metadata'], dice: Dice) => Partial<StoredObject['metadata']>,
  ): Action =>
  (world, dice) => {
    const found = pickCredential(world, dice);
    if (found === undefined) return;
    putCredential(world, { ...found.metadata, ...change(found.metadata, dice) }, specOf(found));
  };

function remove(world: World, dice: Dice): StoredObject | undefined {
  const found = pickCredential(world, dice);
  if (found !== undefined)
    world.server.remove('convercuscredentials', keyOf(found.metadata), 'people');
  return found;
}

/** `kubectl replace --force`: the same name and spec, another uid. */
function recreate(world: World, dice: Dice): void {
  const found = remove(world, dice);
  if (found !== undefined) putCredential(world, found.metadata, specOf(found));
}

/** Also deletes the target at the same time. */
function recreateWithTarget(world: World, dice: Dice): void {
  const found = remove(world, dice);
  if (found === undefined) return;
  const key = `${found.metadata.namespace}/${targetNameOf(found)}`;
  world.scheduler.after(dice.between(0, 12), () =>
    putCredential(world, found.metadata, specOf(found)),
  );
  world.scheduler.after(dice.between(0, 30), () => world.server.remove('secrets', key, 'people'));
}

/** The same spec under another name, like a rename in git. */
function rename(world: World, dice: Dice): void {
  const found = remove(world, dice);
  if (found === undefined) return;
  const name = dice.pick(NAMES);
  const { namespace } = found.metadata;
  const key = `${namespace}/${name}`;
  if (world.server.get('convercuscredentials', key) !== undefined) return;
  putCredential(world, { ...found.metadata, name }, specOf(found));
  if (specOf(found).target.creationPolicy === 'Merge' && dice.chance(0.7)) {
    world.scheduler.after(dice.between(0, 5_000), () => allowMerge(world, namespace, name));
  }
}

const hasNoToken = (credential: StoredObject | undefined): credential is StoredObject =>
  credential !== undefined && statusOf(credential)?.issuedAt === undefined;

/** The CRD lets name and policy of a target change until the status tells of a token. */
function changeTarget(world: World, dice: Dice): void {
  if (!world.credentials().some(hasNoToken)) create(world, dice);
  const all = world.credentials().filter(hasNoToken);
  if (all.length === 0) return;
  const { metadata } = dice.pick(all);
  const key = keyOf(metadata);
  const target = newTarget(dice, metadata.name);
  const change = () => {
    const found = world.server.get('convercuscredentials', key);
    if (!hasNoToken(found)) return;
    const { name: _, ...former } = specOf(found).target;
    putCredential(world, found.metadata, { ...specOf(found), target: { ...former, ...target } });
  };
  if (dice.chance(0.5)) return world.later(dice.between(0, 3_000), change);
  // Between the write of the target and that of the status
  let isWaiting = true;
  world.server.observe(({ kind, type, object }) => {
    const isTarget = kind === 'secrets' && type === 'ADDED' && object.type === TARGET_TYPE;
    if (!isWaiting || !isTarget || ownerKeyOf(object) !== key) return;
    isWaiting = false;
    world.later(dice.between(0, 10), change);
  });
}

const ownerKeyOf = ({ metadata: { namespace, labels } }: StoredObject): string =>
  `${namespace}/${labels?.[CREDENTIAL_LABEL]}`;

function newTarget(dice: Dice, owner: string): Partial<Spec['target']> {
  if (dice.chance(0.2)) return mergeTarget(owner);
  const name = dice.pick(['', 'renamed', SHARED]);
  return { creationPolicy: 'Owner', ...(name !== '' && { name }) };
}

const changingSecret =
  (
    nameOf: (credential: StoredObject, dice: Dice) => string,
    change: (secret: StoredObject, dice: Dice) => Partial<StoredObject>,
  ): Action =>
  (world, dice) => {
    const credential = pickCredential(world, dice);
    if (credential === undefined) return;
    const { namespace } = credential.metadata;
    const found = world.server.get('secrets', `${namespace}/${nameOf(credential, dice)}`);
    if (found === undefined) return;
    const { metadata, ...rest } = { ...found, ...change(found, dice) };
    world.server.put('secrets', { ...rest, metadata }, 'kubectl-edit');
  };

const removingSecret =
  (nameOf: (credential: StoredObject) => string): Action =>
  (world, dice) => {
    const credential = pickCredential(world, dice);
    if (credential === undefined) return;
    const { namespace } = credential.metadata;
    world.server.remove('secrets', `${namespace}/${nameOf(credential)}`, 'people');
  };

const sessionNameOf = ({ metadata }: StoredObject): string => `${metadata.name}-session`;
const sourceNameOf = (credential: StoredObject): string =>
  specOf(credential).credentialsSecretRef.name;

const withData =
  (data: Record<string, string>) =>
  (secret: StoredObject): Partial<StoredObject> => ({
    data: { ...secret.data, ...encoded(data) },
  });

/** Another date: one that a token may have, or one years ahead, which the operator takes for none. */
const withDate =
  (name: string) =>
  ({ metadata }: StoredObject, dice: Dice) => {
    const value = rfc3339(START + dice.pick([hours(3), hours(20_000)]));
    return { metadata: { ...metadata, annotations: { ...metadata.annotations, [name]: value } } };
  };

const withLabel =
  (name: string) =>
  ({ metadata }: StoredObject, dice: Dice) => ({
    metadata: { ...metadata, labels: { ...metadata.labels, [name]: `v${dice.below(1_000)}` } },
  });

/** Creates a user's Secret with the name of a target. */
function occupy(world: World, dice: Dice): void {
  const credential = pickCredential(world, dice);
  if (credential === undefined) return;
  const { namespace } = credential.metadata;
  const name = targetNameOf(credential);
  if (name === MERGED) return;
  world.server.remove('secrets', `${namespace}/${name}`, 'people');
  world.server.put(
    'secrets',
    { type: 'Opaque', metadata: { namespace, name }, data: encoded({ theirs: 'x' }) },
    'kubectl',
  );
}

function putMerged(world: World, dice: Dice): void {
  const namespace = dice.pick(NAMESPACES);
  const key = `${namespace}/${MERGED}`;
  const before = world.server.get('secrets', key);
  if (before !== undefined && dice.chance(0.4))
    return world.server.remove('secrets', key, 'people');
  const data = { ...decoded(before?.data), theirs: `v${dice.below(1_000)}` };
  const metadata = { ...before?.metadata, namespace, name: MERGED };
  world.server.put('secrets', { type: 'Opaque', metadata, data: encoded(data) }, 'kubectl');
  const mergers = mergersIn(world, namespace);
  if (before === undefined && mergers.length > 0 && dice.chance(0.7)) {
    allowMerge(world, namespace, dice.pick(mergers));
  }
}

/** Passes a Secret to merge into on to another credential, existing or not, or allows none any more. */
function passOn(world: World, dice: Dice): void {
  const namespace = dice.pick(NAMESPACES);
  const mergers = mergersIn(world, namespace);
  const names = dice.chance(0.7) && mergers.length > 0 ? mergers : NAMES;
  allowMerge(world, namespace, dice.chance(0.2) ? undefined : dice.pick(names));
}

/** Changes a value on one side first and on the other side later. */
const changing =
  (change: (world: World, client: string) => void): Action =>
  (world, dice) => {
    const client = dice.pick(CLIENTS);
    const source = client.replace('client', 'source');
    const gap = dice.pick<Ms>([0, seconds(5), minutes(2), minutes(6)]);
    const tell = (): void => {
      for (const namespace of NAMESPACES) {
        if (world.server.get('secrets', `${namespace}/${source}`) !== undefined)
          world.putSource(namespace, source);
      }
    };
    if (dice.chance(0.5)) {
      change(world, client);
      world.later(gap, tell);
      return;
    }
    // The Secret has the new value before the provider: for a while the credentials are wrong
    const good = world.provider.goodValues(client);
    for (const namespace of NAMESPACES) {
      if (world.server.get('secrets', `${namespace}/${source}`) === undefined) continue;
      world.putSource(namespace, source, { client_secret: `${good['client_secret']}-next` });
    }
    world.later(gap, () => {
      change(world, client);
      tell();
    });
  };

/** Creates a second credential with the spec of one that has a token, while the secret changes. */
function rotateWithNewcomer(world: World, dice: Dice): void {
  const found = pickCredential(world, dice);
  if (found === undefined) return;
  const { namespace } = found.metadata;
  const { name: _, ...target } = specOf(found).target;
  const spec = { ...specOf(found), target, suspend: false };
  const source = spec.credentialsSecretRef.name;
  const good = world.provider.goodValues(clientOf(source));
  for (const each of NAMESPACES) {
    world.putSource(each, source, { client_secret: `${good['client_secret']}-next` });
  }
  const key = `${namespace}/newcomer`;
  if (
    target.creationPolicy === 'Owner' &&
    world.server.get('convercuscredentials', key) === undefined
  ) {
    putCredential(world, { ...found.metadata, name: 'newcomer' }, spec);
  }
  world.later(minutes(6), () => {
    world.provider.rotate(clientOf(source));
    for (const each of NAMESPACES) world.putSource(each, source);
  });
}

const wrongValues =
  (key: string, value: string): Action =>
  (world, dice) => {
    const [namespace, source] = [dice.pick(NAMESPACES), dice.pick(SOURCES)];
    world.putSource(namespace, source, { [key]: `${value}-${dice.below(3)}` });
  };

function removeSource(world: World, dice: Dice): void {
  world.server.remove('secrets', `${dice.pick(NAMESPACES)}/${dice.pick(SOURCES)}`, 'people');
}

/** Deletes a namespace with its objects, in random order, and creates it again. */
function deleteNamespace(world: World, dice: Dice): void {
  const namespace = dice.pick(NAMESPACES);
  const { server, scheduler } = world;
  if (server.namespaces.get(namespace) !== 'active') return;
  world.setNamespace(namespace, 'terminating');
  world.trace.add('people', () => `delete namespace ${namespace}`);
  const kinds = ['secrets', 'convercuscredentials'] as const;
  const everything = kinds.flatMap((kind) =>
    [...server.all(kind)]
      .filter(({ metadata }) => metadata.namespace === namespace)
      .map((object) => ({ kind, key: keyOf(object.metadata) })),
  );
  for (const { kind, key } of everything) {
    scheduler.after(dice.between(0, 2_000), () => server.remove(kind, key, 'namespace controller'));
  }
  world.later(dice.between(3_000, 20_000), () => {
    for (const kind of kinds) {
      for (const object of server.all(kind)) {
        if (object.metadata.namespace === namespace)
          server.remove(kind, keyOf(object.metadata), 'namespace controller');
      }
    }
    world.setNamespace(namespace, 'active');
    for (const source of SOURCES) world.putSource(namespace, source);
  });
}

export const CREDENTIAL_EDITS = {
  create,
  remove: (world: World, dice: Dice) => void remove(world, dice),
  recreate,
  recreateWithTarget,
  rename,
  changeTarget,
  editData: editing(({ target }, dice) =>
    target.creationPolicy === 'Merge' ? {} : { target: { ...target, data: dice.pick(DATA) } },
  ),
  editLabels: editing(({ target }, dice) => ({
    target: { ...target, labels: { team: dice.pick(['x', 'y']) } },
  })),
  editScope: editing((_, dice) => ({ scope: dice.pick(['openid', 'openid profile']) })),
  editProgram: editing((_, dice) => ({ program: dice.pick(['ABC', 'XYZ']) })),
  editEnvironment: editing((_, dice) => ({
    environment: dice.pick(['staging', 'production', 'unknown']),
  })),
  editGrant: editing((_, dice) => ({
    grantType: dice.pick(['client_credentials', 'password', 'legacy_login']),
  })),
  editSource: editing((spec, dice) => {
    const name = dice.pick(SOURCES);
    return {
      clientId: clientOf(name),
      credentialsSecretRef: { ...spec.credentialsSecretRef, name },
    };
  }),
  editDeletionPolicy: editing(({ target }, dice) => ({
    target: { ...target, deletionPolicy: dice.pick(['Delete', 'Retain']) },
  })),
  suspend: editing(({ suspend }) => ({ suspend: !suspend })),
  requestRenewal: relabelling((_, dice) => ({
    annotations: { [RENEW_REQUEST_ANNOTATION]: `r${dice.below(1e6)}` },
  })),
  relabel: relabelling(({ labels }, dice) => ({ labels: { ...labels, x: `v${dice.below(100)}` } })),
  moveToAnotherRelease: (world, dice) => {
    world.safety.sessions.hasMoved = world.setting.releases === 2;
    relabelling(({ labels }, own) => ({
      labels: { ...labels, release: own.pick(['one', 'two']) },
    }))(world, dice);
  },
} as const satisfies Record<string, Action>;

export const SECRET_EDITS = {
  editTarget: changingSecret(targetNameOf, withData({ token: 'edited', header: 'edited' })),
  labelTarget: changingSecret(targetNameOf, withLabel('theirs')),
  unlabelTarget: changingSecret(targetNameOf, ({ metadata }) => ({
    metadata: { ...metadata, labels: {} },
  })),
  forgeExpiry: changingSecret(targetNameOf, withDate('convercus.io/expires-at')),
  forgeRenewal: changingSecret(targetNameOf, withDate('convercus.io/renew-at')),
  dropTarget: removingSecret(targetNameOf),
  occupy,
  putMerged,
  passOn,
  labelSession: changingSecret(sessionNameOf, withLabel('theirs')),
  spoilSession: changingSecret(sessionNameOf, withData({ 'session.json': '{' })),
  dropSession: removingSecret(sessionNameOf),
  labelSource: changingSecret(sourceNameOf, withLabel('theirs')),
  wrongSecret: wrongValues('client_secret', 'CaNaRy-wrong-secret'),
  wrongPassword: wrongValues('password', 'CaNaRy-wrong-password'),
  missingKey: wrongValues('password', ''),
  removeSource,
  rotateWithNewcomer,
  rotateSecret: changing((world, client) => void world.provider.rotate(client)),
  changePassword: changing((world, client) => void world.provider.changePassword(client)),
} as const satisfies Record<string, Action>;

export const NAMESPACE_EDITS = { deleteNamespace } as const satisfies Record<string, Action>;

/** Corrects every credential, so that it can be served, and deletes Secrets without owner. */
export function putThingsRight(world: World, dice: Dice): void {
  const { server } = world;
  for (const namespace of NAMESPACES) {
    for (const source of SOURCES) world.putSource(namespace, source);
    if (server.get('secrets', `${namespace}/${MERGED}`) === undefined)
      putMergedIn(world, namespace);
    const mergers = mergersIn(world, namespace);
    if (mergers.length > 0 && dice.chance(0.8)) allowMerge(world, namespace, dice.pick(mergers));
  }
  for (const credential of world.credentials()) {
    const spec = specOf(credential);
    const environment = spec.environment === 'unknown' ? 'staging' : spec.environment;
    putCredential(world, credential.metadata, {
      ...spec,
      environment,
      suspend: spec.suspend && dice.chance(0.5),
    });
  }
  const claimed = new Set(
    world.credentials().map((each) => `${each.metadata.namespace}/${targetNameOf(each)}`),
  );
  const ofClusters = new Set(world.clusterCredentials().map((each) => specOf(each).target.name));
  for (const secret of server.all('secrets')) {
    const key = keyOf(secret.metadata);
    const isForeign =
      secret.type === 'Opaque' && decoded(secret.data)['theirs'] === 'x' && !key.endsWith(MERGED);
    const isKept =
      secret.type === 'convercus.io/token' && secret.metadata.ownerReferences === undefined;
    // The label of one keeps it from the other, which goes first
    const isBetween = claimed.has(key) && ofClusters.has(secret.metadata.name);
    const isInTheWay =
      isForeign || (isKept && (!claimed.has(key) || isBetween || dice.chance(0.5)));
    if (isInTheWay || isUnlabelledLeftover(world, secret)) server.remove('secrets', key, 'people');
  }
}

/** A target without the label that people removed, which its owner does not want any more: the operator leaves it alone. */
function isUnlabelledLeftover(world: World, { type, metadata }: StoredObject): boolean {
  const { labels = {}, ownerReferences = [], namespace, name } = metadata;
  if (type !== 'convercus.io/token' || ownerNameIn(labels) !== undefined) return false;
  const [owner] = ownerReferences;
  const exists = [...world.credentials(), ...world.clusterCredentials()].some(
    (each) => each.metadata.uid === owner?.uid,
  );
  const isWanted = [...world.credentials(), ...instancesOf(world)].some(
    (each) =>
      each.metadata.uid === owner?.uid &&
      each.metadata.namespace === namespace &&
      targetNameOf(each) === name,
  );
  return exists && !isWanted;
}
