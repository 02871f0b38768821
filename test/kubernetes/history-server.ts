import {
  COMPONENT_LABEL,
  CREDENTIAL_LABEL,
  FIELD_MANAGER,
  MANAGED_BY_LABEL,
  SESSION_COMPONENT,
} from '../../src/credential/target-secret.ts';
import { ApiError } from '../../src/kubernetes/api-error.ts';
import type { ApiRequest, ApiResponse, RestClient } from '../../src/kubernetes/rest-client.ts';
import { member, textAt } from '../../src/lib/json.ts';

const NAMESPACE = 'shop';

interface StoredObject {
  readonly uid: string;
  readonly version: number;
  /** Spec, status and so on. */
  readonly rest: Readonly<Record<string, unknown>>;
  readonly generation: number;
}

export interface Change {
  readonly name: string;
  readonly version: number;
  readonly type: 'ADDED' | 'MODIFIED' | 'DELETED';
  /** Of a deletion: as it was before. */
  readonly object: StoredObject;
  /** By a request, not by another client. */
  readonly isOurs: boolean;
}

/** One resource in an etcd of its own: all its objects, and every version that there was of them. */
export class History {
  version = 10;
  objects = new Map<string, StoredObject>();
  changes: Change[] = [];
  readonly #nextUid: () => string;

  constructor(nextUid: () => string) {
    this.#nextUid = nextUid;
  }

  put(name: string, change: Partial<Pick<StoredObject, 'rest' | 'generation'>>, isOurs = false) {
    const before = this.objects.get(name);
    this.version += 1;
    const { version } = this;
    const object = { uid: this.#nextUid(), rest: {}, generation: 1, ...before, ...change, version };
    this.objects.set(name, object);
    const type = before === undefined ? 'ADDED' : 'MODIFIED';
    this.changes.push({ name, version, type, object, isOurs });
    return object;
  }

  remove(name: string, isOurs = false): void {
    const object = this.objects.get(name);
    if (object === undefined) return;
    this.version += 1;
    this.objects.delete(name);
    this.changes.push({ name, version: this.version, type: 'DELETED', object, isOurs });
  }

  /** Everything that it was from some version on, in order. */
  statesSince(name: string, version: number): (StoredObject | 'absent')[] {
    const all = this.changes.filter((change) => change.name === name);
    const before = all.filter((change) => change.version <= version).slice(-1);
    const states = [...before, ...all.filter((change) => change.version > version)].map(stateAfter);
    return before.length === 0 ? ['absent', ...states] : states;
  }

  backup(): () => void {
    const { version, objects, changes } = this;
    const kept = structuredClone({ version, objects, changes });
    return () => Object.assign(this, structuredClone(kept));
  }
}

export const stateAfter = ({ type, object }: Change): StoredObject | 'absent' =>
  type === 'DELETED' ? 'absent' : object;

interface Pending {
  readonly request: ApiRequest;
  readonly resolve: (response: ApiResponse | ApiError) => void;
  response?: ApiResponse | ApiError;
}

/** An API server that carries out each request when it is told to, and sends the answer when it is told to. */
export class HistoryServer implements RestClient {
  readonly secrets: History;
  readonly credentials: History;
  pending: Pending[] = [];
  #uids = 0;

  constructor() {
    const nextUid = () => `uid-${(this.#uids += 1)}`;
    this.secrets = new History(nextUid);
    this.credentials = new History(nextUid);
  }

  request(request: ApiRequest): Promise<ApiResponse | ApiError> {
    return new Promise((resolve) => this.pending.push({ request, resolve }));
  }

  // oxlint-disable-next-line require-yield -- nothing is watched this way
  async *stream(): AsyncGenerator<never> {
    throw ApiError.network('unused');
  }

  async close(): Promise<void> {}

  carryOut(pending: Pending | undefined): void {
    if (pending !== undefined) pending.response ??= this.#carryOut(pending.request);
  }

  respond(pending: Pending | undefined): void {
    if (pending?.response === undefined) return;
    this.pending = this.pending.filter((each) => each !== pending);
    pending.resolve(pending.response);
  }

  /** No request under way is answered. */
  cut(): void {
    for (const { resolve } of this.pending.splice(0)) resolve(ApiError.network('ECONNRESET'));
  }

  #carryOut({ method, path, body, accept = '' }: ApiRequest): ApiResponse | ApiError {
    const [plural = '', named] = path.split('/').slice(path.split('/').indexOf(NAMESPACE) + 1);
    const name = named ?? textAt(body, 'metadata', 'name') ?? '';
    const isOfSecrets = plural === 'secrets';
    const history = isOfSecrets ? this.secrets : this.credentials;
    const found = history.objects.get(name);
    const refusal = Array.isArray(body)
      ? patchRefusal(found, body)
      : writeConflictOf(method, found, body);
    if (refusal !== undefined) return refusal;
    if (method === 'DELETE') {
      history.remove(name, true);
      return { status: 200, body: { kind: 'Status', status: 'Success' } };
    }
    const wanted = isOfSecrets ? {} : { rest: { ...found?.rest, status: statusIn(body) } };
    const object = method === 'GET' ? found : history.put(name, wanted, true);
    if (object === undefined) return new ApiError(404, { reason: 'NotFound' });
    const shown = isOfSecrets ? secretObject(name, object) : credentialObject(name, object);
    return { status: 200, body: accept.includes('as=Partial') ? metadataOf(shown) : shown };
  }
}

function writeConflictOf(
  method: string,
  found: StoredObject | undefined,
  body: unknown,
): ApiError | undefined {
  const uid = textAt(body, 'preconditions', 'uid') ?? textAt(body, 'metadata', 'uid');
  const version = textAt(body, 'metadata', 'resourceVersion');
  if (method === 'POST') {
    return found === undefined ? undefined : new ApiError(409, { reason: 'AlreadyExists' });
  }
  if (found === undefined) {
    const isCreation = method === 'PATCH' && uid === undefined;
    return isCreation ? undefined : new ApiError(404, { reason: 'NotFound' });
  }
  const isAnother = uid !== undefined && uid !== found.uid;
  const isChanged = version !== undefined && version !== String(found.version);
  return isAnother || isChanged ? new ApiError(409, { reason: 'Conflict' }) : undefined;
}

/** A JSON patch of a status: the uid has to be that. */
function patchRefusal(
  found: StoredObject | undefined,
  operations: readonly unknown[],
): ApiError | undefined {
  if (found === undefined) return new ApiError(404, { reason: 'NotFound' });
  const isAnother = valueAt(operations, '/metadata/uid') !== found.uid;
  return isAnother ? new ApiError(422, { reason: 'Invalid' }) : undefined;
}

const statusIn = (body: unknown): unknown =>
  Array.isArray(body) ? valueAt(body, '/status') : member(body, 'status');

const valueAt = (operations: readonly unknown[], path: string): unknown =>
  member(
    operations.find((operation) => member(operation, 'path') === path),
    'value',
  );

const metadataOf = ({ metadata }: { readonly metadata: object }): object => ({
  kind: 'PartialObjectMetadata',
  apiVersion: 'meta.k8s.io/v1',
  metadata,
});

/** As the API server writes it: the members of metadata in the order of its type. */
const secretObject = (name: string, { uid, version }: StoredObject) => ({
  metadata: {
    name,
    namespace: NAMESPACE,
    uid,
    resourceVersion: String(version),
    labels: name.endsWith('-session') ? sessionLabels(name.replace('-session', '')) : {},
  },
  data: {},
});

const sessionLabels = (credentialName: string) => ({
  [MANAGED_BY_LABEL]: FIELD_MANAGER,
  [CREDENTIAL_LABEL]: credentialName,
  [COMPONENT_LABEL]: SESSION_COMPONENT,
});

/** A custom resource: the members in the order of their names. */
const credentialObject = (name: string, { uid, version, generation, rest }: StoredObject) => ({
  apiVersion: 'convercus.io/v1alpha1',
  kind: 'ConvercusCredential',
  metadata: {
    generation,
    name,
    namespace: NAMESPACE,
    resourceVersion: String(version),
    uid,
  },
  spec: rest['spec'],
  ...(rest['status'] === undefined ? {} : { status: rest['status'] }),
});

/** What lists and watches show of it. */
export const shownOf = {
  secrets: (name: string, object: StoredObject) => metadataOf(secretObject(name, object)),
  credentials: (name: string, object: StoredObject): object =>
    structuredClone(credentialObject(name, object)),
};
