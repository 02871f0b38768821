import { describe, expect, it } from '@jest/globals';
import type { ConvercusCredential } from '../../src/credential/api.ts';
import type { DesiredSecret } from '../../src/credential/secret.ts';
import { ClusterCache } from '../../src/kubernetes/cache.ts';
import { KubernetesClient } from '../../src/kubernetes/client.ts';
import { EventRecorder } from '../../src/kubernetes/event-recorder.ts';
import { cachedCredentialFrom, credentialFrom } from '../../src/kubernetes/objects.ts';
import { isFailure } from '../../src/lib/failure.ts';
import type { Log, LogFields } from '../../src/lib/log.ts';
import { Sensitive } from '../../src/lib/sensitive.ts';
import { systemClock } from '../../src/lib/system-clock.ts';
import { aCredential } from '../support/builders.ts';
import { never } from '../support/streams.ts';
import {
  type Answer,
  type Asked,
  type ScriptedApiServer,
  startScriptedApiServer,
  status,
} from './scripted-api-server.ts';

const TOKEN = 'eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJtYWNoaW5lIn0.c2lnbmF0dXJlLW9mLXRoZS10b2tlbg';

const desired: DesiredSecret = {
  namespace: 'shop',
  name: 'loyalty-token',
  uid: 'secret-uid',
  type: 'convercus.io/token',
  labels: { l: '1' },
  annotations: { a: '2', 'convercus.io/b': 'h' },
  owner: {
    apiVersion: 'convercus.io/v1alpha1',
    kind: 'ConvercusCredential',
    name: 'loyalty',
    uid: 'u',
  },
  data: { token: new Sensitive(TOKEN), note: new Sensitive('ä') },
  force: true,
  fieldManager: 'convercus-operator',
};

const CREDENTIALS = '/apis/convercus.io/v1alpha1/namespaces/shop/convercuscredentials';

const stored = (resourceVersion: string, rest: object = {}): Answer => ({
  body: { metadata: { uid: 'secret-uid', resourceVersion, ...rest } },
});

interface World extends AsyncDisposable {
  readonly cluster: KubernetesClient;
  readonly cache: ClusterCache;
  readonly asked: Asked[];
  /** Who has been woken so far. */
  readonly woken: string[];
  readonly warnings: (LogFields | undefined)[];
}

/** A cluster whose Secret loyalty-token is the target of the credential shop/loyalty. */
async function aWorld(answer: (asked: Asked) => Answer): Promise<World> {
  const asked: Asked[] = [];
  const server: ScriptedApiServer = await startScriptedApiServer((request) => {
    asked.push(request);
    return answer(request);
  });
  const { restClient } = server;
  const woken: string[] = [];
  const cache = new ClusterCache((keys) => woken.push(...keys));
  cache.credentialHandler().apply(loyalty());
  const warnings: (LogFields | undefined)[] = [];
  const silent = (): void => {};
  const warn: Log['warn'] = (_, fields) => warnings.push(fields);
  const log: Log = { debug: silent, info: silent, warn, error: silent };
  const clock = { ...systemClock, now: () => Date.parse('2026-11-24T00:00:00.123Z') };
  const isBusy = () => false;
  const recorder = { restClient, instance: 'pod-1', log, signal: never, clock, isBusy };
  const events = new EventRecorder(recorder);
  const cluster = new KubernetesClient(restClient, cache, events);
  const dispose = async (): Promise<void> => server[Symbol.asyncDispose]();
  return { cluster, cache, asked, woken, warnings, [Symbol.asyncDispose]: dispose };
}

/** As `credentialObject` with this name. */
const loyalty = (name = 'loyalty'): ConvercusCredential =>
  aCredential({
    metadata: { name, uid: 'u', resourceVersion: '5' },
    spec: { credentialsSecretRef: { name: 'source' } },
    target: { name: 'loyalty-token' },
  });

function withPassword(): ConvercusCredential {
  const credential = loyalty();
  const metadata = { ...credential.metadata, resourceVersion: '6', generation: 2 };
  return { ...credential, metadata, spec: { ...credential.spec, grantType: 'password' } };
}

/** As the API server stores it. */
function credentialObject(metadata: object = {}, rest: { spec?: object; status?: object } = {}) {
  return {
    apiVersion: 'convercus.io/v1alpha1',
    kind: 'ConvercusCredential',
    metadata: {
      name: 'loyalty',
      namespace: 'shop',
      uid: 'u',
      resourceVersion: '5',
      generation: 1,
      ...metadata,
    },
    spec: {
      credentialsSecretRef: { name: 'source' },
      target: { name: `loyalty-token` },
      ...rest.spec,
    },
    ...(rest.status === undefined ? {} : { status: rest.status }),
  };
}

async function until(holds: () => boolean): Promise<void> {
  while (!holds()) await new Promise((resolve) => setTimeout(resolve, 5));
}

describe('reading a Secret', () => {
  it('by its metadata asks for no contents and is remembered', async () => {
    await using world = await aWorld(() => stored('7'));
    const meta = { uid: 'secret-uid', resourceVersion: '7' };
    expect(await world.cluster.readSecretMeta('shop', 'loyalty-token', never)).toEqual(meta);
    expect(world.cache.secret('shop', 'loyalty-token')).toEqual(meta);
    expect(world.asked[0]?.headers.accept).toContain('as=PartialObjectMetadata');
  });

  it('decodes its data and leaves out the copy that kubectl keeps', async () => {
    const annotations = {
      kept: 'x',
      'kubectl.kubernetes.io/last-applied-configuration': '{"data":{}}',
    };
    await using world = await aWorld(() => ({
      body: {
        metadata: { uid: 'secret-uid', resourceVersion: '7', labels: { l: '1' }, annotations },
        data: { client_secret: Buffer.from('hunter2 ä').toString('base64'), broken: 7 },
      },
    }));
    const contents = await world.cluster.readSecret('shop', 'source', never);
    if (contents === 'absent' || isFailure(contents)) throw new Error('not read');
    expect(contents).toMatchObject({
      meta: { uid: 'secret-uid', resourceVersion: '7' },
      labels: { l: '1' },
    });
    expect(contents.annotations).toEqual({ kept: 'x' });
    expect([...contents.data.keys()]).toEqual(['client_secret']);
    expect(contents.data.get('client_secret')?.reveal()).toBe('hunter2 ä');
    expect(world.cache.secret('shop', 'source')).toEqual(contents.meta);
  });

  it('that does not exist is remembered as well', async () => {
    await using world = await aWorld(() => status(404, 'NotFound'));
    expect(await world.cluster.readSecretMeta('shop', 'loyalty-token', never)).toBe('absent');
    expect(await world.cluster.readSecret('shop', 'source', never)).toBe('absent');
    expect(world.cache.secret('shop', 'source')).toBe('absent');
  });

  it.each([
    ['a fault', status(500, 'InternalError'), '500'],
    ['something that is no Secret', { body: { data: {} } }, 'UnexpectedBody'],
  ])('fails on %s and teaches nothing', async (_, answer: Answer, code) => {
    await using world = await aWorld(() => answer);
    const failure = { kind: 'ClusterUnavailable', code };
    expect(await world.cluster.readSecret('shop', 'source', never)).toMatchObject(failure);
    expect(await world.cluster.readSecretMeta('shop', 'source', never)).toMatchObject(failure);
    expect(world.cache.secret('shop', 'source')).toBe('unknown');
  });
});

describe('applying a Secret', () => {
  it('sends it whole, with one owner who does not block deletions', async () => {
    await using world = await aWorld(() => stored('8', { ownerReferences: [] }));
    const meta = { uid: 'secret-uid', resourceVersion: '8' };
    expect(await world.cluster.applySecret(desired, never)).toEqual(meta);
    expect(world.cache.secret('shop', 'loyalty-token')).toEqual(meta);
    const [request] = world.asked;
    expect(request).toMatchObject({
      method: 'PATCH',
      path: '/api/v1/namespaces/shop/secrets/loyalty-token',
      query: { fieldManager: 'convercus-operator', force: 'true' },
      headers: { 'content-type': 'application/apply-patch+yaml' },
    });
    expect(JSON.parse(request?.body ?? '')).toEqual({
      apiVersion: 'v1',
      kind: 'Secret',
      type: 'convercus.io/token',
      metadata: {
        namespace: 'shop',
        name: 'loyalty-token',
        uid: 'secret-uid',
        labels: { l: '1' },
        annotations: { a: '2', 'convercus.io/b': 'h' },
        ownerReferences: [{ ...desired.owner, controller: true }],
      },
      data: { token: Buffer.from(TOKEN).toString('base64'), note: 'w6Q=' },
    });
  });

  it('sends of a Secret to merge into only what is ours', async () => {
    await using world = await aWorld(() => stored('8'));
    const { uid: _, type: __, owner: ___, ...merged } = desired;
    await world.cluster.applySecret({ ...merged, force: false }, never);
    const [request] = world.asked;
    expect(request?.query['force']).toBe('false');
    const body = JSON.parse(request?.body ?? '');
    expect(Object.keys(body)).toEqual(['apiVersion', 'kind', 'metadata', 'data']);
    expect(Object.keys(body.metadata)).toEqual(['namespace', 'name', 'labels', 'annotations']);
  });

  it('that did not exist creates it, and takes over none that has appeared since', async () => {
    await using world = await aWorld(({ method }) =>
      method === 'POST' ? status(409, 'AlreadyExists') : stored('9'),
    );
    world.cache.secretHandler().apply({
      namespace: 'shop',
      name: 'loyalty-token',
      meta: { uid: 'of-another', resourceVersion: '8', credentialName: 'another' },
    });
    const { uid: _, ...unbound } = desired;
    const result = await world.cluster.applySecret(unbound, never);
    expect(isFailure(result) && result.kind).toBe('ClusterUnavailable');
    expect(world.asked.map(({ method }) => method)).toEqual(['POST', 'GET']);
  });

  it('applies it to the version that is known, so that a late write fails', async () => {
    await using world = await aWorld(() => stored('9'));
    world.cache.secretHandler().apply({
      namespace: 'shop',
      name: 'loyalty-token',
      meta: { uid: 'secret-uid', resourceVersion: '8' },
    });
    await world.cluster.applySecret(desired, never);
    const [request] = world.asked;
    expect(request?.method).toBe('PATCH');
    expect(JSON.parse(request?.body ?? '').metadata.resourceVersion).toBe('8');
  });

  it('can be bound to the version that was seen', async () => {
    await using world = await aWorld(() => stored('8'));
    const { type: _, ...merged } = desired;
    await world.cluster.applySecret({ ...merged, resourceVersion: '7' }, never);
    const [request] = world.asked;
    expect(JSON.parse(request?.body ?? '').metadata.resourceVersion).toBe('7');
  });

  it('onto keys of several managers names each once', async () => {
    const causes = ['.data.token', '.data.note', '.metadata.annotations.a'].map((field, index) => ({
      field,
      reason: 'FieldManagerConflict',
      message: `conflict with "convercus-operator.${index > 0 ? 'b' : 'a'}" using v1`,
    }));
    const conflict = status(409, 'Conflict', { message: TOKEN, details: { causes } });
    await using world = await aWorld(({ method }) => (method === 'PATCH' ? conflict : stored('9')));
    expect(await world.cluster.applySecret(desired, never)).toMatchObject({
      kind: 'TargetNotOurs',
      managers: ['convercus-operator.a', 'convercus-operator.b'],
    });
  });

  it('onto many keys of others names five of them', async () => {
    const keys = [...Array(32).keys()].map((n) => `key-${n}`);
    const causes = keys.map((key) => ({
      field: `.data.${key}`,
      reason: 'FieldManagerConflict',
      message: 'conflict with "helm" using v1',
    }));
    const conflict = status(409, 'Conflict', { details: { causes } });
    await using world = await aWorld(({ method }) => (method === 'PATCH' ? conflict : stored('9')));
    const data = Object.fromEntries(keys.map((key) => [key, new Sensitive('v')]));
    expect(await world.cluster.applySecret({ ...desired, data }, never)).toMatchObject({
      message: expect.stringContaining('.data.key-4 (helm) and 27 more; use other keys'),
    });
  });

  const cause = (field: string, reason = 'FieldValueInvalid', message = TOKEN): object => ({
    message: TOKEN,
    details: { causes: [{ field, reason, message }] },
  });

  it.each<[string, Answer, string, RegExp]>([
    ['another type', status(422, 'Invalid', cause('type')), 'TargetNotOurs', /not of the type/],
    [
      'another controller',
      status(422, 'Invalid', cause('metadata.ownerReferences')),
      'TargetNotOurs',
      /controlled by another/,
    ],
    [
      'keys of another manager',
      status(
        409,
        'Conflict',
        cause('.data.token', 'FieldManagerConflict', `conflict with "helm" using v1: ${TOKEN}`),
      ),
      'TargetNotOurs',
      /\.data\.token \(helm\)/,
    ],
    [
      'an annotation of another manager',
      status(
        409,
        'Conflict',
        cause(
          '.metadata.annotations.convercus.io/b',
          'FieldManagerConflict',
          'conflict with "kubectl" using v1',
        ),
      ),
      'TargetNotOurs',
      /: \.metadata\.annotations\.convercus\.io\/b \(kubectl\);/,
    ],
    [
      'a field that was not sent',
      status(409, 'Conflict', cause(TOKEN, 'FieldManagerConflict', 'conflict with "x" using v1')),
      'TargetNotOurs',
      /: a field \(x\);/,
    ],
    [
      'another uid',
      status(422, 'Invalid', cause('metadata.uid')),
      'ClusterUnavailable',
      /looks again/,
    ],
    ['no such uid', status(409, 'Conflict'), 'ClusterUnavailable', /looks again/],
    ['nothing', status(404, 'NotFound'), 'ClusterUnavailable', /looks again/],
  ])('onto %s fails and learns the truth', async (_, refusal, kind, text) => {
    await using world = await aWorld(({ method }) =>
      method === 'PATCH' ? refusal : stored('9', { uid: 'theirs' }),
    );
    const failure = await world.cluster.applySecret(desired, never);
    expect(failure).toMatchObject({ kind });
    expect(JSON.stringify(failure)).toMatch(text);
    expect(JSON.stringify(failure)).not.toContain(TOKEN.slice(0, 12));
    expect(world.cache.secret('shop', 'loyalty-token')).toEqual({
      uid: 'theirs',
      resourceVersion: '9',
    });
  });

  it('that a policy refuses says so without any value', async () => {
    const echo = `denied: ${TOKEN} ${Buffer.from(TOKEN).toString('base64').slice(0, 60)}`;
    const message = `admission webhook "a.example.com" ${echo}`;
    await using world = await aWorld(() => status(403, 'Forbidden', { message }));
    expect(await world.cluster.applySecret(desired, never)).toMatchObject({
      kind: 'TargetRefused',
      message:
        'The API server refuses to store secrets "loyalty-token" (403 Forbidden): admission webhook "a.example.com" denied: [redacted] [redacted]',
    });
    const { type: _, ...merged } = desired;
    expect(await world.cluster.applySecret(merged, never)).toMatchObject({
      message: 'The API server refuses to store secrets "loyalty-token" (403 Forbidden)',
    });
  });
});

describe('applying a status', () => {
  it('replaces it whole', async () => {
    const given = { observedGeneration: 1 };
    const stored = { metadata: { uid: 'u', name: 'loyalty', namespace: 'shop' }, status: given };
    await using world = await aWorld(() => ({ body: stored }));
    expect(await world.cluster.applyStatus(loyalty(), given, never)).toBe('written');
    const [request] = world.asked;
    expect(request).toMatchObject({
      method: 'PUT',
      path: '/apis/convercus.io/v1alpha1/namespaces/shop/convercuscredentials/loyalty/status',
      query: { fieldManager: 'convercus-operator' },
    });
    expect(JSON.parse(request?.body ?? '')).toEqual({
      apiVersion: 'convercus.io/v1alpha1',
      kind: 'ConvercusCredential',
      metadata: { namespace: 'shop', name: 'loyalty', uid: 'u', resourceVersion: '5' },
      status: given,
    });
  });

  it('of another version than we know replaces it if the uid is the same', async () => {
    const given = { observedGeneration: 1 };
    const stored = credentialObject({ resourceVersion: '7' }, { status: given });
    await using world = await aWorld(({ method }) =>
      method === 'PUT' ? status(409, 'Conflict') : { body: stored },
    );
    expect(await world.cluster.applyStatus(loyalty(), given, never)).toBe('written');
    const [, request] = world.asked;
    expect(request).toMatchObject({
      method: 'PATCH',
      headers: { 'content-type': 'application/json-patch+json' },
    });
    expect(JSON.parse(request?.body ?? '')).toEqual([
      { op: 'test', path: '/metadata/uid', value: 'u' },
      { op: 'add', path: '/status', value: given },
    ]);
    expect(world.cache.credential('shop/loyalty')).toMatchObject({
      metadata: { resourceVersion: '7' },
      status: given,
    });
  });

  it.each([
    ['another one', { body: credentialObject({ uid: 'another' }, {}) }],
    ['none', status(404, 'NotFound')],
  ])('of a credential instead of which there is %s', async (_, found: Answer) => {
    await using world = await aWorld(({ method }) => {
      if (method === 'GET') return found;
      return method === 'PUT' ? status(409, 'Conflict') : status(422, 'Invalid');
    });
    expect(await world.cluster.applyStatus(loyalty(), {}, never)).toBe('gone');
  });

  it('that is not valid', async () => {
    await using world = await aWorld(({ method }) =>
      method === 'GET' ? { body: credentialObject({}, {}) } : status(422, 'Invalid'),
    );
    const failure = { kind: 'TargetRefused' };
    expect(await world.cluster.applyStatus(loyalty(), {}, never)).toMatchObject(failure);
  });

  it.each([
    ['none', status(404, 'NotFound'), 'gone'],
    ['a newer version', status(409, 'Conflict'), { kind: 'ClusterUnavailable' }],
    ['a fault', status(503, 'ServiceUnavailable'), { kind: 'ClusterUnavailable' }],
  ])('of a credential of which there is %s', async (_, answer: Answer, expected) => {
    await using world = await aWorld(() => answer);
    const result = await world.cluster.applyStatus(loyalty(), {}, never);
    expect(typeof expected === 'string' ? { result } : result).toMatchObject(
      typeof expected === 'string' ? { result: expected } : expected,
    );
  });
});

describe('an event', () => {
  const renewed = { type: 'Normal', reason: 'Renewed', message: 'A new token' } as const;

  it('is recorded about its credential', async () => {
    await using world = await aWorld(() => ({ status: 201 }));
    world.cluster.recordEvent(loyalty(), renewed);
    await until(() => world.asked.length > 0);
    expect(world.asked[0]?.path).toBe('/apis/events.k8s.io/v1/namespaces/shop/events');
    expect(JSON.parse(world.asked[0]?.body ?? '')).toEqual({
      apiVersion: 'events.k8s.io/v1',
      kind: 'Event',
      metadata: { namespace: 'shop', generateName: 'loyalty-' },
      eventTime: '2026-11-24T00:00:00.123000Z',
      type: 'Normal',
      reason: 'Renewed',
      note: 'A new token',
      action: 'Reconcile',
      regarding: {
        apiVersion: 'convercus.io/v1alpha1',
        kind: 'ConvercusCredential',
        namespace: 'shop',
        name: 'loyalty',
        uid: 'u',
      },
      reportingController: 'convercus.io/convercus-operator',
      reportingInstance: 'pod-1',
    });
  });

  it('fits into what the API allows', async () => {
    await using world = await aWorld(() => ({ status: 201 }));
    const name = `${'a'.repeat(49)}.${'b'.repeat(100)}`;
    world.cluster.recordEvent(loyalty(name), { ...renewed, message: `x${'ä'.repeat(900)}` });
    await until(() => world.asked.length > 0);
    const { note, metadata } = JSON.parse(world.asked[0]?.body ?? '');
    expect(Buffer.byteLength(note)).toBeLessThanOrEqual(1_024);
    expect(note).toMatch(/^xä+…$/);
    expect(metadata.generateName).toBe(`${'a'.repeat(49)}-`);
  });

  it('that is refused costs a warning', async () => {
    await using world = await aWorld(() => status(403, 'Forbidden', { message: 'no' }));
    world.cluster.recordEvent(loyalty(), renewed);
    await until(() => world.warnings.length > 0);
    expect(world.warnings).toMatchObject([{ namespace: 'shop', name: 'loyalty' }]);
  });
});

describe('deleting a Secret', () => {
  const secret = { namespace: 'shop', name: 'loyalty-session', uid: 'secret-uid' };

  it('means the one with that uid, which is known to be gone at once', async () => {
    await using world = await aWorld(() => ({ body: { kind: 'Status', status: 'Success' } }));
    world.cache.secretHandler().apply({
      namespace: 'shop',
      name: 'loyalty-session',
      meta: { uid: 'secret-uid', resourceVersion: '1', credentialName: 'loyalty', isSession: true },
    });
    expect(await world.cluster.deleteSecret(secret, never)).toBeUndefined();
    expect(world.asked[0]).toMatchObject({
      method: 'DELETE',
      path: '/api/v1/namespaces/shop/secrets/loyalty-session',
    });
    expect(JSON.parse(world.asked[0]?.body ?? '')).toMatchObject({
      preconditions: { uid: 'secret-uid' },
    });
    expect(world.cache.hasSession('shop/loyalty')).toBe(false);
  });

  it.each([404, 409])('has succeeded when the answer is %i', async (code) => {
    await using world = await aWorld(() => status(code, 'NotFound'));
    expect(await world.cluster.deleteSecret(secret, never)).toBeUndefined();
  });

  it('fails with a missing permission, by name', async () => {
    const text = 'secrets "x" is forbidden: User "y" cannot delete resource "secrets"';
    await using world = await aWorld(() => status(403, 'Forbidden', { message: text }));
    expect(await world.cluster.deleteSecret(secret, never)).toMatchObject({
      kind: 'PermissionDenied',
      message: expect.stringContaining('RBAC verb "delete"'),
    });
  });
});

/** A Secret that is named by shop/loyalty, as the watch shows it. */
const shown = (resourceVersion: string, uid = 'secret-uid', name = 'loyalty-token') => ({
  namespace: 'shop',
  name,
  meta: { uid, resourceVersion },
});

type AnswerByHand = Extract<Answer, (...args: never) => void>;

describe('an answer that the watch has overtaken', () => {
  /** `meanwhile` happens while the answer is on its way. The Secret was not known before. */
  function aRace(answer: Answer, meanwhile: (cache: ClusterCache) => void): Promise<World> {
    const racing: Promise<World> = aWorld(() => (response, request) => {
      void respond(response, request);
    });
    const respond = async (...[response, request]: Parameters<AnswerByHand>): Promise<void> => {
      meanwhile((await racing).cache);
      if (typeof answer === 'function') return answer(response, request);
      response.writeHead(answer.status ?? 200, { 'content-type': 'application/json' });
      response.end(JSON.stringify(answer.body));
    };
    return racing;
  }
  const wokenBy = async (world: World, act: () => Promise<unknown>): Promise<string[]> => {
    world.woken.length = 0;
    await act();
    return world.woken;
  };

  it('does not bring back a Secret that was deleted', async () => {
    await using world = await aRace(stored('7'), (cache) =>
      cache.secretHandler().delete(shown('10')),
    );
    expect(await world.cluster.readSecretMeta('shop', 'loyalty-token', never)).toBe('absent');
    expect(world.cache.secret('shop', 'loyalty-token')).toBe('absent');
  });

  it('does not make a Secret absent that was created', async () => {
    await using world = await aRace(status(404, 'NotFound'), (cache) =>
      cache.secretHandler().apply(shown('12')),
    );
    const { meta } = shown('12');
    expect(await world.cluster.readSecretMeta('shop', 'loyalty-token', never)).toEqual(meta);
    expect(world.cache.secret('shop', 'loyalty-token')).toEqual(meta);
  });

  it('wakes its credential once more', async () => {
    await using world = await aRace(
      stored('7'),
      (cache) =>
        // Known by what another credential has read: no credential is enqueued by it, nor by its event later
        void cache.learnRead({ namespace: 'shop', name: 'source' }, shown('9').meta, cache.changes),
    );
    const read = () => world.cluster.readSecret('shop', 'source', never);
    expect(await wokenBy(world, read)).toEqual(['shop/loyalty']);
    expect(world.cache.secret('shop', 'source')).toEqual(shown('9').meta);
  });

  it('enqueues nothing when it says the same', async () => {
    await using world = await aRace(
      stored('7'),
      (cache) =>
        void cache.learnRead({ namespace: 'shop', name: 'source' }, shown('7').meta, cache.changes),
    );
    const read = () => world.cluster.readSecret('shop', 'source', never);
    expect(await wokenBy(world, read)).toEqual([]);
  });

  it('is all that is known of a Secret that no credential names any more', async () => {
    await using world = await aRace(stored('7'), (cache) =>
      cache.credentialHandler().delete(loyalty()),
    );
    const secrets = world.cache.secretHandler();
    secrets.init('6', false);
    secrets.initDone();
    const { meta } = shown('7');
    expect(await world.cluster.readSecretMeta('shop', 'loyalty-token', never)).toEqual(meta);
  });

  it('does not outlast that its credential was deleted and made again', async () => {
    await using world = await aRace(stored('7'), (cache) => {
      const credentials = cache.credentialHandler();
      credentials.delete(loyalty());
      cache.secretHandler().delete(shown('10'));
      credentials.apply(loyalty());
    });
    await world.cluster.readSecretMeta('shop', 'loyalty-token', never);
    expect(world.cache.secret('shop', 'loyalty-token')).toBe('unknown');
  });

  it('does not undo a list', async () => {
    await using world = await aRace(status(404, 'NotFound'), (cache) => {
      const secrets = cache.secretHandler();
      secrets.init('20', false);
      secrets.apply(shown('12'));
      secrets.initDone();
    });
    await world.cluster.readSecret('shop', 'loyalty-token', never);
    expect(world.cache.secret('shop', 'loyalty-token')).toEqual(shown('12').meta);
  });

  it('to a write is news after what was deleted before, and what the watch shows of that is not', async () => {
    await using world = await aRace(stored('12', { uid: 'new' }), (cache) =>
      cache.secretHandler().delete(shown('10', 'old')),
    );
    const secrets = world.cache.secretHandler();
    secrets.apply(shown('8', 'old'));
    await world.cluster.applySecret(desired, never);
    const { meta } = shown('12', 'new');
    expect(world.cache.secret('shop', 'loyalty-token')).toEqual(meta);
    secrets.apply(shown('9', 'old'));
    secrets.delete(shown('10', 'old'));
    expect(world.cache.secret('shop', 'loyalty-token')).toEqual(meta);
  });

  it('to a write does not outlast that its credential was deleted and made again', async () => {
    await using world = await aRace(stored('8'), (cache) => {
      const credentials = cache.credentialHandler();
      credentials.delete(loyalty());
      cache.secretHandler().delete(shown('10'));
      credentials.apply(loyalty());
    });
    await world.cluster.applySecret(desired, never);
    expect(world.cache.secret('shop', 'loyalty-token')).toBe('unknown');
  });

  it.each([
    ['a write', (world: World) => world.cluster.applySecret(desired, never)],
    ['a read', (world: World) => world.cluster.readSecret('shop', 'loyalty-token', never)],
  ])('to %s does not bring back what a later list does not show', async (_, request) => {
    const list = (cache: ClusterCache, version: string, ...items: ReturnType<typeof shown>[]) => {
      const secrets = cache.secretHandler();
      secrets.init(version, false);
      for (const item of items) secrets.apply(item);
      secrets.initDone();
    };
    await using world = await aRace(stored('8'), (cache) => list(cache, '10'));
    list(world.cache, '6');
    expect(world.cache.secret('shop', 'loyalty-token')).toBe('absent');
    await request(world);
    expect(world.cache.secret('shop', 'loyalty-token')).toBe('unknown');
    list(world.cache, '11', shown('8'));
    expect(world.cache.secret('shop', 'loyalty-token')).toEqual(shown('8').meta);
  });

  it('to a write does not undo what came after it', async () => {
    await using world = await aRace(stored('8'), (cache) =>
      cache.secretHandler().apply(shown('9')),
    );
    await world.cluster.applySecret(desired, never);
    expect(world.cache.secret('shop', 'loyalty-token')).toEqual(shown('9').meta);
  });

  it.each([
    ['done', { body: { kind: 'Status', status: 'Success' } }],
    ['that there is none', status(404, 'NotFound')],
  ])('to a deletion, saying %s, leaves alone the next one of that name', async (_, answer) => {
    const session = { isSession: true, credentialName: 'loyalty' } as const;
    const next = shown('12', 'next', 'loyalty-session');
    await using world = await aRace(answer, (cache) =>
      cache.secretHandler().apply({ ...next, meta: { ...next.meta, ...session } }),
    );
    world.cache.credentialHandler().apply(withPassword());
    const first = shown('6', 'first', 'loyalty-session');
    world.cache.secretHandler().apply({ ...first, meta: { ...first.meta, ...session } });
    await world.cluster.deleteSecret({ ...first, uid: 'first' }, never);
    expect(world.cache.secret('shop', 'loyalty-session')).toMatchObject(next.meta);
    expect(world.cache.hasSession('shop/loyalty')).toBe(true);
  });

  it('about a status is the whole truth after an edit that came in between', async () => {
    const given = { observedGeneration: 1 };
    const edited = { spec: { program: 'EDITED' } };
    const after = { resourceVersion: '7', generation: 2 };
    await using world = await aWorld(({ method }) =>
      method === 'PUT'
        ? status(409, 'Conflict')
        : { body: credentialObject(after, { ...edited, status: given }) },
    );
    const apply = () => world.cluster.applyStatus(loyalty(), given, never);
    expect(await wokenBy(world, apply)).toEqual(['shop/loyalty']);
    const truth = { metadata: after, ...edited, status: given };
    expect(world.cache.credential('shop/loyalty')).toMatchObject(truth);
    const late = credentialFrom(credentialObject({ ...after, resourceVersion: '6' }, edited));
    if (late === undefined) throw new Error('no credential');
    world.cache.credentialHandler().apply(late);
    expect(world.cache.credential('shop/loyalty')).toMatchObject(truth);
  });

  it('about a status does not undo an edit that came after it', async () => {
    const edit = credentialFrom(
      credentialObject({ resourceVersion: '8', generation: 2 }, { spec: { program: 'EDITED' } }),
    );
    if (edit === undefined) throw new Error('no credential');
    await using world = await aRace(
      { body: { metadata: { uid: 'u', resourceVersion: '7' } } },
      (cache) => cache.credentialHandler().apply(edit),
    );
    await world.cluster.applyStatus(loyalty(), { observedGeneration: 1 }, never);
    expect(world.cache.credential('shop/loyalty')).toEqual(edit);
  });
});

describe('a credential whose spec is too large to be kept', () => {
  const data = { token: '{{access_token}}', motd: 'x'.repeat(5_000) };
  const large = (metadata: object = {}) =>
    credentialObject(metadata, { spec: { target: { name: 'loyalty-token', data } } });

  async function aLargeOne(answer: Answer): Promise<World> {
    const world = await aWorld(() => answer);
    const cached = cachedCredentialFrom(large({ resourceVersion: '6', generation: 2 }));
    if (cached !== undefined) world.cache.credentialHandler().apply(cached);
    world.woken.splice(0);
    return world;
  }

  const wholeOf = async ({ cache, cluster }: World) => {
    const cached = cache.credential('shop/loyalty');
    if (cached === undefined) throw new Error('no credential');
    expect(cached.spec.target).toEqual({ name: 'loyalty-token' });
    return cluster.wholeCredential(cached, never);
  };

  it('is read', async () => {
    await using world = await aLargeOne({ body: large({ resourceVersion: '7', generation: 2 }) });
    expect(await wholeOf(world)).toEqual({
      ...credentialFrom(large({ generation: 2 })),
      metadata: {
        name: 'loyalty',
        namespace: 'shop',
        uid: 'u',
        resourceVersion: '6',
        generation: 2,
      },
    });
    expect(world.asked).toMatchObject([{ method: 'GET', path: `${CREDENTIALS}/loyalty` }]);
    expect(world.woken).toEqual([]);
  });

  it('is superseded when it has been edited, and its key is enqueued', async () => {
    await using world = await aLargeOne({ body: large({ resourceVersion: '7', generation: 3 }) });
    expect(await wholeOf(world)).toBe('superseded');
    expect(world.cache.credential('shop/loyalty')?.metadata.generation).toBe(3);
    expect(world.woken).toEqual(['shop/loyalty']);
  });

  it.each<[string, Answer]>([
    ['gone', status(404, 'NotFound')],
    ['made again', { body: large({ resourceVersion: '7', generation: 2, uid: 'another' }) }],
  ])('is superseded when it is %s, which the watch will show', async (_, answer) => {
    await using world = await aLargeOne(answer);
    expect(await wholeOf(world)).toBe('superseded');
    expect(world.cache.credential('shop/loyalty')?.metadata.uid).toBe('u');
  });

  it('can not be had without the API server', async () => {
    await using world = await aLargeOne(status(500, 'InternalError'));
    expect(await wholeOf(world)).toMatchObject({ kind: 'ClusterUnavailable' });
  });

  it('stays small when the answer to a write shows it whole', async () => {
    await using world = await aLargeOne(status(500, 'InternalError'));
    await using other = await aWorld(({ method }) =>
      method === 'PUT'
        ? status(409, 'Conflict')
        : { body: large({ resourceVersion: '8', generation: 2 }) },
    );
    const known = world.cache.credential('shop/loyalty');
    if (known !== undefined) other.cache.credentialHandler().apply(known);
    await other.cluster.applyStatus(loyalty(), {}, never);
    const { metadata, spec } = other.cache.credential('shop/loyalty') ?? {};
    expect([metadata?.resourceVersion, spec?.target]).toEqual(['8', { name: 'loyalty-token' }]);
  });

  it('costs no request when it is small', async () => {
    await using world = await aWorld(() => status(500, 'InternalError'));
    const cached = world.cache.credential('shop/loyalty');
    expect(cached && (await world.cluster.wholeCredential(cached, never))).toBe(cached);
    expect(world.asked).toEqual([]);
  });
});

describe('reading a credential', () => {
  it('answers what the API server has', async () => {
    await using world = await aWorld(() => ({ body: { ...loyalty(), status: undefined } }));
    expect(await world.cluster.readCredential('shop', 'loyalty', never)).toEqual(loyalty());
  });

  it('answers that there is none', async () => {
    await using world = await aWorld(() => status(404, 'NotFound'));
    expect(await world.cluster.readCredential('shop', 'loyalty', never)).toBe('absent');
  });

  it.each([
    ['an answer that is none', { body: {} }],
    ['an outage', status(503, 'ServiceUnavailable')],
  ])('fails with %s', async (_, answer) => {
    await using world = await aWorld(() => answer);
    expect(isFailure(await world.cluster.readCredential('shop', 'loyalty', never))).toBe(true);
  });
});
