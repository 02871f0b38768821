import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { type ControlPlane, startControlPlane } from '../../dev/envtest/control-plane.ts';
import { type Draft, encoded, type OwnerReference } from '../../dev/simulation/objects.ts';
import { installCrd } from '../../dev/testbed/operator.ts';
import type { ConvercusCredential } from '../../src/credential/api.ts';
import { patchStatusRequest, replaceStatusRequest } from '../../src/kubernetes/client.ts';
import { upgradeManagedFieldsRequest } from '../../src/kubernetes/secrets.ts';
import { never } from '../support/streams.ts';
import { objectOfKind, Play, path, RealSide, SimulatedSide } from './api-play.ts';

/**
 * Compares the simulated API server to a real one: each row runs on both and must give the same result, with the
 * outcomes in the row. See api-play.ts for what is compared.
 */
interface Row {
  readonly name: string;
  readonly outcomes: readonly string[];
  readonly play: (on: Play) => Promise<void>;
}

const OK = 'ok';
const NOT_FOUND = '404 NotFound';
const CONFLICT = '409 Conflict';
const EXISTS = '409 AlreadyExists';
const INVALID = '422 Invalid';
const OTHER_UID = '11111111-2222-3333-4444-555555555555';

type Metadata = Draft['metadata'];

/** A Secret `a` of our type. */
const secret = (data: Record<string, string>, metadata: Metadata = {}): Draft => ({
  type: 'convercus.io/token',
  metadata: { name: 'a', ...metadata },
  data: encoded(data),
});

const owner = (uid: string, controller = true): OwnerReference => ({
  apiVersion: 'convercus.io/v1alpha1',
  kind: 'ConvercusCredential',
  name: 'owner',
  uid,
  controller,
});

const without = <T>(record: Readonly<Record<string, T>> = {}, name: string): Record<string, T> =>
  Object.fromEntries(Object.entries(record).filter(([each]) => each !== name));

const withData =
  (data: Record<string, string>) =>
  (draft: Draft): Draft => ({ ...draft, data: { ...draft.data, ...encoded(data) } });

const withMetadata =
  (change: (metadata: Metadata) => Metadata) =>
  (draft: Draft): Draft => ({
    ...draft,
    metadata: { ...draft.metadata, ...change(draft.metadata) },
  });

const withLabels = (labels: Record<string, string>) =>
  withMetadata((metadata) => ({ labels: { ...metadata.labels, ...labels } }));

/** The operator sends it so that its next apply removes fields that it does not contain. */
async function upgradeManagedFields(on: Play): Promise<void> {
  const desired = {
    namespace: on.namespace,
    name: 'a',
    fieldManager: 'ours',
    labels: {},
    annotations: {},
    data: {},
    force: true,
  };
  const found = { status: 200, body: on.body('secrets', 'a') };
  await on.send('secrets', 'a', upgradeManagedFieldsRequest(desired, found, never));
}

const CREATIONS: readonly Row[] = [
  {
    name: 'POST, and once more',
    outcomes: [OK, EXISTS],
    play: async (on) => {
      await on.post(
        'secrets',
        secret({ token: '1' }, { labels: { l: '1' }, annotations: { n: '1' } }),
      );
      await on.post('secrets', secret({ token: '2' }));
    },
  },
  {
    name: 'POST of what has a uid',
    outcomes: [OK],
    play: (on) => on.post('secrets', secret({ token: '1' }, { uid: OTHER_UID })),
  },
  {
    name: 'POST of what has a version',
    outcomes: ['500 '],
    play: (on) => on.post('secrets', secret({ token: '1' }, { resourceVersion: '5' })),
  },
  {
    name: 'POST without a type',
    outcomes: [OK],
    play: (on) => on.post('secrets', { metadata: { name: 'a' }, data: encoded({ token: '1' }) }),
  },
  {
    name: 'POST of an owner',
    outcomes: [OK],
    play: (on) => on.post('secrets', secret({}, { ownerReferences: [owner(OTHER_UID)] })),
  },
  {
    name: 'POST of two controllers',
    outcomes: [INVALID],
    play: (on) => {
      const ownerReferences = [owner(OTHER_UID), owner(OTHER_UID.replace('1', '9'))];
      return on.post('secrets', secret({}, { ownerReferences }));
    },
  },
  {
    name: 'apply of what is absent',
    outcomes: [OK],
    play: (on) =>
      on.apply(secret({ token: '1' }, { labels: { l: '1' }, ownerReferences: [owner(OTHER_UID)] })),
  },
  {
    name: 'apply without a type of what is absent',
    outcomes: [OK],
    play: (on) => on.apply({ metadata: { name: 'a' }, data: encoded({ token: '1' }) }),
  },
  {
    name: 'apply with the uid of what is absent',
    outcomes: [CONFLICT],
    play: (on) => on.apply(secret({ token: '1' }, { uid: OTHER_UID }), { force: true }),
  },
  {
    name: 'apply with a version of what is absent',
    outcomes: [OK],
    play: (on) => on.apply(secret({ token: '1' }, { resourceVersion: '5' }), { force: true }),
  },
  {
    name: 'apply with uid and version of what is gone',
    outcomes: [OK, OK, CONFLICT],
    play: async (on) => {
      await on.post('secrets', secret({ token: '1' }));
      const [uid, resourceVersion] = [on.uid('secrets', 'a'), on.version('secrets', 'a')];
      await on.remove('secrets', 'a');
      await on.apply(secret({ token: '1' }, { uid, resourceVersion }), { force: true });
    },
  },
];

const REPLACEMENTS: readonly Row[] = [
  {
    name: 'PUT of the uid and version that are there',
    outcomes: [OK, OK],
    play: async (on) => {
      await on.post(
        'secrets',
        secret({ token: '1', dropped: '1' }, { labels: { l: '1', x: '1' } }),
      );
      const [uid, resourceVersion] = [on.uid('secrets', 'a'), on.version('secrets', 'a')];
      await on.put('secrets', secret({ token: '2' }, { uid, resourceVersion, labels: { l: '1' } }));
    },
  },
  {
    name: 'PUT without a precondition, then of the same',
    outcomes: [OK, OK, OK],
    play: async (on) => {
      await on.post('secrets', secret({ token: '1' }));
      await on.put('secrets', secret({ token: '2' }, { annotations: { n: '1' } }));
      await on.put('secrets', secret({ token: '2' }, { annotations: { n: '1' } }));
    },
  },
  {
    name: 'PUT of another uid',
    outcomes: [OK, CONFLICT],
    play: async (on) => {
      await on.post('secrets', secret({ token: '1' }));
      await on.put('secrets', secret({ token: '2' }, { uid: OTHER_UID }));
    },
  },
  {
    name: 'PUT of an old version',
    outcomes: [OK, OK, CONFLICT],
    play: async (on) => {
      await on.post('secrets', secret({ token: '1' }));
      const resourceVersion = on.version('secrets', 'a');
      await on.put('secrets', secret({ token: '2' }));
      await on.put('secrets', secret({ token: '3' }, { resourceVersion }));
    },
  },
  {
    name: 'PUT of uid and version of the one before',
    outcomes: [OK, OK, OK, CONFLICT],
    play: async (on) => {
      await on.post('secrets', secret({ token: '1' }));
      const [uid, resourceVersion] = [on.uid('secrets', 'a'), on.version('secrets', 'a')];
      await on.remove('secrets', 'a');
      await on.post('secrets', secret({ token: '2' }));
      await on.put('secrets', secret({ token: '3' }, { uid, resourceVersion }));
    },
  },
  {
    name: 'PUT of what is absent',
    outcomes: [NOT_FOUND, NOT_FOUND],
    play: async (on) => {
      await on.put('secrets', secret({ token: '1' }));
      await on.put('secrets', secret({ token: '1' }, { uid: OTHER_UID, resourceVersion: '5' }));
    },
  },
  {
    name: 'PUT of another type',
    outcomes: [OK, INVALID],
    play: async (on) => {
      await on.post('secrets', secret({ token: '1' }));
      await on.put('secrets', { ...secret({ token: '2' }), type: 'Opaque' });
    },
  },
  {
    name: 'PUT of another owner',
    outcomes: [OK, OK, OK],
    play: async (on) => {
      await on.post('secrets', secret({ token: '1' }, { ownerReferences: [owner(OTHER_UID)] }));
      const ownerReferences = [owner(OTHER_UID.replace('1', '9'))];
      await on.put('secrets', secret({ token: '1' }, { ownerReferences }));
      await on.put('secrets', secret({ token: '1' }));
    },
  },
  {
    name: 'PUT over what people have added',
    outcomes: [OK, OK],
    play: async (on) => {
      await on.post('secrets', secret({ token: '1' }, { labels: { l: '1' } }));
      await on.edit('secrets', 'a', withLabels({ theirs: '1' }));
      await on.put('secrets', secret({ token: '2' }, { labels: { l: '1' } }));
    },
  },
  {
    name: 'PUT after apply by the same manager',
    outcomes: [OK, OK, CONFLICT, OK],
    play: async (on) => {
      await on.apply(secret({ token: '1', kept: '1' }, { labels: { l: '1' } }));
      await on.put('secrets', secret({ token: '2', kept: '1' }, { labels: { l: '1' } }));
      await on.apply(secret({ token: '3' }));
      await on.apply(secret({ token: '3' }), { force: true });
    },
  },
  {
    name: 'DELETE without a precondition, and of what is absent',
    outcomes: [OK, OK, NOT_FOUND],
    play: async (on) => {
      await on.post('secrets', secret({ token: '1' }));
      await on.remove('secrets', 'a');
      await on.remove('secrets', 'a');
    },
  },
  {
    name: 'DELETE of a uid',
    outcomes: [OK, CONFLICT, OK, NOT_FOUND],
    play: async (on) => {
      await on.post('secrets', secret({ token: '1' }));
      await on.remove('secrets', 'a', { uid: OTHER_UID });
      await on.remove('secrets', 'a', { uid: on.uid('secrets', 'a') });
      await on.remove('secrets', 'a', { uid: OTHER_UID });
    },
  },
  {
    name: 'DELETE of a version',
    outcomes: [OK, OK, CONFLICT, CONFLICT, OK],
    play: async (on) => {
      await on.post('secrets', secret({ token: '1' }));
      const resourceVersion = on.version('secrets', 'a');
      await on.put('secrets', secret({ token: '2' }));
      const uid = on.uid('secrets', 'a');
      await on.remove('secrets', 'a', { resourceVersion });
      await on.remove('secrets', 'a', { uid, resourceVersion });
      await on.remove('secrets', 'a', { uid, resourceVersion: on.version('secrets', 'a') });
    },
  },
];

const APPLIES: readonly Row[] = [
  {
    name: 'apply of the same: no new version',
    outcomes: [OK, OK],
    play: async (on) => {
      const whole = secret({ token: '1' }, { labels: { l: '1' }, annotations: { n: '1' } });
      await on.apply(whole);
      await on.apply(whole);
    },
  },
  {
    name: 'apply of another value',
    outcomes: [OK, OK],
    play: async (on) => {
      await on.apply(secret({ token: '1' }));
      await on.apply(secret({ token: '2' }));
    },
  },
  {
    name: 'apply that drops keys, labels, annotations and the owner',
    outcomes: [OK, OK, OK],
    play: async (on) => {
      const ownerReferences = [owner(OTHER_UID)];
      const labels = { l: '1', x: '1' };
      const annotations = { n: '1' };
      await on.apply(secret({ token: '1', x: '1' }, { labels, annotations, ownerReferences }));
      await on.apply(secret({ token: '1' }, { labels: { l: '1' } }));
      await on.apply(secret({}));
    },
  },
  {
    name: 'apply with the uid that is there',
    outcomes: [OK, OK],
    play: async (on) => {
      await on.apply(secret({ token: '1' }));
      await on.apply(secret({ token: '2' }, { uid: on.uid('secrets', 'a') }));
    },
  },
  {
    name: 'apply with another uid',
    outcomes: [OK, INVALID, INVALID],
    play: async (on) => {
      await on.apply(secret({ token: '1' }));
      await on.apply(secret({ token: '2' }, { uid: OTHER_UID }), { force: true });
      await on.apply(secret({ token: '1' }, { uid: OTHER_UID }), { force: true });
    },
  },
  {
    name: 'apply with an old version, then with the present one',
    outcomes: [OK, OK, CONFLICT, CONFLICT, CONFLICT, OK],
    play: async (on) => {
      await on.apply(secret({ token: '1' }));
      const old = on.version('secrets', 'a');
      await on.apply(secret({ token: '2' }));
      await on.apply(secret({ token: '3' }, { resourceVersion: old }), { force: true });
      await on.apply(secret({ token: '2' }, { resourceVersion: old }));
      await on.apply(secret({ token: '3' }, { resourceVersion: old, uid: OTHER_UID }));
      await on.apply(secret({ token: '3' }, { resourceVersion: on.version('secrets', 'a') }));
    },
  },
  {
    name: 'apply of another type, and of none',
    outcomes: [OK, CONFLICT, INVALID, OK],
    play: async (on) => {
      await on.post('secrets', { ...secret({ token: '1' }), type: 'Opaque' }, 'kubectl');
      await on.apply(secret({ other: '2' }));
      await on.apply(secret({ token: '2' }), { force: true });
      await on.apply({ metadata: { name: 'a' }, data: encoded({ other: '2' }) });
    },
  },
  {
    name: 'apply of a key that another has applied',
    outcomes: [OK, CONFLICT, OK, CONFLICT],
    play: async (on) => {
      await on.apply(secret({ token: '1' }, { labels: { l: '1' } }), { manager: 'theirs' });
      await on.apply(secret({ token: '2' }, { labels: { l: '2' } }));
      await on.apply(secret({ token: '2' }, { labels: { l: '2' } }), { force: true });
      await on.apply(secret({ token: '1' }, { labels: { l: '1' } }), { manager: 'theirs' });
    },
  },
  {
    name: 'apply with an old version, another uid and type, of a key that another has applied',
    outcomes: [OK, OK, CONFLICT, CONFLICT, INVALID],
    play: async (on) => {
      await on.apply(secret({ token: '1' }), { manager: 'theirs' });
      const resourceVersion = on.version('secrets', 'a');
      await on.apply(secret({ token: '2' }), { manager: 'theirs' });
      const wrong = {
        ...secret({ token: '3' }, { resourceVersion, uid: OTHER_UID }),
        type: 'Opaque',
      };
      await on.apply(wrong);
      await on.apply(wrong, { force: true });
      await on.apply({ ...wrong, metadata: { name: 'a', uid: OTHER_UID } }, { force: true });
    },
  },
  {
    name: 'apply of keys that two others have',
    outcomes: [OK, OK, CONFLICT, OK],
    play: async (on) => {
      await on.apply(secret({ one: '1' }), { manager: 'first' });
      await on.apply(secret({ two: '1' }, { annotations: { n: '1' } }), { manager: 'second' });
      const ours = secret({ one: '2', two: '2', three: '2' }, { annotations: { n: '2' } });
      await on.apply(ours);
      await on.apply(ours, { force: true });
    },
  },
  {
    name: 'co-ownership by an equal value: it goes with the last owner',
    outcomes: [OK, OK, OK, OK],
    play: async (on) => {
      await on.apply(secret({ token: '1', kept: '1' }), { manager: 'theirs' });
      await on.apply(secret({ token: '1' }));
      await on.apply(secret({ kept: '1' }), { manager: 'theirs' });
      await on.apply(secret({}));
    },
  },
  {
    name: 'co-ownership ends by force',
    outcomes: [OK, OK, CONFLICT, OK, OK],
    play: async (on) => {
      await on.apply(secret({ token: '1' }), { manager: 'theirs' });
      await on.apply(secret({ token: '1' }));
      await on.apply(secret({ token: '2' }));
      await on.apply(secret({ token: '2' }), { force: true });
      await on.apply(secret({}), { manager: 'theirs' });
    },
  },
  {
    name: 'apply of a second controller',
    outcomes: [OK, INVALID, OK],
    play: async (on) => {
      const ownerReferences = [owner(OTHER_UID)];
      const next = [owner(OTHER_UID.replace('1', '9'))];
      await on.apply(secret({ token: '1' }, { ownerReferences }), { manager: 'theirs' });
      await on.apply(secret({ token: '2' }, { ownerReferences: next }), { force: true });
      await on.apply(
        secret({ token: '2' }, { ownerReferences: [{ ...next[0]!, controller: false }] }),
        {
          force: true,
        },
      );
    },
  },
  {
    name: 'apply of another controller by the manager that has set the first',
    outcomes: [OK, OK],
    play: async (on) => {
      await on.apply(secret({ token: '1' }, { ownerReferences: [owner(OTHER_UID)] }));
      const ownerReferences = [owner(OTHER_UID.replace('1', '9'))];
      await on.apply(secret({ token: '1' }, { ownerReferences }));
    },
  },
  {
    name: 'apply of another controller after a POST by the same manager',
    outcomes: [OK, INVALID],
    play: async (on) => {
      await on.post('secrets', secret({ token: '1' }, { ownerReferences: [owner(OTHER_UID)] }));
      const ownerReferences = [owner(OTHER_UID.replace('1', '9'))];
      await on.apply(secret({ token: '1' }, { ownerReferences }), { force: true });
    },
  },
  {
    name: 'an empty value',
    outcomes: [OK, OK],
    play: async (on) => {
      await on.apply(secret({ token: '', x: '' }));
      await on.apply(secret({ token: '1' }));
    },
  },
];

const HAND_OVERS: readonly Row[] = [
  {
    name: 'apply after POST by the same manager: what it drops stays',
    outcomes: [OK, CONFLICT, OK],
    play: async (on) => {
      await on.post('secrets', secret({ token: '1', x: '1' }, { labels: { l: '1' } }));
      await on.apply(secret({ token: '2' }));
      await on.apply(secret({ token: '2' }), { force: true });
    },
  },
  {
    name: 'apply after a hand-over: what it drops goes',
    outcomes: [OK, OK, OK],
    play: async (on) => {
      const ownerReferences = [owner(OTHER_UID)];
      const first = { labels: { l: '1' }, annotations: { n: '1' }, ownerReferences };
      await on.post('secrets', secret({ token: '1', x: '1' }, first));
      await on.edit('secrets', 'a', withLabels({ theirs: '1' }));
      await upgradeManagedFields(on);
      await on.apply(secret({ token: '2' }));
    },
  },
  {
    name: 'hand-over of what was set by Update and by Apply',
    outcomes: [OK, OK, OK, OK],
    play: async (on) => {
      await on.apply(secret({ token: '1', x: '1' }));
      await on.put('secrets', secret({ token: '2', x: '1', y: '1' }, { labels: { l: '1' } }));
      await on.edit('secrets', 'a', withLabels({ theirs: '1' }));
      await upgradeManagedFields(on);
      await on.apply(secret({ token: '3' }));
    },
  },
  {
    name: 'hand-over of an old version',
    outcomes: [OK, CONFLICT],
    play: async (on) => {
      await on.post('secrets', secret({ token: '1' }));
      await on.side.edit(
        'secrets',
        { ...secret({ token: '2' }), metadata: { name: 'a', namespace: on.namespace } },
        'kubectl-edit',
      );
      await upgradeManagedFields(on);
    },
  },
  {
    name: 'hand-over twice',
    outcomes: [OK, OK, OK],
    play: async (on) => {
      await on.post('secrets', secret({ token: '1' }));
      await upgradeManagedFields(on);
      await upgradeManagedFields(on);
    },
  },
];

const EDITS: readonly Row[] = [
  {
    name: 'people edit a key of ours: apply is a conflict, by force it is ours again',
    outcomes: [OK, CONFLICT, OK],
    play: async (on) => {
      await on.apply(secret({ token: '1', x: '1' }));
      await on.edit('secrets', 'a', withData({ token: 'theirs' }));
      await on.apply(secret({ token: '2', x: '1' }));
      await on.apply(secret({ token: '2', x: '1' }), { force: true });
    },
  },
  {
    name: 'people edit a key that we have set by POST',
    outcomes: [OK, OK],
    play: async (on) => {
      await on.post('secrets', secret({ token: '1', x: '1' }, { labels: { l: '1' } }));
      await on.edit('secrets', 'a', withData({ token: 'theirs' }));
      await on.put('secrets', secret({ token: '2', x: '1' }, { labels: { l: '1' } }));
    },
  },
  {
    name: 'people put the value that we want: both own it',
    outcomes: [OK, OK, OK],
    play: async (on) => {
      await on.apply(secret({ token: '1' }));
      await on.edit('secrets', 'a', withData({ token: '2' }));
      await on.apply(secret({ token: '2' }));
      await on.apply(secret({}));
    },
  },
  {
    name: 'people take a key of ours away, and we apply it again',
    outcomes: [OK, OK],
    play: async (on) => {
      await on.apply(secret({ token: '1', x: '1' }, { annotations: { n: '1' } }));
      await on.edit('secrets', 'a', (draft) => ({ ...draft, data: without(draft.data, 'x') }));
      await on.apply(secret({ token: '1', x: '1' }, { annotations: { n: '1' } }));
    },
  },
  {
    name: 'people add a key, a label and an annotation; ours drop theirs',
    outcomes: [OK, OK],
    play: async (on) => {
      await on.apply(
        secret({ token: '1', x: '1' }, { labels: { l: '1' }, annotations: { n: '1' } }),
      );
      await on.edit('secrets', 'a', (draft) => {
        const labelled = withLabels({ theirs: '1' })(withData({ theirs: '1' })(draft));
        return withMetadata(({ annotations }) => ({
          annotations: { ...annotations, theirs: '1' },
        }))(labelled);
      });
      await on.apply(secret({ token: '2' }));
    },
  },
  {
    name: 'people add the first label and annotation, and take them away',
    outcomes: [OK],
    play: async (on) => {
      await on.post('secrets', secret({ token: '1' }));
      await on.edit(
        'secrets',
        'a',
        withMetadata(() => ({ labels: { x: '1' }, annotations: { x: '1' } })),
      );
      await on.edit(
        'secrets',
        'a',
        withMetadata(() => ({ labels: {}, annotations: {} })),
      );
    },
  },
  {
    name: 'people take all labels away',
    outcomes: [OK, OK],
    play: async (on) => {
      await on.post('secrets', secret({ token: '1' }, { labels: { l: '1' } }));
      await on.edit(
        'secrets',
        'a',
        withMetadata(() => ({ labels: {} })),
      );
      await on.put('secrets', secret({ token: '1' }, { labels: { l: '1' } }));
    },
  },
  {
    name: 'people take the owner away',
    outcomes: [OK],
    play: async (on) => {
      await on.post('secrets', secret({ token: '1' }, { ownerReferences: [owner(OTHER_UID)] }));
      await on.edit(
        'secrets',
        'a',
        withMetadata(() => ({ ownerReferences: [] })),
      );
    },
  },
  {
    name: 'people change nothing',
    outcomes: [OK],
    play: async (on) => {
      await on.post('secrets', secret({ token: '1' }));
      await on.edit('secrets', 'a', (draft) => draft);
    },
  },
  {
    name: 'we merge into a Secret of people: add, renew, drop',
    outcomes: [OK, CONFLICT, OK, OK, OK],
    play: async (on) => {
      await on.post('secrets', { ...secret({ theirs: '1' }), type: 'Opaque' }, 'kubectl');
      const merged = (data: Record<string, string>): Draft => ({
        metadata: { name: 'a', uid: on.uid('secrets', 'a'), annotations: { n: '1' } },
        data: encoded(data),
      });
      await on.apply(merged({ theirs: '2' }));
      await on.apply(merged({ ours: '1' }));
      await on.apply(merged({ ours: '2', more: '2' }));
      await on.edit('secrets', 'a', withData({ theirs: '3' }));
      await on.apply(merged({ ours: '2' }));
    },
  },
  {
    name: 'we merge into a Secret of people, with a value that is theirs, and release it',
    outcomes: [OK, OK, CONFLICT, OK, OK],
    play: async (on) => {
      await on.post('secrets', { ...secret({ theirs: '1' }), type: 'Opaque' }, 'kubectl');
      const metadata = { name: 'a', uid: on.uid('secrets', 'a') };
      await on.apply({
        metadata: { ...metadata, annotations: { n: '1' } },
        data: encoded({ theirs: '1', ours: '1' }),
      });
      await on.apply({ metadata: { ...metadata, resourceVersion: '1' } });
      await on.apply({ metadata });
      await on.apply({ metadata });
    },
  },
];

const spec = (scope: string) => ({
  program: 'ABC',
  environment: 'staging',
  clientId: 'client-1',
  scope,
  credentialsSecretRef: { name: 'source' },
});

const createCredential = async (on: Play, metadata: Metadata = {}): Promise<void> => {
  const named = { name: 'a', ...metadata, namespace: on.namespace };
  await on.side.edit('convercuscredentials', { metadata: named, spec: spec('openid') }, 'kubectl');
  await on.note('convercuscredentials', named.name, 'created');
};

const withScope =
  (scope: string) =>
  (draft: Draft): Draft => ({ ...draft, spec: { ...draft.spec, scope } });

type Status = NonNullable<ConvercusCredential['status']>;

const FULL: Status = {
  observedGeneration: 1,
  tokenUrl: 'https://a.test',
  lastHandledRenewRequest: '1',
  target: { name: 'a-token', resourceVersion: '5' },
  rejectedLogin: { presented: 'x', count: 2, hadWorked: true, retryAt: '2026-09-21T12:00:00Z' },
};

interface OfVersion {
  readonly uid?: string;
  readonly version?: string;
}

/** The operator's own request: a PUT with uid and version. */
async function putStatus(
  on: Play,
  status: Status,
  { uid, version }: OfVersion = {},
): Promise<void> {
  const { namespace } = on;
  const meta = {
    namespace,
    name: 'a',
    uid: uid ?? on.uid('convercuscredentials', 'a'),
    generation: 1,
  };
  const request = replaceStatusRequest(
    meta,
    status,
    version ?? on.version('convercuscredentials', 'a'),
    never,
  );
  await on.send('convercuscredentials', 'a', request);
}

/** The operator's own request: a JSON patch with uid. */
async function patchStatus(on: Play, status: Status, uid?: string): Promise<void> {
  const { namespace } = on;
  const meta = { namespace, name: 'a', uid: uid ?? on.uid('convercuscredentials', 'a') };
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- nothing else of it is used
  const request = patchStatusRequest(meta as ConvercusCredential['metadata'], status, never);
  await on.send('convercuscredentials', 'a', request);
}

const CREDENTIALS: readonly Row[] = [
  {
    name: 'generation: by the spec, not by labels or status',
    outcomes: [OK],
    play: async (on) => {
      await createCredential(on);
      await on.edit('convercuscredentials', 'a', withLabels({ l: '1' }));
      await on.edit('convercuscredentials', 'a', withScope('profile'));
      await putStatus(on, FULL);
      await on.edit('convercuscredentials', 'a', withScope('profile'));
      await on.edit('convercuscredentials', 'a', withScope('openid'));
    },
  },
  {
    name: 'PUT of a status: of the present version, the same, another, of an old version',
    outcomes: [OK, OK, OK, CONFLICT],
    play: async (on) => {
      await createCredential(on, { labels: { l: '1' } });
      const version = on.version('convercuscredentials', 'a');
      await putStatus(on, FULL);
      await putStatus(on, FULL);
      await putStatus(on, { observedGeneration: 2 });
      await putStatus(on, { observedGeneration: 3 }, { version });
    },
  },
  {
    name: 'PUT of a status after an edit',
    outcomes: [CONFLICT, OK],
    play: async (on) => {
      await createCredential(on);
      const version = on.version('convercuscredentials', 'a');
      await on.edit('convercuscredentials', 'a', withScope('profile'));
      await putStatus(on, FULL, { version });
      await patchStatus(on, FULL);
    },
  },
  {
    name: 'PUT of a status of another uid, of another uid and version, of what is gone',
    outcomes: [CONFLICT, CONFLICT, OK, NOT_FOUND],
    play: async (on) => {
      await createCredential(on);
      await putStatus(on, FULL, { uid: OTHER_UID });
      await putStatus(on, FULL, { uid: OTHER_UID, version: '5' });
      await on.remove('convercuscredentials', 'a');
      await putStatus(on, FULL);
    },
  },
  {
    name: 'patch of a status: what it does not have goes',
    outcomes: [OK, OK, OK],
    play: async (on) => {
      await createCredential(on, { labels: { l: '1' } });
      await patchStatus(on, FULL);
      await patchStatus(on, FULL);
      await patchStatus(on, { observedGeneration: 2 });
    },
  },
  {
    name: 'patch of a status: what its objects do not have goes too',
    outcomes: [OK, OK],
    play: async (on) => {
      await createCredential(on);
      await patchStatus(on, FULL);
      await patchStatus(on, {
        observedGeneration: 2,
        target: { name: 'b-token' },
        rejectedLogin: { presented: 'x', count: 3 },
      });
    },
  },
  {
    name: 'patch of a status of another uid, and of what is gone',
    outcomes: [INVALID, OK, NOT_FOUND],
    play: async (on) => {
      await createCredential(on);
      await patchStatus(on, FULL, OTHER_UID);
      await on.remove('convercuscredentials', 'a');
      await patchStatus(on, FULL);
    },
  },
  {
    name: 'patch of the status of the one before',
    outcomes: [OK, INVALID],
    play: async (on) => {
      await createCredential(on);
      const uid = on.uid('convercuscredentials', 'a');
      await on.remove('convercuscredentials', 'a');
      await createCredential(on);
      await patchStatus(on, FULL, uid);
    },
  },
];

const lease = (holderIdentity: string, resourceVersion?: string): Draft => ({
  metadata: { name: 'leader', ...(resourceVersion === undefined ? {} : { resourceVersion }) },
  spec: { holderIdentity, leaseDurationSeconds: 15, leaseTransitions: 0 },
});

const LEASES: readonly Row[] = [
  {
    name: 'a Lease: POST, POST, PUT of the present version, of an old one, of what is gone (is made)',
    outcomes: [OK, EXISTS, OK, CONFLICT, OK, OK],
    play: async (on) => {
      await on.post('leases', lease('a'));
      await on.post('leases', lease('b'));
      const first = on.version('leases', 'leader');
      await on.put('leases', lease('b', first));
      await on.put('leases', lease('a', first));
      const version = on.version('leases', 'leader');
      await on.remove('leases', 'leader');
      await on.put('leases', lease('a', version));
    },
  },
];

const event = (namespace: string): object =>
  objectOfKind('events', {
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- an Event as the operator sends it
    ...({
      eventTime: '2026-09-21T12:00:00.000000Z',
      type: 'Normal',
      reason: 'Renewed',
      note: 'A new token',
      action: 'Reconcile',
      regarding: { apiVersion: 'v1', kind: 'Secret', namespace, name: 'a', uid: OTHER_UID },
      reportingController: 'convercus.io/operator',
      reportingInstance: 'a',
    } as object),
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- an Event as the operator sends it
    metadata: { namespace, generateName: 'a-' } as Metadata,
  });

const recordEvent = (on: Play): Promise<void> =>
  on.tell({ method: 'POST', path: path('events', on.namespace), body: event(on.namespace) });

const NAMESPACES: readonly Row[] = [
  {
    name: 'a namespace that is not there',
    outcomes: [NOT_FOUND, NOT_FOUND, NOT_FOUND],
    play: async (made) => {
      const on = new Play(made.side, `${made.namespace}-absent`);
      await on.post('secrets', secret({ token: '1' }));
      await on.apply(secret({ token: '1' }));
      await recordEvent(on);
      made.take(on);
    },
  },
  {
    name: 'a namespace that is being deleted: nothing is created, all else goes on',
    outcomes: [OK, OK, '403 Forbidden', '403 Forbidden', '403 Forbidden', OK, OK, OK, OK, OK],
    play: async (on) => {
      await createCredential(on);
      await on.post('secrets', secret({ token: '1' }));
      await recordEvent(on);
      await on.side.endNamespace(on.namespace);
      await on.post('secrets', secret({ token: '1' }, { name: 'b' }));
      await on.apply(secret({ token: '1' }, { name: 'b' }));
      await recordEvent(on);
      await on.put('secrets', secret({ token: '2' }));
      await on.apply(secret({ token: '3' }), { force: true });
      await putStatus(on, FULL);
      await patchStatus(on, { observedGeneration: 2 });
      await on.remove('secrets', 'a');
    },
  },
];

const WATCHES: readonly Row[] = [
  {
    name: 'a watch of Secrets from an old version shows all since, in order, without contents',
    outcomes: [OK, OK, OK, OK, 'ADDED MODIFIED DELETED', OK, ''],
    play: async (on) => {
      await on.post('secrets', secret({ token: '1' }, { name: 'first' }));
      await on.post('secrets', secret({ token: '1' }));
      await on.put('secrets', secret({ token: '2' }, { annotations: { n: '1' } }));
      await on.remove('secrets', 'a');
      await on.watch('secrets', on.version('secrets', 'first'), { count: 3 });
      await on.post('secrets', secret({ token: '1' }, { name: 'last' }));
      await on.watch('secrets', on.version('secrets', 'last'));
    },
  },
];

const SELECTOR = { labelSelector: 'release=one' };

const SELECTIONS: readonly Row[] = [
  {
    name: 'a watch with a selector: who leaves it is DELETED, who enters it is ADDED',
    outcomes: ['ADDED MODIFIED DELETED ADDED DELETED'],
    play: async (on) => {
      await createCredential(on, { name: 'first' });
      await createCredential(on, { labels: { release: 'one' } });
      await createCredential(on, { name: 'b', labels: { release: 'two' } });
      await on.edit('convercuscredentials', 'a', withLabels({ x: '1' }));
      await on.edit('convercuscredentials', 'a', withLabels({ release: 'two' }));
      await on.edit('convercuscredentials', 'a', withLabels({ x: '2' }));
      await on.edit('convercuscredentials', 'b', withLabels({ release: 'one' }));
      await on.edit(
        'convercuscredentials',
        'b',
        withMetadata(() => ({ labels: {} })),
      );
      const from = on.version('convercuscredentials', 'first');
      await on.watch('convercuscredentials', from, { query: SELECTOR, count: 5 });
    },
  },
  {
    name: 'a list with a selector',
    outcomes: [OK],
    play: async (on) => {
      await createCredential(on, { labels: { release: 'one' } });
      await createCredential(on, { name: 'b', labels: { release: 'two' } });
      await createCredential(on, { name: 'c' });
      await on.list('convercuscredentials', SELECTOR);
    },
  },
  {
    name: 'pages of a list are all of the moment of the first',
    outcomes: [OK, OK, OK, OK, OK, OK, OK, OK, OK],
    play: async (on) => {
      for (const name of ['c', 'a', 'b', 'd']) await on.post('secrets', secret({}, { name }));
      const next = await on.list('secrets', { limit: '2' });
      await on.remove('secrets', 'c');
      await on.post('secrets', secret({}, { name: 'e' }));
      await on.list('secrets', { limit: '2', continue: next ?? '' });
      await on.list('secrets', { limit: '200' });
    },
  },
];

const ROWS = [
  ...CREATIONS,
  ...REPLACEMENTS,
  ...APPLIES,
  ...HAND_OVERS,
  ...EDITS,
  ...CREDENTIALS,
  ...LEASES,
  ...NAMESPACES,
  ...WATCHES,
  ...SELECTIONS,
];

describe('the simulated API server is like a real one', () => {
  let controlPlane: ControlPlane;
  let real: RealSide;
  let simulated: SimulatedSide;
  let count = 0;

  async function played(row: Row): Promise<{ real: Play; simulated: Play }> {
    count += 1;
    const namespace = `row-${count}`;
    const [onReal, onSimulated] = await Promise.all(
      [real, simulated].map(async (side) => {
        await side.makeNamespace(namespace);
        const play = new Play(side, namespace);
        await row.play(play);
        return play;
      }),
    );
    return { real: onReal!, simulated: onSimulated! };
  }

  beforeAll(async () => {
    controlPlane = await startControlPlane();
    await installCrd(controlPlane);
    real = new RealSide(controlPlane.adminKubeconfig, () => compact(controlPlane));
    simulated = new SimulatedSide();
  }, 15 * 60_000);

  afterAll(async () => {
    await real.close();
    await controlPlane.stop();
  }, 60_000);

  it.each(ROWS)('$name', async (row) => {
    const { real, simulated } = await played(row);
    expect(real.outcomes).toEqual(row.outcomes);
    expect(simulated.seen).toEqual(real.seen);
  });

  it('forgets old versions: 410 to a watch and to the next page of a list', async () => {
    const { real, simulated } = await played({
      name: '',
      outcomes: [],
      play: async (on) => {
        for (const name of ['a', 'b', 'c']) await on.post('secrets', secret({}, { name }));
        const version = on.version('secrets', 'a');
        const next = await on.list('secrets', { limit: '2' });
        await on.remove('secrets', 'c');
        await on.side.compact();
        await on.watch('secrets', version);
        await on.list('secrets', { limit: '2', continue: next ?? '' });
        await on.list('secrets', { limit: '2' });
      },
    });
    expect(real.outcomes).toEqual([OK, OK, OK, OK, OK, 'ERROR', '410 Expired', OK]);
    expect(simulated.seen).toEqual(real.seen);
  });
});

/** Compacts etcd. The API server loses its cache when it is restarted. */
async function compact(controlPlane: ControlPlane): Promise<void> {
  const call = async (method: string, body: object): Promise<{ header: { revision: string } }> => {
    const url = `${controlPlane.etcdUrl}/v3/kv/${method}`;
    const response = await fetch(url, { method: 'POST', body: JSON.stringify(body) });
    if (!response.ok) throw new Error(`etcd returned ${response.status}: ${await response.text()}`);
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- etcd's JSON gateway
    return (await response.json()) as { header: { revision: string } };
  };
  const { header } = await call('range', { key: Buffer.from('x').toString('base64') });
  await call('compaction', { revision: header.revision, physical: true });
  await controlPlane.stopApiServer();
  await controlPlane.startApiServer();
}
