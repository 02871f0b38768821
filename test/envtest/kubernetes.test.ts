import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { type ControlPlane, startControlPlane } from '../../dev/envtest/control-plane.ts';
import { installCrd } from '../../dev/testbed/operator.ts';
import type { ConvercusCredential } from '../../src/credential/api.ts';
import type { DesiredSecret, SecretMeta } from '../../src/credential/secret.ts';
import {
  CREDENTIAL_LABEL,
  FIELD_MANAGER,
  MANAGED_BY_LABEL,
  managerFor,
  releasedSecret,
  renderTarget,
} from '../../src/credential/target-secret.ts';
import { ClusterCache } from '../../src/kubernetes/cache.ts';
import { KubernetesClient } from '../../src/kubernetes/client.ts';
import { EventRecorder } from '../../src/kubernetes/event-recorder.ts';
import { leaseStore } from '../../src/kubernetes/lease.ts';
import { credentialListWatch, secretListWatch } from '../../src/kubernetes/list-watch.ts';
import { credentialFrom } from '../../src/kubernetes/objects.ts';
import { createRestClient, type RestClient } from '../../src/kubernetes/rest-client.ts';
import { isFailure } from '../../src/lib/failure.ts';
import type { EventHandler, WatchEvent } from '../../src/lib/list-watch.ts';
import { Sensitive } from '../../src/lib/sensitive.ts';
import { systemClock } from '../../src/lib/system-clock.ts';
import { aParsedCredential, aToken } from '../support/builders.ts';
import { BAD_SELECTORS, GOOD_SELECTORS } from '../support/selectors.ts';
import { collect, never } from '../support/streams.ts';

/** Milliseconds in which everything that has happened reaches a watch, on a busy machine too. */
const WATCH_TIME = 3_000;
const OTHER_UID = '11111111-2222-3333-4444-555555555555';

const ownedBy = (name: string, uid: string, rest: Partial<DesiredSecret> = {}): DesiredSecret => ({
  namespace: 'default',
  name: 'loyalty-token',
  type: 'convercus.io/token',
  labels: {},
  annotations: {},
  owner: { apiVersion: 'convercus.io/v1alpha1', kind: 'ConvercusCredential', name, uid },
  data: { token: new Sensitive('the first token') },
  force: true,
  fieldManager: 'convercus-operator',
  ...rest,
});

/** No Secret exists as far as the cache knows. */
function listNothing(known: ClusterCache): void {
  const handler = known.secretHandler();
  handler.init('1', false);
  handler.initDone();
}

/** How many events it has shown. */
async function showAll<T>(events: AsyncIterable<WatchEvent<T>>, handler: EventHandler<T>) {
  let count = 0;
  for await (const event of events) {
    if (event.type === 'bookmark') continue;
    count += 1;
    handler[event.type](event.item);
  }
  return count;
}

describe('against a real API server', () => {
  let controlPlane: ControlPlane;
  let restClient: RestClient;
  let cache: ClusterCache;
  let cluster: KubernetesClient;

  const kubectl = (...args: string[]): Promise<string> => controlPlane.kubectl(args);
  const create = (object: object): Promise<string> =>
    controlPlane.kubectl(['create', '-f', '-'], { input: JSON.stringify(object) });
  const apply = async (desired: DesiredSecret): Promise<SecretMeta> => {
    const meta = await cluster.applySecret(desired, never);
    if (isFailure(meta)) throw new Error(meta.message);
    return meta;
  };
  const open = (kubeconfigPath: string): RestClient =>
    createRestClient({ kubeconfigPath, userAgent: 'convercus-operator/test' });
  const clusterOn = (restClient: RestClient, known = cache): KubernetesClient => {
    const silent = (): void => {};
    const log = { debug: silent, info: silent, warn: silent, error: silent };
    const recorder = { restClient, instance: 'test', log, signal: never, clock: systemClock };
    const events = new EventRecorder({ ...recorder, isBusy: () => true });
    return new KubernetesClient(restClient, known, events);
  };

  const uidOf = async (name: string): Promise<string> => {
    const meta = await cluster.readSecretMeta('default', name, never);
    if (meta === 'absent' || isFailure(meta)) throw new Error(`no Secret ${name}`);
    return meta.uid;
  };

  async function createCredential(name: string): Promise<ConvercusCredential> {
    const credentialsSecretRef = { name: 'source' };
    const spec = { program: 'ABC', environment: 'staging', credentialsSecretRef };
    const metadata = { name, namespace: 'default' };
    await create({
      apiVersion: 'convercus.io/v1alpha1',
      kind: 'ConvercusCredential',
      metadata,
      spec,
    });
    const json = await kubectl('get', 'convercuscredentials', name, '-o', 'json');
    const credential = credentialFrom(JSON.parse(json));
    if (credential === undefined) throw new Error('no credential');
    return credential;
  }

  beforeAll(async () => {
    controlPlane = await startControlPlane({ users: [{ name: 'without-rights' }] });
    cache = new ClusterCache(() => {});
    restClient = open(controlPlane.adminKubeconfig);
    cluster = clusterOn(restClient);
  }, 15 * 60_000);

  afterAll(async () => {
    await restClient.close();
    await controlPlane.stop();
  }, 60_000);

  it('says that the CRD is missing, and after its installation lists and watches', async () => {
    const credentials = credentialListWatch(restClient, { namespace: 'default' });
    await expect(credentials.list(undefined, never)).rejects.toThrow('install the CRD');
    await installCrd(controlPlane);
    const { resourceVersion } = await credentials.list(undefined, never);
    const { metadata } = await createCredential('watched');
    const [event] = await collect(credentials.watch(resourceVersion, WATCH_TIME, never));
    expect(event).toMatchObject({ type: 'apply', item: { metadata: { uid: metadata.uid } } });
  });

  it('writes a status until the credential is gone or another one', async () => {
    const credential = await createCredential('with-status');
    expect(await cluster.applyStatus(credential, { observedGeneration: 1 }, never)).toBe('written');
    const read = await kubectl('get', 'convercuscredentials', 'with-status', '-o', 'json');
    expect(JSON.parse(read).status).toEqual({ observedGeneration: 1 });
    await kubectl('delete', 'convercuscredentials', 'with-status');
    expect(await cluster.applyStatus(credential, {}, never)).toBe('gone');
    await createCredential('with-status');
    expect(await cluster.applyStatus(credential, {}, never)).toBe('gone');
  });

  it('replaces a status, also when the credential has changed in the meantime', async () => {
    const credential = await createCredential('changed');
    cache.credentialHandler().apply(credential);
    const read = async (): Promise<unknown> =>
      JSON.parse(await kubectl('get', 'convercuscredentials', 'changed', '-o', 'json')).status;
    const full = { observedGeneration: 1, tokenUrl: 'https://a', lastHandledRenewRequest: '1' };
    expect(await cluster.applyStatus(credential, full, never)).toBe('written');
    expect(await read()).toEqual(full);
    expect(await cluster.applyStatus(credential, { observedGeneration: 2 }, never)).toBe('written');
    expect(await read()).toEqual({ observedGeneration: 2 });
    expect(await cluster.applyStatus(credential, full, never)).toBe('written');
    await kubectl('annotate', 'convercuscredentials', 'changed', 'a=b');
    expect(await cluster.applyStatus(credential, { observedGeneration: 3 }, never)).toBe('written');
    expect(await read()).toEqual({ observedGeneration: 3 });
  });

  it('writes no status onto a credential that has taken the place of the one before', async () => {
    const before = await createCredential('replaced');
    await kubectl('delete', 'convercuscredentials', 'replaced');
    const after = await createCredential('replaced');
    for (const known of [before, after]) {
      cache.credentialHandler().apply(known);
      expect(await cluster.applyStatus(before, { observedGeneration: 7 }, never)).toBe('gone');
    }
    const read = await kubectl('get', 'convercuscredentials', 'replaced', '-o', 'json');
    expect(JSON.parse(read).status).toEqual({ observedGeneration: -1 });
  });

  it('leaves nothing of an old status in the objects of a new one', async () => {
    const credential = await createCredential('rejected');
    cache.credentialHandler().apply(credential);
    const retryAt = '2026-11-24T12:00:00Z';
    const first = {
      rejectedLogin: { presented: 'x', retryAt },
      target: { name: 'a', resourceVersion: '1' },
    };
    expect(await cluster.applyStatus(credential, first, never)).toBe('written');
    await kubectl('annotate', 'convercuscredentials', 'rejected', 'a=b');
    const next = { rejectedLogin: { presented: 'y' }, target: { name: 'a' } };
    expect(await cluster.applyStatus(credential, next, never)).toBe('written');
    const read = await kubectl('get', 'convercuscredentials', 'rejected', '-o', 'json');
    expect(JSON.parse(read).status).toEqual(next);
  });

  it('enqueues nothing for its own writes when the watch shows them, but for all others', async () => {
    const credential = await createCredential('heard');
    const enqueued: string[] = [];
    const known = new ClusterCache((keys) => enqueued.push(...keys));
    const credentials = credentialListWatch(restClient, {});
    const secrets = secretListWatch(restClient, {});
    const { resourceVersion: from } = await secrets.list(undefined, never);
    known.credentialHandler().apply(credential);
    listNothing(known);
    enqueued.length = 0;
    const writer = clusterOn(restClient, known);
    const target = ownedBy('heard', credential.metadata.uid, { name: 'heard-token' });
    expect(isFailure(await writer.applySecret(target, never))).toBe(false);
    expect(await writer.applyStatus(credential, { observedGeneration: 1 }, never)).toBe('written');
    const { resourceVersion: ours = '' } = credential.metadata;
    const shown = async () => {
      const [ofSecrets, ofCredentials] = await Promise.all([
        showAll(secrets.watch(from, WATCH_TIME, never), known.secretHandler()),
        showAll(credentials.watch(ours, WATCH_TIME, never), known.credentialHandler()),
      ]);
      return { ofSecrets, ofCredentials, enqueued: enqueued.splice(0) };
    };
    expect(await shown()).toEqual({ ofSecrets: 1, ofCredentials: 1, enqueued: [] });
    await kubectl('label', 'secret', 'heard-token', 'a=b');
    expect(await shown()).toEqual({ ofSecrets: 2, ofCredentials: 1, enqueued: ['default/heard'] });
    const request = 'convercus.io/renew-requested-at=now';
    await kubectl('annotate', 'convercuscredentials', 'heard', request);
    expect(await shown()).toEqual({ ofSecrets: 2, ofCredentials: 2, enqueued: ['default/heard'] });
  });

  it('shows events to kubectl', async () => {
    const credential = await createCredential('eventful');
    cluster.recordEvent(credential, { type: 'Normal', reason: 'Renewed', message: 'A new token' });
    let shown = '';
    while (!shown.includes('A new token')) shown = await kubectl('events', '-A');
    expect(shown).toContain('Renewed');
  });

  it('shows to kubectl how often an event was repeated', async () => {
    const credential = await createCredential('flapping');
    for (let n = 0; n < 12; n += 1) {
      const message = `change ${n}`;
      cluster.recordEvent(credential, { type: 'Normal', reason: 'TargetEdited', message });
    }
    let shown = '';
    while (!shown.includes('change 11')) {
      shown = await kubectl('describe', 'convercuscredentials', 'flapping');
    }
    expect(shown).toMatch(/TargetEdited +\S+ \(x11 over \S+\) .* change 11/);
  });

  it('writes a target, and knows it before the watch tells', async () => {
    const meta = await apply(ownedBy('loyalty', OTHER_UID));
    expect(meta).toMatchObject({ controllerUid: OTHER_UID });
    const read = await cluster.readSecret('default', 'loyalty-token', never);
    if (read === 'absent' || isFailure(read)) throw new Error('not read');
    expect(read.meta).toEqual(meta);
    expect(read.data.get('token')?.reveal()).toBe('the first token');
  });

  it('replaces a target, and from when on others write to it leaves alone what is theirs', async () => {
    const known = new ClusterCache(() => {});
    known.credentialHandler().apply(await createCredential('busy'));
    listNothing(known);
    const writer = clusterOn(restClient, known);
    const target = ownedBy('busy', OTHER_UID, {
      name: 'busy-token',
      labels: { [MANAGED_BY_LABEL]: FIELD_MANAGER, [CREDENTIAL_LABEL]: 'busy' },
      fieldManager: managerFor('busy'),
    });
    const read = async () => {
      const found = await writer.readSecret('default', target.name, never);
      if (found === 'absent' || isFailure(found)) throw new Error('not read');
      const keys = [...found.data].map(([key, value]) => `${key}=${value.reveal()}`);
      return { keys: keys.sort(), labels: Object.keys(found.labels).sort(), meta: found.meta };
    };
    const write = async (data: Record<string, string>, labels: Record<string, string> = {}) => {
      const before = known.secret('default', target.name);
      const values = Object.entries(data).map(([key, text]) => [key, new Sensitive(text)]);
      const written = await writer.applySecret(
        {
          ...target,
          ...(typeof before === 'object' && { uid: before.uid }),
          labels: { ...target.labels, ...labels },
          data: Object.fromEntries(values),
        },
        never,
      );
      if (isFailure(written)) throw new Error(written.message);
      return read();
    };
    const ours = Object.keys(target.labels).sort();
    const created = await write({ token: 'a', header: 'a' }, { old: '1' });
    expect(created).toMatchObject({
      keys: ['header=a', 'token=a'],
      meta: { fieldOwnership: 'sole' },
    });
    const replaced = await write({ token: 'b', other: 'b' });
    expect(replaced).toMatchObject({ keys: ['other=b', 'token=b'], labels: ours });
    expect(replaced.meta).toMatchObject({ fieldOwnership: 'sole', uid: created.meta.uid });

    await kubectl('label', 'secret', target.name, 'theirs=1');
    const touched = await read();
    expect(touched.meta).toMatchObject({ fieldOwnership: 'shared' });
    const shared = await write({ token: 'c' });
    expect(shared).toMatchObject({ keys: ['token=c'], labels: [...ours, 'theirs'].sort() });
    expect(shared.meta.fieldOwnership).toBeUndefined();
    const again = await write({ token: 'd', late: 'd' });
    expect(again).toMatchObject({ keys: ['late=d', 'token=d'], labels: shared.labels });
    expect(await write({ token: 'e' })).toMatchObject({ keys: ['token=e'], labels: shared.labels });
  });

  it('removes from a target what the spec drops, though a user has removed our labels', async () => {
    const known = new ClusterCache(() => {});
    known.credentialHandler().apply(await createCredential('bare'));
    listNothing(known);
    const writer = clusterOn(restClient, known);
    const labels = { [MANAGED_BY_LABEL]: FIELD_MANAGER, [CREDENTIAL_LABEL]: 'bare' };
    const fieldManager = managerFor('bare');
    const target = ownedBy('bare', OTHER_UID, { name: 'bare-token', labels, fieldManager });
    const { owner: _, ...kept } = target;
    const created = await writer.applySecret(target, never);
    if (isFailure(created)) throw new Error(created.message);
    const unlabelled = Object.keys(labels).map((name) => `${name}-`);
    await kubectl('label', 'secret', target.name, 'theirs=1', ...unlabelled);
    await writer.readSecret('default', target.name, never);
    const written = await writer.applySecret({ ...kept, uid: created.uid }, never);

    expect(written).not.toHaveProperty('controllerUid');
    expect(written).toMatchObject({ credentialName: 'bare' });
  });

  it('lists and watches Secrets without their contents', async () => {
    const { resourceVersion, uid } = await apply(ownedBy('loyalty', OTHER_UID, { name: 'seen' }));
    const secrets = secretListWatch(restClient, {});
    const page = await secrets.list(undefined, never);
    expect(page.items).toContainEqual(
      expect.objectContaining({ name: 'seen', meta: expect.objectContaining({ uid }) }),
    );
    const labels = { changed: 'yes' };
    const changed = ownedBy('loyalty', OTHER_UID, { name: 'seen', uid, labels });
    const { resourceVersion: newer } = await apply(changed);
    await kubectl('delete', 'secret', 'seen');
    const events = await collect(secrets.watch(resourceVersion, WATCH_TIME, never));
    expect(events.filter(({ type }) => type !== 'bookmark')).toMatchObject([
      { type: 'apply', item: { name: 'seen', meta: { resourceVersion: newer } } },
      { type: 'delete', item: { name: 'seen', meta: { uid } } },
    ]);
  });

  it('shows nothing to a watch from the future, as after etcd was restored from a backup', async () => {
    const secrets = secretListWatch(restClient, {});
    const { resourceVersion } = await secrets.list(undefined, never);
    const later = String(Number(resourceVersion) + 1_000_000);
    const events = collect(secrets.watch(later, 3_000, never));
    await kubectl('create', 'secret', 'generic', 'unseen');
    expect(await events).toEqual([]);
    const { items } = await secrets.list(undefined, never);
    expect(items.map(({ name }) => name)).toContain('unseen');
  });

  it('leaves alone a Secret of another type', async () => {
    await kubectl('create', 'secret', 'generic', 'foreign', '--from-literal=token=theirs');
    const uid = await uidOf('foreign');
    const created = ownedBy('a', OTHER_UID, { name: 'foreign' });
    expect(await cluster.applySecret(created, never)).toMatchObject({ kind: 'ClusterUnavailable' });
    const failure = await cluster.applySecret({ ...created, uid }, never);
    expect(failure).toMatchObject({ kind: 'TargetNotOurs' });
    const read = await cluster.readSecret('default', 'foreign', never);
    expect(read !== 'absent' && !isFailure(read) && read.data.get('token')?.reveal()).toBe(
      'theirs',
    );
  });

  it.each([
    ['of another type', 'Opaque'],
    ['of our type that another has made', 'convercus.io/token'],
  ])(
    'creates nothing over a Secret %s that no watch has shown, and knows it then',
    async (_, type) => {
      const name = `unknown-${type.replace(/\W/g, '-').toLowerCase()}`;
      await kubectl(
        'create',
        'secret',
        'generic',
        name,
        `--type=${type}`,
        '--from-literal=token=theirs',
      );
      const before = await cluster.readSecret('default', name, never);
      const credential = await createCredential(name);
      const known = new ClusterCache(() => {});
      const target = { ...credential.spec.target, name };
      known.credentialHandler().apply({ ...credential, spec: { ...credential.spec, target } });
      expect(known.secret('default', name)).toBe('unknown');
      const ours = ownedBy(name, credential.metadata.uid, { name });
      const failure = await clusterOn(restClient, known).applySecret(ours, never);
      expect(failure).toMatchObject({ kind: 'ClusterUnavailable', code: '409' });
      expect(await cluster.readSecret('default', name, never)).toEqual(before);
      expect(known.secret('default', name)).toEqual(
        before !== 'absent' && !isFailure(before) && before.meta,
      );
    },
  );

  it('leaves alone a Secret that another field manager controls', async () => {
    const { uid } = await apply(
      ownedBy('a', OTHER_UID, { name: 'controlled', fieldManager: 'another' }),
    );
    const ours = ownedBy('b', OTHER_UID.replace('1', '9'), { name: 'controlled', uid });
    const failure = await cluster.applySecret(ours, never);
    expect(failure).toMatchObject({ kind: 'TargetNotOurs' });
    expect(isFailure(failure) && failure.message).toMatch(/controlled by another/);
  });

  it('merges only into keys without another owner', async () => {
    await kubectl('create', 'secret', 'generic', 'shared', '--from-literal=token=theirs');
    const {
      type: _,
      owner: __,
      ...merged
    } = ownedBy('a', OTHER_UID, {
      name: 'shared',
      force: false,
    });
    expect(await cluster.applySecret(merged, never)).toMatchObject({
      kind: 'TargetNotOurs',
      message: expect.stringContaining('.data.token (kubectl-create)'),
    });
    await apply({ ...merged, data: { ours: new Sensitive('ours') } });
    const read = await cluster.readSecret('default', 'shared', never);
    const keys = read !== 'absent' && !isFailure(read) ? [...read.data.keys()].sort() : [];
    expect(keys).toEqual(['ours', 'token']);
  });

  it('tells which credential has merged a token, and takes over what it has left', async () => {
    await kubectl('create', 'secret', 'generic', 'renamed', '--from-literal=other=theirs');
    const { type: _, owner: __, ...merged } = ownedBy('old', OTHER_UID, { name: 'renamed' });
    const at = new Date(0).toISOString();
    const times = { 'issued-at': at, 'expires-at': at, 'renew-at': at };
    const digests = { 'spec-hash': 's', 'source-version': 'u/1', 'content-hash': 'c' };
    const marks = Object.entries({ ...times, ...digests });
    const annotations = Object.fromEntries(marks.map(([key, it]) => [`convercus.io/${key}`, it]));
    const old = { ...merged, annotations, force: false, fieldManager: managerFor('old') };
    const { tokenAnnotations, resourceVersion } = await apply(old);
    expect(tokenAnnotations?.credential).toBe('old');

    const next = { ...merged, data: { token: new Sensitive('the next token') } };
    const renewed = { ...next, annotations, force: false, fieldManager: managerFor('new') };
    expect(await cluster.applySecret(renewed, never)).toMatchObject({
      kind: 'TargetNotOurs',
      managers: [managerFor('old')],
    });
    await kubectl('annotate', 'secret', 'renamed', 'note=changed');
    const forced = { ...renewed, resourceVersion, force: true };
    expect(await cluster.applySecret(forced, never)).toMatchObject({ kind: 'ClusterUnavailable' });
    const seen = await cluster.readSecretMeta('default', 'renamed', never);
    if (seen === 'absent' || isFailure(seen)) throw new Error('unreachable');
    await apply({ ...forced, resourceVersion: seen.resourceVersion });
    const read = await cluster.readSecret('default', 'renamed', never);
    const value = read !== 'absent' && !isFailure(read) && read.data.get('token')?.reveal();
    expect(value).toBe('the next token');
  });

  /** Writes of a credential into a Secret of others, which has the version that was read. */
  async function mergeInto(secret: string, credential: string, data: Record<string, string>) {
    const existing = await cluster.readSecretMeta('default', secret, never);
    if (existing === 'absent' || isFailure(existing)) throw new Error('unreachable');
    const target = {
      name: secret,
      creationPolicy: 'Merge',
      deletionPolicy: 'Delete',
      data,
    } as const;
    const named = { metadata: { namespace: 'default', name: credential }, target } as const;
    const provenance = { sourceVersion: 'u/1', renewRequest: undefined };
    const rendered = renderTarget(aParsedCredential(named), aToken(), provenance, existing);
    if (isFailure(rendered)) throw new Error(rendered.message);
    return rendered.secret;
  }

  const managersOf = async (secret: string): Promise<string[]> => {
    const show = ['get', 'secret', secret, '--show-managed-fields', '-o', 'json'] as const;
    const { metadata } = JSON.parse(await kubectl(...show));
    return metadata.managedFields.map(({ manager }: { manager: string }) => manager).sort();
  };

  it('releases what it has merged, and nothing else', async () => {
    await kubectl('create', 'secret', 'generic', 'released', '--from-literal=theirs=stays');
    await kubectl('annotate', 'secret', 'released', 'convercus.io/merge=a', 'note=stays');
    const merged = await apply(await mergeInto('released', 'a', { ours: 'x', theirs: 'stays' }));
    expect(merged).toMatchObject({ allowsMergeBy: 'a', mergedBy: ['a'] });
    expect(merged.tokenAnnotations?.credential).toBe('a');

    const at = { namespace: 'default', name: 'a' };
    const released = await apply(releasedSecret(at, 'released', merged));
    expect(released).toEqual({
      uid: merged.uid,
      resourceVersion: released.resourceVersion,
      allowsMergeBy: 'a',
    });
    const read = await cluster.readSecret('default', 'released', never);
    if (read === 'absent' || isFailure(read)) throw new Error('unreachable');
    expect([...read.data].map(([key, value]) => [key, value.reveal()])).toEqual([
      ['theirs', 'stays'],
    ]);
    expect(read.annotations).toEqual({ 'convercus.io/merge': 'a', note: 'stays' });
    expect(await managersOf('released')).toEqual(['kubectl-annotate', 'kubectl-create']);
    // Once more: there is nothing to release
    expect(await apply(releasedSecret(at, 'released', released))).toEqual(released);
  });

  it('releases what one of two has merged, each of which goes with its credential', async () => {
    await kubectl('create', 'secret', 'generic', 'passed-on', '--from-literal=theirs=stays');
    await apply(await mergeInto('passed-on', 'a', { a: '1', both: '1' }));
    const second = await mergeInto('passed-on', 'b', { b: '2', both: '2' });
    const refused = await cluster.applySecret(second, never);
    expect(refused).toMatchObject({ managers: [managerFor('a')] });
    const merged = await apply({ ...second, force: true });
    expect(new Set(merged.mergedBy)).toEqual(new Set(['a', 'b']));

    const left = await apply(
      releasedSecret({ namespace: 'default', name: 'a' }, 'passed-on', merged),
    );
    expect(left.mergedBy).toEqual(['b']);
    expect(left.tokenAnnotations?.credential).toBe('b');
    const read = await cluster.readSecret('default', 'passed-on', never);
    const keys = read !== 'absent' && !isFailure(read) ? [...read.data.keys()].sort() : [];
    expect(keys).toEqual(['b', 'both', 'theirs']);
  });

  it('neither merges into nor releases of another version than was read', async () => {
    await kubectl('create', 'secret', 'generic', 'changed', '--from-literal=theirs=stays');
    const before = await mergeInto('changed', 'a', { ours: 'x' });
    await kubectl('annotate', 'secret', 'changed', 'note=changed');
    expect(await cluster.applySecret(before, never)).toMatchObject({ kind: 'ClusterUnavailable' });
    const merged = await apply(await mergeInto('changed', 'a', { ours: 'x' }));
    await kubectl('annotate', 'secret', 'changed', 'note=again', '--overwrite');
    const at = { namespace: 'default', name: 'a' };
    for (const other of [merged, { ...merged, uid: OTHER_UID }]) {
      const desired = releasedSecret(at, 'changed', other);
      expect(await cluster.applySecret(desired, never)).toMatchObject({
        kind: 'ClusterUnavailable',
      });
    }
    expect(await managersOf('changed')).toContain(managerFor('a'));
  });

  it('does not write onto another Secret than it knew', async () => {
    const { uid } = await apply(ownedBy('a', OTHER_UID, { name: 'replaced' }));
    await kubectl('delete', 'secret', 'replaced');
    const again = ownedBy('a', OTHER_UID, { name: 'replaced', uid });
    const failure = { kind: 'ClusterUnavailable', message: expect.stringContaining('looks again') };
    expect(await cluster.applySecret(again, never)).toMatchObject(failure);
    await apply(ownedBy('a', OTHER_UID, { name: 'replaced' }));
    expect(await cluster.applySecret(again, never)).toMatchObject(failure);
  });

  it('names the key that the API server does not take, not its value', async () => {
    const data = { 'no key': new Sensitive('hunter2hunter2') };
    const failure = await cluster.applySecret(
      ownedBy('a', OTHER_UID, { name: 'bad', data }),
      never,
    );
    expect(failure).toMatchObject({
      kind: 'TargetRefused',
      message: expect.stringContaining('data[no key]'),
    });
    expect(JSON.stringify(failure)).not.toContain('hunter2');
  });

  it('names the permission that is missing', async () => {
    const poor = open(controlPlane.userKubeconfig('without-rights'));
    const read = await clusterOn(poor).readSecretMeta('default', 'loyalty-token', never);
    expect(isFailure(read) && read.message).toMatch(
      /is not allowed to get secrets in namespace "default"/,
    );
    const list = secretListWatch(poor, {}).list(undefined, never);
    await expect(list).rejects.toThrow('is not allowed to list secrets in the whole cluster');
    await poor.close();
  });

  it('keeps a Lease that only one can write', async () => {
    const lease = leaseStore(restClient, { namespace: 'default', name: 'leader' });
    expect(await lease.read(never)).toBe('absent');
    const record = {
      holder: 'a',
      duration: 15_000,
      acquiredAt: 1_790_000_000_123,
      renewedAt: 1_790_000_000_456,
      transitions: 0,
    };
    const written = await lease.write(record, never);
    expect(written).toMatchObject(record);
    expect(await lease.read(never)).toEqual(written);
    expect(await lease.write(record, never)).toBe('conflict');
    if (isFailure(written) || written === 'conflict') throw new Error('not written');
    expect(await lease.write({ ...written, holder: '' }, never)).toMatchObject({ holder: '' });
    expect(await lease.write(written, never)).toBe('conflict');
  });

  it('takes and refuses the label selectors that the configuration takes and refuses', async () => {
    const path = '/api/v1/namespaces/default/configmaps';
    const isTaken = async (labelSelector: string): Promise<boolean> => {
      const query = { limit: '1', labelSelector };
      const response = await restClient.request({ method: 'GET', path, query, signal: never });
      return 'status' in response && response.status === 200;
    };
    const refused = await Promise.all(
      GOOD_SELECTORS.map(async (each) => ((await isTaken(each)) ? [] : [each])),
    );
    const taken = await Promise.all(
      BAD_SELECTORS.map(async (each) => ((await isTaken(each)) ? [each] : [])),
    );
    expect({ refused: refused.flat(), taken: taken.flat() }).toEqual({ refused: [], taken: [] });
  });
});
